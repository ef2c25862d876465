"""Long sequences as parallel streams of windows: batches for truncated back-propagation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

import numpy as np

from srnn_tf.core import checks
from srnn_tf.core.types import Steps
from srnn_tf.data.batching.epochs import EpochDataset, epoch_order
from srnn_tf.data.batching.sequences import num_values, read_values, width_of
from srnn_tf.data.batching.transposition import at_random, check_transpose


def streams(
    sequences: Sequence[Steps],
    batch_size: int,
    num_steps: int,
    seed: int = 0,
    transpose: int | None = None,
    openings: int = 0,
) -> EpochDataset:
    """Training batches for truncated backpropagation: windows of parallel streams.

    In each epoch the sequences are shuffled, concatenated and cut into `batch_size` streams of
    equal length. Batches are windows of `num_steps` steps, which move along all streams at once.
    The step before a window is its context, so that the first step of a stream is never scored: a
    model that has been trained on streams alone does not know how sequences begin, and samples of
    music may be silent. `openings` rows of each batch are beginnings of sequences, drawn at random,
    after zeros. The last window is padded. Sequences on disk are read window by window.

    Args:
        sequences: arrays (T_i, D), or sequences of a prepared data set. Speech is concatenated
            sample by sample, so that a step may hold the end of one recording and the start of
            another. Of a `Pool`, each epoch draws a new sample with a share of each set.
        batch_size: B.
        num_steps: T.
        seed: the seed of the order and the transpositions of each epoch.
        transpose: for piano rolls, an integer from 0 to 24. In each epoch, each sequence is moved
            up or down by a random number of semitones, at most `transpose`, and never off the
            keyboard. By default 0, or the `transpose` of a `Pool`.
        openings: the last rows of each batch, so many, are the first steps of sequences, as many as
            the other rows have, or all that there are. The other B - openings rows are streams.
            Below B.

    Returns:
        An `EpochDataset` of `frames` and `previous`, float32 (B, T, D), and `mask`, bool (B, T).

    Raises:
        ValueError: there are too few steps for streams of two steps, the transposition is above 24,
            the sequences to transpose are not piano rolls, or all rows would be openings.

    Example:
        >>> data = streams([np.zeros([30, 88], np.uint8)] * 4, batch_size=2, num_steps=10)
        >>> data.batches_per_epoch, data[0]["frames"].shape
        (6, (2, 10, 88))

    Reference: Lai et al., arXiv:1902.01388.
    """
    checks.sizes(batch_size=batch_size, num_steps=num_steps)
    checks.sizes(minimum=0, seed=seed)
    checks.between("openings", openings, 0, batch_size - 1)
    if transpose is None:
        transpose = sequences.transpose if _is_pool(sequences) else 0
    check_transpose(sequences, transpose)
    width, values_per_epoch = width_of(sequences), sum(num_values(s) for s in sequences)
    num_streams = batch_size - openings
    steps = values_per_epoch // (width * num_streams)
    if steps < 2:
        raise ValueError(
            f"{num_streams} streams of at least 2 steps need {2 * num_streams} steps; "
            f"the sequences have {values_per_epoch // width}"
        )

    def make_epoch(epoch):
        chosen = at_random(_drawn(sequences, seed, epoch), transpose, seed, epoch)
        ends = np.cumsum([num_values(s) for s in chosen])

        def read(lane, start, stop):
            offset = lane * steps * width
            values = _joined(chosen, ends, offset + start * width, offset + stop * width)
            return values.reshape(-1, width)

        def batch(position, part=slice(None)):
            begin = position * num_steps
            length = min(num_steps, steps - 1 - begin)
            lanes = range(batch_size)[part]
            # Of position 0 this is the generator of the order: published weights were drawn so.
            first = np.random.default_rng([seed, epoch, position]).integers(
                len(chosen), size=openings
            )
            frames = np.zeros([2, len(lanes), num_steps, width], np.float32)
            lengths = np.full([len(lanes), 1], length)
            for row, lane in enumerate(lanes):
                if lane < num_streams:
                    window = read(lane, begin, begin + length + 1)
                    frames[0, row, :length], frames[1, row, :length] = window[1:], window[:-1]
                else:
                    opening = _opening(chosen[first[lane - num_streams]], length, width)
                    lengths[row] = len(opening)
                    frames[0, row, : len(opening)] = opening
                    frames[1, row, 1 : len(opening)] = opening[:-1]
            mask = np.arange(num_steps) < lengths
            return {"frames": frames[0], "previous": frames[1], "mask": mask}

        return batch

    return EpochDataset(make_epoch, -(-(steps - 1) // num_steps), batch_size)


def _opening(sequence: Steps, num_steps: int, width: int) -> np.ndarray:
    """The first steps of a sequence."""
    values = min(num_steps, num_values(sequence) // width) * width
    return read_values(sequence, 0, values).reshape(-1, width)


def _is_pool(sequences) -> TypeGuard[Any]:
    return hasattr(sequences, "draw")


def _drawn(sequences, seed, epoch):
    """(place, sequence) of an epoch, in order: each sequence once, or what a `Pool` draws."""
    if _is_pool(sequences):
        return sequences.draw(seed, epoch)
    return [(place, sequences[place]) for place in epoch_order(seed, epoch, len(sequences))]


def _joined(sequences, ends, start: int, stop: int) -> np.ndarray:
    """Numbers `start` to `stop` of the sequences laid end to end."""
    chunks, at = [], int(np.searchsorted(ends, start, side="right"))
    while start < stop:
        begin = int(ends[at]) - num_values(sequences[at])
        upto = min(stop, int(ends[at]))
        chunks.append(read_values(sequences[at], start - begin, upto - begin))
        start, at = upto, at + 1
    return chunks[0] if len(chunks) == 1 else np.concatenate(chunks)
