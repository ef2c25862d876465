"""Tools around the published models: floors to compare them with, and scripts that make them."""
