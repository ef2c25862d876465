"""Code of a third party: nothing of ours imports it, and each file registers what it adds."""
