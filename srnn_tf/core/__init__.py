"""Building blocks of the package: random keys, layers, loops, checks, registries. No models."""
