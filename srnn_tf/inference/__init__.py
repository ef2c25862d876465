"""Inference with a density: scores under the two protocols, samples, streams, posteriors."""
