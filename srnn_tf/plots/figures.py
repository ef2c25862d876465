"""Matplotlib, where it is installed."""

from __future__ import annotations

from typing import Any


def matplotlib_of(caller: str) -> tuple[Any, Any]:
    """Return the classes of the object interface, which leaves a caller's pyplot state alone."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(f"{caller} needs matplotlib: pip install 'srnn-tf[plot]'") from error
    return Figure, FigureCanvasAgg
