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
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

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
_LARGEST = 2**30  # bytes of one variable; the largest published one has 22 million


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
        content = _mat_variables(path.read_bytes(), variables)
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
    variables = {}
    for kind, content in _elements(memoryview(data)[128:], order):
        if kind == _COMPRESSED:
            inflate = zlib.decompressobj()
            inflated = inflate.decompress(content, _LARGEST)
            if not inflate.eof:
                raise ValueError(f"a compressed variable is cut or over {_LARGEST} bytes")
            kind, content = next(_elements(memoryview(inflated), order), (0, content))
        if kind == _MATRIX:
            name, value = _matrix(content, order, wanted)
            variables[name] = value
    return variables


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
        # Python 2 wrote the bytes as a string, which latin1 turned into characters one to one.
        raw = data.encode("latin1") if isinstance(data, str) else data
        if not re.fullmatch("[iu][1248]", str(self.code)) or type(raw) is not bytes:
            raise ValueError(f"it holds an array of type {self.code!r}, not of integers")
        order = "big" if self.order == ">" else "little"
        size, signed = int(self.code[1]), self.code[0] == "i"
        cut = range(0, len(raw), size)
        return [int.from_bytes(raw[i : i + size], order, signed=signed) for i in cut]


class _Array:
    """Stands in for numpy.ndarray and for the function that NumPy's pickles build one with."""

    def __init__(self, *_: Any) -> None:
        self.notes: list[int] = []

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, _, data = state
        if type(dtype) is not _Dtype or len(shape) != 1:
            raise ValueError(f"it holds an array of shape {shape}; a frame is a row of notes")
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


def _read_pickle(path: Path) -> dict[str, list[np.ndarray]]:
    """Read a pickle of lists of notes through the restricted unpickler."""
    try:
        data = path.read_bytes()
        for opcode, index, _ in pickletools.genops(data):
            # The C unpickler makes room for any index it is told, up to tens of gigabytes.
            if opcode.name.endswith("PUT") and (index or 0) > len(data):
                raise ValueError(f"it numbers an object {index} in a file of {len(data)} bytes")
        content = _RollUnpickler(io.BytesIO(data)).load()
    except Exception as error:  # a damaged pickle can raise nearly any type
        raise ValueError(
            f"{path} is not readable as a pickle of piano rolls "
            f"({type(error).__name__}: {error}); {ACCEPTED}"
        ) from error
    if type(content) is not dict:
        raise ValueError(f"{path} holds a {type(content).__name__}, not a dictionary; {ACCEPTED}")
    rolls = {}
    for part in PARTS:
        if part not in content:
            raise ValueError(f"{path} has no entry {part!r}, only {list(content)[:8]}; {ACCEPTED}")
        sequences = content[part]
        if not isinstance(sequences, list | tuple):
            raise ValueError(
                f"{path}: {part} is a {type(sequences).__name__}, not a list; {ACCEPTED}"
            )
        rolls[part] = [_roll(s, f"{part} sequence {i}", path) for i, s in enumerate(sequences)]
        _require_sequences(rolls[part], part, path)
    return rolls


def _roll(sequence: Any, what: str, path: Path) -> np.ndarray:
    """Turn a list of tuples of MIDI notes into a roll of shape (frames, 88)."""
    if not isinstance(sequence, list | tuple) or not len(sequence):
        raise ValueError(
            f"{path}: {what} is {_short(sequence)}, not a list of at least one frame; {ACCEPTED}"
        )
    roll = np.zeros((len(sequence), NUM_NOTES), np.uint8)
    for t, frame in enumerate(sequence):
        if type(frame) is _Array:
            frame = frame.notes
        if not isinstance(frame, list | tuple):
            raise ValueError(
                f"{path}: {what}, frame {t} is {_short(frame)}, not a tuple of notes; {ACCEPTED}"
            )
        for note in frame:
            if type(note) is _Scalar and note.notes:
                note = note.notes[0]
            column = note - LOWEST_NOTE if type(note) is int else -1
            if not 0 <= column < NUM_NOTES:
                raise ValueError(
                    f"{path}: {what}, frame {t} holds the note {_short(note)}; {ACCEPTED}"
                )
            roll[t, column] = 1
    return roll


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
