"""Blizzard 2013: nats per 8,000 samples, half a second; 160,000 updates of 128 streams.

srnn-tf data prepare blizzard --source unsegmented --lists LISTS --out prepared/blizzard
srnn-tf train srnn_hier_blizzard --data prepared/blizzard --out runs/srnn_hier_blizzard
"""

from __future__ import annotations

from srnn_tf.recipes import speech

RECIPES = speech.recipes("blizzard", 128, 160_000, "8,000 samples")
