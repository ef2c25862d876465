"""The optional import of Matplotlib."""

from __future__ import annotations

from typing import Any


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
