"""Conformance checks for structures, emissions and objectives, including your own.

    srnn_tf.testing.check_structure(lambda: Markov(latent_size=3))

Each check raises an `AssertionError` that says which property failed, and by how much. They need
no test framework.
"""

from srnn_tf.testing.emissions import check_emission
from srnn_tf.testing.objectives import check_objective
from srnn_tf.testing.structures import check_structure

__all__ = ["check_emission", "check_objective", "check_structure"]
