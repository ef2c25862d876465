"""Baselines: simple densities that a trained model has to beat.

The two for piano rolls are normalized densities over binary sequences. They are fitted by counts on
the training sequences with add-one smoothing, `p = (ones + 1) / (count + 2)`. Their scores are
exact, under the protocol "full": every step is scored, and the step before the first is silence.

Example:
    from srnn_tf import data
    from srnn_tf.experiments import baselines
    bach = data.load("bach")
    baselines.markov(bach.train, bach.test)  # nats per step
"""

import importlib.util
from collections.abc import Callable, Sequence

import numpy as np

from srnn_tf.core.types import Steps
from srnn_tf.data import Splits


def independent(train: Sequence[Steps], test: Sequence[Steps]) -> float:
    """Score `test` with independent notes, each with its frequency in `train`.

        p(x) = prod{ p_i(x_t[i]) : t, i }

    Args:
        train, test: sequences of arrays of 0 and 1, each of shape (T_i, D).

    Returns:
        Total log likelihood over total steps, in nats per step (0 or less, higher is better).

    Raises:
        ValueError: there is no sequence, or an array has another shape or values other than 0 and
            1.

    Example:
        independent([np.zeros((98, 1))], [np.zeros((5, 1))])  # log(99 / 100)
    """
    train, test = _checked(train, "train"), _checked(test, "test", _width(train))
    frames = np.concatenate(train)
    probability = _smoothed(frames.sum(axis=0, dtype=np.int64), len(frames))
    steps = np.concatenate(test)
    return _mean_log_likelihood(steps, np.broadcast_to(probability, steps.shape))


def markov(train: Sequence[Steps], test: Sequence[Steps]) -> float:
    """Score `test` with a first-order Markov chain for each note.

        p(x) = prod{ p_i(x_t[i] | x_{t-1}[i]) : t, i }      x_0 = 0

    Args:
        train, test: sequences of arrays of 0 and 1, each of shape (T_i, D).

    Returns:
        Total log likelihood over total steps, in nats per step (0 or less, higher is better).

    Raises:
        ValueError: there is no sequence, or an array has another shape or values other than 0 and
            1.

    Example:
        markov([np.ones((10, 1))], [np.ones((1, 1))])  # log(2 / 3): one start seen, it sounded
    """
    train, test = _checked(train, "train"), _checked(test, "test", _width(train))
    now, before = np.concatenate(train), _previous(train)
    sustained = (now & before).sum(axis=0, dtype=np.int64)
    struck = (now & (1 - before)).sum(axis=0, dtype=np.int64)
    sounding = before.sum(axis=0, dtype=np.int64)
    after_note = _smoothed(sustained, sounding)
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


def _width(sequences: Sequence[Steps]) -> int:
    return sequences[0].shape[1]


def _checked(sequences: Sequence[Steps], name: str, width: int | None = None) -> list[np.ndarray]:
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


def mixture(
    train: Sequence[Steps],
    test: Sequence[Steps],
    column: int | None = None,
    num_components: int = 20,
) -> float:
    """Score `test` with independent values from one mixture of Gaussians.

    It is fitted by EM (scikit-learn) to 200,000 values of the training part, sampled with a fixed
    seed. No component is narrower than half the quantization step of the stored data. Otherwise the
    mixture would fit the grid instead of the signal.

    Args:
        train, test: sequences (T_i, D).
        column: the index of the only value of a frame to score; all by default.
        num_components: the number of Gaussians.

    Returns:
        Nats per step.
    """
    from sklearn.mixture import GaussianMixture

    rng, values = np.random.default_rng(0), _values(train, column)
    chosen = rng.choice(values, min(len(values), 200_000), replace=False)[:, None]
    narrow = (0.5 * _grid(train, column)) ** 2
    fitted = GaussianMixture(num_components, reg_covar=max(narrow, 1e-9), random_state=0).fit(
        chosen
    )
    scored = _values(test, column)
    total = sum(
        float(fitted.score_samples(scored[i : i + 100_000, None]).sum())
        for i in range(0, len(scored), 100_000)
    )
    return total / sum(len(s) for s in test)


def linear_prediction(train: Sequence[Steps], test: Sequence[Steps], order: int = 16) -> float:
    """Score `test` by linear prediction from the previous values, with Gaussian noise.

        x_i = sum{ a_k x_{i-k} : k = 1, ..., 16 } + e_i,    e_i ~ N(0, s^2)

    The coefficients are a least-squares fit to the training part, with zeros before each sequence.

    Returns:
        Nats per step.
    """
    moments = np.zeros([order + 1, order + 1])
    for sequence in train:
        rows = _lagged(sequence, order)
        moments += rows.T @ rows
    weights = np.linalg.solve(moments[1:, 1:], moments[1:, 0])
    taps = np.concatenate([[1.0], -weights])
    count = sum(np.prod(np.shape(s)) for s in train)
    variance = float(taps @ moments @ taps / count)
    total = 0.0
    for sequence in test:
        errors = _lagged(sequence, order) @ taps
        total -= 0.5 * float(np.sum(errors**2 / variance + np.log(2 * np.pi * variance)))
    return total / sum(len(s) for s in test)


def pen(train: Sequence[Steps], test: Sequence[Steps]) -> float:
    """Score `test` with independent pen moves: a Bernoulli bit, and mixtures for dx and dy.

    Returns:
        Nats per step.
    """
    up = _values(train, 0)
    probability = _smoothed(up.sum(), len(up))
    bits = _values(test, 0)
    coin = np.where(bits == 1, np.log(probability), np.log1p(-probability)).mean()
    return float(coin) + mixture(train, test, 1) + mixture(train, test, 2)


def _of_rolls(splits: Splits) -> dict[str, float]:
    sets = getattr(splits.test, "sets", {"all": splits.test}).values()
    baselines = {"independent notes": independent, "first-order Markov chain per note": markov}
    return {
        name: sum(baseline(splits.train, part) for part in sets) / len(sets)
        for name, baseline in baselines.items()
    }


def _of_moves(splits: Splits) -> dict[str, float]:
    return {"independent moves, 20-component mixtures": pen(splits.train, splits.test)}


def _of_samples(splits: Splits) -> dict[str, float]:
    return {
        "independent samples, 20-component mixture": mixture(splits.train, splits.test),
        "linear prediction of order 16": linear_prediction(splits.train, splits.test),
    }


# By the name of a modality: from the splits to the scores of baselines by what they are. To add one
# for a modality of one's own, put it in.
BASELINES: dict[str, Callable[[Splits], dict[str, float]]] = {
    "pianoroll": _of_rolls,
    "handwriting": _of_moves,
    "speech": _of_samples,
}


_OF_SCIKIT_LEARN = ("handwriting", "speech")  # whose baselines are mixtures


def check_installed(kind: str) -> None:
    """Check that the packages are there which the baselines of a modality need.

    Args:
        kind: the name of the modality.

    Raises:
        ImportError: one is not; the error names the extra.
    """
    if kind in _OF_SCIKIT_LEARN and importlib.util.find_spec("sklearn") is None:
        raise ImportError(
            f"the baselines of {kind} need the extra: pip install 'srnn-tf[baselines]'"
        )


def all_of(splits: Splits) -> dict[str, float]:
    """The scores of all baselines of a data set, by name, in nats per step, protocol "full".

    For a `data.Pool` they are fitted to all sets, and the score is the unweighted mean over sets. A
    modality without an entry in `BASELINES` has none.
    """
    of = BASELINES.get(splits.kind)
    return of(splits) if of is not None else {}


def _values(sequences, column):
    """All values, or those of a column, end to end."""
    pick = slice(None) if column is None else column
    return np.concatenate([np.asarray(s)[:, pick].reshape(-1) for s in sequences])


def _grid(sequences, column):
    """The step between neighbouring values of stored data, in units of the data; 0 if not known."""
    scale = getattr(sequences[0], "scale", None)
    if scale is None:
        return 0.0
    std = sequences[0].view.standardization.std
    return scale / std[0 if len(std) == 1 else column or 0]


def _lagged(sequence, order):
    """(values, order + 1): each value and those before it, zeros before the first."""
    flat = np.asarray(sequence, np.float64).reshape(-1)
    padded = np.concatenate([np.zeros(order), flat])
    return np.stack([padded[order - k : len(padded) - k] for k in range(order + 1)], axis=1)
