"""Densities of sequences: p(x, z) and q(z | x), without loss, protocol or optimizer."""

from __future__ import annotations

import abc
from typing import NamedTuple

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from srnn_tf import emissions, structures
from srnn_tf.core import checks, draws, layer_state, nn
from srnn_tf.core import frames as framing
from srnn_tf.core.random import Key, fold
from srnn_tf.core.types import Config, Evidence, Size, State, Temperature
from srnn_tf.structures import Trace


class Batch(NamedTuple):
    """A batch as steps of the structure: B rows, S steps, F values per step."""

    steps: tf.Tensor  # (B, S, F), x_t
    previous: tf.Tensor  # (B, S, F), x_{t-1}
    mask: tf.Tensor | None = None  # (B, S) bool, right-padded; None where all steps are real


class Terms(NamedTuple):
    """The terms of log p(x) at one draw of the latents: nats, zero under the mask.

    Of a density that is not `normalized`, `log_likelihood` has the value of the pseudo-likelihood
    and the gradient of contrastive divergence: for training alone.
    """

    log_likelihood: tf.Tensor  # (B, S), log p(x_t | z_<=t, x_<t), without the KL
    kl: tf.Tensor  # (B, S), KL(q_t || p_t)
    log_ratio: tf.Tensor  # (B, S), log q(z_t) - log p(z_t) at the draw
    auxiliary: tf.Tensor  # (B, S), terms of the training objective that no bound includes
    states: State  # after each row's last real step
    posterior_mean: tf.Tensor | None = None  # (B, S, Z), with latents
    score: tf.Tensor | None = None  # (B, S), with a `score_function`: that of `Trace`
    baseline: tf.Tensor | None = None  # (B, S), the same


class Density(abc.ABC):
    """A density of sequences, with or without latents.

        log p(x) = sum{ log p(x_t | x_<t) : t = 1, ..., T }

    Attributes:
        event_size: D, the number of values in a frame.
        frame_size: F, the number of values in a step; it divides D.
        latent_size: Z, the number of latent units; 0 without latents.
        binary: which values of a frame must be 0 or 1: D booleans.
        filtering: whether the posterior of z_t reads nothing after x_t. `step` then takes x_t.
        normalized: whether log p(x_t | h_t) can be computed.
        score_function: whether no gradient passes through draws of the latents, so that `terms` has
            `score` and `baseline`.
    """

    event_size: int
    frame_size: int
    latent_size: int
    binary: tuple[bool, ...]
    filtering: bool
    normalized: bool = True
    score_function: bool = False

    def check_normalized(self, what: str) -> None:
        """Check that log p(x) can be computed, given latents.

        Args:
            what: what needs it, the beginning of the error.

        Raises:
            ValueError: the density is not `normalized`.
        """
        if not self.normalized:
            raise ValueError(
                f"{what} needs log p(x), and the emission has normalized=False: the partition "
                "function of its frames is not known, and training sees a pseudo-likelihood; "
                "estimate log p(x) by log_prob(frames, bound=AIS()), which is optimistic, and "
                "bound=RAISE(), which is conservative, or use an emission with normalized=True"
            )

    def distribution(
        self, batch: Batch, noise: tf.Tensor | None = None
    ) -> tfp.distributions.Distribution:
        """The distribution of each x_t given x_<t and the latents, of batch shape (B, S).

        Args:
            batch, noise: as in `terms`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no `distribution`")

    @property
    def steps_per_frame(self) -> int:
        """The number of steps per frame."""
        return self.event_size // self.frame_size

    @property
    @abc.abstractmethod
    def variables(self) -> list[keras.Variable]:
        """The variables that `terms` and `step` read."""

    @abc.abstractmethod
    def initial_states(self, rows: Size) -> State:
        """The states before the first step, a nest of (rows, ...)."""

    @abc.abstractmethod
    def terms(
        self,
        batch: Batch,
        noise: tf.Tensor | None = None,
        states: State | None = None,
        key: Key | None = None,
        evidence: Evidence = None,
    ) -> Terms:
        """Score every step of a batch, with latents drawn from the posterior.

        Args:
            batch: the steps.
            noise: (B, S, Z), standard normal draws; or (1, S, Z), the same for all rows.
            states: the states to start from; `initial_states` by default.
            key: the key for dropout; None for no dropout.
            evidence: the result of `evidence`; computed here by default.
        """

    @abc.abstractmethod
    def evidence(self, batch: Batch, key: Key | None = None) -> Evidence:
        """The features of the data that the posterior reads, if it reads future steps.

        `step` takes them, one step at a time.

        Returns:
            A nest of (B, S, ...), or None where the posterior of z_t reads nothing after x_t.
        """

    @abc.abstractmethod
    def step(
        self,
        previous: tf.Tensor,
        states: State,
        noise: tf.Tensor,
        target: tf.Tensor | None = None,
        evidence: Evidence = None,
        temperature: Temperature = 1.0,
        key: Key | None = None,
    ) -> tuple[Trace, tfp.distributions.Distribution]:
        """One step of the density.

        The latents come from the posterior if `target` or `evidence` is given, and from the prior
        otherwise.

        Args:
            previous: x_{t-1}, (B, F).
            states: the states before the step.
            noise: (B, Z), the standard normal draws of the latents.
            target: x_t, (B, F), if `filtering`.
            evidence: the evidence of the step, a nest of (B, ...), unless `filtering`.
            temperature: the temperature of the distribution of x_t.
            key: the key for dropout; None for no dropout.

        Returns:
            The structure's `Trace` of one step, and the distribution of x_t, batch shape (B, 1).
        """

    @abc.abstractmethod
    def latents(self, batch: Batch, noise: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Mean, log variance and KL (nats) of each latent's posterior; each (B, S, Z)."""

    def table(self, steps: Size) -> tf.Tensor | None:
        """The fixed table of standard normal draws, (1, S, Z); None without latents.

        With it a row's score depends neither on the rest of its batch nor on padding.
        """
        return draws.table(steps, self.latent_size) if self.latent_size else None

    def noise(self, rows: Size, steps: Size, key: Key) -> tf.Tensor | None:
        """Standard normal draws, different for each row, (B, S, Z); None without latents."""
        if not self.latent_size:
            return None
        return nn.time_major(key.normal([steps, rows, self.latent_size], axis=1))

    def sum_frames(self, values: tf.Tensor) -> tf.Tensor:
        """Sum over the steps of each frame: (B, T * steps_per_frame) to (B, T)."""
        if self.steps_per_frame == 1:
            return values
        rows = tf.shape(values)[0]
        return tf.reduce_sum(tf.reshape(values, [rows, -1, self.steps_per_frame]), axis=-1)

    def batch(
        self, frames: tf.Tensor, previous: tf.Tensor | None = None, mask: tf.Tensor | None = None
    ) -> Batch:
        """Reshape frames into steps of the structure.

        Args:
            frames: x_t, (B, T, D).
            previous: x_{t-1}, (B, T, D). By default `frames` shifted by one, with zeros first.
            mask: (B, T) bool, true where a frame is real; all real by default.
        """
        frames = tf.cast(frames, tf.float32)
        if mask is not None:
            mask = tf.cast(mask, tf.bool)
            frames = tf.where(mask[..., None], frames, 0.0)
            mask = tf.repeat(mask, self.steps_per_frame, axis=1)
        steps = framing.reframe(frames, self.frame_size)
        if previous is None:
            return Batch(steps, framing.shift(steps), mask)
        previous = tf.cast(previous, tf.float32)
        if self.steps_per_frame > 1:
            # The value before the first one is the last value of the frame before.
            previous = framing.shift(steps, previous[:, 0, -self.frame_size :])
        return Batch(steps, previous, mask)


class SequenceDensity(Density):
    """A density that joins a latent structure to an emission.

        log p(x) = sum{ log p(x_t | h_t) : t = 1, ..., T }
        h_t = structure(x_<t [, z_<=t])        p(x_t | h_t) = emission(h_t)

    The structure reads `emission.read(x_{t-1})`, by default x_{t-1} itself; a posterior reads x_t.

    Args:
        structure: a `Structure`, or its config.
        emission: an `Emission`, or its config.
        event_size: D, the number of values in a frame; the emission's by default. With k times the
            emission's, each frame is k consecutive steps. Flat models have an emission of one
            value.
        build: create the weights now. Otherwise the caller calls `build` later.

    Raises:
        ValueError: a name is unknown, or sizes do not fit one another.

    Example:
        >>> density = SequenceDensity(
        ...     {"class": "vrnn", "units": 8, "latent_size": 3, "embedding_size": 4},
        ...     {"class": "factorized", "event_size": 88, "likelihood": "bernoulli"})
        >>> batch = density.batch(tf.zeros([2, 5, 88]))
        >>> density.terms(batch, density.table(5)).kl.shape
        TensorShape([2, 5])

    Reference: Lai et al., arXiv:1902.01388.
    """

    def __init__(
        self,
        structure: structures.Structure | Config,
        emission: emissions.Emission | Config,
        event_size: int | None = None,
        build: bool = True,
    ):
        self.structure, self.emission = structures.get(structure), emissions.get(emission)
        self.frame_size = self.emission.event_size
        event_size = self.frame_size if event_size is None else event_size
        checks.sizes(event_size=event_size)
        if event_size % self.frame_size:
            raise ValueError(
                f"`event_size` must be a multiple of the emission's, {self.frame_size}; "
                f"received {event_size}"
            )
        self.event_size, self.latent_size = event_size, self.structure.latent_size
        if self.latent_size and self.emission.read_size != self.frame_size:
            raise ValueError(
                f"`structure` must be one without latents, for an emission that has it read "
                f"{self.emission.read_size} values of a step in place of {self.frame_size}: a "
                f"posterior reads x_t itself; received {type(self.structure).__name__} with "
                f"{type(self.emission).__name__}"
            )
        self.filtering = self.structure.filtering
        self.score_function = self.structure.score_function
        self.normalized = self.emission.normalized
        values = self.emission.likelihood.values(self.frame_size)
        self.binary = tuple(value.binary for value in values) * self.steps_per_frame
        self._heads = self.structure.connect(self._head)
        if any(not self._is_ours(head) for head, _ in self._heads.values()):
            raise ValueError(
                "`structure` must be a new one: this one has heads of another likelihood, that of "
                "the emission that it was given first"
            )
        if build:
            self.build()

    def _head(self, name):
        """Independent values of the emission's likelihood, for a cost of the structure's own."""
        likelihood, policy = self.emission.likelihood, self.emission.dtype_policy
        return emissions.Factorized(self.frame_size, likelihood, dtype=policy, name=name)

    def _is_ours(self, head):
        one, other = head.likelihood, self.emission.likelihood
        return type(one) is type(other) and one.get_config() == other.get_config()

    def build(self) -> None:
        """Create all weights."""
        nn.build(self.structure, "structure", self.emission.read_size)
        nn.build(self.emission, "emission", self.structure.context_size)
        for name, (head, width) in self._heads.items():
            nn.build(head, name, width)

    def __reduce__(self):
        # A copy of the structure has no heads: those of the copy are new ones, of equal weights.
        heads = {name: head for name, (head, _) in self._heads.items()}
        weights = {name: head.get_weights() for name, head in heads.items()}
        flags = layer_state.trainable_flags(heads)
        arguments = self.structure, self.emission, self.event_size, self.structure.built
        return _copied, (type(self), arguments, weights, flags)

    @property
    def layers(self) -> dict[str, keras.layers.Layer]:
        """The structure, the emission, and the structure's heads, by name, in this order."""
        heads = {name: head for name, (head, _) in self._heads.items()}
        return {"structure": self.structure, "emission": self.emission, **heads}

    @property
    def variables(self):
        return [v for layer in self.layers.values() for v in layer.variables]

    def initial_states(self, rows):
        return self.structure.initial_states(rows)

    def evidence(self, batch, key=None):
        return self.structure.evidence(self._read(batch.previous), batch.steps, batch.mask, key)

    def distribution(self, batch, noise=None):
        return self._emitted(self._trace(batch, noise), 1.0, None)

    def terms(self, batch, noise=None, states=None, key=None, evidence=None):
        trace = self._trace(batch, noise, states, key, evidence)
        emitted = self._emitted(trace, 1.0, key)
        if self.normalized:
            log_likelihood = emitted.log_prob(batch.steps)
        else:
            log_likelihood = emitted.trained(batch.steps, fold(key, "divergence"))

        def real(x):
            return x if x is None or batch.mask is None else tf.where(batch.mask, x, 0.0)

        parts = map(real, (log_likelihood, trace.kl, trace.log_ratio, trace.auxiliary))
        drawn = map(real, (trace.score, trace.baseline))
        return Terms(*parts, trace.states, trace.posterior_mean, *drawn)

    def _trace(self, batch, noise=None, states=None, key=None, evidence=None):
        return self.structure(
            self._read(batch.previous),
            targets=batch.steps if evidence is None else None,
            states=states,
            noise=noise,
            mask=batch.mask,
            key=fold(key, "structure"),
            evidence=evidence,
        )

    def step(self, previous, states, noise, target=None, evidence=None, temperature=1.0, key=None):
        trace = self.structure(
            self._read(previous[:, None]),
            targets=None if target is None else target[:, None],
            states=states,
            noise=noise[:, None],
            key=fold(key, "structure"),
            evidence=None
            if evidence is None
            else tf.nest.map_structure(lambda x: x[:, None], evidence),
        )
        return trace, self._emitted(trace, temperature, key)

    def latents(self, batch, noise):
        inputs = self._read(batch.previous)
        trace = self.structure(inputs, targets=batch.steps, noise=noise, mask=batch.mask)
        return trace.posterior_mean, trace.posterior_log_variance, trace.kl_per_unit

    def _read(self, previous):
        """The inputs of the structure, (B, S, R), from x_{t-1}, (B, S, F)."""
        inputs = self.emission.read(previous)
        checks.width("the emission's `read`", inputs.shape, self.emission.read_size)
        return inputs

    def _emitted(self, trace, temperature, key):
        return self.emission(trace.context, temperature=temperature, key=fold(key, "emission"))


def _copied(cls, arguments, weights, flags):
    density = cls(*arguments)
    for name, values in weights.items():
        density.layers[name].set_weights(values)
    heads = {name: density.layers[name] for name in weights}
    layer_state.set_trainable(heads, flags)
    return density
