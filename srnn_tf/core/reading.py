"""Reading of files that may come from anywhere, only if they are what they should be.

A name may be a pipe that never ends, and a small archive may unpack to gigabytes. A reader says
first how large its file can be.
"""

from __future__ import annotations

import io
import json
import math
import mmap
import os
import reprlib
import stat
import zipfile
from collections import Counter
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

MOST_JSON = 1 << 24  # bytes of a JSON file that people read: cards, configs, runs
MOST_EXPANSION = 20  # of a file of weights, which hardly can be compressed
_FLOOR = 1 << 26  # bytes under which nothing is too large for the file it is in
_DEEPEST = 64  # levels of JSON; whatever walks through it recurses
_NPY_HEAD = 1 << 16  # bytes of the header of an .npy file


def place_of(path: str | os.PathLike, mark: bytes, start: int = 0) -> int:
    """Where a file holds some bytes first, from a place on; -1 where it does not.

    Args:
        path: the file, which is not loaded into memory.
        mark: the bytes.
        start: the first place that counts.

    Raises:
        OSError: it cannot be read.

    Example:
        place_of("song.flac", b"fLaC")  # 0
    """
    with open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:  # an empty file cannot be mapped
            return -1
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(mark, start)


def read_bytes(path: str | os.PathLike, most: int) -> bytes:
    """The content of a regular file of at most `most` bytes.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it cannot be read.
        ValueError: a folder, pipe or device; a larger file.

    Example:
        read_bytes("card.json", MOST_JSON)
    """
    check_regular(path, most)
    with open(path, "rb") as file:
        content = file.read(most + 1)
    if len(content) > most:  # it has grown, or its size is not told
        raise ValueError(f"{path} is larger than {most:,} bytes")
    return content


def check_regular(path: str | os.PathLike, most: int | None = None) -> None:
    """A regular file of at most `most` bytes, by what the file system says: nothing is opened.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a folder, pipe or device; a larger file.
    """
    about = os.stat(path)
    if not stat.S_ISREG(about.st_mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
        kind = kinds.get(stat.S_IFMT(about.st_mode), "a device")
        raise ValueError(f"{path} is {kind}; accepted is a regular file")
    if most is not None and about.st_size > most:
        raise ValueError(f"{path} has {about.st_size:,} bytes; accepted are up to {most:,}")


def read_json(path: str | os.PathLike, most: int = MOST_JSON, finite: bool = True) -> Any:
    """The value of a JSON file, as the standard has it: no NaN, no key twice in one object.

    Args:
        path: a regular file.
        most: bytes that it may have.
        finite: refuse numbers that are not finite, or too large for a float.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it cannot be read.
        ValueError: no regular file, too large, or no JSON; the error names it.

    Example:
        read_json("card.json")["name"]
    """
    content = read_bytes(path, most)
    try:
        return parse_json(content, finite)
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error


def parse_json(content: bytes | str, finite: bool = True) -> Any:
    """The value of JSON text; see `read_json`.

    Raises:
        ValueError: it is not JSON.
    """

    def number(text: str) -> float:
        value = float(text)
        if finite and not math.isfinite(value):
            raise ValueError(f"{shortened(text)} is no finite number")
        return value

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
            raise ValueError(f"an object has the key {shortened(twice)} twice")
        return values

    try:
        text = content if isinstance(content, str) else content.decode("utf-8")
        value = json.loads(
            text, parse_float=number, parse_constant=number, object_pairs_hook=unique
        )
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return value
    raise ValueError("it is nested too deeply")


def shortened(value: Any, most: int = 40) -> str:
    """A value as Python writes it, cut to `most` characters, and made no longer on the way.

    The `repr` of a list that holds another twice, which holds another twice, and so on, doubles
    with every level.

    Example:
        >>> shortened([[0] * 1000] * 1000, 20)
        '[[0, 0, 0, 0, ...'
    """
    short = reprlib.Repr()
    short.maxlevel, short.maxstring, short.maxother = 3, most, most
    if isinstance(value, int) and value.bit_length() > 4 * most:  # digits take quadratic time
        return f"an integer of {value.bit_length()} bits"
    text = short.repr(value)
    return text if len(text) <= most else text[: most - 3] + "..."


def check_members(archive: zipfile.ZipFile, most: int, names: Any = None) -> None:
    """The members of a zip archive, unpacked, have at most `most` bytes together.

    Args:
        archive: what is to be read.
        most: bytes.
        names: of the members that will be read; all by default.

    Raises:
        ValueError: they have more.
    """
    chosen = [i for i in archive.infolist() if names is None or i.filename in names]
    size = sum(info.file_size for info in chosen)
    if size > most:
        largest = max(chosen, key=lambda info: info.file_size)
        raise ValueError(
            f"it unpacks to {size:,} bytes ({shortened(largest.filename)} the largest); accepted "
            f"are up to {most:,}"
        )


def check_arrays(archive: zipfile.ZipFile, most: int) -> None:
    """An `.npz` file unpacks to at most `most` bytes, and its arrays have what they need of them.

    Raises:
        ValueError: it does not; a header that NumPy would not read.
    """
    check_members(archive, most)
    for info in archive.infolist():
        with archive.open(info) as member:
            head = io.BytesIO(member.read(_NPY_HEAD))
        check_npy(head, info.file_size)


def check_npy(file: BinaryIO, size: int) -> None:
    """An `.npy` file has a header of a usual length, and the bytes that its shape needs.

    NumPy makes room for what a header says before it looks at what follows.

    Args:
        file: at its beginning, to which it is put back.
        size: of the file, in bytes.

    Raises:
        ValueError: it has not.
    """
    start = file.tell()
    major, _ = npy.read_magic(file)
    width = 2 if major == 1 else 4
    length = int.from_bytes(file.read(width), "little")
    if length > _NPY_HEAD:
        raise ValueError(f"its header has {length:,} bytes; accepted are up to {_NPY_HEAD:,}")
    file.seek(start)
    npy.read_magic(file)
    readers = {1: npy.read_array_header_1_0, 2: npy.read_array_header_2_0}
    shape, _, dtype = readers.get(major, npy.read_array_header_2_0)(file)
    needed, rest = math.prod(shape) * dtype.itemsize, size - (file.tell() - start)
    if not dtype.itemsize or min(shape, default=1) < 0 or needed > rest:
        shown = f"{np.dtype(dtype).str} of shape {shortened(shape)}"
        raise ValueError(f"its header says {shown}, {needed:,} bytes; it holds {rest:,}")
    file.seek(start)


def most_unpacked(size: int) -> int:
    """The bytes that what a file of weights holds may have, unpacked; `size`: of the file."""
    return max(_FLOOR, MOST_EXPANSION * size)


def check_hdf5(file: Any, size: int) -> list[tuple[int, ...]]:
    """The arrays of an HDF5 file of weights are no larger than a file of its size can hold.

    A dataset may have any shape and no bytes: what was never written reads as zeros.

    Args:
        file: a path, or what is open.
        size: of the file, in bytes.

    Returns:
        The shapes of its arrays.

    Raises:
        ValueError: a larger array, one in another file, or no HDF5.
    """
    import h5py

    shapes, needed = [], 0

    def look(name: str, item: Any) -> None:
        nonlocal needed
        if not isinstance(item, h5py.Dataset):
            return
        if item.external or item.is_virtual:
            raise ValueError(f"{shortened(name)} is in another file")
        shapes.append(item.shape or ())
        needed += math.prod(shapes[-1]) * max(1, item.dtype.itemsize)
        if needed > most_unpacked(size):
            raise ValueError(
                f"its arrays need {needed:,} bytes, with {shortened(name)} of shape "
                f"{shortened(item.shape)}; the file has {size:,}"
            )

    try:
        with h5py.File(file, "r") as content:
            content.visititems(look)
    except (OSError, RuntimeError, KeyError, TypeError) as error:
        raise ValueError(f"it is not readable as HDF5 ({error})") from error
    return shapes
