"""The events of a Standard MIDI File that tell which notes sound, and none of the others.

Everything else is stepped over by its length: files have meta events that are out of range or of
another length than the standard's, chunks of other programs, and texts of megabytes, all of which a
reader of notes has no use for. mido decodes each of them, and refuses the file where one is odd.
"""

from __future__ import annotations

import dataclasses
import struct

NOTE_OFF, NOTE_ON, CONTROL = 0x8, 0x9, 0xB
_CHUNK = struct.Struct(">4sI")
_END_OF_TRACK, _TEMPO = 0x2F, 0x51
_MOST_DIGITS = 4  # bytes of a number of variable length
# Data bytes of each status: of channel messages by its upper half, of system messages by all of it.
_SIZES = {0x8: 2, 0x9: 2, 0xA: 2, 0xB: 2, 0xC: 1, 0xD: 1, 0xE: 2}
_SYSTEM_SIZES = {0xF1: 1, 0xF2: 2, 0xF3: 1, 0xF6: 0, 0xF8: 0, 0xFA: 0, 0xFB: 0, 0xFC: 0, 0xFE: 0}


@dataclasses.dataclass
class Track:
    """The events of a track.

    Args:
        events: (tick, kind, channel, first data byte, second data byte) of `NOTE_ON`, `NOTE_OFF`
            and `CONTROL`, in order.
        ticks: its length.
        ended: whether it has an end-of-track event.
        tempo: (tick, microseconds of a quarter note) of its first tempo; None if it has none.
    """

    events: list[tuple[int, int, int, int, int]] = dataclasses.field(default_factory=list)
    ticks: int = 0
    ended: bool = False
    tempo: tuple[int, int] | None = None


@dataclasses.dataclass
class MidiFile:
    """A Standard MIDI File.

    Args:
        type: 0 or 1, tracks that sound together; 2, songs of their own.
        ticks: in a quarter note.
        tracks: all that are there.
    """

    type: int
    ticks: int
    tracks: list[Track]


def parse(data: bytes) -> MidiFile:
    """The events of a file.

    Raises:
        ValueError: it is damaged, cut off, of an unknown type, or does not count time in parts of a
            quarter note; the error does not name the file.

    Example:
        parse(Path("chorale.mid").read_bytes()).ticks  # 480
    """
    if data[:4] != b"MThd":
        raise ValueError("it does not begin with MThd")
    size = int.from_bytes(data[4:8])
    at = 8 + size
    if len(data) < at or len(data) < 14:
        raise ValueError("it is cut off in its header")
    if size < 6:
        raise ValueError(f"its header has {size} bytes; 6 are needed")
    kind, announced, division = struct.unpack_from(">HHH", data, 8)
    if kind > 2:
        raise ValueError(f"its type is {kind}; accepted are 0, 1 and 2")
    if division == 0:
        raise ValueError("its division is 0: a quarter note has no ticks")
    if division & 0x8000:
        raise ValueError("it counts time in SMPTE frames, not in parts of a quarter note")
    tracks: list[Track] = []
    while at + _CHUNK.size <= len(data):
        name, size = _CHUNK.unpack_from(data, at)
        start = at + _CHUNK.size
        if name == b"MTrk":
            track, at = _track(data, start, size)
            tracks.append(track)
        elif start + size <= len(data) and all(32 <= byte < 127 for byte in name):
            at = start + size  # the standard has readers step over chunks that they do not know
        else:
            break
    if len(tracks) < announced:
        raise ValueError(f"it is cut off: it tells of {announced} tracks, {len(tracks)} are there")
    # Programs leave padding and tags at the end; a track whose length is too small looks alike.
    rest = at < len(data)
    if rest and (not tracks or not tracks[-1].ended or data.find(b"MTrk", at) >= 0):
        raise ValueError(f"track {len(tracks)} is followed by what is no chunk, at byte {at}")
    return MidiFile(kind, division, tracks)


def _track(data: bytes, start: int, size: int) -> tuple[Track, int]:
    """A track, and the place that follows it."""
    track, at, status = Track(), start, 0
    end = min(start + size, len(data))
    try:
        while at < end:
            delta, at = _number(data, at)
            track.ticks += delta
            byte = data[at]
            if byte == 0xFF:
                kind = data[at + 1]
                length, at = _number(data, at + 2)
                at += length
                if kind == _TEMPO and length == 3 and track.tempo is None:
                    tempo = int.from_bytes(data[at - 3 : at])
                    track.tempo = (track.ticks, tempo) if tempo else None
                if kind == _END_OF_TRACK:
                    track.ended = True
                    # The announced length may be too large, and padding is no event.
                    if data.startswith(b"MTrk", at):
                        return track, at
                    if not any(memoryview(data)[at:end]):
                        break
                continue
            if byte in (0xF0, 0xF7):  # system exclusive
                length, at = _number(data, at + 1)
                at += length
                continue
            if byte >= 0x80:
                at += 1
            if byte >= 0xF0:
                count = _SYSTEM_SIZES.get(byte)
                if count is None:
                    raise ValueError(f"it has the unknown status byte {byte:#x} at byte {at - 1}")
                at += count
                continue
            status = byte if byte >= 0x80 else status
            if not status:
                raise ValueError(f"it has an event without a status at byte {at}")
            count = _SIZES[status >> 4]
            first, second = data[at], data[at + 1] if count == 2 else 0
            if first > 127 or second > 127:
                raise ValueError(f"it has a data byte above 127 at byte {at}")
            at += count
            if status >> 4 in (NOTE_OFF, NOTE_ON, CONTROL):
                track.events.append((track.ticks, status >> 4, status & 15, first, second))
    except IndexError:
        at = len(data) + 1
    if start + size > len(data) and not (track.ended and at <= len(data)):
        there = len(data) - start
        raise ValueError(f"it is cut off: a track has {size} bytes, {there} are there")
    if at > end:
        raise ValueError(f"an event goes beyond its track, which ends at byte {end}")
    return track, end


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A number of variable length, seven bits a byte, and the place that follows it."""
    value = 0
    for i in range(_MOST_DIGITS):
        byte = data[at + i]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + i + 1
    raise ValueError(f"it has a number of more than {_MOST_DIGITS} bytes at byte {at}")
