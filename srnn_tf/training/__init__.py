"""Training: the update, the batches of `fit`, metrics, clipping, many devices."""
