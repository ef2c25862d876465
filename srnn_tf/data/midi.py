"""Piano rolls from MIDI files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from srnn_tf.data.music import check_steps, mido_of
from srnn_tf.data.splits import LOWEST_NOTE, NUM_NOTES

SUFFIXES = (".mid", ".midi")
MOST_STEPS = 1_000_000  # of one file
_DRUMS = 9  # the channel whose notes are no pitches


def read_midi(path: str | Path, steps_per_quarter: int = 2) -> np.ndarray:
    """The piano roll of a MIDI file, uint8 (T, 88): the inverse of `write_midi`.

    Starts and ends of notes are rounded to the nearest step, a note lasts one step at least. All
    tracks and channels count but that of the drums; notes that no piano has are left out, and so is
    silence before the first and after the last note.

    Args:
        path: the file.
        steps_per_quarter: steps in a quarter note.

    Raises:
        ImportError: mido is not installed.
        ValueError: not a MIDI file, a damaged one, no notes, above a million steps.

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
