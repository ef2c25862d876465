"""What everything else is made of: random keys, and no model."""
