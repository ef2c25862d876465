"""The folders of published models and their pages in a checkout of this package.

An installed package does not have them. There, options name the folders.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parents[2]
ROOT = FOLDER / "saved_models"  # of published models
RESULTS = FOLDER / "zoo" / "RESULTS.md"
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
