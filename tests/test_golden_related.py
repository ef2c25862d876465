"""Agreement with golden values of related models: HMM, Kalman filter, DMM, KVAE, TSBN and others.

The values are float64, of an independent implementation. `SRNN_TF_GOLDEN_RELATED` names another
folder of them.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from srnn_tf import SequenceModel
from srnn_tf.emissions import StateMixture
from srnn_tf.inference import hidden_states
from srnn_tf.likelihoods import GaussianMixture
from srnn_tf.structures import HMM

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


HMM_LIKELIHOODS = {"bernoulli": "x", "gaussian": "y"}


def hmm(arrays, kind):
    """The model of the file, its frames and their mask."""
    likelihood = {"bernoulli": "bernoulli", "gaussian": GaussianMixture(1)}[kind]
    model = SequenceModel(HMM(3), StateMixture(3, likelihood, num_states=3))
    model.xla = False
    params = arrays["logits"]
    if kind == "gaussian":
        params = np.stack([arrays["loc"], arrays["log_scale"]], axis=-1).reshape(3, 6)
    model.structure.set_weights([np.log(arrays["pi"]), np.log(arrays["A"])])
    model.emission.set_weights([params])
    frames = arrays[HMM_LIKELIHOODS[kind]].astype("float32")
    return model, frames, np.arange(5) < arrays["lengths"][:, None]


@pytest.mark.parametrize("kind", HMM_LIKELIHOODS)
def test_hmm(kind):
    arrays = golden("hmm")
    model, frames, mask = hmm(arrays, kind)
    want = weights(arrays, f"{kind}_")
    scores = model.emission.read(tf.constant(frames))
    np.testing.assert_allclose(scores, want["scores"], RTOL)
    density = model.density
    inputs = model.emission.read(density.batch(frames).previous)
    predictive = np.where(mask[..., None], np.exp(model.structure(inputs).context), 0.0)
    np.testing.assert_allclose(predictive, want["predictive"], RTOL)
    steps = model(frames, mask=mask)["log_likelihood"]
    np.testing.assert_allclose(steps, want["step_log_prob"], RTOL)
    np.testing.assert_allclose(model.log_prob(frames, mask), want["log_prob"], RTOL)
    filtered = np.where(mask[..., None], tf.nn.softmax(np.log(predictive + 1e-30) + scores), 0.0)
    np.testing.assert_allclose(filtered, want["filtered"], RTOL)
    smoothed = hidden_states.posterior_marginals(density, frames, mask)
    np.testing.assert_allclose(smoothed, want["smoothed"], RTOL, 1e-6)
    np.testing.assert_array_equal(
        hidden_states.posterior_mode(density, frames, mask), want["viterbi"]
    )


def test_hmm_gradients():
    arrays = golden("hmm")
    model, frames, mask = hmm(arrays, "bernoulli")
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(model(frames, mask=mask)["log_likelihood"])
    structure, emission = model.structure, model.emission
    names = {
        "initial_logits": structure.initial_logits,
        "transition_logits": structure.transition_logits,
        "logits": emission.state_params,
    }
    found = tape.gradient(total, [w.value for w in names.values()])
    for name, gradient in zip(names, found, strict=True):
        np.testing.assert_allclose(gradient, arrays[f"bernoulli_grad_{name}"], RTOL, 1e-5)
