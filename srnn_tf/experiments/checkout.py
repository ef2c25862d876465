"""Where a checkout of this package keeps what was published, and the pages made of it.

An installed package has none of these: there, folders are named by options.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parents[2]
ROOT = FOLDER / "saved_models"  # of published models
RESULTS = FOLDER / "zoo" / "RESULTS.md"
README = FOLDER / "README.md"
KEPT = FOLDER / "zoo" / "runs"  # weights of runs that are not finished


def root() -> Path:
    """The folder of published models.

    Raises:
        FileNotFoundError: this is no checkout.
    """
    if not ROOT.is_dir():
        raise FileNotFoundError(
            "name the folder of published models by --root: this is no checkout"
        )
    return ROOT
