"""The interface of a served model: requests cut into batches, responses merged."""

from __future__ import annotations

import abc
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from srnn_tf.core import checks
from srnn_tf.core.types import Array, Steps
from srnn_tf.data.formats import audio
from srnn_tf.serving import outputs as answered

Tensors = dict[str, np.ndarray]
MOST = 2**24  # steps, and rows, of a sample
SAMPLE_RATE = 16_000  # of all models of speech


class ServingError(RuntimeError):
    """A request failed; `code` is the status, such as "INVALID_ARGUMENT".

    It is "INTERNAL" where an answer came that is none: with other names, types or shapes than the
    signature has, numbers that are not finite, or steps that do not sum to the score.
    """

    def __init__(self, message: str, code: str):
        super().__init__(message, code)  # both, so that it can be pickled
        self.code = code

    def __str__(self):
        return self.args[0]


class Scores(NamedTuple):
    """Scores of N sequences in nats, in the order of the sequences."""

    log_likelihood: np.ndarray  # (N,)
    log_likelihood_per_step: list[np.ndarray]  # N arrays (T_i,)
    kl: np.ndarray | None  # (N,), with latents


class Answers(abc.ABC):
    """The serving signatures of a model.

        log_likelihood = sum{ log p(x_t | x_<t) : t = 1, ..., T }

    Scores are in nats: exact without latents, an ELBO with latents. A sequence's score depends
    neither on its batch nor on padding. Answers are checked before they are returned. `close()` or
    the end of a `with` block closes it; what is asked later is refused.

    Args:
        batch_size: the most sequences in a request.
        batch_values: the most values in a request, with padding. A longer sequence is sent alone.
    """

    name = ""  # of the model and its place, for errors
    closed = False

    def __init__(self, batch_size: int = 32, batch_values: int = 1 << 22):
        checks.sizes(batch_size=batch_size, batch_values=batch_values)
        self.batch_size, self.batch_values = batch_size, batch_values

    @property
    @abc.abstractmethod
    def event_size(self) -> int:
        """D, the number of values in a frame."""

    @property
    def latents(self) -> bool | None:
        """Whether the model has latents, so that a score has `kl`; None where that is not known."""
        return None

    def close(self) -> None:
        """Free what is held for requests."""
        self.closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if self.closed:
            raise ServingError(f"{self.name} is closed", "FAILED_PRECONDITION")

    @abc.abstractmethod
    def ask(self, signature: str, inputs: Mapping[str, np.ndarray]) -> Tensors:
        """Send one request to a signature of `srnn_tf.serving.signatures.Signatures`.

        Args:
            signature: the name of the signature.
            inputs: its inputs, by name.

        Returns:
            Its outputs, by name.

        Raises:
            ServingError: the request failed.
        """

    def score(self, frames: Array | Sequence[Steps]) -> Scores:
        """Log likelihoods of sequences.

        Args:
            frames: (T, D), (B, T, D), or a list of sequences (T_i, D) of any lengths.

        Raises:
            ValueError: there are no sequences, or they have another shape or are not finite.
            ServingError: a request failed.

        Example:
            Local("f_rnn_bach").score(srnn_tf.data.load("bach").test).log_likelihood
        """
        sequences = _sequences(frames, 2, "frames")
        if sequences[0].shape[1] != self.event_size:
            raise ValueError(
                f"`frames` must have {self.event_size} values a step for this model; received "
                f"{sequences[0].shape[1]}"
            )
        return self._scores("score", "frames", sequences)

    def score_waveform(self, waveform: Any, sample_rate: int = SAMPLE_RATE) -> Scores:
        """Log likelihoods of speech, as densities of the samples in [-1, 1].

        Samples after the last whole frame are not scored.

        Args:
            waveform: the path of an audio file, samples (S,) in [-1, 1], or a list of either.
            sample_rate: the sample rate of samples, which must be that of the model. Files are
                resampled.

        Raises:
            ValueError: the samples or the rate are invalid, or a file cannot be decoded.
            ImportError: a file is given and the extra `audio` is not installed.
            ServingError: a request failed.
        """
        if sample_rate != SAMPLE_RATE:
            raise ValueError(
                f"`sample_rate` must be {SAMPLE_RATE} for samples; received {sample_rate!r}; "
                "audio files are resampled"
            )
        if isinstance(waveform, (str, os.PathLike)):
            waveform = [waveform]
        if isinstance(waveform, (list, tuple)):  # an array has no paths among its samples
            waveform = [_samples(w) for w in waveform]
        sequences = _sequences(waveform, 1, "waveform")
        for i, sequence in enumerate(sequences):
            check_waveform(sequence, self.event_size, i)
        return self._scores("score_raw", "waveform", sequences)

    def sample(self, num_steps: int, batch_size: int = 1, seed: int = 0) -> np.ndarray:
        """Draw frames (B, T, D), as `model.sample(batch_size, num_steps, seed)` does.

        Raises:
            ValueError: a size is out of range, or the seed is negative.
            ServingError: the request failed.
        """
        checks.between("num_steps", num_steps, 1, MOST)
        checks.between("batch_size", batch_size, 1, MOST)
        checks.sample_size(batch_size, num_steps, self.event_size)
        checks.sizes(minimum=0, seed=seed)
        numbers: dict[str, Any] = {
            "num_steps": np.int32(num_steps),
            "batch_size": np.int32(batch_size),
            "seed": np.array([seed % 2**31, 2], np.int32),
        }
        shape = (batch_size, num_steps, self.event_size)
        return self._asked("sample", numbers, answered.frames, shape)["frames"]

    def _asked(
        self, signature: str, inputs: Mapping[str, np.ndarray], check: Callable, *args: Any
    ) -> Tensors:
        """The outputs of a request, once they have passed a check."""
        outputs = self.ask(signature, inputs)
        try:
            check(outputs, *args)
        except ValueError as error:
            message = f"{signature} of {self.name}: INTERNAL: the answer is not believed: {error}"
            raise ServingError(message, "INTERNAL") from None
        return outputs

    def _scores(self, signature: str, name: str, sequences: list[np.ndarray]) -> Scores:
        """The scores of all batches, in the order of the sequences."""
        samples = 1 if signature == "score" else self.event_size  # of a step
        total, kl = np.zeros(len(sequences), np.float32), np.zeros(len(sequences), np.float32)
        steps: list[np.ndarray] = [np.zeros(0, np.float32)] * len(sequences)
        latents = self.latents
        for members in self.plan(sequences):
            inputs = padded(name, [sequences[i] for i in members])
            counts = [len(sequences[i]) // samples for i in members]
            outputs = self._asked(signature, inputs, answered.scores, counts, latents)
            latents = "kl" in outputs  # of all requests, or of none
            total[members] = outputs["log_likelihood"]
            if latents:
                kl[members] = outputs["kl"]
            for row, i in enumerate(members):  # a server may have padded further
                steps[i] = outputs["log_likelihood_per_step"][row, : counts[row]]
        return Scores(total, steps, kl if latents else None)

    def plan(self, sequences: Sequence[np.ndarray]) -> Iterator[list[int]]:
        """The batches, as lists of indices: sequences of similar length share a batch."""
        order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]), reverse=True)
        while order:
            longest = sequences[order[0]].size
            rows = max(1, min(self.batch_size, self.batch_values // longest))
            yield order[:rows]
            order = order[rows:]


def padded(name: str, sequences: Sequence[np.ndarray]) -> Tensors:
    """Right-pad sequences: the inputs of a score, with their lengths."""
    length = np.array([len(s) for s in sequences], np.int32)
    first = sequences[0]
    out = np.zeros([len(sequences), length.max(), *first.shape[1:]], np.float32)
    for row, sequence in enumerate(sequences):
        out[row, : len(sequence)] = sequence
    return {name: out, "length": length}


def _sequences(values: Any, rank: int, name: str) -> list[np.ndarray]:
    """Check sequences, and return them as a list of arrays of a given rank."""
    accepted = {1: "(S,), or a list of these", 2: "(T, D), (B, T, D) or a list of (T_i, D)"}[rank]
    try:
        listed = hasattr(values, "__len__") and not hasattr(values, "shape") and len(values)
        several = listed and np.ndim(values[0]) == rank
        members = list(values) if several else [values]
    except (TypeError, ValueError, KeyError) as error:
        raise ValueError(f"`{name}` must be {accepted}; received another nesting") from error
    arrays = [checks.reals(member, name, accepted) for member in members]
    if not several:
        (whole,) = arrays
        arrays = list(whole) if whole.ndim == rank + 1 else arrays if whole.size else []
    if not arrays:
        raise ValueError(f"`{name}` must be {accepted}; received none")
    for i, array in enumerate(arrays):
        if array.ndim != rank or array.dtype.kind not in "biuf" or not array.size:
            raise ValueError(
                f"`{name}` must be {accepted}, numbers; sequence {i} is {array.dtype} of shape "
                f"{array.shape}"
            )
        if array.shape[1:] != arrays[0].shape[1:]:
            raise ValueError(
                f"`{name}`: sequence {i} has {array.shape[1]} values a step, the first has "
                f"{arrays[0].shape[1]}"
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"`{name}` must be finite; sequence {i} holds NaN or infinity")
    return arrays


def check_waveform(samples: np.ndarray, event_size: int, index: int = 0) -> None:
    """Check that samples are at least one whole frame, in [-1, 1].

    Raises:
        ValueError: they are not.
    """
    peak = np.abs(samples).max(initial=0.0)
    if len(samples) < event_size or not peak <= 1.0:
        raise ValueError(
            f"`waveform` must have {event_size} samples or more, in [-1, 1]; sequence {index} has "
            f"{len(samples)}, up to {peak}"
        )


def _samples(path: Any) -> np.ndarray:
    """The samples of an audio file, in [-1, 1]."""
    if not isinstance(path, (str, os.PathLike)):
        return path
    if not Path(path).is_file():
        raise ValueError(f"{path} is not a file")
    return audio.read_audio(path, SAMPLE_RATE).astype(np.float32) / audio.FULL_SCALE


def short(message: str) -> str:
    """The message of this package inside an error of a graph, if there is one."""
    if checks.MARK not in message:
        return message
    text = message.split(checks.MARK, 1)[1].split("\n", 1)[0]
    text = re.split(r"'\]?(?: |$)", text, maxsplit=1)[0].strip()
    # TensorFlow puts it in brackets, with quotes or without.
    return text.removesuffix("]") if text.count("]") > text.count("[") else text
