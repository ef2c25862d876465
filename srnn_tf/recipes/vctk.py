"""VCTK: nats per sample; 80,000 updates of 128 streams.

srnn-tf data prepare vctk --source VCTK-Corpus --lists LISTS --out prepared/vctk
srnn-tf train srnn_hier_vctk --data prepared/vctk --out runs/srnn_hier_vctk
"""

from __future__ import annotations

from srnn_tf.recipes import speech

RECIPES = speech.recipes("vctk", 128, 80_000, "sample")
