"""Speech and text to discrete units; lexicon, vocabularies and n-gram models behind them."""
