"""Output layers from the features of each value to the parameters of its likelihood."""

from __future__ import annotations

import keras
import tensorflow as tf

from srnn_tf.core import nn
from srnn_tf.core.types import Temperature
from srnn_tf.emissions.chain import dims, runs_of
from srnn_tf.likelihoods import Likelihood


class ValueHeads(keras.layers.Layer):
    """One linear output layer per value of a frame, or one for all values.

        params_i = f_i W_i + b_i

    Args:
        likelihood: the likelihood of the frame.
        event_size: D.
        shared: all values share W and b.

    Shapes: features are value major, (D, N, F).

    Raises:
        ValueError: `shared` is true although the values differ in likelihood.
    """

    def __init__(self, likelihood: Likelihood, event_size: int, shared: bool = False, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.shared, self.runs = shared, runs_of(likelihood, event_size)
        if shared and len(self.runs) > 1:
            raise ValueError(
                "`head` must be 'private' where the values of a step differ in likelihood; "
                f"received 'shared' with {type(likelihood).__name__}"
            )

    def build(self, input_shape):
        self.kernels, self.biases = [], []
        for run in self.runs:
            count, size = 1 if self.shared else run.size, run.likelihood.params_size
            biased = size - run.likelihood.num_unbiased
            self.kernels.append(
                self.add_weight(
                    name="kernel",
                    shape=(count, input_shape[-1], size),
                    initializer=fan_in(input_shape[-1], size),
                )
            )
            self.biases.append(
                self.add_weight(name="bias", shape=(count, biased), initializer="zeros")
            )

    def log_prob(
        self,
        features: tf.Tensor,
        x: tf.Tensor,
        temperature: Temperature,
        shift: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """log p(x) of frames in nats, (N,), from features (D, N, F) and values x (D, N).

        `shift` is added to the parameters: (N, sum of those of all values), value after value.
        """
        total = 0.0
        for r, (run, (kernel, bias)) in enumerate(zip(self.runs, self._weights(), strict=True)):
            here = features if len(self.runs) == 1 else features[run.start : run.stop]
            params = self._affine(here, kernel, bias)
            if shift is not None:
                params += tf.transpose(self._of_run(shift, r), [1, 0, 2])
            value = run.likelihood(params, temperature)
            total += tf.reduce_sum(value.log_prob(x[run.start : run.stop]), axis=0)
        return total

    def params(
        self, run: int, i: tf.Tensor, features: tf.Tensor, shift: tf.Tensor | None = None
    ) -> tf.Tensor:
        """The parameters of value i of a run, (N, P), from its features (N, F), and a shift."""
        place = i - self.runs[run].start
        kernel, bias = (weight[0 if self.shared else place] for weight in self._weights()[run])
        params = tf.matmul(tf.cast(features, self.compute_dtype), kernel) + bias
        return params if shift is None else params + self._of_run(shift, run)[:, place]

    def _of_run(self, params, r):
        """The parameters of the values of a run, (N, n, P), from those of a frame."""
        sizes = [run.size * run.likelihood.params_size for run in self.runs]
        here = tf.split(params, sizes, axis=-1)[r]
        return tf.reshape(here, [dims(params)[0], self.runs[r].size, -1])

    def _affine(self, features, kernel, bias):
        if self.shared:
            return nn.project(features, kernel[0], bias[0], self.compute_dtype)
        return tf.matmul(tf.cast(features, self.compute_dtype), kernel) + bias[:, None]

    def _weights(self):
        """Kernel and bias of each run, in the compute dtype; the bias has zeros where unbiased."""
        pairs = []
        for kernel, bias, run in zip(self.kernels, self.biases, self.runs, strict=True):
            bias = tf.pad(tf.convert_to_tensor(bias), [[0, 0], [0, run.likelihood.num_unbiased]])
            pairs.append(tuple(tf.cast(w, self.compute_dtype) for w in (kernel, bias)))
        return pairs


def fan_in(inputs: int, outputs: int | None = None) -> keras.initializers.Initializer:
    """A uniform initializer for one array of many layers, from the sizes of one layer.

    With `outputs` the limit is Glorot's, sqrt(6 / (inputs + outputs)); without, 1 / sqrt(inputs).
    """
    limit = (6.0 / (inputs + outputs)) ** 0.5 if outputs else inputs**-0.5
    return keras.initializers.RandomUniform(-limit, limit)
