"""Optional packages, asked for before anything is downloaded or computed."""

from __future__ import annotations

import importlib.util

# The extra of this package that installs each.
EXTRAS = {
    "apache_beam": "beam",
    "defusedxml": "handwriting",
    "gradio": "app",
    "matplotlib": "plot",
    "mido": "music",
    "music21": "music",
    "sklearn": "baselines",
    "soundfile": "audio",
    "soxr": "audio",
    "tensorflow_serving": "serving",
}


def require(what: str, *names: str) -> None:
    """Check that packages are installed; none is imported.

    Args:
        what: what needs them, for the error.
        names: the names by which they are imported, keys of `EXTRAS`.

    Raises:
        ImportError: one is not installed; the error names the extra that installs it.

    Example:
        require("--out=song.mid", "mido")
    """
    for name in names:
        if importlib.util.find_spec(name) is None:
            package = name.replace("_", "-")
            raise ImportError(f"{what} needs {package}: pip install 'srnn-tf[{EXTRAS[name]}]'")
