"""Sound of piano rolls: plain tones by NumPy, or the instruments of a soundfont by FluidSynth."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

import numpy as np

from srnn_tf.data.formats.midi import VELOCITY, check_music, held_notes
from srnn_tf.data.formats.rolls import check_roll

SAMPLE_RATE = 44100  # Hz
MOST_SECONDS = 1800  # of one sound: its samples take some 1 GB of memory
_RATES = (8000, 192000)
_PARTIALS = 8  # of a tone, those below half the sample rate
_ATTACK, _RELEASE = 0.008, 0.08  # seconds: what begins or ends at once clicks
_DECAY = 1.5  # seconds in which a held tone falls to 1 / e
_LONGEST = 10 * _DECAY  # seconds after which a held tone cannot be heard, -87 dB
_PEAK = 0.8  # of full scale
_TAIL = 1.0  # seconds in which the instruments of a soundfont fade
_BLOCK = 1 << 16  # samples of a soundfont that are rendered at once


def synthesize(
    roll: np.ndarray,
    steps_per_quarter: int = 2,
    bpm: float = 100,
    sample_rate: int = SAMPLE_RATE,
    soundfont: str | os.PathLike | None = None,
    program: int | None = None,
) -> np.ndarray:
    """The sound of a piano roll, one channel; consecutive 1s are one held note.

    By default a note is a plain tone: a sum of eight partials that decays while the note is held.
    The same roll gives the same samples.

    Args:
        roll: array of 0 and 1, shape (T, 88); column `c` is MIDI note `c + 21`.
        steps_per_quarter: frames in a quarter note.
        bpm: the tempo in quarter notes per minute, 4 to 1000.
        sample_rate: the sample rate in Hz, 8000 to 192000.
        soundfont: a soundfont (.sf2 or .sf3) to play with; None for plain tones.
        program: the General MIDI instrument of the soundfont, 0..127; 0, a grand piano, by default.

    Returns:
        Samples (n,) float32, with a peak of 0.8 (of 0 where no note sounds).

    Raises:
        FileNotFoundError: there is no such soundfont.
        ImportError: a soundfont needs pyfluidsynth and the library FluidSynth.
        ValueError: `roll` is not a piano roll or lasts longer than half an hour, a number is out of
            range, there is a program without a soundfont, or the file is not a soundfont.

    Example:
        >>> samples = synthesize(np.eye(88), bpm=240)
        >>> samples.shape, f"{abs(samples).max():.1f}"
        ((488628,), '0.8')
    """
    roll = check_roll(roll, "roll")
    check_music(steps_per_quarter, bpm, program or 0)
    low, high = _RATES
    if not isinstance(sample_rate, int) or not low <= sample_rate <= high:
        raise ValueError(f"sample_rate={sample_rate!r}; accepted are integers {low}..{high}")
    if soundfont is None and program is not None:
        raise ValueError(f"program={program!r} is an instrument of a soundfont; pass `soundfont`")
    check_length(len(roll), steps_per_quarter, bpm)
    frame = sample_rate * 60.0 / (bpm * steps_per_quarter)
    notes = [(note, round(a * frame), round(b * frame)) for note, a, b in held_notes(roll)]
    length = round(len(roll) * frame)
    if soundfont is None:
        samples = _tones(notes, length, sample_rate)
    else:
        samples = _played(notes, length, sample_rate, Path(soundfont), program or 0)
    peak = np.abs(samples).max()
    return samples * np.float32(_PEAK / peak) if peak > 0 else samples


def _tones(notes: list[tuple[int, int, int]], length: int, rate: int) -> np.ndarray:
    """The sum of the tones of notes (MIDI note, first sample, sample after the last)."""
    tail = round(_RELEASE * rate)
    samples = np.zeros([length + tail], np.float32)
    for note, start, stop in notes:
        held = min(stop - start, round(_LONGEST * rate))
        samples[start : start + held + tail] += _tone(note, held, tail, rate)
    return samples


def _tone(note: int, held: int, tail: int, rate: int) -> np.ndarray:
    hertz = 440.0 * 2.0 ** ((note - 69) / 12)
    phase = (2 * np.pi * hertz / rate) * np.arange(held + tail)
    # sin((k + 1) x) = 2 cos(x) sin(k x) - sin((k - 1) x): one sine for all partials.
    twice, before, partial = 2 * np.cos(phase), np.zeros_like(phase), np.sin(phase)
    tone = np.zeros_like(phase)
    for k in range(1, _PARTIALS + 1):
        if k * hertz >= rate / 2:
            break
        tone += partial / k**2
        before, partial = partial, twice * partial - before
    envelope = np.exp(np.arange(held + tail) / (-_DECAY * rate))
    rise, fall = min(round(_ATTACK * rate), held), np.arange(tail) / tail
    envelope[:rise] *= 0.5 - 0.5 * np.cos(np.pi * np.arange(rise) / rise)
    envelope[held:] *= 0.5 + 0.5 * np.cos(np.pi * fall)
    # High tones sound louder than low ones of the same amplitude.
    return (tone * envelope * (440.0 / hertz) ** 0.4).astype(np.float32)


def _played(
    notes: list[tuple[int, int, int]], length: int, rate: int, soundfont: Path, program: int
) -> np.ndarray:
    """The notes as an instrument of a soundfont plays them."""
    check_soundfont(soundfont)
    fluidsynth = _fluidsynth()
    synth = fluidsynth.Synth(gain=0.2, samplerate=float(rate))
    try:
        font = synth.sfload(os.fspath(soundfont))
        if font < 0:
            raise ValueError(f"soundfont={soundfont}: FluidSynth cannot read it")
        if synth.program_select(0, font, 0, program) != 0:
            raise ValueError(f"soundfont={soundfont}: has no instrument of program={program}")
        # An end before a start at one time, as in a MIDI file.
        events = sorted(
            event for note, start, stop in notes for event in ((start, 1, note), (stop, 0, note))
        )
        blocks, now = [], 0
        for at, is_start, note in [*events, (length + round(_TAIL * rate), 0, None)]:
            while now < at:
                count = min(at - now, _BLOCK)
                blocks.append(_rendered(fluidsynth, synth, count))
                now += count
            if note is not None:
                synth.noteon(0, note, VELOCITY) if is_start else synth.noteoff(0, note)
        return np.concatenate(blocks)
    finally:
        synth.delete()


def _rendered(fluidsynth: Any, synth: Any, count: int) -> np.ndarray:
    """The next samples, the mean of both channels.

    In floating point where pyfluidsynth can declare it: FluidSynth's samples of 16 bits have a
    dither of the C library's `rand`, which differs with what else the process runs.
    """
    declare = getattr(fluidsynth, "cfunc", None)
    out = [("out", ctypes.c_void_p, 1), ("at", ctypes.c_int, 1), ("by", ctypes.c_int, 1)]
    head = [("synth", ctypes.c_void_p, 1), ("len", ctypes.c_int, 1)]
    write = declare and declare("fluid_synth_write_float", ctypes.c_int, *head, *out, *out)
    if not write:
        return np.asarray(synth.get_samples(count), np.float32).reshape(-1, 2).mean(axis=1)
    stereo = np.zeros([2, count], np.float32)
    left, right = (channel.ctypes.data for channel in stereo)
    write(synth.synth, count, left, 0, 1, right, 0, 1)
    return stereo.mean(axis=0)


def check_length(steps: int, steps_per_quarter: int, bpm: float) -> None:
    """Check that a roll of `steps` frames is short enough to be heard.

    Raises:
        ValueError: it lasts longer than half an hour.
    """
    seconds = steps * 60.0 / (bpm * steps_per_quarter)
    if seconds > MOST_SECONDS:
        raise ValueError(
            f"{steps} frames at {bpm:g} bpm last {seconds:.0f} seconds; accepted are {MOST_SECONDS}"
        )


def check_soundfont(path: str | os.PathLike) -> None:
    """Check that a file is a soundfont and can be played, before the work that gives the notes.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: pyfluidsynth or the library FluidSynth is not installed.
        ValueError: the file is not a soundfont.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"soundfont={path} is not a file; accepted are .sf2 and .sf3 files")
    with path.open("rb") as file:
        head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"sfbk":
        raise ValueError(f"soundfont={path} is not a soundfont; accepted are .sf2 and .sf3 files")
    _fluidsynth()


def _fluidsynth() -> Any:
    try:
        import fluidsynth
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError):
            missing = "pyfluidsynth: pip install 'srnn-tf[synth]'"
        else:  # of pyfluidsynth itself, which looks for the library when it is imported
            missing = "FluidSynth: apt install libfluidsynth3, or brew install fluid-synth"
        raise ImportError(f"a soundfont is played with {missing}") from error
    if not hasattr(fluidsynth, "Synth"):  # an unrelated package of the same name
        raise ImportError("a soundfont is played with pyfluidsynth: pip install 'srnn-tf[synth]'")
    return fluidsynth
