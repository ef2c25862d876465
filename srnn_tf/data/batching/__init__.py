"""Batches of sequences: streams of windows, and whole sequences, padded."""
