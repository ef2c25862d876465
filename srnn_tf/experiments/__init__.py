"""Training runs: folders, training, scores beside baselines, and publishing what they made."""
