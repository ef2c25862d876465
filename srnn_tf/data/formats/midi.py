"""Piano rolls from MIDI files, and MIDI files from piano rolls."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from srnn_tf.core.files import replacing
from srnn_tf.data.formats.rolls import LOWEST_NOTE, NUM_NOTES, check_roll

SUFFIXES = (".mid", ".midi")
MOST_STEPS = 1_000_000  # of one file
TICKS_PER_QUARTER = 480
VELOCITY = 80
_DRUMS = 9  # the channel whose notes are no pitches


def read_midi(path: str | Path, steps_per_quarter: int = 2) -> np.ndarray:
    """Read the piano roll of a MIDI file, uint8 (T, 88): the inverse of `write_midi`.

    Starts and ends of notes are rounded to the nearest step. A note lasts at least one step. All
    tracks and channels are read except that of the drums. Notes outside the range of a piano are
    left out, and so is silence before the first and after the last note.

    Args:
        path: the file.
        steps_per_quarter: steps in a quarter note.

    Raises:
        ImportError: mido is not installed.
        ValueError: the file is not MIDI, damaged, without notes, or longer than a million steps.

    Example:
        read_midi("chorale.mid").shape  # (steps, 88)
    """
    check_steps(steps_per_quarter)
    notes = _notes(path, _parsed(path), steps_per_quarter)
    notes = [(n - LOWEST_NOTE, a, b) for n, a, b in notes if 0 <= n - LOWEST_NOTE < NUM_NOTES]
    if not notes:
        raise ValueError(f"{path}: holds no note of a piano, MIDI 21 to 108")
    first, end = min(start for _, start, _ in notes), max(stop for *_, stop in notes)
    if end - first > MOST_STEPS:
        raise ValueError(f"{path}: {end - first} steps long; accepted are {MOST_STEPS}")
    roll = np.zeros([end - first, NUM_NOTES], np.uint8)
    for column, start, stop in notes:
        roll[start - first : stop - first, column] = 1
    return roll


def _parsed(path) -> Any:
    mido = mido_of("read_midi")
    try:
        file = mido.MidiFile(path)
    except Exception as error:  # mido raises nearly any type on a damaged file
        raise ValueError(
            f"{path}: is not readable as MIDI ({type(error).__name__}: {error})"
        ) from error
    if file.ticks_per_beat < 1:
        raise ValueError(f"{path}: counts time in SMPTE frames, not in parts of a quarter note")
    return file


def _notes(path, file, steps_per_quarter) -> list[tuple[int, int, int]]:
    """(note, first step, step after the last) of all tracks."""
    notes = []
    for track in file.tracks:
        now, sounding = 0, {}
        for message in track:
            now += message.time
            if message.type not in ("note_on", "note_off") or message.channel == _DRUMS:
                continue
            at = round(now * steps_per_quarter / file.ticks_per_beat)
            key = message.channel, message.note
            # A note that starts anew ends the one before it.
            if key in sounding:
                start = sounding.pop(key)
                notes.append((message.note, start, max(at, start + 1)))
            if message.type == "note_on" and message.velocity:
                sounding[key] = at
        if sounding:
            note = next(iter(sounding))[1]
            raise ValueError(f"{path}: cut off: the note {note} starts and never ends")
    return notes


def held_notes(roll: np.ndarray) -> list[tuple[int, int, int]]:
    """Return (MIDI note, first frame, frame after the last) of every run of 1s, by first frame.

    Args:
        roll: array of 0 and 1, shape (T, 88).

    Raises:
        ValueError: `roll` is not a piano roll.

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
    """Write a piano roll as a MIDI file with one track; consecutive 1s are one sustained note.

    Args:
        roll: array of 0 and 1, shape (T, 88); column `c` is MIDI note `c + 21`.
        path: the file to write; an existing file is replaced atomically.
        steps_per_quarter: frames in a quarter note.
        bpm: the tempo in quarter notes per minute.
        program: General MIDI instrument, 0..127; 0 is a grand piano.

    Raises:
        ImportError: mido is not installed.
        ValueError: `roll` is not a piano roll, or a number is out of range.
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
    """Check that a MIDI tick can represent this number of steps in a quarter note.

    Raises:
        ValueError: it is not an integer in the accepted range.
    """
    if not isinstance(steps_per_quarter, int) or not 1 <= steps_per_quarter <= TICKS_PER_QUARTER:
        raise ValueError(
            f"steps_per_quarter={steps_per_quarter!r}; accepted are integers 1..{TICKS_PER_QUARTER}"
        )


def _tick(frame: int, steps_per_quarter: int) -> int:
    # Rounded from the start of the piece, so that uneven subdivisions do not drift.
    return round(frame * TICKS_PER_QUARTER / steps_per_quarter)


def mido_of(caller: str) -> Any:
    """Import the package mido.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import mido
    except ImportError as error:
        raise ImportError(f"{caller} needs mido: pip install 'srnn-tf[music]'") from error
    return mido
