"""Agreement with golden values of related models: HMM, Kalman filter, DMM, KVAE, TSBN and others.

The values are float64, of an independent implementation. `SRNN_TF_GOLDEN_RELATED` names another
folder of them.
"""

import functools
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from srnn_tf import SequenceModel
from srnn_tf.core import kalman, nn
from srnn_tf.emissions import Factorized, StateGaussian, StateMixture
from srnn_tf.inference import hidden_states, linear_states
from srnn_tf.likelihoods import GaussianMixture
from srnn_tf.structures import HMM, KVAE, LGSSM

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


def spread(covariance):
    """The weights of an `LGSSM` that give a covariance matrix."""
    lower = np.linalg.cholesky(covariance - 1e-4 * np.eye(len(covariance)))
    return kalman.packed(tf.constant(lower))


def product(factor):
    return np.asarray(tf.matmul(factor, factor, transpose_b=True))


def lgssm(arrays):
    model = SequenceModel(LGSSM(3), StateGaussian(2, state_size=3))
    model.xla = False
    zero = np.zeros(3)
    model.structure.set_weights(
        [arrays["A"], zero, arrays["m0"], spread(arrays["Q"]), spread(arrays["P0"])]
    )
    noise = np.log(np.expm1(np.diag(arrays["R"]) - 1e-4))
    model.emission.set_weights([arrays["C"], arrays["d"], noise])
    return model, arrays["y"].astype("float32")


@pytest.mark.parametrize("kind", ["full", "missing"])
def test_lgssm(kind):
    arrays = golden("lgssm")
    model, y = lgssm(arrays)
    want, seen, gaps = weights(arrays, f"{kind}_"), np.full([2, 5], True), {}
    if kind == "missing":
        seen = arrays["observed"]
        gaps = {"observed": tf.constant(np.pad(seen, [(0, 0), (1, 0)])[:, :-1])}
    inputs = model.emission.read(model.density.batch(y).previous)
    context = model.structure(inputs, **gaps).context
    scale_tril = kalman.triangular(context[..., 3:])
    np.testing.assert_allclose(context[..., :3], want["pred_mean"], RTOL, 1e-5)
    np.testing.assert_allclose(product(scale_tril), want["pred_cov"], RTOL, 1e-5)
    # What the emission adds up to: mean and covariance of a frame, by its samples' formula.
    frame = model.emission(context)
    np.testing.assert_allclose(frame.greedy(), want["obs_mean"], RTOL, 1e-5)
    if kind == "full":
        np.testing.assert_allclose(model.log_prob(y), arrays["log_prob"], RTOL)
        steps = model(y)["log_likelihood"]
    else:
        steps = linear_states.step_log_prob(model.density, y, seen)
    np.testing.assert_allclose(steps, want["step_log_prob"], RTOL)
    means, covariances = linear_states.posterior_marginals(model.density, y, observed=seen)
    np.testing.assert_allclose(means, want["smooth_mean"], RTOL, 1e-5)
    np.testing.assert_allclose(covariances, want["smooth_cov"], RTOL, 1e-5)


@pytest.mark.parametrize("kind", ["full", "missing"])
def test_lgssm_filter_in_float64(kind):
    arrays = golden("lgssm")
    want, seen = weights(arrays, f"{kind}_"), np.full([2, 5], True)
    seen = arrays["observed"] if kind == "missing" else seen
    scaled = arrays["C"].T / np.diag(arrays["R"])
    information, precision = (arrays["y"] - arrays["d"]) @ scaled.T, scaled @ arrays["C"]
    mean, lower = np.stack([arrays["m0"]] * 2), np.linalg.cholesky(arrays["P0"])[None]
    for t in range(5):
        np.testing.assert_allclose(mean, want["pred_mean"][:, t], 1e-9)
        np.testing.assert_allclose(product(lower), want["pred_cov"][: len(lower), t], 1e-9)
        here = precision * seen[:, t, None, None]
        factor = kalman.filtered_factor(lower, here)
        mean = kalman.filtered_mean(mean, factor, information[:, t] * seen[:, t, None], here)
        np.testing.assert_allclose(mean, want["filt_mean"][:, t], 1e-9)
        np.testing.assert_allclose(product(factor), want["filt_cov"][:, t], 1e-9)
        mean = tf.linalg.matvec(arrays["A"], mean)
        lower = kalman.scale_tril(factor, arrays["A"], arrays["Q"])


def kvae(arrays):
    model = SequenceModel(KVAE(2, 3, 2, units=3, hidden_size=3), Factorized(4))
    model.xla = False
    w, structure = weights(arrays), model.structure
    layers = {
        structure.encoder: ("enc_W", "enc_b"),
        structure.mean: ("mean_W", "mean_b"),
        structure.spread: ("var_W", "var_b"),
        structure.recurrent: ("lstm_kernel", "lstm_recurrent", "lstm_bias"),
        structure.mode_weights: ("alpha_W", "alpha_b"),
        structure.decoder: ("dec_W", "dec_b"),
        model.emission.dense: ("out_W", "out_b"),
    }
    for layer, names in layers.items():
        layer.set_weights([w[name] for name in names])
    structure.initial_latent.assign(w["a0"])
    structure.transition_matrices.assign(w["A"])
    structure.observation_matrices.assign(w["C"])
    return model


def test_kvae():
    arrays = golden("kvae")
    model = kvae(arrays)
    structure, x = model.structure, arrays["x"].astype("float32")
    noise = tf.constant(arrays["noise"], tf.float32)
    batch = model.density.batch(x)
    trace = structure(batch.previous, targets=batch.steps, noise=noise)
    close = functools.partial(np.testing.assert_allclose, rtol=RTOL, atol=1e-5)
    for name in ("kl", "kl_per_unit", "log_ratio"):
        close(getattr(trace, name), arrays[name])
    close(trace.posterior_mean, arrays["q_mean"])
    close(np.exp(trace.posterior_log_variance), arrays["q_var"])
    out = model(x, noise=noise)
    close(out["log_likelihood"], arrays["log_likelihood"])
    close(tf.reduce_sum(out["log_likelihood"] - out["kl"], axis=1), arrays["elbo"])
    log_weight = tf.reduce_sum(out["log_likelihood"] - out["log_ratio"], axis=1)
    close(log_weight, arrays["log_weight"])
    f = structure.filter(tf.constant(arrays["a"], tf.float32))
    close(f.alpha, arrays["alpha"])
    close(f.mean, arrays["pred_mean"])
    close(f.filtered_mean, arrays["filt_mean"])
    close(f.prior_mean, arrays["obs_mean"])
    close(product(f.scale_tril), arrays["pred_cov"])
    close(product(f.filtered_factor), arrays["filt_cov"])
    close(product(f.prior_scale_tril), arrays["obs_cov"])
    means, covariances = linear_states.latent_state_marginals(structure, f.a)
    close(means, arrays["smooth_mean"])
    close(covariances, arrays["smooth_cov"])


def test_kvae_with_gaps():
    arrays = golden("kvae")
    structure, want, seen = kvae(arrays).structure, weights(arrays, "missing_"), arrays["observed"]
    close = functools.partial(np.testing.assert_allclose, rtol=RTOL, atol=1e-5)
    a = tf.constant(np.where(seen[..., None], arrays["a"], 100.0), tf.float32)
    f = structure.filter(a, observed=tf.constant(seen))
    close(f.alpha, want["alpha"])
    close(f.prior_mean, want["obs_mean"])
    close(f.filtered_mean, want["filt_mean"])
    nats = nn.gaussian_log_prob_tril(f.a, f.prior_mean, f.prior_scale_tril)
    close(np.where(seen, tf.reduce_sum(nats, axis=-1), 0.0), want["step_log_prob"])
    means, covariances = linear_states.latent_state_marginals(structure, a, tf.constant(seen))
    close(means, want["smooth_mean"])
    close(covariances, want["smooth_cov"])
    imputed = tf.linalg.matvec(f.observation_matrix, means)
    close(np.where(seen[..., None], a, imputed), want["a_imputed"])
