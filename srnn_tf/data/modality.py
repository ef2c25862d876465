"""Modalities, kinds of data: how files are read, what a frame is, how values are stored.

To add one, call `register_modality(Modality(...))` in any module. Its plot and its baselines are
looked up by its name, in `srnn_tf.plots.PICTURES` and `srnn_tf.experiments.baselines.BASELINES`.
Without them, frames are drawn as rows of values, and no baseline is compared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from srnn_tf.core import checks
from srnn_tf.core.registry import unknown
from srnn_tf.data.formats import audio, midi, strokes, synthesis
from srnn_tf.data.formats.rolls import LOWEST_NOTE, NUM_NOTES, check_roll
from srnn_tf.data.formats.wav import write_wav

_DTYPES = ("<i2", "|u1")  # what a prepared folder stores


@dataclasses.dataclass(frozen=True)
class Modality:
    """A kind of data: piano rolls, speech, handwriting, or a user's own.

    Args:
        name: its name, the `kind` in cards and prepared folders.
        width: D, the number of values in a frame; None if frames of any size are cut from a signal.
        dtype: the dtype of stored values, little-endian: "<i2" (int16) or "|u1" (uint8).
        endings: the suffixes of its files, lower case, with the dot.
        reader: a function from a file and `corpora.Options` to its sequences. Each is a pair: an
            array of `dtype`, (n,) samples or (T, D) frames, and the factor by which to multiply its
            values.
        writer: a function that writes frames to a file, from frames, a path, a `Standardization`
            and a sample rate; None for no such file.
        written: the suffixes of the files that `writer` writes.
        packages: the optional packages that `writer` needs, from a suffix to keys of
            `core.packages.EXTRAS`.
        writer_options: the names of further arguments that `writer` takes, such as "bpm".
        unit: the unit of a score, "step" for nats per step.
        standardized: whether data sets are standardized to mean 0 and standard deviation 1.
        unscaled: the number of leading values of a frame that are neither scaled nor standardized,
            such as the bit of a pen.
        check: a function from an array and its description, for errors, to the accepted array; None
            for no check.
        step: the name of a step in statistics; `{width}` is D.
        statistics: a function from the sequences of a part and its number of steps to further
            statistics; None for none.
        constant: the error for a training part with standard deviation 0.
        versions: a function that returns the versions of the libraries that stored values depend
            on.
        sample_steps: the number of steps that `srnn-tf sample` draws by default.
        uses: what the models of this modality are for, in sentences for a model's page.
        limits: what they do not know, in sentences for that page.

    Raises:
        ValueError: a name or a number is not valid.

    Example:
        >>> Modality("counts", width=5, dtype="|u1", standardized=False).columns
        5
    """

    name: str
    width: int | None = None
    dtype: str = "<i2"
    endings: tuple[str, ...] = ()
    reader: Callable[[Path, Any], Sequence[tuple[np.ndarray, float]]] | None = None
    writer: Callable[..., None] | None = None
    written: tuple[str, ...] = ()
    packages: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict, hash=False)
    writer_options: tuple[str, ...] = ()
    unit: str = "sequence"
    standardized: bool = True
    unscaled: int = 0
    check: Callable[[Any, str], np.ndarray] | None = None
    step: str = "steps of {width}"
    statistics: Callable[[Sequence[np.ndarray], int], str] | None = None
    constant: str = "in the training part one of the values never changes"
    versions: Callable[[], dict[str, str]] = dict
    sample_steps: int = 100
    uses: str = "Research on sequence models."
    limits: str = ""

    def __post_init__(self) -> None:
        if not str(self.name).isidentifier():
            raise ValueError(f"`name` must be letters, digits and _; received {self.name!r}")
        if self.dtype not in _DTYPES:
            accepted = " or ".join(map(repr, _DTYPES))
            raise ValueError(f"{self.name}: `dtype` must be {accepted}; received {self.dtype!r}")
        if self.width is not None and (type(self.width) is not int or self.width < 1):
            raise ValueError(
                f"{self.name}: `width` must be None or from 1; received {self.width!r}"
            )
        if not 0 <= self.unscaled <= (self.width or 0):
            raise ValueError(
                f"{self.name}: `unscaled` must be 0 to the width; received {self.unscaled!r}"
            )
        checks.sizes(sample_steps=self.sample_steps)

    @property
    def is_signal(self) -> bool:
        """Whether the data are a signal, from which frames of any size are cut."""
        return self.width is None

    @property
    def columns(self) -> int:
        """The number of columns with separate statistics: 1 for a signal, otherwise D."""
        return self.width or 1


def _notes(rolls: Sequence[np.ndarray], frames: int) -> str:
    counts = np.sum([roll.sum(axis=0, dtype=np.int64) for roll in rolls], axis=0)
    used = np.flatnonzero(counts) + LOWEST_NOTE
    notes = f"{used[0]}..{used[-1]}" if len(used) else "none"
    return f"  MIDI notes {notes:<7} {counts.sum() / frames:.3f} notes a frame"


def _read_midi(path: Path, options: Any) -> list[tuple[np.ndarray, float]]:
    return [(midi.read_midi(path, options.steps_per_quarter).astype(np.uint8), 1.0)]


def _read_audio(path: Path, options: Any) -> list[tuple[np.ndarray, float]]:
    return [(audio.read_audio(path, options.sample_rate), 1 / audio.FULL_SCALE)]


def _write_music(
    frames: Any,
    path: Any,
    standardization: Any = None,
    sample_rate: Any = None,
    steps_per_quarter: int = 2,
    bpm: float = 100,
    program: int | None = None,
    soundfont: Any = None,
) -> None:
    roll = np.asarray(frames).astype(np.uint8)
    if Path(path).suffix.lower() == ".wav":
        sound = synthesis.synthesize(
            roll, steps_per_quarter, bpm, soundfont=soundfont, program=program
        )
        return write_wav(sound, path, sample_rate=synthesis.SAMPLE_RATE)
    if soundfont is not None:
        raise ValueError(f"soundfont={soundfont} is for .wav files; received {path}")
    midi.write_midi(roll, path, steps_per_quarter, bpm, program or 0)


MODALITIES: dict[str, Modality] = {
    "pianoroll": Modality(
        "pianoroll",
        width=NUM_NOTES,
        dtype="|u1",
        endings=midi.SUFFIXES,
        reader=_read_midi,
        writer=_write_music,
        written=(".mid", ".midi", ".wav"),
        packages={".mid": ("mido",), ".midi": ("mido",)},
        writer_options=("steps_per_quarter", "bpm", "program", "soundfont"),
        unit="step",
        standardized=False,
        check=check_roll,
        step="frames",
        statistics=_notes,
        sample_steps=128,  # 16 bars
        uses="Scoring and composing piano rolls of 88 keys; research on sequence models.",
        limits="It knows which keys are held in a step, and no more: no dynamics, no instruments, "
        "no note that is struck again in the next step. Music in other keys, tempi or styles than "
        "its data has low scores.",
    ),
    "handwriting": Modality(
        "handwriting",
        width=len(strokes.COLUMNS),
        endings=strokes.SUFFIXES,
        reader=lambda path, options: [strokes.strokes_of(options, path)],
        unscaled=1,  # the bit of the pen
        constant="in the training part the pen never moves along one axis",
        sample_steps=500,  # a line of writing
        uses="Research on sequence models of pen strokes. The samples are scribble.",
        limits="It knows no text: what it writes cannot be read. Strokes of other devices, at "
        "other rates or resolutions, have scores that cannot be compared.",
    ),
    "speech": Modality(
        "speech",
        endings=audio.SUFFIXES,
        reader=_read_audio,
        writer=write_wav,
        written=(".wav",),
        constant="the training part is silent: all its samples are the same",
        versions=audio.versions,
        sample_steps=80,  # a second
        uses="Research on sequence models of raw waveforms. The samples are babble.",
        limits="It knows neither text nor speaker: what it says has no words. Recordings of other "
        "rooms, microphones or codecs have scores that say more of these than of speech.",
    ),
}


def get(name: str) -> Modality:
    """The modality of a name.

    Raises:
        ValueError: the name is unknown; the error suggests the nearest known one.
    """
    if not isinstance(name, str) or name not in MODALITIES:
        raise unknown("modality", name, MODALITIES)
    return MODALITIES[name]


def of_width(width: int) -> Modality:
    """The modality with frames of a width; the first modality of signals if there is none.

    Example:
        >>> of_width(88).name, of_width(200).name
        ('pianoroll', 'speech')
    """
    exact = [m for m in MODALITIES.values() if m.width == width]
    return (exact or [m for m in MODALITIES.values() if m.is_signal])[0]


def register_modality(modality: Modality) -> Modality:
    """Register a modality, for corpora of its kind.

    Args:
        modality: the modality.

    Returns:
        The modality.

    Raises:
        ValueError: it is not a `Modality`, or its name is taken.

    Example:
        register_modality(Modality("counts", width=5, dtype="|u1", standardized=False))
    """
    missing = [f.name for f in dataclasses.fields(Modality) if not hasattr(modality, f.name)]
    if missing:
        raise ValueError(
            f"`modality` must be a Modality; received {modality!r}, without {missing[0]}"
        )
    if modality.name in MODALITIES:
        raise ValueError(f"the modality {modality.name!r} is registered already; choose another")
    MODALITIES[modality.name] = modality
    return modality
