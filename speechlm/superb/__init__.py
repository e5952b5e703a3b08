"""SUPERB: what a frozen network's layers are good for, judged by small heads on ten tasks."""
