"""SpeechLM: speech pre-training with unpaired text (Zhang et al., arXiv 2209.15329)."""

__version__ = "0.1.0"
