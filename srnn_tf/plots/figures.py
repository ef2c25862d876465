"""Figures: made without the state of pyplot, shown by notebooks, written whole."""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srnn_tf.core.files import replacing

DPI = 150


def matplotlib_of(caller: str) -> tuple[Any, Any]:
    """The classes of Matplotlib's object interface, which does not touch the pyplot state.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(f"{caller} needs matplotlib: pip install 'srnn-tf[plot]'") from error
    return Figure, FigureCanvasAgg


def axes_of(caller: str, ax: Any, count: int, size: tuple[float, float], **how: Any) -> list[Any]:
    """The axes to draw on, below one another: those that are given, or those of a new figure.

    Args:
        caller: the name of the function that draws, for errors.
        ax: axes of Matplotlib, or `count` of them in a sequence or an array; None for a new figure.
        count: how many are needed.
        size: of a new figure, in inches.
        how: more for `subplots` of a new figure.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: `ax` is something else, or of another number.
    """
    Figure, FigureCanvasAgg = matplotlib_of(caller)
    if ax is None:
        figure = _shown(Figure)(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        return list(figure.subplots(count, 1, squeeze=False, **how)[:, 0])
    given = list(getattr(ax, "flat", ax if isinstance(ax, Sequence) else [ax]))
    if len(given) != count or not all(callable(getattr(one, "plot", None)) for one in given):
        kinds = ", ".join(type(one).__name__ for one in given[:4])
        raise ValueError(
            f"`ax` of {caller} must be {count} Axes of Matplotlib; received {len(given)} ({kinds})"
        )
    return given


def check_format(axes: Sequence[Any], path: str | os.PathLike | None) -> None:
    """Check the ending of a picture before it is drawn.

    Raises:
        ValueError: the ending is unknown.
    """
    if path is None:
        return
    formats = axes[0].figure.canvas.get_supported_filetypes()
    if Path(path).suffix.lower().lstrip(".") not in formats:
        raise ValueError(f"path={str(path)!r}: accepted endings are {', '.join(sorted(formats))}")


def finished(axes: Sequence[Any], path: str | os.PathLike | None) -> Any:
    """The figure of axes, once it is written to `path`, where there is one.

    Raises:
        OSError: `path` cannot be written.
    """
    figure = axes[0].figure
    figure = getattr(figure, "figure", None) or figure  # of a part of a figure the whole
    if path is not None:
        ending = Path(path).suffix.lower().lstrip(".")
        with replacing(path) as temporary:
            figure.savefig(temporary, format=ending or None, dpi=DPI)
    return figure


def png(figure: Any, dpi: int = DPI) -> bytes:
    """The picture of a figure."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=dpi)
    return content.getvalue()


@functools.cache
def _shown(base: Any) -> Any:
    """A figure that notebooks show, also those that do not import pyplot."""

    class Figure(base):
        def _repr_png_(self) -> bytes:
            return png(self, dpi=100)

    return Figure
