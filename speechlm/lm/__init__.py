"""N-gram language models: estimation and perplexity."""
