"""TIMIT, and TIMIT with the samples of each frame in a fixed, random order: nats per sequence.

    srnn-tf data prepare timit --source TIMIT --out prepared/timit
    srnn-tf train srnn_hier_timit --data prepared/timit --out runs/srnn_hier_timit

40,000 updates of 32 streams. The hier models of the permuted one are masked MLPs.
"""

from __future__ import annotations

from srnn_tf.recipes import speech

RECIPES = [
    *speech.recipes("timit", 32, 40_000, "sequence"),
    *speech.recipes("perm_timit", 32, 40_000, "sequence", speech.PERMUTED_MODELS),
]
