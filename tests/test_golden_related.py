"""Agreement with golden values of related models: HMM, Kalman filter, DMM, KVAE, TSBN and others.

The values are float64, of an independent implementation. `SRNN_TF_GOLDEN_RELATED` names another
folder of them.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from srnn_tf.emissions import NADE

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


def set_weights(layer, values):
    """Set the weights of a built layer, by their paths without the first part; all of them."""
    paths = {w.path.split("/", 1)[1]: w for w in layer.trainable_variables}
    assert set(paths) == set(values)
    for path, weight in paths.items():
        weight.assign(values[path].reshape(weight.shape))


def test_nade():
    arrays = golden("rnn_nade")
    w, frames = weights(arrays), arrays["frames"].astype(np.float32)
    emission = NADE(4, units=3)
    emission.build((None, None, 3))
    set_weights(
        emission,
        {
            "hidden/kernel": w["Wuh"],
            "hidden/bias": w["bh"],
            "direct/kernel": w["Wuv"],
            "heads/kernel": w["V"],
            "heads/bias": w["bv"],
            "kernel": w["W"][:-1],  # no value reads the last row
        },
    )
    context = np.repeat(arrays["context"][:, None], len(frames), axis=1).astype(np.float32)
    log_prob = emission(tf.constant(context)).log_prob(np.stack([frames, frames]))
    np.testing.assert_allclose(log_prob, arrays["log_prob"], RTOL)
    np.testing.assert_allclose(np.exp(log_prob).sum(axis=1), 1.0, RTOL)
