"""The default data set: the four-part chorales of J. S. Bach in the music21 package's corpus.

music21 itself is never imported. A chorale is a small MusicXML file. The standard library reads all
of them in seconds, does not change music21's settings, and gives the same notes as music21's own
parser.

The rules are fixed:

- A score is used if it has exactly one part each of Soprano, Alto, Tenor and Bass. Other parts
  (horns, continuo) are left out, and so are bars in which all four voices rest, which are
  interludes of those instruments.
- A frame is an eighth note. A note is on in a frame if it sounds at the frame's start, so that a
  sixteenth note between two frames is lost. Ties are kept. Repeats are not played, and nothing is
  transposed. Silence before the first and after the last note is cut.
- Pieces are ordered by BWV number and file name. A piece with the same roll as an earlier one is
  left out, so that no test sequence is in the training part.
- The BWV number modulo 10 decides the part: 0 is test, 1 is valid, the rest is train. All versions
  of one work are in one part. Another setting of the same hymn tune may be in another part.
"""

import importlib.metadata
import importlib.util
import io
import os
import re
import sys
import xml.etree.ElementTree as ElementTree
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from srnn_tf.core import progress
from srnn_tf.core.files import replacing
from srnn_tf.data.corpora.splits import PARTS, Splits
from srnn_tf.data.formats.rolls import LOWEST_NOTE, NUM_NOTES

VOICES = ("Alto", "Bass", "Soprano", "Tenor")
FRAMES_PER_QUARTER = 2
FORMAT = 1  # of the cache file; to be raised with every change of the rules above
SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
# What the zip and XML readers raise on damaged content (a ParseError is a SyntaxError).
_DAMAGED = (zipfile.BadZipFile, zlib.error, ValueError, LookupError, ArithmeticError)
_DAMAGED += (TypeError, EOFError, RuntimeError, SyntaxError)


@dataclass(frozen=True, eq=False)
class Chorales:
    """The chorales in order: file names, rolls of shape (T_i, 88), and the music21 version."""

    names: tuple[str, ...]
    rolls: tuple[np.ndarray, ...]
    version: str


def load_bach() -> Splits:
    """Return the chorales, read once from music21's corpus and kept in the user's cache folder.

    Raises:
        ImportError: neither a cache file nor the music21 package is there.
        FileNotFoundError: music21 is installed without its corpus.
        ValueError: no chorale could be read.

    Example:
        load_bach().train[0].shape  # (frames of an eighth note, 88)
    """
    chorales = load_chorales()
    parts: dict[str, Any] = {part: [] for part in PARTS}
    for name, roll in zip(chorales.names, chorales.rolls, strict=True):
        parts[part_of(name)].append(roll)
    return Splits("bach", **parts, edition=f"music21-{chorales.version}", source="music21's corpus")


def load_chorales(frames_per_quarter: int = FRAMES_PER_QUARTER) -> Chorales:
    """Return the chorales at a given time step, from the cache file or from music21.

    Args:
        frames_per_quarter: frames in a quarter note; those of the data set `bach` by default.

    Raises:
        ImportError, FileNotFoundError, ValueError: as in `load_bach`.

    Example:
        load_chorales(4).rolls[0].shape  # (frames of a sixteenth note, 88)
    """
    step = "" if frames_per_quarter == FRAMES_PER_QUARTER else f"-{frames_per_quarter}-a-quarter"
    installed, cache = _installed_version(), cache_folder() / f"bach-{FORMAT}{step}.npz"
    chorales = None
    if cache.exists():
        try:
            chorales = _read_cache(cache)
        except Exception as error:  # whatever it is, a new file is the remedy
            _say(f"{cache} is damaged ({error}); it is made again")
        else:
            if installed not in (None, chorales.version):
                _say(f"{cache} is of music21 {chorales.version}; it is made again for {installed}")
                chorales = None
    if chorales is None:
        chorales = build(corpus_folder(), installed or "unknown", frames_per_quarter)
        try:
            cache.parent.mkdir(parents=True, exist_ok=True)
            write_cache(chorales, cache)
            progress.tell(f"kept in {cache}")
        except OSError as error:  # a read-only home costs a few seconds each time, no more
            _say(f"{cache} cannot be written ({error}); the chorales are not kept")
    return chorales


def cache_folder() -> Path:
    """Return `$SRNN_TF_CACHE`, else a folder in the user's cache, such as `~/.cache/srnn_tf`."""
    if os.environ.get("SRNN_TF_CACHE"):
        return Path(os.environ["SRNN_TF_CACHE"]).expanduser()
    return platformdirs.user_cache_path("srnn_tf", appauthor=False)


def corpus_folder() -> Path:
    """Return the folder of Bach's works in the installed music21 package.

    Raises:
        ImportError: music21 is not installed.
        FileNotFoundError: music21 is installed without its corpus.
    """
    spec = importlib.util.find_spec("music21")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(
            "the data set bach is read from the music21 package: pip install 'srnn-tf[music]'"
        )
    folder = Path(spec.submodule_search_locations[0]) / "corpus" / "bach"
    if not folder.is_dir():
        raise FileNotFoundError(f"music21 is installed without its corpus: {folder} is missing")
    return folder


def build(folder: Path, version: str, frames_per_quarter: int = FRAMES_PER_QUARTER) -> Chorales:
    """Read every chorale in `folder`, in order, without pieces that repeat an earlier one.

    Args:
        folder: a folder of `bwv*.mxl` and `bwv*.xml` files.
        version: the music21 version of the files.
        frames_per_quarter: frames in a quarter note.

    Raises:
        ValueError: no chorale could be read.

    Example:
        build(corpus_folder(), "10.5.1").names[0]  # "bwv1.6.mxl"
    """
    paths = [p for p in folder.glob("bwv*") if p.suffix in (".mxl", ".xml")]
    names, rolls, seen, unreadable, others, repeats = [], [], set(), [], 0, 0
    ordered = sorted(paths, key=lambda p: (bwv_number(p.name), p.name))
    for path in progress.track(ordered, "reading Bach's chorales"):
        try:
            roll = read_chorale(path, frames_per_quarter)
        except _DAMAGED as error:
            unreadable.append(f"{path.name} ({error})")
            continue
        if roll is None:
            others += 1
        elif roll.tobytes() in seen:
            repeats += 1
        else:
            seen.add(roll.tobytes())
            names.append(path.name)
            rolls.append(roll)
    if not rolls:
        raise ValueError(f"{folder} holds no readable chorale among {len(paths)} scores")
    progress.tell(
        f"bach: {len(rolls)} chorales from music21 {version}; left out: {others} not in four "
        f"voices, {repeats} the same as another, {len(unreadable)} unreadable"
        + "".join(f"\n  {line}" for line in unreadable)
    )
    return Chorales(tuple(names), tuple(rolls), version)


def bwv_number(name: str) -> int:
    """Return the number of the work in a file name, 248 in `bwv248.9-1.mxl`.

    Raises:
        ValueError: the name has no such number.
    """
    match = re.match(r"bwv(\d+)", name)
    if not match:
        raise ValueError(f"name={name!r}; accepted are names like bwv248.9-1.mxl")
    return int(match[1])


def part_of(name: str) -> str:
    """Return "train", "valid" or "test", by the BWV number of a file name modulo 10."""
    return {0: "test", 1: "valid"}.get(bwv_number(name) % 10, "train")


def read_chorale(path: Path, frames_per_quarter: int = FRAMES_PER_QUARTER) -> np.ndarray | None:
    """Return the roll of a MusicXML score, uint8 (T, 88), or None if it is not in four voices.

    Args:
        path: an `.xml` file or a compressed `.mxl` file.
        frames_per_quarter: frames in a quarter note.

    Raises:
        ValueError: the score is not supported (a damaged file raises other types).
    """
    score = _score(path)
    voices = {
        p.get("id"): (p.findtext("part-name") or "").split() for p in score.iter("score-part")
    }
    first_words = {key: words[0] if words else "" for key, words in voices.items()}
    parts = [p for p in score.findall("part") if first_words.get(p.get("id")) in VOICES]
    if sorted(first_words[p.get("id")] for p in parts) != list(VOICES):
        return None
    notes, bar_start = [], Fraction(0)
    # Bars are laid side by side, so a bar written too short in one voice cannot shift that voice.
    for bars in zip(*(_bars(part) for part in parts), strict=True):
        if any(bar_notes for bar_notes, _ in bars):
            for bar_notes, _ in bars:
                notes += [(bar_start + on, bar_start + off, note) for on, off, note in bar_notes]
            bar_start += max(length for _, length in bars)
    roll = np.zeros((ceil(bar_start * frames_per_quarter), NUM_NOTES), np.uint8)
    for on, off, note in notes:
        first, end = ceil(on * frames_per_quarter), ceil(off * frames_per_quarter)
        if not 0 <= note - LOWEST_NOTE < NUM_NOTES:
            raise ValueError(f"{path}: the note {note} is not on a piano of {NUM_NOTES} keys")
        roll[first:end, note - LOWEST_NOTE] = 1
    sounding = np.flatnonzero(roll.any(axis=1))
    if not len(sounding):
        raise ValueError(f"{path}: no note in it")
    return roll[sounding[0] : sounding[-1] + 1]


def _score(path: Path) -> ElementTree.Element:
    if path.suffix != ".mxl":
        return ElementTree.parse(path).getroot()
    # From memory, an impossible position is a ValueError; in a file it would be an OSError.
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
        for entry in archive.namelist():
            if entry.endswith(("musicxml", ".xml")) and not entry.startswith("META-INF"):
                return ElementTree.fromstring(archive.read(entry))
    raise ValueError(f"{path} holds no MusicXML file")


def _bars(part: ElementTree.Element) -> Iterable[tuple[list[tuple], Fraction]]:
    """Yield ([(start, end, MIDI note), ...], length) of each bar, in quarter notes."""
    divisions = 1  # parts of a quarter note that durations are counted in
    for bar in part.findall("measure"):
        notes, now, start, length = [], Fraction(0), Fraction(0), Fraction(0)
        for item in bar:
            if item.tag == "attributes":
                divisions = int(item.findtext("divisions") or divisions)
                if item.find("transpose") is not None:
                    raise ValueError("a transposing part is not understood")
            if item.tag not in ("note", "forward", "backup") or item.find("grace") is not None:
                continue
            duration = Fraction(item.findtext("duration", "")) / divisions
            if item.find("chord") is None:  # a note of a chord starts with the one before it
                start = now
                now += -duration if item.tag == "backup" else duration
            length = max(length, now)
            if (pitch := item.find("pitch")) is not None:
                notes.append((start, start + duration, _midi_number(pitch)))
        yield notes, length


def _midi_number(pitch: ElementTree.Element) -> int:
    alter = int(float(pitch.findtext("alter") or 0))
    return (
        12 * (int(pitch.findtext("octave", "")) + 1) + SEMITONES[pitch.findtext("step", "")] + alter
    )


def write_cache(chorales: Chorales, path: Path) -> None:
    """Write the chorales as one .npz file; the same chorales always give the same bytes."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(
            file,
            format=np.int64(FORMAT),
            version=np.array(chorales.version),
            names=np.array(chorales.names),
            split=np.array([PARTS.index(part_of(n)) for n in chorales.names], np.uint8),
            lengths=np.array([len(roll) for roll in chorales.rolls], np.int64),
            bits=np.packbits(np.concatenate(chorales.rolls)),
        )


def _read_cache(path: Path) -> Chorales:
    """Read a file of `write_cache`; a file that is not whole raises any of a dozen errors."""
    with np.load(path, allow_pickle=False) as content:
        lengths, names, split = content["lengths"], content["names"], content["split"]
        bits, version = content["bits"], str(content["version"])
        stored_format = int(content["format"])
    frames = int(lengths.sum())
    if stored_format != FORMAT or not len(names) == len(lengths) == len(split) or lengths.min() < 1:
        raise ValueError("its tables do not fit together")
    if any(PARTS[s] != part_of(name) for s, name in zip(split, names, strict=True)):
        raise ValueError("its split is another one")
    if bits.dtype != np.uint8 or len(bits) != ceil(frames * NUM_NOTES / 8):
        raise ValueError(f"it has {len(bits)} bytes of notes for {frames} frames")
    flat = np.unpackbits(bits)[: frames * NUM_NOTES].reshape(frames, NUM_NOTES)
    rolls = np.split(flat, np.cumsum(lengths)[:-1])
    return Chorales(tuple(str(name) for name in names), tuple(rolls), version)


def _installed_version() -> str | None:
    try:
        return importlib.metadata.version("music21")
    except importlib.metadata.PackageNotFoundError:
        return None


def _say(line: str) -> None:
    print(line, file=sys.stderr)
