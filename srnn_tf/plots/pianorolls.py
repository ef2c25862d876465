"""Plots of piano rolls."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from srnn_tf.data.formats.midi import check_steps, held_notes
from srnn_tf.data.formats.rolls import LOWEST_NOTE, check_roll
from srnn_tf.plots.figures import axes_of, check_format, finished

BLACK_KEYS = (1, 3, 6, 8, 10)  # semitones above C
C4 = 60


def plot_pianoroll(
    rolls: Mapping[str, np.ndarray] | np.ndarray,
    path: str | os.PathLike | None = None,
    steps_per_quarter: int = 2,
    ax: Any = None,
) -> Any:
    """Plot piano rolls below one another, with common axes of pitch and time.

    Args:
        rolls: an array of 0 and 1 of shape (T, 88), or a dict from titles to such arrays.
        path: the image file to write; its suffix sets the format (.png, .pdf, .svg). None to
            write none.
        steps_per_quarter: frames in a quarter note, the unit of the time axis.
        ax: the axes to draw on, one for each roll; those of a new figure by default.

    Returns:
        The Matplotlib figure.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: there is no roll, an array is not a piano roll, the format is unknown, or there
            are not as many axes as rolls.
        OSError: `path` cannot be written.

    Example:
        plot_pianoroll({"data": splits.test[0], "sample": sample}, "rolls.png")
    """
    panels = dict(rolls) if isinstance(rolls, Mapping) else {"": rolls}
    if not panels:
        raise ValueError("rolls={}: at least one piano roll is needed")
    panels = {title: check_roll(roll, f"rolls[{title!r}]") for title, roll in panels.items()}
    check_steps(steps_per_quarter)
    size = (11, 0.6 + 2.4 * len(panels))
    axes = axes_of("plot_pianoroll", ax, len(panels), size, sharex=True, sharey=True)
    check_format(axes, path)
    low, high = _pitch_range(panels.values())
    for axis, (title, roll) in zip(axes, panels.items(), strict=True):
        _draw(axis, roll, low, high, steps_per_quarter)
        if title:
            axis.set_title(title, loc="left", fontsize=11)
    quarters = max(len(roll) for roll in panels.values()) / steps_per_quarter
    for axis in axes:
        axis.set_xlim(0, quarters)
    axes[-1].set_xlabel("time (quarter notes)")
    return finished(axes, path)


def _pitch_range(rolls: Any) -> tuple[int, int]:
    """Return the lowest and highest MIDI note of all rolls, with at least one C between them."""
    used = np.concatenate([np.flatnonzero(roll.any(axis=0)) for roll in rolls]) + LOWEST_NOTE
    low, high = (int(used.min()), int(used.max())) if used.size else (C4, C4 + 12)
    has_c = any(note % 12 == 0 for note in range(low, high + 1))
    return (low if has_c else low - low % 12), high


def _draw(axis: Any, roll: np.ndarray, low: int, high: int, steps_per_quarter: int) -> None:
    """Draw one roll as bars over a keyboard's light and dark rows."""
    for note in range(low - 1, high + 2):
        if note % 12 in BLACK_KEYS:
            axis.axhspan(note - 0.5, note + 0.5, color="#f1f2f5", linewidth=0, zorder=0)
    cs = [note for note in range(low - 1, high + 2) if note % 12 == 0]
    for note in cs:
        axis.axhline(note - 0.5, color="#c5cad3", linewidth=0.7, zorder=1)
    bars = held_notes(roll)
    if bars:
        notes, starts, ends = (np.array(column) for column in zip(*bars, strict=True))
        axis.barh(
            notes,
            (ends - starts) / steps_per_quarter,
            left=starts / steps_per_quarter,
            height=0.84,
            color="#2b5c9e",
            edgecolor="white",
            linewidth=0.4,
            zorder=2,
        )
    axis.set_yticks(cs, [f"C{note // 12 - 1}" for note in cs])
    axis.set(ylim=(low - 1.5, high + 1.5), ylabel="pitch")
    axis.tick_params(length=0, labelsize=9)
    axis.spines[["top", "right", "left"]].set_visible(False)
