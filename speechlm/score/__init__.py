"""Scores of hypotheses and labels against references, and their reports."""
