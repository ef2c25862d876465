"""Spoken commands, a free stand-in for TIMIT and permuted TIMIT: nats per sequence.

python -m srnn_tf.data prepare speech_commands --source DIR --out prepared/speech_commands
python -m zoo.train f_srnn_speech_commands --data prepared/speech_commands --out runs/f_srnn
"""

from __future__ import annotations

from srnn_tf.recipes import speech

RECIPES = [
    *speech.recipes("speech_commands", 32, 40_000, "sequence"),
    *speech.recipes("perm_speech_commands", 32, 40_000, "sequence", speech.PERMUTED_MODELS),
]
