"""What everything else is made of: random keys, layers, loops, checks, registries; no models."""
