"""Hybrid HMM phone recogniser: GMM alignment, neural frame classifier, word-graph decoding."""
