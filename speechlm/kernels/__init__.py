"""What computes a definition fast on a CPU."""
