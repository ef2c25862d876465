"""Spoken commands, a free substitute for TIMIT and permuted TIMIT: nats per sequence.

srnn-tf data prepare speech_commands --source DIR --out prepared/speech_commands
srnn-tf train f_srnn_speech_commands --data prepared/speech_commands --out runs/f_srnn
"""

from __future__ import annotations

from srnn_tf.recipes import speech

RECIPES = [
    *speech.recipes("speech_commands", 32, 40_000, "sequence"),
    *speech.recipes("speech_commands", 32, 40_000, "sequence", speech.RELATED_MODELS),
    *speech.recipes("perm_speech_commands", 32, 40_000, "sequence", speech.PERMUTED_MODELS),
]
