"""States of linear Gaussian models given a whole sequence, and scores of sequences with gaps."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from srnn_tf.core import checks
from srnn_tf.core import frames as framing
from srnn_tf.core.types import Array
from srnn_tf.density import SequenceDensity
from srnn_tf.emissions import StateGaussian
from srnn_tf.structures import KVAE, LGSSM

tfd = tfp.distributions


def linear_gaussian_model(
    density: SequenceDensity, num_steps: int
) -> tfd.LinearGaussianStateSpaceModel:
    """The density of `num_steps` steps as a distribution of TensorFlow Probability, in float64.

    It is for `posterior_marginals`, `posterior_sample` and the like, not for training: it would
    differentiate a `tf.while_loop`. A step costs D^3.

    Args:
        density: `model.density` of a `SequenceModel` of `LGSSM` and `StateGaussian`.
        num_steps: T.

    Raises:
        ValueError: the density is no linear Gaussian state space model, or `num_steps` is below 1.

    Example:
        >>> from srnn_tf import SequenceModel
        >>> model = SequenceModel({"class": "lgssm", "state_size": 2}, {
        ...     "class": "state_gaussian", "event_size": 3, "state_size": 2})
        >>> linear_gaussian_model(model.density, 5).log_prob(tf.zeros([4, 5, 3], "float64")).shape
        TensorShape([4])
    """
    structure, emission = _linear_gaussian_parts(density)
    checks.sizes(num_steps=num_steps)
    return _state_space(
        num_steps,
        _double(structure.transition_matrix),
        structure.transition_covariance(),
        _double(emission.observation_matrix),
        tf.linalg.diag(emission.observation_variance()),
        structure.initial_mean,
        structure.initial_covariance(),
        transition_bias=structure.transition_bias,
        observation_bias=emission.observation_bias,
    )


def posterior_marginals(
    density: SequenceDensity,
    frames: Array,
    mask: Array | None = None,
    observed: Array | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the state at each step, given the whole sequence (smoothed).

        p(z_t | x) = N(mean_t, covariance_t)

    Args:
        density: `model.density` of a `SequenceModel` of `LGSSM` and `StateGaussian`.
        frames: (B, T, D); what missing frames hold is not read, but must be finite.
        mask: (B, T) bool, true where a frame is real; right-padded. All real by default.
        observed: (B, T) bool, false where a frame is missing. All are observed by default.

    Returns:
        (B, S, n) and (B, S, n, n) float32 for S steps of the structure, zero under the mask.

    Raises:
        ValueError: the density is no linear Gaussian state space model, or an array is invalid.

    Example:
        >>> from srnn_tf import SequenceModel
        >>> model = SequenceModel({"class": "lgssm", "state_size": 2}, {
        ...     "class": "state_gaussian", "event_size": 3, "state_size": 2})
        >>> means, covariances = posterior_marginals(model.density, np.zeros([4, 5, 3]))
        >>> means.shape, covariances.shape
        ((4, 5, 2), (4, 5, 2, 2))
    """
    _linear_gaussian_parts(density)
    batch, seen, real = _batch(density, frames, mask, observed)
    model = linear_gaussian_model(density, batch.steps.shape[1])
    means, covariances = model.posterior_marginals(_double(batch.steps), mask=~seen)
    return (
        np.where(real[..., None], means, 0.0).astype(np.float32),
        np.where(real[..., None, None], covariances, 0.0).astype(np.float32),
    )


def step_log_prob(
    density: SequenceDensity, frames: Array, observed: Array, mask: Array | None = None
) -> tf.Tensor:
    """log p(x_t | observed frames before t) of the observed frames, nats, exact.

    Args:
        density: `model.density` of a `SequenceModel` of `LGSSM` and `StateGaussian`.
        frames, observed, mask: as in `posterior_marginals`.

    Returns:
        (B, T) float32, zero for missing frames and under the mask.

    Raises:
        ValueError: as in `posterior_marginals`.

    Example:
        >>> from srnn_tf import SequenceModel
        >>> model = SequenceModel({"class": "lgssm", "state_size": 2}, {
        ...     "class": "state_gaussian", "event_size": 3, "state_size": 2})
        >>> observed = np.array([[True, False, True, True, True]])
        >>> float(step_log_prob(model.density, np.zeros([1, 5, 3]), observed)[0, 1])
        0.0
    """
    structure, emission = _linear_gaussian_parts(density)
    batch, seen, _ = _batch(density, frames, mask, observed)
    # The inputs of a step are of the frame before it.
    before = framing.shift(tf.cast(seen, tf.float32)[..., None])[..., 0] > 0.0
    inputs = emission.read(batch.previous)
    context = structure(inputs, mask=batch.mask, observed=before).context
    return density.sum_frames(tf.where(seen, emission(context).log_prob(batch.steps), 0.0))


def latent_state_marginals(
    structure: KVAE, latents: tf.Tensor, observed: tf.Tensor | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the state z of a `KVAE` at each step, given all its latents a.

        p(z_t | a_1, ..., a_T) = N(mean_t, covariance_t)

    Args:
        structure: built.
        latents: a, (B, T, Z); what missing ones hold is not read.
        observed: (B, T) bool, false where a latent is missing. All are observed by default.

    Returns:
        (B, T, n) and (B, T, n, n) float32.

    Example:
        >>> structure = KVAE(latent_size=2, state_size=3, num_modes=2, units=4, hidden_size=4)
        >>> structure.build((None, None, 88))
        >>> means, _ = latent_state_marginals(structure, tf.zeros([2, 5, 2]))
        >>> means.shape
        (2, 5, 3)
    """
    filtered = structure.filter(latents, observed=observed)
    rows, steps = latents.shape[:2]
    size = structure.state_size
    model = _state_space(
        steps,
        filtered.transition_matrix,
        tf.linalg.diag(structure.transition_variance()),
        filtered.observation_matrix,
        tf.linalg.diag(structure.observation_variance()),
        tf.zeros([rows, size]),
        structure.initial_variance * tf.eye(size, batch_shape=[rows]),
    )
    seen = tf.fill([rows, steps], True) if observed is None else tf.convert_to_tensor(observed)
    means, covariances = model.posterior_marginals(_double(latents), mask=~seen)
    return means.numpy().astype(np.float32), covariances.numpy().astype(np.float32)


def _state_space(
    num_steps,
    transition,
    transition_covariance,
    observation,
    observation_covariance,
    initial_mean,
    initial_covariance,
    transition_bias=None,
    observation_bias=None,
):
    """The model in float64. Matrices of rank above 2 are (B, T, ...); A_t takes z_{t-1} to z_t."""

    def matrix(values, later):
        values = _double(values)
        if values.shape.rank == 2:
            return tf.linalg.LinearOperatorFullMatrix(values)

        def at(t):
            now = tf.minimum(t + later, num_steps - 1)
            return tf.linalg.LinearOperatorFullMatrix(tf.gather(values, now, axis=1))

        return at

    def normal(covariance, mean=None):
        scale_tril = tf.linalg.cholesky(_double(covariance))
        mean = None if mean is None else _double(mean)
        return tfd.MultivariateNormalTriL(mean, scale_tril)

    return tfd.LinearGaussianStateSpaceModel(
        num_timesteps=num_steps,
        transition_matrix=matrix(transition, 1),
        transition_noise=normal(transition_covariance, transition_bias),
        observation_matrix=matrix(observation, 0),
        observation_noise=normal(observation_covariance, observation_bias),
        initial_state_prior=normal(initial_covariance, initial_mean),
    )


def _linear_gaussian_parts(density):
    structure, emission = density.structure, density.emission
    if not (isinstance(structure, LGSSM) and isinstance(emission, StateGaussian)):
        raise ValueError(
            "`density` must be that of a linear Gaussian state space model, the structure lgssm "
            f"with the emission state_gaussian; received {type(structure).__name__} with "
            f"{type(emission).__name__}"
        )
    return structure, emission


def _batch(density, frames, mask, observed):
    """The batch, which of its steps are real and observed, and which are real: (B, S) bool."""
    frames = checks.frames(frames, density.event_size, density.binary)
    shape = tuple(frames.shape[:2])
    real = np.full(shape, True) if mask is None else checks.mask(mask, shape)
    seen = real if observed is None else real & checks.observed(observed, shape)
    batch = density.batch(tf.constant(frames), mask=None if mask is None else real)
    seen, real = (np.repeat(a, density.steps_per_frame, axis=1) for a in (seen, real))
    return batch, seen, real


def _double(values):
    return tf.cast(tf.convert_to_tensor(values), tf.float64)
