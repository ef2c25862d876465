"""Scores of piano rolls that need no network: what a model has to beat to have learned anything.

Both floors are normalized densities over binary sequences, fitted by counting on the training
sequences with the same smoothing (one pseudo-count for each outcome, Laplace's rule:
`p = (ones + 1) / (count + 2)`) and scored exactly under the protocol "full": every step counts,
and the step before the first one is silence.

Example:
    from srnn_tf import data
    from zoo import floors
    bach = data.load("bach")
    floors.markov(bach.train, bach.test)  # nats per step
"""

from collections.abc import Sequence

import numpy as np


def independent(train: Sequence[np.ndarray], test: Sequence[np.ndarray]) -> float:
    """Score `test` when each note sounds with its training frequency, whatever came before.

    Args:
        train, test: sequences of arrays of 0 and 1, each of shape (T_i, D).

    Returns:
        Total log likelihood over total steps, in nats per step (0 or less, higher is better).

    Raises:
        ValueError: no sequence, an array of another shape, or a value other than 0 and 1.

    Example:
        independent([np.zeros((98, 1))], [np.zeros((5, 1))])  # log(99 / 100)
    """
    train, test = _checked(train, "train"), _checked(test, "test", _width(train))
    frames = np.concatenate(train)
    probability = _smoothed(frames.sum(axis=0, dtype=np.int64), len(frames))
    steps = np.concatenate(test)
    return _mean_log_likelihood(steps, np.broadcast_to(probability, steps.shape))


def markov(train: Sequence[np.ndarray], test: Sequence[np.ndarray]) -> float:
    """Score `test` when each note depends on whether it sounded one step before.

    Every note is a first-order Markov chain of its own, p(x_t[i] | x_{t-1}[i]), with x_{-1} = 0.

    Args:
        train, test: sequences of arrays of 0 and 1, each of shape (T_i, D).

    Returns:
        Total log likelihood over total steps, in nats per step (0 or less, higher is better).

    Raises:
        ValueError: no sequence, an array of another shape, or a value other than 0 and 1.

    Example:
        markov([np.ones((10, 1))], [np.ones((1, 1))])  # log(2 / 3): one start seen, it sounded
    """
    train, test = _checked(train, "train"), _checked(test, "test", _width(train))
    now, before = np.concatenate(train), _previous(train)
    held = (now & before).sum(axis=0, dtype=np.int64)
    struck = (now & (1 - before)).sum(axis=0, dtype=np.int64)
    sounding = before.sum(axis=0, dtype=np.int64)
    after_note = _smoothed(held, sounding)
    after_silence = _smoothed(struck, len(before) - sounding)
    probability = np.where(_previous(test) == 1, after_note, after_silence)
    return _mean_log_likelihood(np.concatenate(test), probability)


def _smoothed(ones: np.ndarray, count: np.ndarray | int) -> np.ndarray:
    return (ones + 1.0) / (count + 2.0)


def _previous(sequences: list[np.ndarray]) -> np.ndarray:
    """Each sequence one step later, silence first, all one after another."""
    return np.concatenate([np.concatenate([np.zeros_like(s[:1]), s[:-1]]) for s in sequences])


def _mean_log_likelihood(steps: np.ndarray, probability: np.ndarray) -> float:
    log_likelihood = np.where(steps == 1, np.log(probability), np.log1p(-probability))
    return float(log_likelihood.sum() / len(steps))


def _width(sequences: list[np.ndarray]) -> int:
    return sequences[0].shape[1]


def _checked(
    sequences: Sequence[np.ndarray], name: str, width: int | None = None
) -> list[np.ndarray]:
    """Return the sequences as uint8 arrays of one width, or say which one is not that."""
    arrays = [np.asarray(sequence) for sequence in sequences]
    if not arrays:
        raise ValueError(f"{name} has no sequence; at least one is needed")
    width = arrays[0].shape[-1] if width is None and arrays[0].ndim else width
    for i, array in enumerate(arrays):
        if array.ndim != 2 or not len(array) or array.shape[1] != width:
            raise ValueError(f"{name}[{i}] has shape {array.shape}; accepted is (steps, {width})")
        if not np.isin(array, (0, 1)).all():
            raise ValueError(f"{name}[{i}] holds values other than 0 and 1")
    return [array.astype(np.uint8) for array in arrays]
