"""MIDI files as programs write them: notes in any order within a tick, odd events, many ends."""

import struct
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srnn_tf.data.formats.midi import held_notes, read_midi

LITTLE = dict(max_examples=60, derandomize=True, deadline=None)
END = b"\xff\x2f\x00"


def number(value):
    """A number of variable length."""
    digits = [value & 127]
    while value := value >> 7:
        digits.append(128 | value & 127)
    return bytes(digits[::-1])


def track(*events, extra=0):
    """A chunk of (ticks since the one before, bytes); its length is told wrong by `extra`."""
    data = b"".join(number(delta) + event for delta, event in events)
    return b"MTrk" + struct.pack(">I", len(data) + extra) + data


def on(delta, note, channel=0):
    return delta, bytes([0x90 | channel, note, 80])


def off(delta, note, channel=0):
    return delta, bytes([0x80 | channel, note, 0])


def meta(kind, data):
    return 0, bytes([255, kind]) + number(len(data)) + data


def control(delta, number, channel=0):
    return delta, bytes([0xB0 | channel, number, 0])


def smf(*tracks, kind=1, division=480, announced=None):
    count = len(tracks) if announced is None else announced
    return b"MThd" + struct.pack(">IHHH", 6, kind, count, division) + b"".join(tracks)


NOTE = on(0, 60), off(480, 60)
PLAIN = smf(track(*NOTE, (0, END)))


@pytest.fixture
def read(tmp_path):
    def read(content, steps_per_quarter=2):
        (tmp_path / "a.mid").write_bytes(content)
        return read_midi(tmp_path / "a.mid", steps_per_quarter)

    return read


@pytest.fixture
def spans(read):
    """(note, first step, step after the last) of the notes of a track, at a tick a step."""
    return lambda *events: held_notes(read(smf(track(*events), division=1), 1))


def in_order(events):
    """(tick, bytes) as (ticks since the one before, bytes)."""
    before = [0, *(tick for tick, _ in events)]
    return [(tick - last, event) for (tick, event), last in zip(events, before[:-1], strict=True)]


@settings(**LITTLE)
@given(
    notes=st.lists(
        st.tuples(st.integers(60, 61), st.integers(0, 12), st.integers(0, 6)), min_size=1
    ),
    random=st.randoms(use_true_random=False),
)
def test_the_order_within_a_tick_does_not_matter(notes, random, tmp_path_factory):
    """Repeated notes, voices on one key, notes of no length: each sounds for its own time."""
    events = []
    for note, start, length in notes:
        events += [(start, on(0, note)[1]), (start + length, off(0, note)[1])]
    random.shuffle(events)
    events.sort(key=lambda event: event[0])
    wanted = np.zeros([30, 88], np.uint8)
    for note, start, length in notes:
        wanted[start : start + max(length, 1), note - 21] = 1
    path = tmp_path_factory.getbasetemp() / "order.mid"
    path.write_bytes(smf(track(*in_order(events), (0, END)), division=1))
    sounding = np.flatnonzero(wanted.any(axis=1))
    np.testing.assert_array_equal(read_midi(path, 1), wanted[sounding[0] : sounding[-1] + 1])


@settings(**LITTLE)
@given(
    ticks=st.lists(st.integers(0, 200), min_size=2, max_size=20),
    steps_per_quarter=st.sampled_from([1, 2, 3, 4, 5, 12]),
    shift=st.integers(1, 3),
)
def test_a_piece_that_begins_some_steps_later_is_the_same(
    ticks, steps_per_quarter, shift, tmp_path_factory
):
    rolls, path = [], tmp_path_factory.getbasetemp() / "shift.mid"
    for later in (0, shift * 120 // steps_per_quarter):
        events = [
            (tick + later, [on, off][i % 2](0, 60 + i // 2)[1])
            for i, tick in enumerate(sorted(ticks[: len(ticks) // 2 * 2]))
        ]
        path.write_bytes(smf(track(*in_order(events), (0, END)), division=120))
        rolls.append(read_midi(path, steps_per_quarter))
    np.testing.assert_array_equal(*rolls)


def test_halves_are_rounded_up(read):
    sixteenths = [e for i in range(8) for e in (on(0, 60 + i), off(120, 60 + i))]
    roll = read(smf(track(*sixteenths, (0, END))))
    starts = [np.flatnonzero(roll[:, 39 + i])[0] for i in range(8)]
    assert starts == [0, 1, 1, 2, 2, 3, 3, 4]


@pytest.mark.parametrize(
    ("events", "wanted"),
    [
        ([on(0, 60), control(4, 123), (0, END)], [(60, 0, 4)]),
        ([on(0, 60), control(4, 120), off(4, 60), (0, END)], [(60, 0, 4)]),
        ([on(0, 60), control(4, 126), (9, END)], [(60, 0, 4)]),
        ([on(0, 60), control(4, 123, 1), off(2, 60), (0, END)], [(60, 0, 6)]),  # another channel
        ([on(0, 60), control(4, 64), off(2, 60), (0, END)], [(60, 0, 6)]),  # a pedal
        ([control(0, 123), on(0, 60), control(0, 123), off(2, 60), (0, END)], [(60, 0, 2)]),
        ([on(0, 60), (5, END)], [(60, 0, 5)]),
        ([on(0, 60), on(3, 60), (5, END)], [(60, 0, 8)]),
        ([on(0, 120), on(0, 60), off(2, 60), (0, END)], [(60, 0, 2)]),  # no key of a piano
        # Of a key that lacks an end, notes of no length whose end is written first stay short.
        ([off(0, 60), on(0, 60), on(4, 62), off(1, 62), (0, END)], [(60, 0, 1), (62, 4, 5)]),
        (
            [off(0, 60), off(2, 60), on(0, 60), on(4, 60), off(1, 60), (0, END)],
            [(60, 0, 1), (60, 4, 5)],
        ),
        # One that is struck again before its end, and then never ends.
        (
            [on(0, 60), on(2, 60), off(0, 60), off(2, 60), on(1, 60), (3, END)],
            [(60, 0, 4), (60, 5, 8)],
        ),
    ],
)
def test_how_notes_end(events, wanted, spans):
    assert spans(*events) == wanted


def test_notes_of_a_track_without_an_end(read, spans):
    assert spans(on(0, 60), off(4, 60)) == [(60, 0, 4)]
    with pytest.raises(ValueError, match="a.mid: .* cut off: neither the note 60 nor its track en"):
        read(smf(track(on(0, 60))))


ODD = {
    "9 sharps": meta(0x59, b"\x09\x00"),
    "mode 255": meta(0x59, b"\xfe\xff"),
    "a key of one byte": meta(0x59, b"\x00"),
    "no tempo": meta(0x51, b""),
    "half a meter": meta(0x58, b"\x04\x02"),
    "SMPTE at rate 7": meta(0x54, b"\xff\0\0\0\0"),
    "2 MB of text": meta(0x01, b"x" * 2_000_000),
    "text that is none": meta(0x03, b"\xff\xfe\x80"),
    "a kind above 127": meta(0xFF, b"x"),
    "sequence number of 9 bytes": meta(0x00, b"x" * 9),
    "channel prefix 200": meta(0x20, b"\xc8"),
    "exclusive": (0, b"\xf0\x03\x41\x80\xf7"),
    "escape": (0, b"\xf7\x02\xf3\x01"),
    "song position": (0, b"\xf2\x00\x00"),
    "clock": (0, b"\xf8"),
}


@pytest.mark.parametrize("name", ODD)
def test_events_that_tell_no_notes_are_not_read(name, read):
    np.testing.assert_array_equal(read(smf(track(ODD[name], *NOTE, (0, END)))), read(PLAIN))


@pytest.mark.parametrize(
    "content",
    [
        PLAIN[:14] + b"XFIH" + struct.pack(">I", 4) + b"abcd" + PLAIN[14:],  # another's chunk
        PLAIN + b"SEM1" + struct.pack(">I", 2) + b"ab",
        PLAIN + bytes(3),
        PLAIN + b"TAG" + bytes(125),
        PLAIN[:4] + struct.pack(">I", 8) + PLAIN[8:14] + b"xx" + PLAIN[14:],  # a longer header
        smf(track(*NOTE, (0, END), extra=4)),
        smf(track(*NOTE, (0, END + bytes(5)))),
        smf(track((0, END), extra=9), track(*NOTE, (0, END))),
        smf(track((0, END)), track(*NOTE, (0, END)), announced=1),
        smf(track((0, END)), track(*NOTE, (0, END)), kind=0),
        smf(track((0, END)), track(*NOTE, (0, END)), kind=2),  # one song
        smf(track(on(0, 60), (0, b"\xff\x01\x00"), (480, b"\x3c\x00"), (0, END))),  # running status
    ],
)
def test_files_that_are_odd_and_whole(content, read):
    np.testing.assert_array_equal(read(content), read(PLAIN))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (smf(track(*NOTE, (0, END)), division=0), "its division is 0"),
        (smf(track(*NOTE, (0, END)), division=0xE728), "counts time in SMPTE frames"),
        (smf(track(*NOTE, (0, END)), kind=3), "its type is 3; accepted are 0, 1 and 2"),
        (smf(*[track(*NOTE, (0, END))] * 2, kind=2), "is of type 2, 2 songs in one file; acc"),
        (smf(track(*NOTE, (0, END)), announced=2), "cut off: it tells of 2 tracks, 1 are there"),
        (PLAIN[:-1], "an event goes beyond|cut off"),
        (PLAIN[:-4], "cut off: a track has 13 bytes, 9 are there"),
        (smf(track(*NOTE, extra=4)), "cut off: a track has"),
        (smf(track(*NOTE, (0, END), extra=-4)), "track 1 is followed by what is no chunk"),
        (smf(track(*NOTE, (0, END), extra=-2)), "an event goes beyond its track"),
        (PLAIN + b"junk" + track(*NOTE, (0, END)), "track 1 is followed by what is no chunk"),
        (smf(track((0, b"\x3c\x40"), *NOTE, (0, END))), "an event without a status"),
        (smf(track((0, b"\x90\x3c\x80"), (0, END))), "a data byte above 127"),
        (smf(track((0, b"\xf4"), *NOTE, (0, END))), "the unknown status byte 0xf4"),
        (PLAIN[:4] + bytes(4) + PLAIN[8:], "its header has 0 bytes; 6 are needed"),
    ],
)
def test_files_that_are_refused(content, message, read):
    with pytest.raises(ValueError, match=f"a.mid: .*({message})"):
        read(content)


@pytest.mark.parametrize("front", [b"", b"\x00\xff\x01", b"\x00\xf0"])
def test_a_number_of_a_megabyte_ends_at_once(front, read):
    data = front + b"\xff" * 1_000_000 + b"\x00"
    with pytest.raises(ValueError, match="a.mid: .* a number of more than 4 bytes at byte"):
        read(smf(b"MTrk" + struct.pack(">I", len(data)) + data))


def test_reading_needs_no_package(read, monkeypatch):
    monkeypatch.setitem(sys.modules, "mido", None)
    assert read(PLAIN).shape == (2, 88)
