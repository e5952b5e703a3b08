"""Audio, Kaldi data directories, unit archives, text corpora and corpus formats."""
