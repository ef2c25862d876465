"""Batches of sequences: streams of windows, and padded whole sequences."""
