"""Speech and text to discrete units, with the lexicon and k-means behind them."""
