"""The networks, in pure PyTorch."""

from speechlm.models.config import SpeechLMConfig
from speechlm.models.speechlm import (
    AugmentOptions,
    Encoded,
    SpeechDraws,
    SpeechLM,
    SpeechOutput,
    TextOutput,
)

__all__ = [
    "AugmentOptions",
    "Encoded",
    "SpeechDraws",
    "SpeechLM",
    "SpeechLMConfig",
    "SpeechOutput",
    "TextOutput",
]
