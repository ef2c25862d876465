"""The hidden states of a hidden Markov model given a whole sequence, by TensorFlow Probability."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from srnn_tf.core import checks
from srnn_tf.core.types import Array
from srnn_tf.density import SequenceDensity
from srnn_tf.training.em import hidden_markov_parts

tfd = tfp.distributions


def hidden_markov_model(density: SequenceDensity, num_steps: int) -> tfd.HiddenMarkovModel:
    """The density of `num_steps` steps as a distribution of TensorFlow Probability.

    It is for `posterior_marginals`, `posterior_mode` and the like, not for training: it would
    differentiate a `tf.while_loop`.

    Args:
        density: `model.density` of a `SequenceModel` of `HMM` and `StateMixture`.
        num_steps: T.

    Raises:
        ValueError: the density is no hidden Markov model, or `num_steps` is below 1.

    Example:
        >>> from srnn_tf import SequenceModel
        >>> model = SequenceModel({"class": "hmm", "num_states": 2}, {
        ...     "class": "state_mixture", "event_size": 3, "num_states": 2})
        >>> hidden_markov_model(model.density, 5).log_prob(tf.zeros([4, 5, 3])).shape
        TensorShape([4])
    """
    structure, emission = hidden_markov_parts(density)
    checks.sizes(num_steps=num_steps)
    params = tf.convert_to_tensor(emission.state_params)
    return tfd.HiddenMarkovModel(
        tfd.Categorical(probs=structure.initial_probs()),
        tfd.Categorical(probs=structure.transition_probs()),
        emission.likelihood.frame(params, emission.event_size),
        num_steps,
    )


def posterior_marginals(
    density: SequenceDensity, frames: Array, mask: Array | None = None
) -> np.ndarray:
    """p(s_t = k | x) of each state at each step, given the whole sequence (smoothed).

    Args:
        density: `model.density` of a `SequenceModel` of `HMM` and `StateMixture`.
        frames: (B, T, D).
        mask: (B, T) bool, true where a frame is real; right-padded. All real by default.

    Returns:
        (B, S, K) float32 for S steps of the structure, zero under the mask.

    Raises:
        ValueError: the density is no hidden Markov model, or the frames or the mask are invalid.

    Example:
        >>> from srnn_tf import SequenceModel
        >>> model = SequenceModel({"class": "hmm", "num_states": 2}, {
        ...     "class": "state_mixture", "event_size": 3, "num_states": 2})
        >>> posterior_marginals(model.density, np.zeros([4, 5, 3])).shape
        (4, 5, 2)
    """
    return _of_rows(
        density, frames, mask, 0.0, lambda hmm, x: hmm.posterior_marginals(x).probs_parameter()
    )


def posterior_mode(
    density: SequenceDensity, frames: Array, mask: Array | None = None
) -> np.ndarray:
    """The most probable sequence of states given the whole sequence (Viterbi).

    Args:
        density, frames, mask: as in `posterior_marginals`.

    Returns:
        (B, S) int32, -1 under the mask.

    Raises:
        ValueError: as in `posterior_marginals`.
    """
    return _of_rows(density, frames, mask, -1, lambda hmm, x: hmm.posterior_mode(x))


def _of_rows(density, frames, mask, padding, function: Callable) -> np.ndarray:
    """`function(hmm, steps)` of the rows of each length, padded to the longest."""
    hidden_markov_parts(density)
    frames = checks.frames(frames, density.event_size, density.binary)
    if mask is not None:
        mask = checks.mask(mask, tuple(frames.shape[:2]))
    batch = density.batch(tf.constant(frames, tf.float32), mask=mask)
    steps, total = batch.steps.numpy(), batch.steps.shape[1]
    real = np.full(steps.shape[:2], True) if batch.mask is None else np.asarray(batch.mask)
    lengths, results = real.sum(axis=1), {}
    for length in np.unique(lengths):
        hmm = hidden_markov_model(density, int(length))
        for row in np.flatnonzero(lengths == length):  # one at a time: memory is T K D
            decoded = function(hmm, tf.constant(steps[row, :length])).numpy()
            rest = [(0, total - length)] + [(0, 0)] * (decoded.ndim - 1)
            results[row] = np.pad(decoded, rest, constant_values=padding)
    return np.stack([results[row] for row in range(len(steps))])
