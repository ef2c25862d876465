"""Agreement with golden values of related models: HMM, Kalman filter, DMM, KVAE, TSBN and others.

The values are float64, of an independent implementation. `SRNN_TF_GOLDEN_RELATED` names another
folder of them.
"""

import os
import unittest.mock
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from srnn_tf import ELBO, SequenceModel
from srnn_tf.emissions import RBM, Factorized, StateMixture, Unnormalized
from srnn_tf.inference import hidden_states
from srnn_tf.likelihoods import GaussianMixture
from srnn_tf.objectives import evidence
from srnn_tf.structures import HMM, RNN, RTRBM, TSBN
from tests import harness

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


RBM_WEIGHTS = ("W", "Wuv", "bv", "Wuh", "bh")


def rnn_rbm(arrays, **changes):
    """The emission of the file, and the layer of its recurrence."""
    w = weights(arrays)
    emission = RBM(4, num_hidden=3, **changes)
    emission.build((None, None, 3))
    emission.set_weights([w[name] for name in RBM_WEIGHTS])
    structure = RNN(3, embedding_size=4, cell="simple")
    structure.build((None, None, 4))
    structure.set_weights([np.eye(4), np.zeros(4), w["Wvu"], w["Wuu"], w["bu"]])
    return structure, emission


def test_rnn_rbm():
    arrays = golden("rnn_rbm")
    structure, emission = rnn_rbm(arrays)
    x = tf.constant(arrays["x"], tf.float32)
    with tf.GradientTape() as tape:
        # The file has u_0 = 0, where the structure would read a frame of zeros first.
        u = structure(x[:, :-1]).context
        context = tf.concat([tf.zeros_like(u[:, :1]), u], axis=1)
        steps = emission(context).log_prob(x)
    np.testing.assert_allclose(context, arrays["context"], RTOL, 1e-6)
    np.testing.assert_allclose(steps, arrays["step_log_prob"], RTOL)
    np.testing.assert_allclose(tf.reduce_sum(steps, axis=1), arrays["log_prob"], RTOL)
    wanted = [*RBM_WEIGHTS, "Wvu", "Wuu", "bu"]
    variables = [*emission.trainable_variables, *structure.trainable_variables[2:]]
    found = tape.gradient(steps, [v.value for v in variables])
    for name, gradient in zip(wanted, found, strict=True):
        np.testing.assert_allclose(gradient, arrays[f"grad_{name}"], RTOL, 1e-5)
    frames = harness.all_binary(1, 4)[:, 0]
    probs = np.exp(emission(context).log_prob(frames[:, None, None]))
    np.testing.assert_allclose(np.moveaxis(probs, 0, -1), arrays["frame_probs"], RTOL, 1e-7)


def test_the_path_of_an_rnn_rbm():
    arrays = golden("rnn_rbm")
    _, emission = rnn_rbm(arrays, normalized=False)
    x, context = (tf.constant(arrays[name], tf.float32) for name in ("x", "context"))
    distribution = emission(context)
    np.testing.assert_allclose(distribution.free_energy(x), arrays["free_energy"], RTOL)
    pseudo = distribution.pseudo_log_likelihood(x)
    np.testing.assert_allclose(pseudo, arrays["pseudo_log_likelihood"], RTOL)
    np.testing.assert_allclose(Unnormalized.pseudo_log_likelihood(distribution, x), pseudo, RTOL)
    names = {0.0: "log_partition_beta0", 0.5: "log_partition_beta_half", 1.0: "log_partition"}
    frames = harness.all_binary(1, 4)[:, 0][:, None, None]
    for beta, name in names.items():
        energies = distribution.free_energy(tf.constant(frames), beta)
        total = tf.reduce_logsumexp(-energies, axis=0)
        np.testing.assert_allclose(total, arrays[name], RTOL)
    start = distribution.initial_log_partition()
    np.testing.assert_allclose(start, arrays["log_partition_beta0"], RTOL)


def test_rtrbm():
    arrays = golden("rtrbm")
    emission = RBM(4, num_hidden=3, visible_context=False, hidden_context="direct")
    model = SequenceModel(RTRBM(3), emission)
    model.xla = False
    emission.set_weights([arrays["bv"], arrays["W"]])
    model.structure.set_weights([arrays["b_init"], arrays["bh"], arrays["W_time"]])
    x = arrays["x"].astype("float32")
    batch = model.density.batch(x)
    hidden = model.structure(emission.read(batch.previous)).context
    np.testing.assert_allclose(hidden, arrays["bh_t"], RTOL)
    steps = model(x)["log_likelihood"]
    np.testing.assert_allclose(steps, arrays["step_log_prob"], RTOL)
    np.testing.assert_allclose(model.log_prob(x), arrays["log_prob"], RTOL)
    energies = -steps - arrays["log_partition"]
    np.testing.assert_allclose(energies, arrays["free_energy"], RTOL)


def tsbn(arrays, **kwargs):
    """The model of the file, its 64 rows of one sequence, and noise that draws each path."""
    w = {name: value.T for name, value in weights(arrays).items()}  # (out, in), as in the paper
    model = SequenceModel(TSBN(2, baseline_size=3), Factorized(3), **kwargs)
    model.xla = False
    assign(
        model.structure,
        prior_states=w["W1"],
        prior_inputs=w["W3"],
        prior_bias=w["b"],
        prior_initial_bias=w["b_init"],
        posterior_states=w["U1"],
        posterior_inputs=w["U3"],
        posterior_targets=w["U2"],
        posterior_bias=w["d"],
        posterior_initial_bias=w["d_init"],
    )
    context = np.concatenate([w["W2"], w["W4"], (w["c_init"] - w["c"])[None]])
    model.emission.set_weights([context, w["c"]])
    frames = np.tile(arrays["v"], [64, 1, 1]).astype("float32")
    return model, frames, tf.constant(np.where(arrays["paths"] > 0.0, -8.0, 8.0), tf.float32)


def assign(layer, **values):
    """Set weights by name."""
    named = {weight.name: weight for weight in layer.weights}
    for name, value in values.items():
        named[name].assign(value)


def test_tsbn():
    arrays = golden("tsbn")
    model, frames, noise = tsbn(arrays)
    batch = model.density.batch(frames)
    terms = model.density.terms(batch, noise)
    want = {name: arrays[name] for name in ("log_likelihood", "kl")}
    want |= {"score": arrays["log_q"], "log_ratio": arrays["log_q"] - arrays["log_prior"]}
    for name, value in want.items():
        np.testing.assert_allclose(getattr(terms, name), value, RTOL, 1e-6)
    joint = tf.reduce_sum(terms.log_likelihood - terms.log_ratio, axis=1)
    q = np.exp(arrays["log_q"].sum(axis=1))
    np.testing.assert_allclose(np.sum(q * np.exp(joint)), np.exp(arrays["log_prob"]), RTOL)
    bound = tf.reduce_sum(terms.log_likelihood - terms.kl, axis=1)
    np.testing.assert_allclose(np.sum(q * bound), arrays["elbo"], RTOL)


# Of the paper's names, (out, in), the weights of ours.
TSBN_WEIGHTS = {
    "W1": "prior_states",
    "W3": "prior_inputs",
    "b": "prior_bias",
    "b_init": "prior_initial_bias",
    "U1": "posterior_states",
    "U2": "posterior_targets",
    "U3": "posterior_inputs",
    "d": "posterior_bias",
    "d_init": "posterior_initial_bias",
}


def expected_gradients(arrays, objective):
    """The expectation over paths of the loss's gradient, by weight, and of the emission."""
    model, frames, noise = tsbn(arrays)
    density, variables = model.density, [*model.structure.weights, *model.emission.weights]
    q = tf.constant(np.exp(arrays["log_q"].sum(axis=1)), tf.float32)
    with tf.GradientTape() as tape:
        # Each row has a loss of its own, since a loss is a sum over rows.
        def one(row):
            batch = density.batch(frames[row : row + 1])
            drawn = noise[row : row + 1]
            with unittest.mock.patch.object(evidence, "noise_of", lambda *_: drawn):
                return objective.loss(density, batch, None, tf.constant(0)).value

        total = tf.add_n([q[row] * one(row) for row in range(64)])
    found = tape.gradient(total, [v.value for v in variables])
    named = {v.name: -g for v, g in zip(model.structure.weights, found, strict=False)}
    return named, [-g for g in found[-2:]]


def test_the_expected_gradient_of_a_tsbn_is_that_of_its_bound():
    arrays = golden("tsbn")
    objective = ELBO({"initial": 1.0, "increment": 0.0, "final": 1.0})
    named, (kernel, bias) = expected_gradients(arrays, objective)
    for paper, ours in TSBN_WEIGHTS.items():
        want = arrays[f"elbo_grad_{paper}"].T
        np.testing.assert_allclose(named[ours], want, RTOL, 2e-5, err_msg=paper)
    np.testing.assert_allclose(kernel[:2], arrays["elbo_grad_W2"].T, RTOL, 2e-5)
    np.testing.assert_allclose(kernel[2:5], arrays["elbo_grad_W4"].T, RTOL, 2e-5)
    np.testing.assert_allclose(kernel[5], arrays["elbo_grad_c_init"], RTOL, 2e-5)
    rest = arrays["elbo_grad_c_init"] + arrays["elbo_grad_c"]
    np.testing.assert_allclose(bias, rest, RTOL, 2e-5)


def test_the_local_reward_is_that_of_the_released_code():
    arrays = golden("tsbn")
    once = {"initial": 1.0, "increment": 0.0, "final": 1.0}
    named, _ = expected_gradients(arrays, ELBO(once, reward="local"))
    want = arrays["local_reward_grad_U1"].T
    np.testing.assert_allclose(named["posterior_states"], want, RTOL, 2e-5)
    assert np.abs(want - arrays["elbo_grad_U1"].T).max() > 0.05
