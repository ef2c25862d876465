"""Training runs: their folders, training, evaluation, baselines, and publishing."""
