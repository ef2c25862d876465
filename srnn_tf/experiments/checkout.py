"""The folders of published models and their pages in a checkout of this package.

An installed package does not have them. There, options name the folders.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2]
ROOT = FOLDER / "saved_models"  # of published models
RESULTS = FOLDER / "zoo" / "RESULTS.md"
GALLERY = FOLDER / "docs" / "_static" / "gallery" / "index.json"  # of zoo.gallery
MEASURES = FOLDER / "zoo" / "measures.json"  # of zoo.measures
KEPT = FOLDER / "zoo" / "runs"  # weights of runs that are not finished


def root() -> Path:
    """The folder of published models.

    Raises:
        FileNotFoundError: the package is not a checkout.
    """
    if not ROOT.is_dir():
        raise FileNotFoundError(
            "name the folder of published models by --root: this is no checkout"
        )
    return ROOT


def sample(name: str, root: Path = ROOT) -> str | None:
    """The address of a model's samples in the gallery, from its page; None if there are none."""
    if root != ROOT or not GALLERY.is_file():
        return None
    listed = json.loads(GALLERY.read_text("utf-8"))["models"]
    return f"../../docs/gallery.md#{name}" if name in listed else None


def living(name: str, dataset: str, root: Path = ROOT) -> dict[str, Any] | None:
    """What is measured of a model's samples and of its data set; None if nothing is."""
    if root != ROOT or not MEASURES.is_file():
        return None
    held = json.loads(MEASURES.read_text("utf-8"))
    samples, data = held["models"].get(name, {}).get("samples"), held["data"].get(dataset)
    return {"samples": samples, "data": data} if samples and data else None
