"""What the command line says of runs before it imports what trains them."""

from __future__ import annotations

POLICIES = ("float32", "mixed_bfloat16")
# Updates between two validations, by default; checkpoints are written there.
EPOCH = 500
# Strategies for many devices: all of a machine, or those of the workers in TF_CONFIG.
STRATEGIES = ("mirrored", "multiworker")
