"""Files of handwriting as pen moves: rows (pen_up, dx, dy), with y pointing up."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from srnn_tf.core import reading
from srnn_tf.core.reading import shortened

SUFFIXES = (".xml", ".dat", ".npy")
COLUMNS = ("pen", "dx", "dy")
MOST_POINTS = 10_000_000  # of one file
MOST_BYTES = 1 << 25  # of a UNIPEN file, and of those that it includes, together
_MOST_XML = 1 << 24  # bytes of IAM-OnDB's, of which each is one line of text
_DEEPEST = 16  # levels of IAM-OnDB's XML, which has five
_LARGEST_MOVE = 32767  # moves are stored in 16 bits


def moves(strokes: Sequence[np.ndarray], what: object) -> np.ndarray:
    """Convert strokes to pen moves: rows (pen_up, dx, dy), int16 (T, 3).

    pen_up is 1 at the last point of a stroke. The first point has no move, so that there is one row
    less than there are points, as in the paper's code.

    Args:
        strokes: arrays (n, 2) of x and y, integers, with y pointing up.
        what: the file, for errors.

    Raises:
        ValueError: there are fewer than two points, or a move is larger than 32,767 units.

    Example:
        >>> moves([np.array([[0, 0], [1, 2]]), np.array([[5, 5]])], "x").tolist()
        [[1, 1, 2], [1, 4, 3]]
    """
    strokes = [np.asarray(stroke, np.int64).reshape(-1, 2) for stroke in strokes if len(stroke)]
    points = np.concatenate(strokes) if strokes else np.zeros([0, 2], np.int64)
    if not 2 <= len(points) <= MOST_POINTS:
        raise ValueError(f"{what}: {len(points)} points; accepted are 2 to {MOST_POINTS}")
    up = np.zeros([len(points), 1], np.int64)
    up[np.cumsum([len(stroke) for stroke in strokes]) - 1] = 1
    rows = np.concatenate([up[1:], np.diff(points, axis=0)], axis=1)
    if np.abs(rows).max() > _LARGEST_MOVE:
        raise ValueError(f"{what}: a move of {np.abs(rows).max()} units; accepted are up to 32767")
    return rows.astype(np.int16)


def read_iam(path: str | Path) -> list[np.ndarray]:
    """Read the strokes of an IAM-OnDB `lineStrokes` file: arrays (n, 2), with y pointing up.

    Raises:
        ImportError: defusedxml is not installed.
        ValueError: the file is of another format, truncated, or declares entities.

    Example:
        moves(read_iam("a01-000u-01.xml"), "a01-000u-01.xml").shape  # (567, 3)
    """
    try:
        from defusedxml import DefusedXmlException
        from defusedxml.ElementTree import DefusedXMLParser, ParseError
    except ImportError as error:
        raise ImportError(
            "IAM-OnDB's XML is read with defusedxml: pip install 'srnn-tf[handwriting]'"
        ) from error
    content, reader = reading.read_bytes(path, _MOST_XML), _Reader()
    parser = DefusedXMLParser(target=reader, forbid_dtd=True)
    try:
        parser.feed(content)  # at once: of chunks, a long name would be parsed anew with each
        parser.close()
    except _Unsound as error:
        raise ValueError(f"{path}: {error}") from error
    except (ParseError, LookupError, ValueError, DefusedXmlException) as error:
        reason = str(error)[:200] if isinstance(error, ParseError) else type(error).__name__
        raise ValueError(f"{path}: is not sound XML ({reason})") from error
    if not any(reader.strokes):
        raise ValueError(f"{path}: holds no Stroke with a Point")
    return [np.array(stroke, np.int64).reshape(-1, 2) * (1, -1) for stroke in reader.strokes]


class _Unsound(ValueError):
    """What XML may be, and handwriting never is."""


class _Reader:
    """What a parser of XML tells, element by element: it keeps the points of strokes alone."""

    def __init__(self) -> None:
        self.strokes: list[list[tuple[int, int]]] = []
        self.depth, self.count, self.inside = 0, 0, False

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise _Unsound(f"its elements are nested deeper than {_DEEPEST} levels")
        if tag == "Stroke":
            if self.inside:
                raise _Unsound("it has a Stroke within a Stroke")
            self.inside = True
            self.strokes.append([])
        if tag == "Point" and self.inside:
            self.count += 1
            if self.count > MOST_POINTS:
                raise _Unsound(f"it has more than {MOST_POINTS:,} points")
            self.strokes[-1].append(_point(attributes))

    def end(self, tag: str) -> None:
        self.depth -= 1
        self.inside = self.inside and tag != "Stroke"

    def close(self) -> None:
        pass


def _point(point) -> tuple[int, int]:
    x, y = point.get("x", ""), point.get("y", "")
    if not (re.fullmatch(r"-?\d{1,9}", x) and re.fullmatch(r"-?\d{1,9}", y)):
        x, y = shortened(x), shortened(y)
        raise _Unsound(f"a Point has x={x}, y={y}; accepted are whole numbers")
    return int(x), int(y)


def read_unipen(path: str | Path, include: str | Path | None = None) -> list[np.ndarray]:
    """Read the strokes of a UNIPEN file: arrays (n, 2) of X and Y.

    A file may name other files with points by `.INCLUDE`, a path below the folder `include`.

    Args:
        path: the file.
        include: the folder of included files; None if the file includes none.

    Raises:
        ValueError: the file is of another format or larger than 32 MiB, an included path leaves
            `include`, is missing or is included twice, or there are no strokes.

    Example:
        read_unipen("data/8/bba/ajcr/ajcr101.dat", "include")[0].shape
    """
    strokes: list[np.ndarray] = []
    left, seen = MOST_BYTES, {os.path.realpath(path)}
    for name in [None, *included(path, include)]:
        file = Path(path if name is None else Path(include or "") / name)
        if name is not None and os.path.realpath(file) in seen:
            raise ValueError(f"{path}: includes {name[:200]} twice, or itself")
        seen.add(os.path.realpath(file))
        try:
            left -= len(reading.read_bytes(file, left))
        except ValueError as error:
            raise ValueError(
                f"{path}: it and the files it includes have more than {MOST_BYTES:,} bytes, or are "
                f"no regular files ({error})"
            ) from error
        strokes += _pen_down(file)
    if not strokes:
        raise ValueError(f"{path}: holds no points after .PEN_DOWN, nor do the files it includes")
    return strokes


def _text(path) -> str:
    return reading.read_bytes(path, MOST_BYTES).decode("latin1")


def included(path, include) -> list[str]:
    """The files with points that a file includes."""
    names = re.findall(r"^\.INCLUDE[ \t]+(\S+)", _text(path), re.M)
    names = [name for name in names if not name.endswith((".lex", ".doc"))]
    for name in names:
        if include is None:
            raise ValueError(
                f"{path}: includes {name[:200]}, but the folder `include` is not given"
            )
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"{path}: includes {name[:200]}, which leaves the folder {include}")
        if not os.path.isfile(Path(include) / name):
            raise ValueError(f"{path}: includes {name[:200]}, which is not in {include}")
    return names


def _pen_down(path) -> list[np.ndarray]:
    """Points of one file, stroke by stroke."""
    strokes: list[list[list[int]]] = []
    for line in re.split(r"^\.PEN_DOWN", _text(path), flags=re.M)[1:]:
        points, closed, _ = line.partition("\n.")
        try:
            stroke = [[int(v) for v in row.split()] for row in points.split("\n") if row.strip()]
        except ValueError as error:
            raise ValueError(f"{path}: after .PEN_DOWN: {str(error)[:200]}") from error
        if not closed or not stroke or {len(row) for row in stroke} != {2}:
            raise ValueError(
                f"{path}: a stroke is cut off, empty, or not in two columns, X and Y; "
                "each is closed by .PEN_UP"
            )
        if np.abs(stroke).max() > 10**9:
            raise ValueError(f"{path}: a coordinate is out of range")
        strokes.append(stroke)
    return [np.array(stroke, np.int64) for stroke in strokes]


def read_rows(path: str | Path, columns: str | None = None) -> tuple[np.ndarray, float]:
    """Read pen moves from an `.npy` file: rows (pen_up, dx, dy) int16 (T, 3), and their scale.

    Args:
        path: an array (T, 3) of moves, not of positions.
        columns: the order of the columns, such as "dx,dy,pen". By default the only column of 0 and
            1 is the pen, and the other two are dx and dy.

    Returns:
        The rows, and the factor by which to multiply dx and dy. It is 1 for integers; otherwise
        moves are scaled so that the largest is 32,767.

    Raises:
        ValueError: the file has another format or shape, no column or several columns can be the
            pen, or a number is not finite.

    Example:
        read_rows("style-0-strokes.npy")[0].shape
    """
    rows = _array(path)
    order = _order(path, rows, columns)
    rows = rows[:, order].astype(np.float64)
    if not np.isin(rows[:, 0], (0, 1)).all():
        raise ValueError(f"{path}: the column of the pen holds other numbers than 0 and 1")
    largest = np.abs(rows[:, 1:]).max()
    whole = (rows == np.rint(rows)).all() and largest <= _LARGEST_MOVE
    scale = 1.0 if whole or not largest else float(largest) / _LARGEST_MOVE
    rows[:, 1:] = np.rint(rows[:, 1:] / scale)
    return rows.astype(np.int16), scale


def _array(path) -> np.ndarray:
    try:
        reading.check_regular(path)
        with open(path, "rb") as file:
            reading.check_npy(file, os.stat(path).st_size)
        rows = np.load(path, allow_pickle=False, mmap_mode="r")
    except Exception as error:  # NumPy parses the header, and raises what its parsers do
        raise ValueError(f"{path}: is not readable as an .npy file ({error})") from error
    if not isinstance(rows, np.ndarray) or rows.dtype.kind not in "buif":
        raise ValueError(f"{path}: is not one array of numbers; accepted is (T, 3)")
    if rows.ndim != 2 or rows.shape[1] != 3 or not 1 <= len(rows) <= MOST_POINTS:
        raise ValueError(f"{path}: has shape {rows.shape}; accepted is (T, 3), T from 1")
    if not np.isfinite(rows).all():
        raise ValueError(f"{path}: holds numbers that are not finite")
    return rows


def _order(path, rows, columns: str | None) -> list[int]:
    """Where pen, dx and dy are."""
    if columns is not None:
        names = columns.split(",")
        if sorted(names) != sorted(COLUMNS):
            raise ValueError(f"columns={columns!r}; accepted are pen, dx and dy, as in 'dx,dy,pen'")
        return [names.index(name) for name in COLUMNS]
    pens = [i for i in range(3) if np.isin(rows[:, i], (0, 1)).all()]
    if len(pens) != 1:
        raise ValueError(
            f"{path}: {len(pens)} columns can be the pen (0 and 1 only); say which is which with "
            "columns, as in 'dx,dy,pen'"
        )
    return [pens[0], *(i for i in range(3) if i != pens[0])]


def read_strokes(path: str | Path, columns: str | None = None) -> np.ndarray:
    """Read a file of handwriting as pen moves, rows (pen_up, dx, dy), float32 (T, 3).

    pen_up is 1 at the last point of a stroke; dx and dy are in the units of the file, with y
    pointing up. Models take moves that are standardized: `standardization.apply(moves)`.

    Args:
        path: IAM-OnDB's XML, a UNIPEN file (.dat), or an `.npy` file of moves, (T, 3).
        columns: the order of the columns of an `.npy` file, such as "dx,dy,pen"; by default the
            only column of 0 and 1 is the pen.

    Raises:
        ImportError: XML is read with defusedxml, which is not installed.
        OSError: the file cannot be read.
        ValueError: the file has another ending or format, or is damaged.

    Example:
        read_strokes("a01-000u-01.xml").shape  # (567, 3)
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in SUFFIXES:
        raise ValueError(f"{path} ends in {path.suffix!r}; accepted are {', '.join(SUFFIXES)}")
    if ending == ".npy":
        rows, scale = read_rows(path, columns)
    else:
        rows, scale = moves((read_iam if ending == ".xml" else read_unipen)(path), path), 1.0
    return (rows * [1.0, scale, scale]).astype(np.float32)


def strokes_of(options: Any, path: Path) -> tuple[np.ndarray, float]:
    """Read pen moves and their scale from a file of any accepted format."""
    if path.suffix.lower() == ".npy":
        return read_rows(path, options.columns)
    read = read_iam if path.suffix.lower() == ".xml" else read_unipen
    return moves(read(path), path), 1.0
