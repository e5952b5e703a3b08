"""Decoding of speech with fine-tuned models."""
