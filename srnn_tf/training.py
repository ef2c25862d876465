"""How a model of sequences trains: everything of `SequenceModel` that `fit` and `evaluate` need."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from srnn_tf import checks, inputs, metrics, objectives


class TrainedModel(keras.Model):
    """The training half of `SequenceModel`, its only subclass.

    Args:
        latent_size: Z; 0 without latents.
        event_size: D, the values of a frame.
        steps_per_frame: steps of the structure per frame.
        kl_schedule: the weight of the KL in the loss.
    """

    def __init__(
        self,
        latent_size: int,
        event_size: int,
        steps_per_frame: int,
        kl_schedule: objectives.KLSchedule,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.latent_size, self.event_size = latent_size, event_size
        self.steps_per_frame, self.kl_schedule = steps_per_frame, kl_schedule
        # Counts updates; the KL weight and all seeds of training derive from it.
        self.step = self.add_weight(
            name="step", shape=(), dtype="int64", initializer="zeros", trainable=False
        )
        self._trackers = [
            keras.metrics.Mean(name=name)
            for name in ("loss", "bound", "log_likelihood", "kl", "kl_weight")
        ]
        self._active_units = metrics.ActiveUnits(max(1, latent_size))
        self.xla, self.objective = True, "elbo"

    def compile(
        self,
        optimizer: Any = "adam",
        clipnorm: float = 0.5,
        loss_per: str = "step",
        objective: str = "elbo",
        num_samples: int = 1,
        max_samples: int = 16,
        free_nats: float = 0.0,
        jit_compile: bool | None = None,
        **kwargs,
    ) -> None:
        """Set how `fit` trains.

        Args:
            optimizer: as in Keras.
            clipnorm: the global norm that gradients are clipped to.
            loss_per: "step", the loss is nats per frame, or "value", nats per value of a frame. The
                clipping depends on it: the paper uses "value" for speech, "step" elsewhere.
            objective: what training maximizes and `evaluate` reports as `bound`: "elbo", "iwae" or
                "fivo"; models without latents have their exact likelihood. The KL schedule acts on
                "elbo" alone.
            num_samples: draws of "iwae", particles of "fivo".
            max_samples: draws of "iwae" that are worked on at once, or the next smaller divisor of
                `num_samples`; with more, memory grows by a few numbers a step only.
            free_nats: KL per frame that "elbo" does not press on; the reported KL is the true one.
            jit_compile: compile with XLA; by default yes, but not under a `tf.distribute` strategy.
                On a CPU, float32 with XLA is the mode to take, but for an `AutoregressiveRNN` and
                for layers as wide as those for speech: their matrix products run up to 1.6 times as
                fast under the policy "mixed_bfloat16" with `jit_compile=False`
                (benchmarks/README.md). On a GPU leave it on.
            kwargs: `steps_per_execution`, `run_eagerly`, ..., as in Keras.

        Raises:
            ValueError: `clipnorm` not positive, an unknown `loss_per` or `objective`, an argument
                that the objective does not have, a float16 policy.
        """
        if not clipnorm > 0.0:
            raise ValueError(f"`clipnorm` must be positive; received {clipnorm!r}")
        checks.choice("loss_per", loss_per, ("step", "value"))
        checks.bound("objective", objective, num_samples, self.latent_size)
        checks.sizes(max_samples=max_samples)
        checks.weight(free_nats=free_nats)
        if objective == "elbo" and num_samples > 1:
            raise ValueError(
                f"`num_samples` of an ELBO must be 1 in training; received {num_samples}"
            )
        if free_nats and (objective != "elbo" or not self.latent_size):
            raise ValueError(
                f"`free_nats` belongs to the ELBO of a model with latents; received {free_nats!r}"
            )
        if "float16" in {self.structure.compute_dtype, self.emission.compute_dtype}:
            raise ValueError(
                "float16 is not supported, since its gradients need loss scaling; "
                "use the policy 'mixed_bfloat16' or 'float32'"
            )
        if jit_compile is None:
            jit_compile = not tf.distribute.has_strategy() and not kwargs.get("run_eagerly")
        self.clipnorm, self.loss_per, self.xla = clipnorm, loss_per, bool(jit_compile)
        self.objective, self.num_samples = objective, num_samples
        self.max_samples, self.free_nats = max_samples, free_nats
        self._extra_compile = kwargs
        super().compile(optimizer=optimizer, jit_compile=jit_compile, **kwargs)

    def get_compile_config(self):
        if not self.compiled:
            return {}
        return {
            "optimizer": keras.saving.serialize_keras_object(self.optimizer),
            "clipnorm": self.clipnorm,
            "loss_per": self.loss_per,
            "objective": self.objective,
            "num_samples": self.num_samples,
            "max_samples": self.max_samples,
            "free_nats": self.free_nats,
            "jit_compile": self.xla,
            **self._extra_compile,
        }

    def compile_from_config(self, config):
        config = dict(config)
        config["optimizer"] = keras.saving.deserialize_keras_object(config["optimizer"])
        self.compile(**config)
        self.optimizer.build(self.trainable_variables)

    def train_step(self, data):
        """One update: gradients of the objective, clipped, then the optimizer."""
        batch = inputs.as_dict(data)
        with tf.GradientTape() as tape:
            terms, loss = self._loss(batch, training=True)
        gradients = tape.gradient(loss, self.trainable_variables)
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        if replicas > 1:  # clip what all replicas found; the optimizer will add up their shares
            context = tf.distribute.get_replica_context()
            gradients = context.all_reduce(tf.distribute.ReduceOp.MEAN, gradients)
        gradients = objectives.clip(gradients, self.clipnorm)
        gradients = [None if g is None else g / replicas for g in gradients]
        self.optimizer.apply(gradients, self.trainable_variables)
        logs = self._update_metrics(terms, loss, batch.get("mask"))
        self.step.assign_add(1)
        return logs

    def test_step(self, data):
        """Score a batch with the fixed noise table."""
        batch = inputs.as_dict(data)
        terms, loss = self._loss(batch, training=False)
        return self._update_metrics(terms, loss, batch.get("mask"))

    def _loss(self, batch, training):
        """The terms of the objective, zero under the mask, and the loss."""
        mask, weight = batch.get("mask"), self._kl_weight()
        if self.objective == "elbo":
            terms = self(**batch, training=training)
            log_likelihood, kl = terms["log_likelihood"], terms["kl"]
            terms["bound"] = objectives.elbo(log_likelihood, kl)
            values = objectives.elbo(log_likelihood, kl, terms["auxiliary"], weight, self.free_nats)
            values = values if mask is None else tf.where(mask, values, 0.0)
            loss = -objectives.masked_mean(values, mask)
        else:
            terms = self._estimate(**batch, training=training)
            total = tf.reduce_sum(terms["bound"]) + tf.reduce_sum(terms["auxiliary"])
            loss = -total / self._count(terms["kl"], mask)
        return terms, loss / (self.event_size if self.loss_per == "value" else 1.0)

    def _kl_weight(self):
        return self.kl_schedule(self.step.value) if self.objective == "elbo" else 1.0

    def _count(self, values, mask):
        """The number of real frames of (B, T) values."""
        count = tf.size(values) if mask is None else tf.math.count_nonzero(mask)
        return tf.maximum(tf.cast(count, tf.float32), 1.0)

    def _update_metrics(self, terms, loss, mask):
        """All are means over real frames, so that they do not depend on how data are batched."""
        count = self._count(terms["kl"], mask)
        means = [tf.reduce_sum(terms[n]) / count for n in ("bound", "log_likelihood", "kl")]
        for tracker, value in zip(self._trackers, [loss, *means, self._kl_weight()], strict=True):
            tracker.update_state(value, sample_weight=count)
        if "posterior_moments" in terms:
            self._active_units.add(terms["posterior_moments"])
        elif self.latent_size:
            inner = None if mask is None else tf.repeat(mask, self.steps_per_frame, axis=1)
            self._active_units.update_state(terms["posterior_mean"], inner)
        return {metric.name: metric.result() for metric in self.metrics}

    @property
    def metrics(self):
        return [*self._trackers, self._active_units]

    def fit(self, x=None, y=None, batch_size=None, epochs=1, **kwargs):
        """Train, as in Keras, on `x`: an array (N, T, D), a dict of arrays, or batches.

        Args:
            x: `frames`, or a dict of `frames`[, `previous`, `mask`], as arrays with N rows; or a
                `tf.data.Dataset` or `EpochDataset` of batches of them. The order of epoch e is a
                function of the model's seed and e, so a resumed run repeats an uninterrupted one;
                a `tf.data.Dataset` keeps its own order.
            y: must be None.
            batch_size: of arrays; 32 by default.
            epochs: as in Keras, like all other arguments.

        Raises:
            ValueError: data of a wrong kind, shape or value.
        """
        inputs.refuse_targets(y, kwargs)
        endless = kwargs.get("steps_per_epoch") is not None
        data = inputs.pipeline(
            self,
            x,
            batch_size,
            kwargs.pop("shuffle", True),
            endless,
            lambda: int(self.step.numpy()),
        )
        held_out = kwargs.get("validation_data")
        if held_out is not None:
            rows = kwargs.pop("validation_batch_size", None) or batch_size
            rows = None if inputs.is_batched(held_out) else rows
            kwargs["validation_data"] = inputs.pipeline(self, held_out, rows)
        with inputs.our_errors():
            return super().fit(data, epochs=epochs, shuffle=False, **kwargs)

    def evaluate(self, x=None, y=None, batch_size=None, **kwargs):
        """Mean metrics over real frames, nats per frame; `x` as in `fit`.

        `bound` is exact without latents, else that of the objective, by default a single-sample
        ELBO.
        """
        inputs.refuse_targets(y, kwargs)
        if not kwargs.get("_use_cached_eval_dataset"):
            x, batch_size = inputs.pipeline(self, x, batch_size), None
        with inputs.our_errors():
            return super().evaluate(x, batch_size=batch_size, **kwargs)
