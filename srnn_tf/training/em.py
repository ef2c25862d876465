"""Training of hidden Markov models by expectation maximization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from srnn_tf.core import checks
from srnn_tf.core.types import Array
from srnn_tf.data.batching.sequences import width_of
from srnn_tf.density import SequenceDensity
from srnn_tf.emissions import StateMixture
from srnn_tf.structures import HMM

STARTS = ("frames", "weights")
# Of many frames, those that the first states are chosen from.
MOST_FRAMES = 20_000
TINY = 1e-30


class _Weights(NamedTuple):
    """The weights of a hidden Markov model of K states."""

    initial: np.ndarray  # (K,), probabilities
    transition: np.ndarray  # (K, K), probabilities
    params: np.ndarray  # (K, P), of the likelihood


class _Moments(NamedTuple):
    """Means over frames."""

    mean: np.ndarray  # (F,), of x
    square: np.ndarray  # (F,), of x^2


class _Counts(NamedTuple):
    """Expectations over the states of some sequences, summed over their frames."""

    nats: float  # log p(x)
    initial: np.ndarray  # (K,), the number of first frames
    transition: np.ndarray  # (K, K), of transitions
    frames: np.ndarray  # (K,), of frames
    sums: np.ndarray  # (K, F), the sum of x
    squares: np.ndarray  # (K, F), the sum of x^2


def hidden_markov_parts(density: SequenceDensity) -> tuple[HMM, StateMixture]:
    """The structure and the emission of a hidden Markov model.

    Raises:
        ValueError: the density is of another model.
    """
    structure, emission = density.structure, density.emission
    if not (isinstance(structure, HMM) and isinstance(emission, StateMixture)) or emission.dense:
        raise ValueError(
            "`density` must be that of a hidden Markov model, the structure hmm with the emission "
            "state_mixture and weights='context'; received "
            f"{type(structure).__name__} with {type(emission).__name__}"
        )
    return structure, emission


def fit_em(
    density: SequenceDensity,
    sequences: Sequence[Array],
    validation: Sequence[Array] | None = None,
    sweeps: int = 30,
    patience: int = 3,
    frame_count: float = 1.0,
    transition_count: float = 1.0,
    start: str = "frames",
    batch_size: int = 32,
    seed: int = 0,
    verbose: bool = False,
) -> dict[str, list[float]]:
    """Train a hidden Markov model by expectation maximization (Baum-Welch).

        gamma_t(k) = p(s_t = k | x),    xi_t(j, k) = p(s_{t-1} = j, s_t = k | x)
        pi[k] ~ sum{ gamma_1(k) },    A[j, k] ~ sum{ xi_t(j, k) : t },
        theta_k = argmax sum{ gamma_t(k) log p(x_t | theta_k) : t }

    Each sweep is one forward and one backward pass over all sequences, in linear space with scaled
    probabilities. No sweep lowers the likelihood of `sequences`, but for the smoothing. Continue by
    gradient with `model.fit`.

    Args:
        density: `model.density` of a `SequenceModel` of `HMM` and `StateMixture`, whose likelihood
            is Bernoulli or one normal. Its weights are set.
        sequences: arrays (T_i, D).
        validation: arrays too. The weights of the sweep with the best score on them are kept, and
            `patience` sweeps without a better one end the training. The last weights by default.
        sweeps: the most sweeps.
        patience: see `validation`.
        frame_count, transition_count: smoothing, in frames. Each state is given `frame_count`
            frames with the moments of all of `sequences`, and `transition_count` transitions with
            the frequencies of all states; first states too are given as many.
        start: "frames" begins with states that are frames drawn from `sequences`, halfway to the
            mean of all, and uniform transitions; "weights" with the weights as they are.
        batch_size: sequences that are computed at once, sorted by length.
        seed: the seed of the frames of `start`.
        verbose: print the scores of each sweep.

    Returns:
        A dict of lists, one number per sweep, in nats per step, exact: `log_likelihood`, of
        `sequences` before the sweep's change, and with `validation` `val_log_likelihood`, after it.

    Raises:
        ValueError: the density is no hidden Markov model; its likelihood has no closed form of
            maximum likelihood; the sequences are not arrays of its width; or an argument is not in
            its range.

    Example:
        >>> from srnn_tf import SequenceModel
        >>> model = SequenceModel({"class": "hmm", "num_states": 2}, {
        ...     "class": "state_mixture", "event_size": 3, "num_states": 2})
        >>> bits = (np.random.default_rng(0).random([4, 6, 3]) < 0.3).astype("float32")
        >>> history = fit_em(model.density, list(bits), sweeps=3)
        >>> history["log_likelihood"][2] > history["log_likelihood"][0]
        True

    Reference: Baum et al., Annals of Mathematical Statistics 41(1), 1970,
    doi:10.1214/aoms/1177697196.
    """
    structure, emission = hidden_markov_parts(density)
    checks.sizes(sweeps=sweeps, patience=patience, batch_size=batch_size)
    checks.sizes(minimum=0, seed=seed)
    checks.weight(frame_count=frame_count, transition_count=transition_count)
    checks.choice("start", start, STARTS)
    parts = {"sequences": sequences, "validation": validation}
    batches = {
        name: _batches(density, name, part, batch_size)
        for name, part in parts.items()
        if part is not None
    }
    moments = _moments(batches["sequences"])
    if start == "frames":
        weights = _start(emission, batches["sequences"], moments, seed)
    else:
        probs = (structure.initial_probs(), structure.transition_probs())
        weights = _Weights(*map(np.asarray, probs), np.asarray(emission.state_params))
    steps = {name: int(sum(b.mask.sum() for b in part)) for name, part in batches.items()}
    history: dict[str, list[float]] = {"log_likelihood": []}
    best, worse = weights, 0
    for _ in range(sweeps):
        counts = _expected(emission, weights, batches["sequences"])
        history["log_likelihood"].append(counts.nats / steps["sequences"])
        weights = _maximized(emission, counts, moments, frame_count, transition_count)
        if validation is None:
            best = weights
        else:
            scores = history.setdefault("val_log_likelihood", [])
            nats = _log_prob(emission, weights, batches["validation"])
            scores.append(nats / steps["validation"])
            best, worse = (best, worse + 1) if scores[-1] < max(scores) else (weights, 0)
        if verbose:
            last = ", ".join(f"{name} {values[-1]:.4f}" for name, values in history.items())
            print(f"sweep {len(history['log_likelihood'])}: {last} nats per step", flush=True)
        if worse == patience:
            break
    structure.initial_logits.assign(np.log(best.initial))
    structure.transition_logits.assign(np.log(best.transition))
    emission.state_params.assign(best.params)
    return history


class _Batch(NamedTuple):
    """Sequences of about the same length, right-padded."""

    frames: np.ndarray  # (B, T, F)
    mask: np.ndarray  # (B, T) bool


def _batches(density, name, sequences, size):
    """The sequences as steps of the density, sorted by length, as a list of `_Batch`."""
    if not len(sequences):
        raise ValueError(f"`{name}` must hold at least one array (T, D); received none")
    width = width_of(sequences)
    if width != density.event_size:
        raise ValueError(f"`{name}` must be arrays (T, {density.event_size}); received D={width}")
    rows = [np.reshape(np.asarray(x), [-1, density.frame_size]) for x in sequences]
    rows = sorted(rows, key=len)
    batches = [_padded(rows[i : i + size]) for i in range(0, len(rows), size)]
    for batch in batches:
        checks.frames(batch.frames, density.frame_size, density.binary, name)
    return batches


def _padded(rows):
    frames = np.zeros([len(rows), len(rows[-1]), rows[0].shape[1]], np.float32)
    lengths = np.array([len(row) for row in rows])
    mask = np.arange(frames.shape[1]) < lengths[:, None]
    frames[mask] = np.concatenate(rows)
    return _Batch(frames, mask)


def _start(emission, batches, moments, seed):
    """States that are frames of the data, halfway to the mean of all."""
    frames = np.concatenate([batch.frames[batch.mask] for batch in batches])
    random = np.random.default_rng(seed)
    different = np.unique(frames[random.permutation(len(frames))[:MOST_FRAMES]], axis=0)
    size = emission.num_states
    chosen = different[random.choice(len(different), size, replace=size > len(different))]
    params = _params(emission, 0.5 * (chosen + moments.mean), 0.5 * (chosen**2 + moments.square))
    uniform = np.full([size, size], 1.0 / size, np.float32)
    return _Weights(uniform[0], uniform, params)


def _params(emission, mean, square):
    """The parameters of maximum likelihood, (K, P), for means of x and of x^2, (K, F)."""
    moments = (tf.constant(x, tf.float32) for x in (mean, square - mean**2))
    return emission.likelihood.params_of_moments(*moments).numpy()


def _moments(batches):
    """The means of x and of x^2 over all frames."""
    total = sum(batch.mask.sum() for batch in batches)
    sums = [
        sum((batch.frames[batch.mask].astype(np.float64) ** power).sum(axis=0) for batch in batches)
        for power in (1, 2)
    ]
    return _Moments(*(x / total for x in sums))


def _maximized(emission, counts, moments, frame_count, transition_count):
    """The weights of maximum likelihood for the counts, smoothed."""
    usual = counts.frames / counts.frames.sum()
    total = counts.frames[:, None] + frame_count + TINY
    mean = (counts.sums + frame_count * moments.mean) / total
    square = (counts.squares + frame_count * moments.square) / total

    def normalized(count):
        count = count + transition_count * usual + TINY
        return count / count.sum(axis=-1, keepdims=True)

    parts = (normalized(count) for count in (counts.initial, counts.transition))
    return _Weights(*(x.astype(np.float32) for x in parts), _params(emission, mean, square))


def _expected(emission, weights, batches):
    """The `_Counts` of all batches."""
    parts = (_counts(weights, _scores(emission, weights, batch), batch) for batch in batches)
    return _Counts(*(sum(x) for x in zip(*parts, strict=True)))


def _log_prob(emission, weights, batches):
    """log p(x) of all batches, nats."""
    parts = ((weights, _scores(emission, weights, batch), batch.mask) for batch in batches)
    return sum(_forward(*part)[0] for part in parts)


def _scores(emission, weights, batch):
    """log p(x_t | s) of each state, (B, T, K)."""
    params, frames = tf.constant(weights.params), tf.constant(batch.frames)
    return emission.likelihood.log_prob_of_each(params, frames).numpy()


def _counts(weights, scores, batch):
    """The `_Counts` of a batch, from log p(x_t | s), (B, T, K)."""
    nats, alpha, ahead = _forward(weights, scores, batch.mask)
    beta, gamma = np.ones_like(alpha[:, 0]), np.empty_like(alpha)
    for t in reversed(range(alpha.shape[1])):
        if t + 1 < alpha.shape[1]:
            ahead[:, t + 1] *= beta  # p(x_{t+1}, ... | s_{t+1}), scaled; zero past the end
            going = batch.mask[:, t + 1, None]
            beta = np.where(going, ahead[:, t + 1] @ weights.transition.T, 1.0)
        gamma[:, t] = alpha[:, t] * beta
    gamma /= gamma.sum(axis=-1, keepdims=True)
    gamma[~batch.mask] = 0.0
    rows, frames = _flat(gamma), _flat(batch.frames)
    transition = weights.transition * (_flat(alpha[:, :-1]).T @ _flat(ahead[:, 1:]))
    sums, squares = ((rows.T @ x).astype(np.float64) for x in (frames, frames**2))
    return _Counts(nats, gamma[:, 0].sum(axis=0), transition, rows.sum(axis=0), sums, squares)


def _forward(weights, scores, mask):
    """log p(x) of all rows, p(s_t | x_<=t), and p(x_t | s_t) / p(x_t | x_<t), 0 under the mask."""
    most = scores.max(axis=-1, keepdims=True)
    ahead = np.exp(scores - most)
    alpha = np.empty_like(ahead)
    total = np.empty_like(most)
    predictive = np.broadcast_to(weights.initial, ahead[:, 0].shape)
    for t in range(ahead.shape[1]):
        joint = predictive * ahead[:, t]
        total[:, t] = np.maximum(joint.sum(axis=-1, keepdims=True), TINY)
        alpha[:, t] = joint / total[:, t]
        predictive = alpha[:, t] @ weights.transition
    ahead /= total
    ahead[~mask] = 0.0
    return float((most + np.log(total))[mask].sum(dtype=np.float64)), alpha, ahead


def _flat(x):
    return np.reshape(x, [-1, x.shape[-1]])
