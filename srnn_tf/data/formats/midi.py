"""Piano rolls from MIDI files, and MIDI files from piano rolls."""

from __future__ import annotations

import itertools
import numbers
import operator
import os
from pathlib import Path
from typing import Any

import numpy as np

from srnn_tf.core.files import replacing
from srnn_tf.data.formats import midi_events
from srnn_tf.data.formats.rolls import LOWEST_NOTE, NUM_NOTES, check_roll

SUFFIXES = (".mid", ".midi")
MOST_STEPS = 1_000_000  # of one file
TICKS_PER_QUARTER = 480
VELOCITY = 80
_DRUMS = 9  # the channel whose notes are no pitches
# Controllers that end all notes of a channel: all sound off, all notes off, and the modes that do.
_ALL_OFF = (120, 123, 124, 125, 126, 127)
_START, _END, _SILENCE = range(3)


def read_midi(path: str | Path, steps_per_quarter: int = 2) -> np.ndarray:
    """Read the piano roll of a MIDI file, uint8 (T, 88): the inverse of `write_midi`.

    Starts and ends of notes are rounded to the nearest step, halves up, and a note lasts at least
    one step. So a piece that begins some steps later has the same roll. All tracks and channels are
    read except that of the drums. Notes outside the range of a piano are left out, and so is
    silence before the first and after the last note. A note ends with a note-off, with "all notes
    off" or "all sound off" of its channel in its track, or else with the next start of the same key
    or the end of its track. Pedals are not read.

    Args:
        path: the file.
        steps_per_quarter: steps in a quarter note.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is not MIDI, damaged, of several songs (type 2), without notes, or
            longer than a million steps.

    Example:
        read_midi("chorale.mid").shape  # (steps, 88)
    """
    check_steps(steps_per_quarter)
    data = Path(path).read_bytes()
    try:
        file = midi_events.parse(data)
        songs = [notes for notes in map(_notes, file.tracks) if notes]
    except ValueError as error:
        raise ValueError(f"{path}: is not readable as MIDI: {error}") from error
    if not songs:
        raise ValueError(f"{path}: holds no note of a piano, MIDI 21 to 108")
    if file.type == 2 and len(songs) > 1:
        raise ValueError(
            f"{path}: is of type 2, {len(songs)} songs in one file; accepted is one: split it"
        )

    def step(tick):
        # In whole numbers: halves go up wherever in the piece they are.
        return (2 * tick * steps_per_quarter + file.ticks) // (2 * file.ticks)

    notes = [(n, step(start), step(stop)) for song in songs for n, start, stop in song]
    notes = [(n, start, max(stop, start + 1)) for n, start, stop in notes]
    first, end = min(start for _, start, _ in notes), max(stop for *_, stop in notes)
    if end - first > MOST_STEPS:
        raise ValueError(f"{path}: {end - first} steps long; accepted are {MOST_STEPS}")
    roll = np.zeros([end - first, NUM_NOTES], np.uint8)
    for note, start, stop in notes:
        roll[start - first : stop - first, note - LOWEST_NOTE] = 1
    return roll


def read_tempo(path: str | Path) -> float | None:
    """The first tempo of a MIDI file, in quarter notes per minute; None if it tells none.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is not MIDI, or damaged.

    Example:
        read_tempo("chorale.mid")  # 100.0
    """
    try:
        tracks = midi_events.parse(Path(path).read_bytes()).tracks
    except ValueError as error:
        raise ValueError(f"{path}: is not readable as MIDI: {error}") from error
    tempos = [track.tempo for track in tracks if track.tempo is not None]
    return 60e6 / min(tempos)[1] if tempos else None


def _notes(track: midi_events.Track) -> list[tuple[int, int, int]]:
    """(note, first tick, tick after the last) of the notes of a piano in a track; they overlap."""
    keys: dict[tuple[int, int], list[tuple[int, int]]] = {}  # of a channel: (tick, kind)
    for tick, kind, channel, note, value in track.events:
        if kind == midi_events.CONTROL:
            for (of, _), events in keys.items() if note in _ALL_OFF else ():
                if of == channel and events[-1][1] != _SILENCE:
                    events.append((tick, _SILENCE))
        elif channel != _DRUMS and 0 <= note - LOWEST_NOTE < NUM_NOTES:
            starts = kind == midi_events.NOTE_ON and value > 0
            keys.setdefault((channel, note), []).append((tick, _START if starts else _END))
    spans = []
    for (_, note), events in keys.items():
        notes = _counted(events)
        if notes is None:
            notes, endless = _in_turn(events, track.ticks)
            if endless and not track.ended:
                raise ValueError(f"it is cut off: neither the note {note} nor its track ends")
        spans += [(note, start, stop) for start, stop in notes]
    return spans


def _counted(events: list[tuple[int, int]]) -> list[tuple[int, int]] | None:
    """(first tick, tick after the last) of the notes of a key, by counting those that sound.

    So their order within a tick does not matter: a note struck again may be written before the end
    of the one before it, and the end of a note of no length before its start. Nor do two voices on
    one key end one another. None if a start or an end lacks the other, so that counts mean nothing.
    """
    spans, count, begin = [], 0, 0
    for tick, group in itertools.groupby(events, operator.itemgetter(0)):
        kinds = [kind for _, kind in group]
        if _SILENCE in kinds and count:
            # Not what starts at the same tick: programs silence a channel before they play.
            spans.append((begin, tick))
            count = 0
        starts, ends = kinds.count(_START), kinds.count(_END)
        if count + starts < ends:
            return None
        if starts:
            spans.append((tick, tick))
        if starts and not count:
            begin = tick
        if count and count + starts == ends:
            spans.append((begin, tick))
        count += starts - ends
    return None if count else spans


def _in_turn(events: list[tuple[int, int]], last: int) -> tuple[list[tuple[int, int]], bool]:
    """The notes of a key of which some lack an end, and whether the last one does.

    A note that starts anew ends the one before it, the end of the track ends all.
    """
    spans: list[tuple[int, int]] = []
    start: int | None = None
    struck_again = lone_end = -1  # ticks: of an end that may still follow, and that came too early
    for tick, kind in events:
        if kind == _START:
            if start is not None:
                spans.append((start, start if lone_end == start else tick))
                struck_again = tick if start < tick else -1
            start = tick
        elif kind == _SILENCE and start is not None and start < tick:
            spans.append((start, tick))
            start = None
        elif kind == _END and struck_again == tick:
            struck_again = -1
        elif kind == _END and start is not None:
            spans.append((start, tick))
            start = None
        elif kind == _END:
            lone_end = tick
    if start is None:
        return spans, False
    return [*spans, (start, start if lone_end == start else last)], lone_end != start


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
    check_music(steps_per_quarter, bpm, program)
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


def check_music(steps_per_quarter: int, bpm: float, program: int) -> None:
    """Check how a piano roll is to be played.

    Raises:
        ValueError: a number is not in the accepted range.
    """
    check_steps(steps_per_quarter)
    # Slower does not fit the 24 bits of a MIDI tempo.
    if isinstance(bpm, bool) or not isinstance(bpm, numbers.Real) or not 4 <= bpm <= 1000:
        raise ValueError(f"bpm={bpm!r}; accepted are 4..1000")
    if type(program) is not int or not 0 <= program <= 127:
        raise ValueError(f"program={program!r}; accepted are integers 0..127")


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
