"""What a trained density is asked: scores under the two protocols, samples, streams, posteriors."""
