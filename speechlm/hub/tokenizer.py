"""The tokenizer of a SpeechLM in transformers: symbols of the CTC head to text."""

from __future__ import annotations

from typing import Any

from transformers import Wav2Vec2CTCTokenizer


class SpeechLMTokenizer(Wav2Vec2CTCTokenizer):
    """That of wav2vec 2.0, with one blank between words.

    CTC may write the delimiter of words twice, with a CTC blank between, which is no empty word:
    this toolkit's decoder gives one blank then, wav2vec 2.0's tokenizer as many.
    """

    def convert_tokens_to_string(  # type: ignore[override]  # as wav2vec 2.0's own
        self, *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        """As in transformers; `text` has one blank between words."""
        found = super().convert_tokens_to_string(*args, **kwargs)
        return {**found, "text": " ".join(str(found["text"]).split())}
