"""Files of binary piano rolls, `.mat` and the original `.pickle`, read as untrusted input.

The splits are those of Boulanger-Lewandowski et al. 2012, "Modeling Temporal Dependencies in
High-Dimensional Sequences", arXiv:1206.6392. One row is a frame, column `c` is MIDI note `c + 21`.
"""

import io
import math
import os
import pickle
import pickletools
import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from srnn_tf.core import reading
from srnn_tf.core.reading import shortened
from srnn_tf.data.formats.rolls import LOWEST_NOTE, NUM_NOTES, check_roll

PARTS = ("train", "valid", "test")  # as the files name them

ACCEPTED = (
    "accepted are a .mat file with the cell arrays traindata, validdata and testdata of "
    f"(frames, {NUM_NOTES}) arrays of 0 and 1, and a .pickle or .pkl file with a dictionary of "
    "train, valid and test, each a list of sequences, each a list of tuples of MIDI notes "
    f"{LOWEST_NOTE}..{LOWEST_NOTE + NUM_NOTES - 1}"
)

# Numbers of the MATLAB level 5 format: types of data elements, then classes of arrays.
_NAMES = "i1 u1 i2 u2 i4 u4 f4 f8 i8 u8".split()
_STORED = dict(zip((1, 2, 3, 4, 5, 6, 7, 9, 12, 13), _NAMES, strict=True))
_MATRIX, _COMPRESSED = 14, 15
_CELL, _NUMERIC, _IS_COMPLEX = 1, range(6, 16), 0x0800
# Bytes of a file, and of its three variables: the largest published ones have 35 million, and
# eight times that where each note is a double.
_LARGEST = 5 * 2**26
_CHUNK = 2**20  # bytes that are unpacked at once
_HEAD = 4096  # bytes of a variable that its name is within
_MOST_NOTES = 128  # of a frame, as many as MIDI has
_MOST_FRAMES = 5_000_000  # of a file, and no more than it has bytes: each takes one at least


def read_parts(path: str | os.PathLike) -> dict[str, list[np.ndarray]]:
    """Read the piano rolls of train, valid and test from a file.

    Args:
        path: a `.mat`, `.pickle` or `.pkl` file. Reading a pickle runs none of its code.

    Returns:
        A dict from each part to uint8 arrays of shape (T_i, 88).

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the path is a folder, or the file is of another format or damaged.

    Example:
        read_parts("Nottingham.mat")["test"][0].shape
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; {ACCEPTED}")
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; {ACCEPTED}")
    readers = {".mat": _read_mat, ".pickle": _read_pickle, ".pkl": _read_pickle}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ValueError(f"{path} ends in {path.suffix!r}; {ACCEPTED}")
    return reader(path)


def _read_mat(path: Path) -> dict[str, list[np.ndarray]]:
    """Read the three cell arrays of a MATLAB file, and nothing else in it."""
    variables = [part + "data" for part in PARTS]
    try:
        content = _mat_variables(reading.read_bytes(path, _LARGEST), variables)
    except (ValueError, zlib.error, OSError) as error:
        raise ValueError(
            f"{path} is not readable as a MATLAB file ({error}); {ACCEPTED}"
        ) from error
    rolls = {}
    for part, variable in zip(PARTS, variables, strict=True):
        cells = content.get(variable, "missing")
        if not isinstance(cells, list):
            kind = f"an array of {cells.dtype}" if isinstance(cells, np.ndarray) else cells
            raise ValueError(f"{path}: the cell array {variable} is {kind}; {ACCEPTED}")
        for i, cell in enumerate(cells):
            if not isinstance(cell, np.ndarray):
                raise ValueError(f"{path}: {variable} {i} is {cell}; {ACCEPTED}")
        rolls[part] = [check_roll(c, f"{variable} {i}", str(path)) for i, c in enumerate(cells)]
        _require_sequences(rolls[part], variable, path)
    return rolls


def _require_sequences(rolls: list[np.ndarray], what: str, path: Path) -> None:
    if not rolls:
        raise ValueError(f"{path}: {what} has no sequence; {ACCEPTED}")


def _mat_variables(data: bytes, wanted: list[str]) -> dict[str, Any]:
    """Return the wanted variables of a MATLAB file of level 5, the format of MATLAB 5 to 7.

    scipy.io.loadmat reads the same files, but one changed byte can crash it, and with it the
    process; here every length and type is checked before it is used.
    """
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None or np.frombuffer(data, order + "u2", 1, 124)[0] != 0x0100:
        raise ValueError("it has no header of MATLAB level 5")
    variables, left = {}, _LARGEST
    for kind, content in _elements(memoryview(data)[128:], order):
        if kind == _COMPRESSED:
            # What is not wanted is not unpacked: a megabyte can hold a gigabyte of zeros.
            head = zlib.decompressobj().decompress(content, _HEAD)
            if not any(name.encode() in head for name in wanted):
                continue
            inflated = _inflated(content, left)
            left -= len(inflated)
            kind, content = next(_elements(memoryview(inflated), order), (0, content))
        if kind == _MATRIX:
            name, value = _matrix(content, order, wanted)
            if name in variables and name in wanted:
                raise ValueError(f"it has the variable {name} twice")
            variables[name] = value
    return variables


def _inflated(content: memoryview, most: int) -> bytearray:
    """A compressed variable, of at most `most` bytes, with no room made for more."""
    inflate, inflated = zlib.decompressobj(), bytearray()
    rest: Any = content
    while not inflate.eof:
        part = inflate.decompress(rest, _CHUNK)
        rest = inflate.unconsumed_tail
        inflated += part
        if len(inflated) > most or not (part or rest or inflate.eof):
            raise ValueError(f"a variable is cut, or all have over {_LARGEST} bytes")
    return inflated


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Yield (type, content) of the data elements that lie one after another."""
    at = 0
    while at < len(data):
        if len(data) - at < 8:
            raise ValueError("it ends within an element")
        kind, size = struct.unpack_from(order + "II", data, at)
        start = at + 8
        if kind >> 16:  # the short form: type and size in one word, four bytes of content
            kind, size, start = kind & 0xFFFF, kind >> 16, at + 4
        at = start + size if kind == _COMPRESSED else start + size + -(start + size) % 8
        if start + size > len(data):
            raise ValueError(f"it ends within an element of {size} bytes")
        yield kind, data[start : start + size]


def _matrix(content: memoryview, order: str, wanted: list[str] | None) -> tuple[str, Any]:
    """Return the name and the value of a variable, or of a cell where `wanted` is None.

    The value is an array, a list of the cells' values, or words on what else it is.
    """
    parts = _elements(content, order)
    (_, flags), (_, shape), (_, name) = (next(parts, (0, b"")) for _ in range(3))
    if len(flags) != 8 or len(shape) % 4 or not len(shape):
        raise ValueError("a variable has no proper head")
    flag, _ = struct.unpack(order + "II", flags)
    shape = [int(n) for n in np.frombuffer(shape, order + "i4")]
    name, kind = bytes(name).decode("latin1"), flag & 0xFF
    if wanted is not None and name not in wanted:
        return name, "not wanted"
    if wanted is not None and kind == _CELL:
        cells = [_matrix(c, order, None)[1] for k, c in parts if k == _MATRIX]
        if len(cells) != math.prod(shape):
            raise ValueError(f"{name} has {len(cells)} cells, not {shape}")
        return name, cells
    if kind not in _NUMERIC or flag & _IS_COMPLEX:
        return name, f"of MATLAB's class {kind}"
    stored, values = next(parts, (0, b""))
    if stored not in _STORED:
        raise ValueError(f"an array is stored as the unknown type {stored}")
    array = np.frombuffer(values, order + _STORED[stored])
    if min(shape) < 0 or math.prod(shape) != array.size:
        raise ValueError(f"an array has {array.size} values, not {shape}")
    return name, array.reshape(shape, order="F")


class _Dtype:
    """Stands in for numpy.dtype; NumPy's own can be made to crash by a forged state."""

    def __init__(self, code: str = "", *_: Any) -> None:
        self.code, self.order = code, "|"

    def __setstate__(self, state: tuple) -> None:
        self.order = state[1]

    def decode(self, data: bytes | str) -> list[int]:
        code = self.code
        if type(code) is not str or not re.fullmatch("[iu][1248]", code):
            raise ValueError(f"it holds an array of type {shortened(code)}, not of integers")
        order = "big" if self.order == ">" else "little"
        size, signed = int(code[1]), code[0] == "i"
        if type(data) not in (bytes, str) or len(data) > size * _MOST_NOTES:
            raise ValueError(f"it holds an array of over {_MOST_NOTES} notes, which no frame has")
        # Python 2 wrote the bytes as a string, which latin1 turned into characters one to one.
        raw = data.encode("latin1") if isinstance(data, str) else data
        cut = range(0, len(raw), size)
        return [int.from_bytes(raw[i : i + size], order, signed=signed) for i in cut]


class _Array:
    """Stands in for numpy.ndarray and for the function that NumPy's pickles build one with."""

    def __init__(self, *_: Any) -> None:
        self.notes: list[int] = []

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, _, data = state
        if type(dtype) is not _Dtype or type(shape) is not tuple or len(shape) != 1:
            shown = shortened(shape)
            raise ValueError(f"it holds an array of shape {shown}; a frame is a row of notes")
        self.notes = dtype.decode(data)


class _Scalar(_Array):
    """Stands in for the function that builds a NumPy number."""

    def __init__(self, dtype: _Dtype, data: bytes | str) -> None:
        super().__init__()
        self.__setstate__((1, (1,), dtype, False, data))


# Each substitute is a class with a __setstate__, so that a pickle cannot set attributes on it.
_ADMITTED: dict[str, type] = {"numpy.ndarray": _Array, "numpy.dtype": _Dtype}
for _module in ("numpy.core.multiarray", "numpy._core.multiarray"):  # NumPy 1 and 2
    _ADMITTED |= {f"{_module}._reconstruct": _Array, f"{_module}.scalar": _Scalar}


class _RollUnpickler(pickle.Unpickler):
    """Builds lists, tuples, dictionaries, numbers, strings and rows of integers, and no more.

    A pickle is a program: each global it names is a function it may call. None is imported here;
    the few names that NumPy writes mean the substitutes above, and every other is refused.
    """

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, encoding="latin1")  # the published files are from Python 2

    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in _ADMITTED:
            raise ValueError(f"it names the global {module}.{name}, which a piano roll never needs")
        return _ADMITTED[f"{module}.{name}"]


# What the opcodes that build a roll leave on the stack; "key" is what a dictionary is looked up by
# in no time. A tuple is none: of a pair of pairs of pairs, each the same one, the hash takes
# twice as long for every level, and fifty of them are a hundred bytes.
_KEYS = (
    "NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING "
    "BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES "
    "SHORT_BINBYTES BINBYTES8"
).split()
_NEW = "EMPTY_LIST EMPTY_TUPLE EMPTY_DICT GLOBAL".split()
_OF_MARK = "LIST TUPLE DICT".split()
_TAKES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "STACK_GLOBAL": 2, "REDUCE": 2, "NEWOBJ": 2}
_CHANGES = {"APPEND": 1, "SETITEM": 2, "BUILD": 1, "POP": 1}
_TO_MARK = "APPENDS SETITEMS POP_MARK".split()
_READS, _WRITES = "GET BINGET LONG_BINGET".split(), "PUT BINPUT LONG_BINPUT MEMOIZE".split()


def _check_opcodes(data: bytes) -> None:
    """Go through a pickle without building anything: no opcode that a roll has no use for.

    Raises:
        ValueError: there is one, or a key that is neither a number nor text.
    """
    stack: list[bool | None] = []  # True of what may be a key, None of a mark
    memo: dict[Any, bool | None] = {}

    def above_mark() -> list[bool | None]:
        items: list[bool | None] = []
        while (item := stack.pop()) is not None:
            items.append(item)
        return items[::-1]

    def check_keys(keys: Iterable[bool | None]) -> None:
        if not all(keys):
            raise ValueError("a dictionary has a key that is neither a number nor text")

    for opcode, argument, _ in pickletools.genops(data):
        name = opcode.name
        if name in _KEYS:
            stack.append(True)
        elif name in _READS:
            stack.append(memo[argument])
        elif name in _WRITES:
            index = len(memo) if argument is None else argument
            # The C unpickler makes room for any index it is told, up to tens of gigabytes.
            if index > len(data):
                raise ValueError(f"it numbers an object {index} in a file of {len(data)} bytes")
            memo[index] = stack[-1]
        elif name in _NEW:
            stack.append(False)
        elif name == "MARK":
            stack.append(None)
        elif name in _OF_MARK:
            items = above_mark()
            check_keys(items[::2] if name == "DICT" else ())
            stack.append(False)
        elif name in _TAKES:
            del stack[-_TAKES[name] :]
            stack.append(False)
        elif name in _CHANGES:
            check_keys(stack[-2:-1] if name == "SETITEM" else ())
            del stack[-_CHANGES[name] :]
        elif name in _TO_MARK:
            items = above_mark()
            check_keys(items[::2] if name == "SETITEMS" else ())
        elif name not in ("PROTO", "FRAME", "STOP"):
            raise ValueError(f"it has the opcode {name}, which a piano roll never needs")


def _read_pickle(path: Path) -> dict[str, list[np.ndarray]]:
    """Read a pickle of lists of notes through the restricted unpickler."""
    try:
        data = reading.read_bytes(path, _LARGEST)
        _check_opcodes(data)
        content = _RollUnpickler(io.BytesIO(data)).load()
    except Exception as error:  # a damaged pickle can raise nearly any type
        raise ValueError(
            f"{path} is not readable as a pickle of piano rolls "
            f"({type(error).__name__}: {error}); {ACCEPTED}"
        ) from error
    if type(content) is not dict:
        raise ValueError(f"{path} holds a {type(content).__name__}, not a dictionary; {ACCEPTED}")
    rolls, reader = {}, _Rolls(path, min(len(data), _MOST_FRAMES))
    for part in PARTS:
        if part not in content:
            keys = ", ".join(map(shortened, list(content)[:8]))
            raise ValueError(f"{path} has no entry {part!r}, only {keys}; {ACCEPTED}")
        sequences = content[part]
        if not isinstance(sequences, list | tuple):
            raise ValueError(
                f"{path}: {part} is a {type(sequences).__name__}, not a list; {ACCEPTED}"
            )
        rolls[part] = [reader.roll(s, f"{part} sequence {i}") for i, s in enumerate(sequences)]
        _require_sequences(rolls[part], part, path)
    return rolls


class _Rolls:
    """Turns lists of tuples of MIDI notes into rolls.

    Objects of a pickle can be there once and meant a million times, so that a small file is a large
    data set. As many frames are read as a file of its size can have without that.

    Args:
        path: the file, for errors.
        most: frames, of all sequences.
    """

    def __init__(self, path: Path, most: int) -> None:
        self.path, self.most, self.left = path, most, most
        self.columns: dict[int, list[int]] = {}  # of a frame's notes, by its id

    def roll(self, sequence: Any, what: str) -> np.ndarray:
        """The roll of shape (frames, 88) of a sequence."""
        if not isinstance(sequence, list | tuple) or not len(sequence):
            raise ValueError(
                f"{self.path}: {what} is {shortened(sequence)}, not a list of at least one frame; "
                f"{ACCEPTED}"
            )
        self.left -= len(sequence)
        if self.left < 0:
            raise ValueError(
                f"{self.path}: with {what} it has more than {self.most:,} frames, of which each "
                f"takes a byte at least, and {_MOST_FRAMES:,} are accepted in a file: some are "
                "there many times"
            )
        roll = np.zeros((len(sequence), NUM_NOTES), np.uint8)
        for t, frame in enumerate(sequence):
            if id(frame) not in self.columns:
                self.columns[id(frame)] = self._columns(frame, f"{what}, frame {t}")
            roll[t, self.columns[id(frame)]] = 1
        return roll

    def _columns(self, frame: Any, what: str) -> list[int]:
        if type(frame) is _Array:
            frame = frame.notes
        if not isinstance(frame, list | tuple) or len(frame) > _MOST_NOTES:
            raise ValueError(
                f"{self.path}: {what} is {shortened(frame)}, not a tuple of up to {_MOST_NOTES} "
                f"notes; {ACCEPTED}"
            )
        columns = []
        for note in frame:
            if type(note) is _Scalar and note.notes:
                note = note.notes[0]
            column = note - LOWEST_NOTE if type(note) is int else -1
            if not 0 <= column < NUM_NOTES:
                raise ValueError(
                    f"{self.path}: {what} holds the note {shortened(note)}; {ACCEPTED}"
                )
            columns.append(column)
        return columns
