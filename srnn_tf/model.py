"""`SequenceModel`: a density of sequences as a Keras model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple, cast

import keras
import numpy as np
import tensorflow as tf

from srnn_tf import emissions, objectives, structures
from srnn_tf.core import checks, layer_state
from srnn_tf.core.random import fold
from srnn_tf.core.registry import describe, unknown
from srnn_tf.core.snapshot import Settings
from srnn_tf.core.types import Array, Config, Data, Seeds, State
from srnn_tf.density import SequenceDensity
from srnn_tf.inference import scoring
from srnn_tf.inference.programs import Programs
from srnn_tf.inference.sampling import Sampler
from srnn_tf.inference.scoring import Protocol, Scorer
from srnn_tf.inference.streaming import Streamer
from srnn_tf.objectives import Objective
from srnn_tf.training import accumulate, inputs, update
from srnn_tf.training.accumulate import Accumulator
from srnn_tf.training.metrics import PSEUDO, Metrics

# In a `tf.function` of the caller, AutoGraph would rewrite all that these call, to no purpose.
plain = tf.autograph.experimental.do_not_convert
# What a call returns per frame; flat models sum it over the values of a frame.
PER_FRAME = ("log_likelihood", "kl", "auxiliary", "log_ratio")
_ARGUMENTS = ("structure", "emission", "event_size", "window", "seed")
_OF_KERAS = ("name", "dtype", "trainable")


class Posterior(NamedTuple):
    """q(z_t | x) at every step of the structure; each (B, S, Z), zero under the mask."""

    mean: tf.Tensor
    log_variance: tf.Tensor
    kl: tf.Tensor  # KL(q || p) of each latent, nats


def _tensors(batch):
    return {name: tf.convert_to_tensor(x) for name, x in batch.items()}


class Owned(keras.layers.Layer):
    """A layer that holds an objective's variables, so that Keras trains and saves them."""

    def __init__(self, variables: Sequence[keras.Variable]):
        super().__init__(name="objective_state")
        self.owned = list(variables)
        self.built = True


def _differentiable(values, array):
    """The values as float32: themselves where they are a tensor, which a tape may watch."""
    if tf.is_tensor(values) or isinstance(values, keras.Variable):
        return tf.cast(tf.convert_to_tensor(values), tf.float32)
    return array


def _check_names(arguments: Iterable[str]) -> None:
    for name in arguments:
        if name not in _ARGUMENTS and name not in _OF_KERAS:
            raise unknown("argument of SequenceModel", name, (*_ARGUMENTS, *_OF_KERAS))


@keras.saving.register_keras_serializable(package="srnn_tf")
class SequenceModel(keras.Model):
    """A density of sequences as a Keras model: training, scoring and sampling.

        log p(x) = sum{ log p(x_t | h_t) : t = 1, ..., T }
        h_t = structure(x_<t [, z_<=t])        p(x_t | h_t) = emission(h_t)

    A model without latents has an exact likelihood. A model with latents is trained on, and
    reports, the evidence lower bound (ELBO), or another objective:

        ELBO = sum{ E_q log p(x_t | h_t) - KL(q(z_t) || p(z_t)) : t = 1, ..., T }

    `model.density` is the density alone, without loss or optimizer.

    Args:
        structure: a `Structure`, or its config.
        emission: an `Emission`, or its config.
        event_size: D, the number of values in a frame; the emission's by default. With k times the
            emission's, each frame is k consecutive steps. Flat models have an emission of one
            value.
        window: frames per window of `protocol="paper"`; None for the whole sequence.
        seed: the seed of all random draws in training.

    Raises:
        ValueError: a name is unknown, or sizes do not fit one another.

    Example:
        >>> model = SequenceModel(
        ...     {"class": "parallel_srnn", "units": 8, "latent_size": 3, "embedding_size": 4},
        ...     {"class": "factorized", "event_size": 88, "likelihood": "bernoulli"})
        >>> model.compile()
        >>> history = model.fit(np.zeros([4, 10, 88]), batch_size=2, verbose=0)
        >>> model.log_prob(np.zeros([4, 10, 88])).shape
        TensorShape([4])

    Reference: Lai et al., arXiv:1902.01388.
    """

    structure: structures.Structure
    emission: emissions.Emission

    def __init__(
        self,
        structure: structures.Structure | Config,
        emission: emissions.Emission | Config,
        event_size: int | None = None,
        window: int | None = None,
        seed: int = 0,
        **kwargs,
    ):
        if "kl_schedule" in kwargs:
            raise ValueError(
                "`kl_schedule` must be given to the objective, "
                f"compile(objective=ELBO(kl_schedule=...)); received {kwargs['kl_schedule']!r}"
            )
        _check_names(kwargs)
        density = SequenceDensity(structure, emission, event_size, build=False)
        checks.sizes(minimum=0, seed=seed)
        if window is not None:
            checks.sizes(window=window)
        super().__init__(**kwargs)
        self.autocast = False  # the data are scored in float32, whatever the policy
        self.supports_masking = True
        self.density = density
        for name, layer in density.layers.items():  # Keras tracks and saves layers by these names
            setattr(self, name, layer)
        self.window, self.seed = window, seed
        # Counts updates; the KL weight and all seeds of training derive from it.
        self.step = self.add_weight(
            name="step", shape=(), dtype="int64", initializer="zeros", trainable=False
        )
        self.means, self.xla = Metrics(density.latent_size, density.normalized), True
        self.accumulator: Accumulator | None = None
        self._repeats = update.Repeats()
        self._trained: tuple[int, ...] = ()  # the variables that the compiled update trains
        # "elbo" stands for this one: an old config has its own KL schedule.
        self.default_objective: Objective = objectives.default_of(density)
        self.objective: Objective = self.default_objective
        programs = Programs(density, lambda: self.xla)
        self._scorer, self._sampler = Scorer(density, programs), Sampler(density, programs)
        self._streamer = Streamer(density, programs)
        self._settings = Settings()
        self.build()

    def __setattr__(self, name, value):
        if name in ("density", "structure", "emission") and getattr(self, "built", False):
            raise ValueError(
                f"`{name}` of a built model cannot be replaced: its other parts would not use the "
                "new one; construct a SequenceModel of it"
            )
        super().__setattr__(name, value)

    @property
    def latent_size(self) -> int:
        """Z, the number of latent units; 0 without latents."""
        return self.density.latent_size

    @property
    def event_size(self) -> int:
        """D, the number of values in a frame."""
        return self.density.event_size

    @property
    def frame_size(self) -> int:
        """The number of values in a step of the structure."""
        return self.density.frame_size

    @property
    def steps_per_frame(self) -> int:
        """The number of steps of the structure per frame."""
        return self.density.steps_per_frame

    @property
    def binary(self) -> tuple[bool, ...]:
        """Which values of a frame must be 0 or 1: D booleans."""
        return self.density.binary

    def build(self, input_shape=None):
        self.density.build()
        self.built = True

    def call(
        self,
        frames: tf.Tensor,
        previous: tf.Tensor | None = None,
        mask: tf.Tensor | None = None,
        noise: tf.Tensor | None = None,
        states: State | None = None,
        training: bool = False,
        seed: int | tf.Tensor | None = None,
    ) -> dict[str, State]:
        """Score every step of a batch.

        Args:
            frames: (B, T, D), the frames to score.
            previous: (B, T, D), the frame before each one. By default `frames` shifted by one, with
                zeros first.
            mask: (B, T) bool, true where a frame is real; right-padded. All real by default.
            noise: (B, S, Z), the standard normal draws of the posterior, for S steps of the
                structure. By default they come from `seed`.
            states: the `states` of an earlier call, to continue from; the initial states by
                default.
            training: apply dropout.
            seed: the seed of noise and dropout, an integer or an int32 tensor (). With None, noise
                is a fixed table; with `training`, each call has draws of its own. They are a
                function of `model.step` and of the number of calls at that step, so that a loop
                of your own which adds 1 to `model.step` after each update can be repeated.

        Returns:
            A dict. These are (B, T), nats, zero under the mask:
            `log_likelihood`, log p(x_t | z_<=t, x_<t) at the draw, without the KL;
            `kl`, KL(q(z_t) || p(z_t));
            `log_ratio`, log q(z_t) - log p(z_t) at the draw;
            `auxiliary`, terms that training adds to its objective.
            `states` are those after the last real step of each row. Models with latents also
            return `posterior_mean`, (B, S, Z). With an emission that is not normalized,
            `pseudo_log_likelihood` is in place of `log_likelihood`.
        """
        self._check_call(frames, previous, mask)
        if seed is not None and not tf.is_tensor(seed):
            checks.sizes(minimum=0, seed=seed)
        density, batch = self.density, self.density.batch(frames, previous, mask)
        drawn = training or seed is not None
        key = update.call_key(self, self._repeats, seed) if drawn else None
        if noise is None:
            noise = objectives.noise_of(density, batch, key)
        terms = density.terms(batch, noise, states, fold(key, "terms") if training else None)
        said = terms._asdict() | {n: density.sum_frames(getattr(terms, n)) for n in PER_FRAME}
        for name in ("posterior_mean", "score", "baseline"):
            if name != "posterior_mean" or not self.latent_size:
                del said[name]
        if not density.normalized:
            said[PSEUDO] = said.pop("log_likelihood")
        return said

    def _check_call(self, frames, previous, mask):
        """Shapes always, values where they are known: not inside a `tf.function`."""
        given = {"frames": frames} | ({} if previous is None else {"previous": previous})
        for name, x in given.items():
            checks.dense(name, x)
            if tf.executing_eagerly():
                checks.frames(x, self.event_size, self.binary, name)
            else:
                checks.frame_shape(x.shape, self.event_size, name)
        if mask is not None and tf.executing_eagerly():
            checks.mask(mask, tuple(frames.shape[:2]))

    def compile(
        self,
        optimizer: keras.optimizers.Optimizer | Config | str = "adam",
        clipnorm: float = 0.5,
        loss_per: str = "step",
        objective: str | Objective = "elbo",
        num_samples: int | None = None,
        max_samples: int | None = None,
        free_nats: float | None = None,
        jit_compile: bool | None = None,
        **kwargs,
    ) -> None:
        """Set how `fit` trains.

        Args:
            optimizer: as in Keras. With `gradient_accumulation_steps=k` k batches are one update,
                that of all their frames at once: gradients are summed, then clipped, and schedules
                of the learning rate and the KL count updates.
            clipnorm: the global norm to which gradients are clipped.
            loss_per: the unit of the loss: "step" for nats per frame, "value" for nats per value of
                a frame. The effect of `clipnorm` depends on it. The paper uses "value" for speech
                and "step" for other data.
            objective: what training maximizes and `evaluate` reports as `bound`. Either an
                `Objective`, such as `ELBO(kl_schedule, free_nats)`, `IWAE(8)` or `FIVO(8)`; or one
                of the names "elbo", "iwae" and "fivo", with the next three arguments. Models
                without latents use their exact likelihood.
            num_samples: the number of draws of "iwae", or of particles of "fivo"; 1 by default.
            max_samples: the most draws of "iwae" to evaluate at once. It is rounded down to a
                divisor of `num_samples`. Further draws add only a few numbers per step to memory.
            free_nats: the KL per frame that "elbo" does not penalize. The reported KL includes it.
            jit_compile: compile with XLA; true by default. Under a `tf.distribute` strategy XLA
                compiles the part of a step that a replica computes alone. On a CPU, use float32
                with XLA, with two exceptions: an `AutoregressiveRNN`, and layers as wide as those
                for speech. Their matrix products run up to 1.6 times as fast under the policy
                "mixed_bfloat16" with `jit_compile=False` (benchmarks/README.md). On a GPU use XLA.
            kwargs: `steps_per_execution`, `run_eagerly`, ..., as in Keras. `steps_per_execution`
                must be 1 under a strategy.

        Raises:
            ValueError: `clipnorm` is not positive, `loss_per` or `objective` is unknown, the
                objective does not have one of the arguments, the dtype policy is float16, or
                `loss` or metrics of targets are given.
        """
        inputs.refuse_losses(kwargs)
        if not clipnorm > 0.0:
            raise ValueError(f"`clipnorm` must be positive; received {clipnorm!r}")
        checks.choice("loss_per", loss_per, ("step", "value"))
        chosen = objectives.for_training(
            self.density,
            objective,
            self.default_objective,
            num_samples=num_samples,
            max_samples=max_samples,
            free_nats=free_nats,
        )
        if "float16" in {self.structure.compute_dtype, self.emission.compute_dtype}:
            raise ValueError(
                "float16 is not supported, since its gradients need loss scaling; "
                "use the policy 'mixed_bfloat16' or 'float32'"
            )
        with self.distribute_strategy.scope():
            alone = not tf.distribute.has_strategy()
        if not alone and kwargs.get("steps_per_execution", 1) != 1:
            raise ValueError(
                "`steps_per_execution` must be 1 under a `tf.distribute` strategy; "
                f"received {kwargs['steps_per_execution']!r}"
            )
        optimizer = keras.optimizers.get(optimizer)
        accumulator = accumulate.take(optimizer)
        if accumulator is not None and not alone:
            raise ValueError(
                "`gradient_accumulation_steps` of the optimizer must be None under a "
                f"`tf.distribute` strategy; received {accumulator.steps!r}"
            )
        if jit_compile is None:
            jit_compile = not kwargs.get("run_eagerly")
        self.clipnorm, self.loss_per, self.xla = clipnorm, loss_per, bool(jit_compile)
        self.objective, self._extra_compile = chosen, kwargs
        self.accumulator = accumulator
        with self.distribute_strategy.scope():
            chosen.build(self.density)
        self._own(chosen)
        # The policy of the model itself computes nothing: no reason to scale the loss.
        how = {**kwargs, "auto_scale_loss": False}
        super().compile(optimizer=optimizer, jit_compile=self.xla and alone, **how)

    def _own(self, objective: Objective) -> None:
        """Train and save what an objective owns, beside the model's weights."""
        self._tracker.unlock()
        if hasattr(self, "objective_state"):  # of what was compiled before
            self._tracker.untrack(self.objective_state)
            del self.objective_state
        if objective.variables:
            self.objective_state = Owned(objective.variables)
        self._tracker.lock()

    def get_compile_config(self):
        if not self.compiled:
            return {}
        return {
            "optimizer": accumulate.config_of(self.optimizer),
            "clipnorm": self.clipnorm,
            "loss_per": self.loss_per,
            "objective": describe(objectives.OBJECTIVES, self.objective),
            "jit_compile": self.xla,
            **self._extra_compile,
        }

    def compile_from_config(self, config):
        config = dict(config)
        config["optimizer"] = keras.saving.deserialize_keras_object(config["optimizer"])
        if isinstance(config.get("objective"), dict):  # a string before objectives were objects
            config["objective"] = objectives.get(config["objective"])
        self.compile(**config)
        update.build_optimizer(self)

    def train_step(self, data):
        return update.train_step(self, data)

    def test_step(self, data):
        return update.test_step(self, data)

    def predict_step(self, data):
        batch = inputs.as_dict(data)
        return self(**{name: batch[name] for name in inputs.KEYS if name in batch})

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Keras builds a model under a strategy from the mean of the replicas' first batches.

        A mask has no mean, nor have replicas that differ in rows. All is built but the optimizer.
        """
        if self.optimizer is not None and self.trainable_variables:
            with self.distribute_strategy.scope():
                update.build_optimizer(self)

    def _prepare(self):
        """Before training: check what is trained, and compile the update anew if it has changed."""
        self._assert_compile_called("fit")
        update.check(self)
        trained = tuple(id(v) for v in self.trainable_variables)
        if trained != self._trained:
            self.train_function, self._trained = None, trained

    def _position(self):
        """The number of batches read so far."""
        step = int(self.step.numpy())
        return step if self.accumulator is None else self.accumulator.position(step)

    def make_train_function(self, force=False):
        return super().make_train_function(force or self._changed("train"))

    def make_test_function(self, force=False):
        return super().make_test_function(force or self._changed("test"))

    def make_predict_function(self, force=False):
        return super().make_predict_function(force or self._changed("predict"))

    def _changed(self, name: str) -> bool:
        """Whether anything that Keras' function of this name was traced from has changed."""
        said = (self.clipnorm, self.loss_per, self.xla) if self.compiled else ()
        return self._settings.changed(name, self.density, self.objective, self.seed, *said)

    @property
    def metrics(self):
        return self.means.all

    def fit(self, x: Data | None = None, y=None, batch_size=None, epochs=1, **kwargs):
        """Train, as in Keras, on `x`: an array (N, T, D), a dict of arrays, or batches.

        Args:
            x: `frames`, or a dict of `frames`[, `previous`, `mask`], as arrays with N rows; or
                batches of them: a `tf.data.Dataset`, an `EpochDataset`, a
                `keras.utils.PyDataset`, a generator, or another iterable such as a `DataLoader`
                of PyTorch. Arrays and an `EpochDataset` are read in an order that is a function of
                the model's seed and the epoch, so that a resumed run repeats an uninterrupted
                one. Other batches keep their own order. A generator is read once: more than one
                epoch, or one without an end, needs `steps_per_epoch`.
            y: must be None.
            batch_size: the batch size for arrays; 32 by default.
            epochs: as in Keras, like all other arguments. `validation_split` is for arrays.

        Raises:
            ValueError: the data have a wrong type, shape or value, or all weights are frozen.
        """
        inputs.refuse_targets(y, kwargs)
        self._prepare()
        endless = kwargs.get("steps_per_epoch") is not None
        shuffle, share = kwargs.pop("shuffle", True), kwargs.pop("validation_split", None)
        if inputs.is_read_once(x) and epochs > 1 and not endless:
            raise ValueError(
                "a generator can be read once: `steps_per_epoch` must say how many of its batches "
                f"are an epoch; received epochs={epochs!r}"
            )
        if share and kwargs.get("validation_data") is None:  # in this order, as in Keras
            x, kwargs["validation_data"] = inputs.split(self.density, x, share)
        data = inputs.pipeline(
            self.density, x, batch_size, self.seed, shuffle, endless, self._position
        )
        held_out = kwargs.get("validation_data")
        if held_out is not None:
            self.density.check_normalized("`validation_data`")
            rows = kwargs.pop("validation_batch_size", None) or batch_size
            rows = None if inputs.is_batched(held_out) else rows
            kwargs["validation_data"] = inputs.pipeline(self.density, held_out, rows)
        with inputs.our_errors():
            return super().fit(data, epochs=epochs, shuffle=False, **kwargs)

    def evaluate(self, x: Data | None = None, y=None, batch_size=None, **kwargs):
        """Return the mean of each metric over real frames, in nats per frame.

        `bound` is the exact likelihood of a model without latents, and the objective's bound of a
        model with latents: by default the ELBO from one draw.

        Args:
            x, batch_size: as in `fit`.
            y: must be None.

        Raises:
            ValueError: the data have a wrong type, shape or value, or the emission is not
                normalized.
        """
        inputs.refuse_targets(y, kwargs)
        self.density.check_normalized("`evaluate`")
        if not kwargs.get("_use_cached_eval_dataset"):
            x, batch_size = inputs.pipeline(self.density, x, batch_size), None
        with inputs.our_errors():
            return super().evaluate(x, batch_size=batch_size, **kwargs)

    def predict(self, x: Data, batch_size=None, **kwargs):
        """Return what a call returns, as NumPy arrays of all rows.

        Args:
            x, batch_size: as in `fit`.
            kwargs: as in Keras.

        Raises:
            ValueError: the data have a wrong type, shape or value.
        """
        with inputs.our_errors():
            return super().predict(inputs.pipeline(self.density, x, batch_size), **kwargs)

    def train_on_batch(self, x, y=None, sample_weight=None, class_weight=None, return_dict=False):
        """Train on one batch, `frames` or a dict of `frames`[, `previous`, `mask`], as `fit` does.

        Raises:
            ValueError: the batch has a wrong type, shape or value, `y` or weights are given, or all
                weights of the model are frozen.
        """
        inputs.refuse_targets(y, {"sample_weight": sample_weight, "class_weight": class_weight})
        self._prepare()
        batch = inputs.one_batch(self.density, x)
        return super().train_on_batch(_tensors(batch), return_dict=return_dict)

    def test_on_batch(self, x, y=None, sample_weight=None, return_dict=False):
        """Return the metrics of one batch, as `evaluate` does.

        Raises:
            ValueError: the batch has a wrong type, shape or value, or `y` or weights are given.
        """
        inputs.refuse_targets(y, {"sample_weight": sample_weight})
        self.density.check_normalized("`test_on_batch`")
        batch = inputs.one_batch(self.density, x)
        return super().test_on_batch(_tensors(batch), return_dict=return_dict)

    def predict_on_batch(self, x):
        """Return what a call returns for one batch, as NumPy arrays.

        Raises:
            ValueError: the batch has a wrong type, shape or value.
        """
        return super().predict_on_batch(_tensors(inputs.one_batch(self.density, x)))

    def export(self, filepath, format="tf_saved_model", **kwargs):
        """Write the model as a SavedModel: `srnn_tf.serving.export.export`, see there.

        Args:
            filepath: the folder to create; it must not exist.
            format: must be "tf_saved_model".
            kwargs: `standardization`, `sample_rate` and `details`.

        Raises:
            ValueError: `format` is another one, or another argument of Keras is given: the
                signatures are `score`, `sample` and, for speech, `score_raw`.
        """
        # Serving is built upon models; this call alone goes the other way.
        from srnn_tf.serving.export import export

        checks.choice("format", format, ("tf_saved_model",))
        given = {name: value for name, value in kwargs.items() if value is not None}
        given.pop("verbose", None)
        strange = sorted(set(given) - {"standardization", "sample_rate", "details"})
        if strange:
            raise ValueError(
                f"`export` writes the signatures score, sample and, for speech, score_raw; it does "
                f"not take {', '.join(strange)}"
            )
        export(self, filepath, **given)

    @plain
    def log_prob(
        self,
        frames: Array,
        mask: Array | None = None,
        num_samples: int | None = None,
        seed: int | Sequence[int] | None = None,
        protocol: str = "full",
        bound: str | Objective = "elbo",
        proposal: str | None = None,
        ess_threshold: float | None = None,
    ) -> tf.Tensor:
        """log p(x) of each sequence in nats: exact without latents, a lower bound with latents.

        Of a tensor of frames it can be differentiated. Inside a `tf.function` it becomes a part of
        that; "fivo" then needs static B and T, and XLA drops the checks of values. XLA compiles a
        shape of frames once it has come often: scores of the calls before differ from those after
        by rounding, 1e-6 of a score at most.

        Args:
            frames: (B, T, D), real numbers of at most 1e9 in magnitude.
            mask: (B, T) bool, true where a frame is real; right-padded. All real by default.
            num_samples: K, the number of draws of "elbo" and "iwae", or of particles of "fivo"; 1
                by default. "elbo" is the mean over the draws.
            seed: None, an integer, or one integer per row, (B,). With None the draws come from a
                fixed table, the same for every row and call. With one integer per row, a row's
                draws depend on its own integer alone.
            protocol: "full" scores all frames and carries the state throughout, with x_0 = 0.
                "paper" cuts the sequence into windows of `window` frames and resets the state in
                each. It does not score the first frame (flat models: the first value), which is
                context only. Each window is a sequence of its own, with its own bound.
            bound: an `Objective`, such as `IWAE(16)`; or one of the names "elbo", "iwae"
                (importance weighted) and "fivo" (a particle filter), with the other arguments. For
                an emission with normalized=False, `AIS` ("ais"), which is optimistic and no bound,
                and `RAISE` ("raise"), which is conservative; and no other.
                "iwae" and "fivo" converge to log p(x) as K grows; the expectation of "iwae" never
                falls. Over seeds, exp of either is an unbiased estimate of p(x).
            proposal: the proposal distribution of the particles of "fivo": "posterior", the
                default, or "prior".
            ess_threshold: "fivo" resamples where the effective sample size is below this share of
                K; 0.5 by default, 0 for never.

        Returns:
            (B,) float32.

        Raises:
            ValueError: the frames or the mask are invalid; the protocol, bound or proposal is
                unknown; `num_samples` is below 1; a model without latents is given a bound other
                than "elbo"; an `Objective` is given together with `num_samples`, `proposal` or
                `ess_threshold`.

        Reference: Burda et al., arXiv:1509.00519; Maddison et al., arXiv:1705.09279.
        """
        frames, mask = self._checked(frames, mask, seed)
        each = seed is not None and np.ndim(seed)
        seeds: Seeds = np.asarray(seed) if each else cast("int | None", seed)
        checks.choice("protocol", protocol, scoring.PROTOCOLS)
        objective = objectives.for_scoring(
            self.density,
            bound,
            num_samples=num_samples,
            proposal=proposal,
            ess_threshold=ess_threshold,
        )
        return self._scorer(frames, mask, objective, Protocol(protocol, self.window), seeds)

    @plain
    def posterior(
        self, frames: Array, mask: Array | None = None, seed: int | None = None
    ) -> Posterior:
        """The parameters of the posterior q(z_t | x) at each step.

        Where the posterior of a step depends on earlier latents, these are one draw.

        Args:
            frames: (B, T, D).
            mask: (B, T) bool, true where a frame is real; right-padded. All real by default.
            seed: the seed of that draw; None for the fixed table of `log_prob`.

        Returns:
            A `Posterior`: mean, log variance and KL(q || p) in nats of every latent unit, each
            (B, S, Z) for S steps of the structure.

        Raises:
            ValueError: the frames or the mask are invalid, or the model has no latents.
        """
        if not self.latent_size:
            raise ValueError("`posterior` needs a model with latents; this structure has none")
        frames, mask = self._checked(frames, mask, seed)
        return Posterior(*self._scorer.latents(frames, mask, seed))

    def initial_states(
        self, batch_size: int, num_particles: int | None = None, seed: int = 0
    ) -> dict[str, State]:
        """The states of B streams before their first frame, for `score_step`.

        They are plain tensors. Their rows can be stored, reordered and concatenated with those of
        other streams along the first axis. Tensors under `structure` have K consecutive rows per
        stream.

        Args:
            batch_size: B.
            num_particles: K, for models with latents; 16 by default.
            seed: the seed of the particles; each row draws its own. Give streams that start in
                separate calls different seeds.

        Raises:
            ValueError: a size is below 1, or `num_particles` is given for a model without latents.
        """
        self.density.check_normalized("`score_step`")
        checks.sizes(batch_size=batch_size)
        checks.count(batch_size, "`batch_size`")
        checks.sizes(minimum=0, seed=seed)
        if not self.latent_size:
            if num_particles is not None:
                raise ValueError(
                    "`num_particles` must be None for a model without latents, whose likelihood "
                    f"is exact; received {num_particles!r}"
                )
            return self._streamer.initial_states(batch_size, None, seed)
        num_particles = 16 if num_particles is None else num_particles
        checks.sizes(num_particles=num_particles)
        checks.count(batch_size * num_particles, "`batch_size` x `num_particles`")
        return self._streamer.initial_states(batch_size, num_particles, seed)

    @plain
    def score_step(
        self, frame: Array, states: dict[str, State]
    ) -> tuple[tf.Tensor, dict[str, State]]:
        """log p(x_t | x_<t) of the next frame of each stream, in nats.

        Without latents it is exact, and its sum over a sequence is `log_prob`. With latents it is
        one step of a particle filter. The proposal is the posterior where that does not read future
        frames (STORN, VRNN), and the prior otherwise. The sum over a sequence has the distribution
        of `log_prob(bound="fivo")` with the same proposal.

        Args:
            frame: (B, D).
            states: the states from `initial_states` or from the previous `score_step`.

        Returns:
            (B,) float32, and the states after the frame.

        Raises:
            ValueError: the frame is invalid, or the states are of another model or batch size.

        Example:
            >>> from srnn_tf import zoo
            >>> model = zoo.build("f_rnn_bach")
            >>> nats, states = model.score_step(tf.zeros([1, 88]), model.initial_states(1))
            >>> nats.shape
            TensorShape([1])
        """
        self.density.check_normalized("`score_step`")
        if tf.executing_eagerly():
            array = checks.frame(frame, self.event_size, self.binary)
            frame = _differentiable(frame, array)
        else:
            frame = tf.convert_to_tensor(frame)
            checks.frame_shape(frame.shape, self.event_size, "frame", axes="B")
            frame = checks.traced_frames(frame[:, None], self.event_size, self.binary, "frame")[
                :, 0
            ]
            if frame.shape[0] is None:
                raise ValueError("`frame` must have a static number of rows; received None")
        return self._streamer(frame, states)

    @plain
    def sample(
        self,
        batch_size: int,
        num_steps: int,
        seed: int | None = None,
        prefix: Array | None = None,
        temperature: float = 1.0,
    ) -> tf.Tensor:
        """Draw sequences from the model.

        Args:
            batch_size: B.
            num_steps: T, the number of frames to draw.
            seed: the seed; the same seed gives the same sequences. With None each call draws a
                fresh one from NumPy's global generator, which `keras.utils.set_random_seed` sets.
                Inside a `tf.function` it must be given: it would be drawn once, at tracing.
            prefix: (B, P, D), frames to continue. Their latents are drawn from the posterior. The
                result does not include them.
            temperature: a temperature t divides logits by t and multiplies scales and latent noise
                by sqrt(t).

        Returns:
            (B, T, D) float32.

        Raises:
            ValueError: `batch_size` or `num_steps` is below 1, they are too large together, the
                prefix is invalid, `temperature` is not positive, or there is no seed inside a
                `tf.function`.
        """
        checks.sizes(batch_size=batch_size, num_steps=num_steps)
        if seed is None:
            if not tf.executing_eagerly():
                raise ValueError(
                    "`seed` must be an integer inside a `tf.function`, which would repeat the one "
                    "that is drawn at tracing; received None"
                )
            seed = int(np.random.randint(2**31))
        checks.sizes(minimum=0, seed=seed)
        checks.temperature(temperature)
        latents = self.latent_size * self.steps_per_frame
        checks.sample_size(batch_size, num_steps, max(self.event_size, latents))
        if prefix is not None:
            prefix = self._frames(prefix, "prefix")
            if prefix.shape[0] != batch_size:
                raise ValueError(
                    f"`prefix` must have `batch_size` = {batch_size} rows; received "
                    f"{prefix.shape[0]}"
                )
        return self._sampler(batch_size, num_steps, seed, prefix, temperature)

    def __repr__(self) -> str:
        parts = f"{type(self.structure).__name__}, {type(self.emission).__name__}"
        latents = f", latent_size={self.latent_size}" if self.latent_size else ""
        count = sum(math.prod(v.shape) for v in self.density.variables)  # without `step`, as cards
        return (
            f"<{type(self).__name__} {self.name}: {parts}, event_size={self.event_size}{latents}, "
            f"{count:,} parameters>"
        )

    def _checked(self, frames, mask, seed):
        frames = self._frames(frames)
        if seed is not None:
            checks.seeds(seed, frames.shape[0])
        if mask is None:
            return frames, None
        if tf.executing_eagerly():
            return frames, checks.mask(mask, tuple(frames.shape[:2]))
        return frames, checks.traced_mask(mask, frames)

    def _frames(self, values, name="frames"):
        """Checked frames: an array, or of a tensor a tensor, which can be differentiated."""
        if not tf.executing_eagerly():
            return checks.traced_frames(values, self.event_size, self.binary, name)
        array = checks.frames(values, self.event_size, self.binary, name)
        return _differentiable(values, array)

    def get_config(self):
        schedule = self.default_objective.get_config().get("kl_schedule")
        standard = objectives.default_of(self.density) == self.default_objective
        flags = layer_state.trainable_flags(self.density.layers, self.trainable)
        flags = flags if self.trainable else {"": False, **flags}
        return {
            **({} if standard else {"kl_schedule": schedule}),
            **({"trainable": flags} if flags else {}),
            "structure": describe(structures.STRUCTURES, self.structure),
            "emission": describe(emissions.EMISSIONS, self.emission),
            "event_size": self.event_size,
            "window": self.window,
            "seed": self.seed,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        # The KL schedule was an argument before it was the objective's.
        config = dict(config)
        schedule, flags = config.pop("kl_schedule", None), config.pop("trainable", {})
        _check_names(config)
        missing = [name for name in ("structure", "emission") if name not in config]
        if missing:
            raise ValueError(
                f"the config of a SequenceModel needs `{missing[0]}`; received {', '.join(config)}"
            )
        model = cls(**config)
        if "" in flags:
            model.trainable = flags.pop("")
        layer_state.set_trainable(model.density.layers, flags)
        if schedule is not None and model.latent_size:
            model.objective = model.default_objective = objectives.ELBO(schedule)
        return model
