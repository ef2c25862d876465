"""Prepared folders: shards, their index and statistics, and sequences that stay on disk."""
