"""The seeds of scores, samples and streams. Published scores depend on these numbers.

A user's seed is folded with its purpose, so that scores and samples of one seed are independent.
Without a seed, scores use a fixed table of draws.
"""

from __future__ import annotations

import functools

import numpy as np
import tensorflow as tf

from srnn_tf.core import random
from srnn_tf.core.types import Seeds, Size

# The seed of the fixed table of draws: part of the definition of a published score.
TABLE_SEED = (1902, 1388)
# What a user's seed is for.
SCORES, SAMPLES, STREAMS = 1, 2, 3
# Places of a score's seed: the latents of whole sequences, and what particle filters draw.
LATENTS, FILTER = 0, 1
# Places of a filter's seed.
NORMAL, UNIFORM = 0, 1
# Places of a sample's seed: the latents of the prefix, the values, the latents.
PREFIX, VALUES, DRAWN_LATENTS = 0, 1, 2


def request_seed(seed: int, kind: int) -> np.ndarray:
    """The seed (2,) of a request, from the user's seed."""
    return np.array([seed % 2**31, kind], np.int32)


def draw_seed(seed: Seeds = None, sample: int | tf.Tensor = 0) -> tf.Tensor:
    """The seed of one draw of the latents: (2,), or (B, 2) from one integer per row.

    Without a seed it is that of the fixed table.
    """
    if seed is None and isinstance(sample, int) and tf.executing_eagerly():
        return _table_seed(sample)
    return _draw_seed(seed, sample)


@functools.lru_cache(maxsize=64)
def _table_seed(sample):
    """The seed of the fixed table, kept: to fold it takes longer than to score a short sequence."""
    return _draw_seed(None, sample)


def _draw_seed(seed, sample):
    if seed is not None and np.ndim(seed):
        kinds = np.full_like(seed, SCORES)
        start = np.stack([np.asarray(seed) % 2**31, kinds], axis=1).astype(np.int32)
    else:
        start = TABLE_SEED if seed is None else [seed % 2**31, SCORES]
    return _fold_in(_fold_in(tf.convert_to_tensor(start), LATENTS), sample)


def _fold_in(seed, data):
    """`random.fold_in` of a seed (2,), or of each of (B, 2)."""
    if seed.shape.rank == 1:
        return random.fold_in(seed, data)
    return tf.map_fn(lambda s: random.fold_in(s, data), seed)


def draw_seeds(seed: Seeds, start: int, num: int) -> tf.Tensor:
    """`draw_seed` of `num` samples, (num, 2) or (num, B, 2)."""
    samples = tf.range(start, start + num)
    return tf.map_fn(lambda s: draw_seed(seed, s), samples, fn_output_signature=tf.int32)


def filter_seed(
    seed: Seeds = None, group: int | None = None, start: int = 0, windows: int = 1
) -> tf.Tensor:
    """The seed of `filter_noise` from step `start` on, (2,), for a group of rows.

    From one seed per row: a seed for each of its `windows`, (B * windows, 2).
    """
    drawn = _fold_in(draw_seed(seed), FILTER)
    if drawn.shape.rank == 2:
        drawn = tf.stack([_fold_in(drawn, w) for w in range(windows)], axis=1)
        return _fold_in(tf.reshape(drawn, [-1, 2]), start)
    drawn = drawn if group is None else random.fold_in(drawn, group)
    return random.fold_in(drawn, start)


def filter_noise(
    key: random.Key, latent_size: int, steps: int, groups: Size, num_particles: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """The draws of a particle filter: normal (S, G, K, Z) and uniform (S, G).

    The draws of a group do not depend on the number of groups.
    """
    shape = [groups, steps, num_particles, latent_size]
    normal = key.fold(NORMAL).normal(shape, axis=0)
    uniform = key.fold(UNIFORM).uniform(shape[:2], axis=0)
    return tf.transpose(normal, [1, 0, 2, 3]), tf.transpose(uniform)


def filter_noise_of_each(
    seeds: tf.Tensor, latent_size: int, steps: int, num_particles: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """`filter_noise` with one seed per group, (G, 2); a group's draws depend on its seed alone."""

    def one(seed):
        drawn = filter_noise(random.Key(seed), latent_size, steps, 1, num_particles)
        return tuple(x[:, 0] for x in drawn)

    normal, uniform = tf.map_fn(one, seeds, fn_output_signature=(tf.float32, tf.float32))
    return tf.transpose(normal, [1, 0, 2, 3]), tf.transpose(uniform)


def table(steps: Size, latent_size: int) -> tf.Tensor:
    """The fixed table of standard normal draws, (1, S, Z), the same for all rows."""
    return tf.transpose(random.normal([steps, 1, latent_size], draw_seed()), [1, 0, 2])
