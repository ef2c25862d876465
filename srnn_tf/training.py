"""How a model of sequences trains: everything of `SequenceModel` that `fit` and `evaluate` need."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from srnn_tf import checks, inputs, metrics, objectives, replicas


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
            jit_compile: compile with XLA, the default; under a `tf.distribute` strategy the part of
                a step that each replica works out alone. On a CPU, float32 with XLA is the mode to
                take, but for an `AutoregressiveRNN` and
                for layers as wide as those for speech: their matrix products run up to 1.6 times as
                fast under the policy "mixed_bfloat16" with `jit_compile=False`
                (benchmarks/README.md). On a GPU leave it on.
            kwargs: `steps_per_execution`, `run_eagerly`, ..., as in Keras; several steps per
                execution only without a strategy.

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
        with self.distribute_strategy.scope():
            alone = not tf.distribute.has_strategy()
        if not alone and kwargs.get("steps_per_execution", 1) != 1:
            raise ValueError(
                "`steps_per_execution` must be 1 under a `tf.distribute` strategy; "
                f"received {kwargs['steps_per_execution']!r}"
            )
        if jit_compile is None:
            jit_compile = not kwargs.get("run_eagerly")
        self.clipnorm, self.loss_per, self.xla = clipnorm, loss_per, bool(jit_compile)
        self.objective, self.num_samples = objective, num_samples
        self.max_samples, self.free_nats = max_samples, free_nats
        self._extra_compile = kwargs
        super().compile(optimizer=optimizer, jit_compile=self.xla and alone, **kwargs)

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
        """One update: gradients of the objective, clipped, then the optimizer.

        Replicas of a strategy add up their gradients before these are clipped, each the gradient of
        its part of the loss of all, and draw what one device would have drawn for their rows.
        """
        batch, share, count = self._shared(data)

        def find(batch, share, count):
            share = share and share._replace(rows=tf.shape(batch["frames"])[0])
            with tf.GradientTape() as tape, replicas.sharing(share):
                terms, loss = self._loss(batch, True, count)
                totals = self._totals(terms, loss, count, batch.get("mask"))
                return totals, tape.gradient(loss, self.trainable_variables)

        totals, gradients = replicas.compiled(find, self.xla)(batch, share, count)
        number = tf.distribute.get_strategy().num_replicas_in_sync
        gradients = objectives.clip(replicas.total(gradients), self.clipnorm)
        # The optimizer adds up what replicas give it.
        gradients = [None if g is None else g / number for g in gradients]
        self.optimizer.apply(gradients, self.trainable_variables)
        logs = self._update_metrics(totals, count)
        self.step.assign_add(1)
        return logs

    def test_step(self, data):
        """Score a batch with the fixed noise table."""
        batch, _, count = self._shared(data)

        def find(batch, count):
            return self._totals(*self._loss(batch, False, count), count, batch.get("mask"))

        return self._update_metrics(replicas.compiled(find, self.xla)(batch, count), count)

    def _shared(self, data):
        """The batch, what it is of the global one, and the real frames of that."""
        batch = inputs.as_dict(data)
        rows, filled = tf.shape(batch["frames"])[0], replicas.not_empty(batch)
        share, count = replicas.share_of(rows, self._count(filled))
        return filled, share, tf.maximum(count, 1.0)

    def _count(self, batch):
        """The number of real frames."""
        mask = batch.get("mask")
        count = tf.size(batch["frames"][..., 0]) if mask is None else tf.math.count_nonzero(mask)
        return tf.cast(count, tf.float32)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Keras builds a model under a strategy from the mean of the replicas' first batches.

        A mask has no mean, nor have replicas that differ in rows. All is built but the optimizer.
        """
        if self.optimizer is not None and not self.optimizer.built:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)

    def _loss(self, batch, training, count=None):
        """The terms of the objective, zero under the mask, and what this batch adds to the loss.

        That is a mean over `count` frames, those of the batch by default.
        """
        weight = self._kl_weight()
        if self.objective == "elbo":
            terms = self(**batch, training=training)
            log_likelihood, kl = terms["log_likelihood"], terms["kl"]
            terms["bound"] = objectives.elbo(log_likelihood, kl)
            values = objectives.elbo(log_likelihood, kl, terms["auxiliary"], weight, self.free_nats)
            mask = batch.get("mask")
            total = tf.reduce_sum(values if mask is None else tf.where(mask, values, 0.0))
        else:
            terms = self._estimate(**batch, training=training)
            total = tf.reduce_sum(terms["bound"]) + tf.reduce_sum(terms["auxiliary"])
        count = self._count(batch) if count is None else count
        return terms, -total / count / (self.event_size if self.loss_per == "value" else 1.0)

    def _totals(self, terms, loss, count, mask):
        """Sums over the batch, for the metrics."""
        totals = {n: tf.reduce_sum(terms[n]) for n in ("bound", "log_likelihood", "kl")}
        totals["loss"] = loss * count
        if self.latent_size:
            totals["moments"] = self._moments(terms, mask)
        return totals

    def _moments(self, terms, mask):
        """`metrics.moments` of the posterior's means."""
        if "posterior_moments" in terms:
            return terms["posterior_moments"]
        inner = None if mask is None else tf.repeat(mask, self.steps_per_frame, axis=1)
        return metrics.moments(tf.stop_gradient(terms["posterior_mean"]), inner)

    def _kl_weight(self):
        return self.kl_schedule(self.step.value) if self.objective == "elbo" else 1.0

    def _update_metrics(self, totals, count):
        """All are means over real frames, so that they do not depend on how data are batched."""
        totals = replicas.total(totals)
        if "moments" in totals:
            self._active_units.add(totals.pop("moments"))
        means = [totals[tracker.name] / count for tracker in self._trackers[:-1]]
        for tracker, value in zip(self._trackers, [*means, self._kl_weight()], strict=True):
            tracker.update_state(value, sample_weight=count)
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
