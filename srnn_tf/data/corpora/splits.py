"""The three parts of a data set, checked when they are created."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from srnn_tf.core.types import Steps
from srnn_tf.data import modality
from srnn_tf.data.formats.standardization import Standardization

PARTS = ("train", "valid", "test")

# Frames of (train, valid, test). Other roll-outs of the same tunes exist, and scores on two
# roll-outs cannot be compared, so the counts decide whether a file is the one it is taken for.
EDITIONS = {
    "nottingham": {"boulanger-lewandowski": (176561, 45513, 44463)},
    "muse": {"boulanger-lewandowski": (245202, 82755, 64339)},
    "jsb": {"boulanger-lewandowski": (13807, 4602, 4725)},
    "piano_midi": {"boulanger-lewandowski": (75911, 8540, 19036)},
}


# Arrays have no single truth value, so no generated __eq__, and are no text for a notebook.
@dataclass(frozen=True, eq=False, repr=False)
class Splits:
    """Sequences for training, validation and testing.

    Args:
        name: the name of the data set.
        train, valid, test: sequences of arrays (T_i, D), one row per step. Piano rolls are uint8
            arrays of 0 and 1, D = 88; column `c` is MIDI note `c + 21`. Sequences of a prepared
            folder stay on disk until they are sliced.
        edition: the published version of the data set.
        source: the file, folder or package that it was read from.
        kind: the name of its modality: "pianoroll", "speech", "handwriting", or a registered one.
        standardization: the standardization of the values; None if they are not standardized.
        sample_rate: the sample rate of speech, in Hz.
        remarks: remarks on the sequences, such as what was left out.

    Raises:
        ValueError: the modality is unknown, a part has no sequence, the sequences differ in width,
            or the modality does not accept an array.

    Example:
        Splits("two notes", [np.eye(88)], [np.eye(88)], [np.eye(88)], "made up", "nowhere")
    """

    name: str
    train: Sequence[Steps]
    valid: Sequence[Steps]
    test: Sequence[Steps]
    edition: str
    source: str
    kind: str = "pianoroll"
    standardization: Standardization | None = None
    sample_rate: int | None = None
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check = modality.get(self.kind).check
        for part in PARTS:
            sequences = getattr(self, part)
            if not len(sequences):
                raise ValueError(f"{self.name}: {part} has no sequence; at least one is needed")
            if hasattr(sequences, "sets"):  # a pool of data sets, each checked when it was made
                continue
            if check is not None:
                sequences = [check(r, f"{part} sequence {i}") for i, r in enumerate(sequences)]
            object.__setattr__(self, part, tuple(sequences))
        shapes = {np.shape(s)[1:] for part in PARTS for s in getattr(self, part)}
        if len(shapes) > 1 or len(next(iter(shapes))) != 1:
            raise ValueError(
                f"{self.name}: sequences must be (T, D) of one width D; received steps of "
                f"{sorted(shapes)}"
            )

    def __repr__(self) -> str:
        parts = ", ".join(f"{part}: {len(getattr(self, part))}" for part in PARTS)
        return f"Splits({self.name}, {self.kind}, event_size={self.event_size}, {parts} sequences)"

    @property
    def event_size(self) -> int:
        """D, the number of values in a frame."""
        return np.shape(self.train[0])[1]

    def describe(self) -> str:
        """A line on the data set, and a line of statistics for each part.

        Example:
            print(splits.describe())
        """
        lines = [f"{self.name} ({self.edition}) from {self.source}"]
        kind = modality.get(self.kind)
        word = kind.step.format(width=self.event_size)
        for part in PARTS:
            sequences = getattr(self, part)
            steps = sum(len(sequence) for sequence in sequences)
            more = kind.statistics(sequences, steps) if kind.statistics else ""
            lines.append(
                f"  {part:<5} {len(sequences):>4} sequences {steps:>7} {word}"
                f"  mean length {steps / len(sequences):7.2f}{more}"
            )
        lines += [f"  {remark}" for remark in self.remarks]
        return "\n".join(lines)


def check_edition(name: str, counts: tuple[int, ...], edition: str | None, path: object) -> str:
    """The name of the edition with these numbers of frames.

    Args:
        name: a key of `EDITIONS`.
        counts: the numbers of frames in train, valid and test.
        edition: the edition that the file must have. None accepts every known one; "any" accepts
            every file.
        path: the file, for the error message.

    Raises:
        ValueError: `edition` is unknown, or the counts are not those of the edition, or of any.

    Example:
        check_edition("jsb", (13807, 4602, 4725), None, "x.mat")  # "boulanger-lewandowski"
    """
    known = EDITIONS[name]
    listed = ", ".join(f"{key!r} with {value}" for key, value in known.items())
    if edition not in (None, "any", *known):
        raise ValueError(
            f"edition={edition!r} of {name} is not known; accepted are {listed}, 'any'"
        )
    matching = [key for key, value in known.items() if value == counts]
    if edition == "any":
        return matching[0] if matching else "any"
    if not matching or edition not in (None, matching[0]):
        raise ValueError(
            f"{path} has {counts} frames (train, valid, test), which is not the requested "
            f'edition; known of {name}: {listed}. edition="any" accepts any file; scores on '
            f"another edition cannot be compared with published ones"
        )
    return matching[0]
