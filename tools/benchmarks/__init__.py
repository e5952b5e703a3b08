"""The benchmarks of `tools/benchmark.py`, a file a subject."""
