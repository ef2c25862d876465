"""What the page accepts: sizes, lengths, and numbers; the rest is refused in words."""

from __future__ import annotations

from numbers import Real
from typing import Any, NamedTuple

MOST_BYTES = 5 << 20  # of a file
MOST_SECONDS = 60.0  # of a recording
MOST_STEPS = 5000  # of a sequence to score: 40 minutes of music at 60 quarters per minute
MOST_TAKEN = 2000  # of a sequence to continue: its last steps
MOST_WAITING = 16  # requests in the queue
MOST_SESSIONS = 40  # whose file is kept in memory, together at most 200 MB
SESSION_SECONDS = 3600  # after which a file is forgotten
MODELS = 4  # kept in memory
LARGEST_SEED = 2**31 - 1
TEMPERATURES = (0.05, 2.0)
LONGEST_NAME = 80  # characters of a file's name that are shown


class Length(NamedTuple):
    """What lengths of a modality are told in.

    Args:
        unit: what comes after the number.
        steps: in one.
        usual: how many to draw by default.
        most: how many may be drawn.
        excerpt: steps of an excerpt around a moment.
    """

    unit: str
    steps: int
    usual: int
    most: int
    excerpt: int


LENGTHS = {
    # Of 4 quarter notes, each of 2 steps, as in all published models.
    "pianoroll": Length("bars", 8, 8, 64, 16),
    "speech": Length("tenths of a second", 8, 10, 30, 120),
    "handwriting": Length("x 50 pen moves", 50, 10, 40, 30),
}
OTHER = Length("steps", 1, 100, 1000, 20)  # of a modality of a user's own


def length_of(kind: str) -> Length:
    """What lengths of a modality are told in.

    Example:
        >>> length_of("pianoroll").unit
        'bars'
    """
    return LENGTHS.get(kind, OTHER)


def check_bytes(count: int, name: str) -> None:
    """Check the size of a file, before it is read.

    Raises:
        ValueError: it is empty, or too large.
    """
    if count > MOST_BYTES:
        raise ValueError(
            f"{name} has {count / 2**20:.1f} MB; files of up to {MOST_BYTES >> 20} MB are accepted"
        )
    if not count:
        raise ValueError(f"{name} is empty")


def check_steps(count: int, name: str) -> None:
    """Check the length of a sequence, before it is scored.

    Raises:
        ValueError: it is too long.
    """
    if count > MOST_STEPS:
        raise ValueError(f"{name} has {count:,} steps; up to {MOST_STEPS:,} are scored: cut it")


def whole(what: str, value: Any, low: int, high: int) -> int:
    """A whole number of a form.

    Raises:
        ValueError: it is none, or out of range.

    Example:
        >>> whole("the seed", 3.0, 0, 9)
        3
    """
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not low <= value <= high or value != int(value):
        raise ValueError(
            f"{what} must be a whole number from {low} to {high}; received {_shown(value)}"
        )
    return int(value)


def temperature(value: Any) -> float:
    """A temperature of a form.

    Raises:
        ValueError: it is no number, or out of range.
    """
    low, high = TEMPERATURES
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not low <= value <= high:
        raise ValueError(
            f"the temperature must be from {low:g} to {high:g}; received {_shown(value)}"
        )
    return float(value)


def _shown(value: Any) -> str:
    return "nothing" if value is None else str(value)[:40]
