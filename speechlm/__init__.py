"""SpeechLM: speech pre-training with unpaired text (Zhang et al., arXiv 2209.15329)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from speechlm.decode.pretrained import SpeechLM
    from speechlm.decode.transcribe import CTC

__version__ = "0.1.0"
__all__ = ["CTC", "SpeechLM"]


def __getattr__(name: str) -> Any:
    """`speechlm.SpeechLM` and `speechlm.CTC`, imported (with torch) when first used."""
    if name == "SpeechLM":
        from speechlm.decode.pretrained import SpeechLM

        return SpeechLM
    if name == "CTC":
        from speechlm.decode.transcribe import CTC

        return CTC
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
