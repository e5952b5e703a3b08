"""The networks, in pure PyTorch."""

from speechlm.models.config import SpeechLMConfig
from speechlm.models.outputs import AugmentOptions, Encoded, SpeechDraws, SpeechOutput, TextOutput
from speechlm.models.speechlm import SpeechLM

__all__ = [
    "AugmentOptions",
    "Encoded",
    "SpeechDraws",
    "SpeechLM",
    "SpeechLMConfig",
    "SpeechOutput",
    "TextOutput",
]
