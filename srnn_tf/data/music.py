"""Piano rolls as things to hear and to look at: MIDI files and pictures."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from srnn_tf.data.splits import LOWEST_NOTE, check_roll
from srnn_tf.files import replacing

TICKS_PER_QUARTER = 480
VELOCITY = 80
BLACK_KEYS = (1, 3, 6, 8, 10)  # semitones above C
C4 = 60


def held_notes(roll: np.ndarray) -> list[tuple[int, int, int]]:
    """Return (MIDI note, first frame, frame after the last) of every run of 1s, by first frame.

    Args:
        roll: array of 0 and 1, shape (T, 88).

    Raises:
        ValueError: not a piano roll.

    Example:
        held_notes(np.eye(88))[:2]  # [(21, 0, 1), (22, 1, 2)]
    """
    roll = check_roll(roll, "roll")
    silence = np.zeros((1, roll.shape[1]), np.int8)
    edges = np.diff(np.concatenate([silence, roll.astype(np.int8), silence]), axis=0).T
    # Both are ordered by note, then by time, so the n-th start belongs to the n-th end.
    columns, starts = np.nonzero(edges == 1)
    _, ends = np.nonzero(edges == -1)
    notes = zip((columns + LOWEST_NOTE).tolist(), starts.tolist(), ends.tolist(), strict=True)
    return sorted(notes, key=lambda note: (note[1], note[0]))


def write_midi(
    roll: np.ndarray,
    path: str | os.PathLike,
    steps_per_quarter: int = 2,
    bpm: float = 100,
    program: int = 0,
) -> None:
    """Write a piano roll as a MIDI file of one track; consecutive 1s are one held note.

    Args:
        roll: array of 0 and 1, shape (T, 88); column `c` is MIDI note `c + 21`.
        path: the file to write, replaced only once the new one is whole.
        steps_per_quarter: frames in a quarter note.
        bpm: tempo in quarter notes a minute.
        program: General MIDI instrument, 0..127; 0 is a grand piano.

    Raises:
        ImportError: mido is not installed.
        ValueError: not a piano roll, or a number out of its range.
        OSError: `path` cannot be written.

    Example:
        write_midi(splits.test[0], "chorale.mid", program=19)  # a church organ
    """
    mido = mido_of("write_midi")
    roll = check_roll(roll, "roll")
    check_steps(steps_per_quarter)
    if not 4 <= bpm <= 1000:  # slower does not fit the 24 bits of a MIDI tempo
        raise ValueError(f"bpm={bpm!r}; accepted are 4..1000")
    if not isinstance(program, int) or not 0 <= program <= 127:
        raise ValueError(f"program={program!r}; accepted are integers 0..127")
    track = mido.MidiTrack()
    track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(bpm)))
    track.append(mido.Message("program_change", program=program))
    now = 0
    for frame, is_start, note in _events(roll):
        kind, tick = ("note_on" if is_start else "note_off"), _tick(frame, steps_per_quarter)
        velocity = VELOCITY if is_start else 0
        track.append(mido.Message(kind, note=note, velocity=velocity, time=tick - now))
        now = tick
    # The end of the track carries the silence after the last note.
    track.append(mido.MetaMessage("end_of_track", time=_tick(len(roll), steps_per_quarter) - now))
    file = mido.MidiFile(type=0, ticks_per_beat=TICKS_PER_QUARTER, tracks=[track])
    with replacing(path) as temporary:
        file.save(temporary)


def _events(roll: np.ndarray) -> list[tuple[int, int, int]]:
    """Return (frame, 1 for a start and 0 for an end, note), an end before a start at one time."""
    events = []
    for note, start, end in held_notes(roll):
        events += [(start, 1, note), (end, 0, note)]
    return sorted(events)


def check_steps(steps_per_quarter: int) -> None:
    """Refuse a number of steps in a quarter note that no tick of MIDI is."""
    if not isinstance(steps_per_quarter, int) or not 1 <= steps_per_quarter <= TICKS_PER_QUARTER:
        raise ValueError(
            f"steps_per_quarter={steps_per_quarter!r}; accepted are integers 1..{TICKS_PER_QUARTER}"
        )


def _tick(frame: int, steps_per_quarter: int) -> int:
    # Rounded from the start of the piece, so that uneven subdivisions do not drift.
    return round(frame * TICKS_PER_QUARTER / steps_per_quarter)


def mido_of(caller: str) -> Any:
    """The package mido.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import mido
    except ImportError as error:
        raise ImportError(f"{caller} needs mido: pip install 'srnn-tf[music]'") from error
    return mido


def plot_pianoroll(
    rolls: Mapping[str, np.ndarray] | np.ndarray,
    path: str | os.PathLike,
    steps_per_quarter: int = 2,
) -> None:
    """Draw piano rolls one under another, on one scale of pitch and one of time.

    Args:
        rolls: an array of 0 and 1 of shape (T, 88), or a dictionary of them with their titles.
        path: the picture to write; its ending chooses the format (.png, .pdf, .svg).
        steps_per_quarter: frames in a quarter note, the unit of the time axis.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: no roll, not a piano roll, or a picture format that is not known.
        OSError: `path` cannot be written.

    Example:
        plot_pianoroll({"data": splits.test[0], "sample": sample}, "rolls.png")
    """
    Figure, FigureCanvasAgg = matplotlib_of("plot_pianoroll")
    panels = dict(rolls) if isinstance(rolls, Mapping) else {"": rolls}
    if not panels:
        raise ValueError("rolls={}: at least one piano roll is needed")
    panels = {title: check_roll(roll, f"rolls[{title!r}]") for title, roll in panels.items()}
    check_steps(steps_per_quarter)
    figure = Figure(figsize=(11, 0.6 + 2.4 * len(panels)), layout="constrained")
    formats = FigureCanvasAgg(figure).get_supported_filetypes()
    extension = Path(path).suffix.lower().lstrip(".")
    if extension not in formats:
        raise ValueError(f"path={str(path)!r}: accepted endings are {', '.join(sorted(formats))}")
    axes = figure.subplots(len(panels), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    low, high = _pitch_range(panels.values())
    for axis, (title, roll) in zip(axes, panels.items(), strict=True):
        _draw(axis, roll, low, high, steps_per_quarter)
        axis.set_title(title, loc="left", fontsize=11)
    quarters = max(len(roll) for roll in panels.values()) / steps_per_quarter
    axes[-1].set(xlim=(0, quarters), xlabel="time (quarter notes)")
    with replacing(path) as temporary:
        figure.savefig(temporary, format=extension, dpi=150)


def matplotlib_of(caller: str) -> tuple[Any, Any]:
    """Return the classes of the object interface, which leaves a caller's pyplot state alone."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(f"{caller} needs matplotlib: pip install 'srnn-tf[plot]'") from error
    return Figure, FigureCanvasAgg


def _pitch_range(rolls: Any) -> tuple[int, int]:
    """Return the lowest and highest MIDI note of all rolls, with at least one C between them."""
    used = np.concatenate([np.flatnonzero(roll.any(axis=0)) for roll in rolls]) + LOWEST_NOTE
    low, high = (int(used.min()), int(used.max())) if used.size else (C4, C4 + 12)
    has_c = any(note % 12 == 0 for note in range(low, high + 1))
    return (low if has_c else low - low % 12), high


def _draw(axis: Any, roll: np.ndarray, low: int, high: int, steps_per_quarter: int) -> None:
    """Draw one roll as bars over a keyboard's light and dark rows."""
    for note in range(low - 1, high + 2):
        if note % 12 in BLACK_KEYS:
            axis.axhspan(note - 0.5, note + 0.5, color="#f1f2f5", linewidth=0, zorder=0)
    cs = [note for note in range(low - 1, high + 2) if note % 12 == 0]
    for note in cs:
        axis.axhline(note - 0.5, color="#c5cad3", linewidth=0.7, zorder=1)
    bars = held_notes(roll)
    if bars:
        notes, starts, ends = (np.array(column) for column in zip(*bars, strict=True))
        axis.barh(
            notes,
            (ends - starts) / steps_per_quarter,
            left=starts / steps_per_quarter,
            height=0.84,
            color="#2b5c9e",
            edgecolor="white",
            linewidth=0.4,
            zorder=2,
        )
    axis.set_yticks(cs, [f"C{note // 12 - 1}" for note in cs])
    axis.set(ylim=(low - 1.5, high + 1.5), ylabel="pitch")
    axis.tick_params(length=0, labelsize=9)
    axis.spines[["top", "right", "left"]].set_visible(False)
