"""The conformance check of latent structures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from srnn_tf import emissions, structures
from srnn_tf.core import nn
from srnn_tf.core.frames import shift
from srnn_tf.core.random import Key
from srnn_tf.core.types import State
from srnn_tf.emissions import Emission
from srnn_tf.model import SequenceModel
from srnn_tf.structures import Structure, Trace
from srnn_tf.testing import compare

ROWS, STEPS = 3, 4
LENGTHS = (4, 1, 3)


def check_structure(
    make: Callable[[], Structure],
    event_size: int = 3,
    saving: bool = True,
    export: bool = False,
    emission: Callable[[], Emission] | None = None,
) -> None:
    """Check that a structure has the properties of `Structure`.

    - A call on a whole sequence equals calls step by step.
    - KL and log ratio are those of a Gaussian posterior to the prior that sampling uses; or, with a
      `score_function`, those of bits [Phi(noise) < mean], whose `score` is log q at the draw.
    - A context has no gradient with respect to later steps. In a structure with the state `fresh`,
      none depends on the inputs of the first step.
    - Padding changes nothing.
    - The density with independent bits sums to one.
    - The KL is at least 0 under the posterior, and 0 under the prior.
    - Gradients reach every weight.
    - A config with the weights, a `.keras` file and an export restore the same structure.

    Args:
        make: a function that creates a small structure of a registered class, without dropout.
        event_size: D of the data; the density is summed over 4^D sequences.
        saving: also check a `.keras` file.
        export: also check an export, which takes a process and some seconds.
        emission: a function that creates the emission whose `read` gives the structure its inputs.
            By default the inputs are any numbers, D per step.

    Raises:
        AssertionError: a property fails; it says which, and by how much.

    Example:
        >>> check_structure(lambda: structures.RNN(units=3, embedding_size=2), 1, saving=False)
    """
    structure, read = make(), emission() if emission is not None else None
    structure.build((None, None, read.read_size if read is not None else event_size))
    if read is not None:
        read.build((None, None, structure.context_size))
        compare.randomize(read)
    compare.randomize(structure)
    case = _Case(structure, event_size, read)
    case.shapes()
    case.whole_is_step_by_step()
    case.contexts_are_causal()
    case.fresh_rows_read_no_inputs()
    case.padding_changes_nothing()
    case.kl()
    case.gradients_reach_the_weights()
    case.configs()
    case.sums_to_one()
    if saving or export:
        independent = {"class": "factorized", "event_size": event_size}
        model = SequenceModel(make(), emission() if emission else independent)
        model.xla = False
        compare.randomize(model)
        if saving:
            compare.saved(model)
        if export:
            compare.exported(model)


class _Case:
    """A structure with random weights, and data for it."""

    def __init__(self, structure: Structure, event_size: int, emission: Emission | None):
        self.structure, self.width, self.emission = structure, event_size, emission
        self.x = compare.normal(ROWS, STEPS, event_size)
        self.targets = compare.normal(ROWS, STEPS, event_size, seed=1)
        size = structure.latent_size
        self.noise = compare.normal(ROWS, STEPS, size, seed=2) if size else None

    def run(self, x: tf.Tensor | None = None, **given: Any) -> Trace:
        return self.call(self.x if x is None else x, noise=self.noise, **given)

    def call(self, x: tf.Tensor, layer: Structure | None = None, **given: Any) -> Trace:
        """The trace for the frames before each step, as the emission reads them."""
        inputs = x if self.emission is None else self.emission.read(x)
        return (layer or self.structure)(inputs, **given)

    def shapes(self) -> None:
        structure, trace = self.structure, self.run(targets=self.targets)
        rows = (ROWS, STEPS)
        wanted: dict[str, tuple[int, ...]] = {"context": (*rows, structure.context_size)}
        wanted |= dict.fromkeys(("kl", "log_ratio", "auxiliary"), rows)
        if structure.score_function:
            wanted |= dict.fromkeys(("score", "baseline"), rows)
        units = ("posterior_mean", "posterior_log_variance", "kl_per_unit")
        if structure.latent_size:
            wanted |= dict.fromkeys(units, (*rows, structure.latent_size))
        for name, shape in wanted.items():
            value = getattr(trace, name)
            received = None if value is None else tuple(value.shape)
            compare.require(received == shape, "shapes", f"{name} is {received}, must be {shape}")
        tf.nest.assert_same_structure(trace.states, structure.initial_states(ROWS))

    def whole_is_step_by_step(self) -> None:
        self._by_step("under the prior", {})
        if self.structure.filtering:
            self._by_step("under the posterior", {"targets": self.targets})
        else:
            evidence = self.structure.evidence(self.x, self.targets)
            self._by_step("under the posterior", {"evidence": evidence})

    def _by_step(self, where: str, given: dict[str, Any]) -> None:
        whole, parts = self.run(**given), []
        states = self.structure.initial_states(ROWS)
        for t in range(STEPS):

            def now(a, t=t):
                return a[:, t : t + 1]

            noise = None if self.noise is None else now(self.noise)
            read = tf.nest.map_structure(now, given)
            step = self.call(now(self.x), states=states, noise=noise, **read)
            if given and noise is not None:
                bits = step.score is not None
                check = self._prior_of_bits if bits else self._prior_is_the_generating_one
                check(now(self.x), states, noise, step)
            states = step.states
            parts.append((step.context, step.kl, step.log_ratio, step.auxiliary))
        together = [tf.concat(part, axis=1) for part in zip(*parts, strict=True)]
        prop = f"a whole sequence is its steps one by one, {where}"
        compare.close(prop, together, [whole.context, whole.kl, whole.log_ratio, whole.auxiliary])
        compare.close(f"{prop}: states", states, whole.states)

    def _prior_is_the_generating_one(
        self, x: tf.Tensor, states: State, noise: tf.Tensor, step: Trace
    ) -> None:
        """KL and log ratio of a posterior's step are those to the prior that draws."""
        prior = self.call(x, states=states, noise=noise)
        p, q = ((t.posterior_mean, t.posterior_log_variance) for t in (prior, step))
        z = nn.gaussian_draw(q, noise)
        if prior.scale_tril is None:
            kl, log_p = nn.gaussian_kl(q, p), nn.gaussian_log_prob(z, *p)
        else:
            full = p[0], prior.scale_tril
            kl, log_p = nn.gaussian_kl_tril(q, *full), nn.gaussian_log_prob_tril(z, *full)
        log_ratio = nn.gaussian_log_prob(z, *q) - log_p
        prop = "the prior under the posterior is the one that sequences are drawn from"
        compare.close(f"{prop}: KL(q || p)", step.kl_per_unit, kl)
        total = tf.reduce_sum(log_ratio, axis=-1)
        compare.close(f"{prop}: log q(z) - log p(z)", step.log_ratio, total)

    def _prior_of_bits(self, x: tf.Tensor, states: State, noise: tf.Tensor, step: Trace) -> None:
        """The same of bits, [Phi(noise) < mean], whose log probability is the score."""
        prior = self.structure(x, states=states, noise=noise)
        q, p = (tfp.distributions.Bernoulli(probs=t.posterior_mean) for t in (step, prior))
        z = tf.cast(tfp.distributions.Normal(0.0, 1.0).cdf(noise) < q.probs, tf.float32)
        prop = "the prior under the posterior is the one that sequences are drawn from"
        compare.close(f"{prop}: KL(q || p)", step.kl_per_unit, q.kl_divergence(p), 1e-4)
        log_q = q.log_prob(z)
        total = tf.reduce_sum(log_q - p.log_prob(z), axis=-1)
        compare.close(f"{prop}: log q(z) - log p(z)", step.log_ratio, total, 1e-4)
        prop = "`score` is log q(z) at the draw"
        compare.close(prop, step.score, tf.reduce_sum(log_q, axis=-1), 1e-4)

    def contexts_are_causal(self) -> None:
        structure = self.structure
        with tf.GradientTape(persistent=True) as tape:
            tape.watch([self.x, self.targets])
            prior, posterior = self.run(), self.run(targets=self.targets)
            prior, posterior = (
                [tf.reduce_sum(tf.cast(trace.context[:, t], tf.float32) ** 2) for t in range(STEPS)]
                for trace in (prior, posterior)
            )
        for t in range(STEPS):
            after = f"the gradient of context {t} by"
            gradient = tape.gradient(prior[t], self.x)
            later = None if gradient is None else gradient[:, t + 1 :]
            compare.zero(f"causality: {after} later inputs", later)
            gradient = tape.gradient(posterior[t], self.targets)
            if gradient is not None and not structure.latent_size:
                compare.zero(f"causality: {after} targets, without latents", gradient)
            elif gradient is not None and structure.filtering:
                compare.zero(f"causality: {after} later targets", gradient[:, t + 1 :])

    def fresh_rows_read_no_inputs(self) -> None:
        """There is no x_0 for the first step of a structure with the state `fresh`."""
        states = self.structure.initial_states(ROWS)
        if not isinstance(states, dict) or "fresh" not in states:
            return
        prop = "`fresh`, 1 before the first step and 0 after it: of the initial states"
        compare.close(prop, states["fresh"], tf.ones([ROWS]), 0.0)
        first, step = tf.concat([5.0 + 0.0 * self.x[:, :1], self.x[:, 1:]], axis=1), self.run()
        after: Any = step.states
        compare.close("`fresh`: states after steps", after["fresh"], tf.zeros([ROWS]), 0.0)
        prop = "a step of fresh rows does not read its inputs: contexts, where they change"
        compare.close(prop, self.run(first).context, step.context, 0.0)

    def padding_changes_nothing(self) -> None:
        mask = tf.constant(np.arange(STEPS) < np.array(LENGTHS)[:, None])
        batch = self.run(targets=self.targets, mask=mask)
        for row, length in enumerate(LENGTHS):
            cut = (slice(row, row + 1), slice(0, length))
            noise = None if self.noise is None else self.noise[cut]
            alone = self.call(self.x[cut], targets=self.targets[cut], noise=noise)
            prop = f"padding changes nothing: a row of {length} of {STEPS} steps"
            compare.close(prop, [batch.context[cut], batch.kl[cut]], [alone.context, alone.kl])
            states = tf.nest.map_structure(lambda s, row=row: s[row : row + 1], batch.states)
            compare.close(f"{prop}: states", states, alone.states)

    def kl(self) -> None:
        prior, posterior = self.run(), self.run(targets=self.targets)
        compare.zero("the KL under the prior", prior.kl)
        compare.zero("the log ratio under the prior", prior.log_ratio)
        least = float(tf.reduce_min(posterior.kl))
        compare.require(least >= -1e-6, "the KL under the posterior", f"is {least:.3g} somewhere")
        if self.structure.latent_size:
            units = tf.reduce_sum(posterior.kl_per_unit, axis=-1)
            compare.close("the KL is the sum of that of each latent", units, posterior.kl)

    def gradients_reach_the_weights(self) -> None:
        weights = self.structure.trainable_variables
        with tf.GradientTape() as tape:
            trace = self.run(targets=self.targets)
            readout = tf.reduce_sum(tf.sin(tf.cast(trace.context, tf.float32)))
            value = readout + tf.reduce_sum(trace.kl) + tf.reduce_sum(trace.auxiliary)
            drawn = (x for x in (trace.score, trace.baseline) if x is not None)
            value += sum(map(tf.reduce_sum, drawn))
        for weight, gradient in zip(weights, tape.gradient(value, weights), strict=True):
            reached = gradient is not None and np.any(gradient) and np.isfinite(gradient).all()
            prop = "gradients reach the weights"
            compare.require(reached, prop, f"{weight.path} has none, or one that is not finite")

    def configs(self) -> None:
        again = compare.config_round_trip(structures.STRUCTURES, structures.get, self.structure)
        again.build(self.structure.get_build_config()["input_shape"])
        again.set_weights(self.structure.get_weights())
        trace_again = self.call(self.x, again, targets=self.targets, noise=self.noise)
        compare.close(
            "its weights give the same contexts",
            trace_again.context,
            self.run(targets=self.targets).context,
            1e-6,
        )
        one, other = (self.run(targets=self.targets, key=Key([1, 2])).context for _ in range(2))
        compare.close("a key gives the same contexts", one, other, 1e-6)

    def sums_to_one(self) -> None:
        """Over all sequences of two frames of bits, for fixed draws of the prior's latents."""
        emission = emissions.Factorized(self.width)
        emission.build((None, None, self.structure.context_size))
        compare.randomize(emission)
        x = tf.constant(compare.all_bits(2, self.width))
        noise = None if self.noise is None else tf.repeat(self.noise[:1, :2], len(x), axis=0)
        context = self.call(shift(x), noise=noise).context
        nats = tf.reduce_sum(emission(context).log_prob(x), axis=1)
        total = np.exp(np.asarray(nats, np.float64)).sum()
        compare.close("the density sums to one", tf.constant(total), 1.0, 1e-4)
