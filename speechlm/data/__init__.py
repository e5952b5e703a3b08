"""Audio, Kaldi data directories, unit archives, text corpora, vocabularies, corpus formats."""
