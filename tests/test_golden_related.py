"""Agreement with golden values of related models: HMM, Kalman filter, DMM, KVAE, TSBN and others.

The values are float64, of an independent implementation. `SRNN_TF_GOLDEN_RELATED` names another
folder of them.
"""

import functools
import os
import unittest.mock
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from srnn_tf import ELBO, FIVO, SequenceModel, objectives
from srnn_tf.core import kalman, nn
from srnn_tf.density import SequenceDensity
from srnn_tf.emissions import NADE, RBM, Factorized, StateGaussian, StateMixture, Unnormalized
from srnn_tf.inference import hidden_states, linear_states
from srnn_tf.likelihoods import GaussianMixture
from srnn_tf.objectives import evidence
from srnn_tf.structures import HMM, KVAE, LGSSM, RNN, RTRBM, TSBN
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
    assert not missing


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


def moments(w, mean, variance, end=""):
    """Kernel and bias of a layer of means, then variances, from those of two layers."""
    parts = [(w[f"{name}_W{end}"], w[f"{name}_b{end}"]) for name in (mean, variance)]
    return [np.concatenate(part, axis=-1) for part in zip(*parts, strict=True)]


def chain_weights(w, network, combiner="average"):
    """The weights of a `DMM` by layer, but for the recurrences of its posterior."""
    layers = {f"emit_{i}": (w[f"e_W{i}"], w[f"e_b{i}"]) for i in range(2)}
    if "gate_W0" in w:
        for name, short in (("gate", "gate"), ("proposal", "prop")):
            layers[f"transition/{name}_hidden"] = w[f"{short}_W0"], w[f"{short}_b0"]
            layers[f"transition/{name}"] = w[f"{short}_W1"], w[f"{short}_b1"]
        layers["transition/linear"] = w["lin_W"], w["lin_b"]
        layers["transition/variance"] = w["var_W"], w["var_b"]
    else:
        layers |= {f"transition/hidden_{i}": (w[f"t_W{i}"], w[f"t_b{i}"]) for i in range(2)}
        layers["transition/moments"] = moments(w, "mean", "var")
    if network.startswith("st") and combiner == "average":
        layers["posterior/combiner"] = w["comb_W"], w["comb_b"]
        layers["posterior/head"] = moments(w, "q_mean", "q_var")
    else:  # the second head is the backward recurrence's, where there is another one
        two = network == "mf_lr" or combiner == "product"
        for side in {"l": ["left"], "r": ["right"], "lr": ["left", "right"]}[network[3:]]:
            end = "_right" if two and side == "right" else ""
            layers[f"posterior/{side}_message"] = moments(w, "q_mean", "q_var", end)
    return layers


def chain_density(w, network, combiner="average"):
    """A density of binary frames, its structure a `DMM` of the given weights."""
    latent, width = w["e_W0"].shape
    units = w["gate_W0" if "gate_W0" in w else "t_W0"].shape[1]
    structure = {"class": "dmm", "units": 3, "latent_size": latent, "embedding_size": 2}
    structure |= {"transition_units": units, "emission_units": width, "inference": network}
    structure |= {"transition": "gated" if "gate_W0" in w else "mlp", "combiner": combiner}
    density = SequenceDensity(structure, {"class": "factorized", "event_size": 3})
    layers = chain_weights(w, network, combiner)
    set_layers(harness.randomize(density.structure), layers)
    set_layers(density.emission, {"dense": (w["e_W2"], w["e_b2"])})
    return density


def set_layers(layer, layers):
    """Set kernel and bias of layers by their paths: all layers but those that are injected."""
    paths = {w.path.split("/", 1)[1]: w for w in layer.trainable_variables}
    values = {
        f"{path}/{name}": value
        for path, both in layers.items()
        for name, value in zip(("kernel", "bias"), both, strict=True)
    }
    rest = [path for path in paths if path not in values]
    known = ("posterior/embed", "posterior/left/", "posterior/right/", "transition/variance")
    assert all(path.startswith(known) for path in rest), rest
    for path, value in values.items():
        paths[path].assign(value)


CHAINS = {name: (name, "average") for name in ("st_r", "st_l", "st_lr", "mf_l", "mf_r", "mf_lr")}
CHAINS["prior_r"] = "st_r", "product"


def agrees(arrays, variant):
    """The terms of a variant, given its features of the data, in place of recurrences."""
    density = chain_density(weights(arrays), *CHAINS[variant])
    x, noise = (tf.constant(arrays[name], tf.float32) for name in ("x", "noise"))
    given = {"left": arrays["h_left"], "right": arrays["h_right"]}
    mask = None
    if "lengths" in arrays:
        mask = np.arange(x.shape[1]) < arrays["lengths"][:, None]
    evidence = {
        side: tf.constant(given[side], tf.float32) for side in density.structure.posterior.sides
    }
    batch = density.batch(x, mask=mask)
    terms = density.terms(batch, noise, evidence=evidence)
    real = np.ones(x.shape[:2], bool) if mask is None else mask
    for name in ("log_likelihood", "kl", "log_ratio"):
        expected = np.where(real, arrays[f"{variant}_{name}"], 0.0)
        np.testing.assert_allclose(getattr(terms, name), expected, RTOL, 1e-5)
    mean = np.asarray(terms.posterior_mean)
    np.testing.assert_allclose(mean[real], arrays[f"{variant}_q_mean"][real], RTOL, 1e-6)
    elbo = tf.reduce_sum(terms.log_likelihood - terms.kl, axis=1)
    np.testing.assert_allclose(elbo, arrays[f"{variant}_elbo"], RTOL)
    if f"{variant}_log_weight" in arrays:
        weight = tf.reduce_sum(terms.log_likelihood - terms.log_ratio, axis=1)
        np.testing.assert_allclose(weight, arrays[f"{variant}_log_weight"], RTOL)


@pytest.mark.parametrize("variant", CHAINS)
def test_dmm(variant):
    agrees(golden("dmm"), variant)


@pytest.mark.parametrize("variant", ["mf_l", "mf_lr", "st_r", "prior_r"])
def test_dkf(variant):
    agrees(golden("dkf"), variant)


def test_the_transition_of_dmm():
    arrays = golden("dmm")
    transition = chain_density(weights(arrays), "st_r").structure.transition
    mean, log_variance = transition(tf.constant(arrays["transition_at"][:, None], tf.float32))
    np.testing.assert_allclose(mean[:, 0], arrays["transition_mean"], RTOL)
    np.testing.assert_allclose(np.exp(log_variance[:, 0]), arrays["transition_var"], RTOL)


@pytest.mark.parametrize("network", ["st_r", "st_l"])
def test_bounds_of_dmm_reach_the_density(network):
    arrays = golden("dmm")
    density = chain_density(weights(arrays, "quad_w_"), network)
    x = tf.constant(arrays["quad_x"], tf.float32)
    draws = tf.constant(np.random.default_rng(0).normal(size=[20_000, 3, 1]), tf.float32)
    terms = density.terms(density.batch(tf.repeat(x, len(draws), axis=0)), draws)
    log_weights = tf.reduce_sum(terms.log_likelihood - terms.log_ratio, axis=1)
    np.testing.assert_allclose(
        objectives.iwae(log_weights[:, None]), [arrays["quad_log_prob"]], 3e-3
    )
    assert tf.reduce_mean(log_weights) < arrays["quad_log_prob"] - 0.05
    model = SequenceModel(density.structure, density.emission)
    model.xla = False
    found = model.log_prob(x, bound=FIVO(4000), seed=0)
    np.testing.assert_allclose(found, [arrays["quad_log_prob"]], 3e-3)


def test_dmm_with_a_linear_transition():
    """log p(x, z) of any path z, that of a Kalman smoother: both layers of h_t pass on z, -z."""
    arrays = golden("dmm_linear")
    structure = {"class": "dmm", "units": 2, "latent_size": 2, "emission_units": 4}
    structure |= {"transition": "linear", "inference": "mf_r", "embedding_size": 2}
    normal = {"class": "gaussian_mixture", "num_components": 1}
    density = SequenceDensity(
        structure, {"class": "factorized", "event_size": 2, "likelihood": normal}
    )
    both, zero = np.concatenate([np.eye(2), -np.eye(2)], axis=1), np.zeros
    kernel, bias = np.zeros([4, 2, 2]), np.stack([arrays["d"], np.log(arrays["scale"])], axis=1)
    kernel[..., 0] = np.concatenate([arrays["C"].T, -arrays["C"].T])
    set_layers(density.emission, {"dense": (kernel.reshape(4, 4), bias.reshape(4))})
    moment = np.concatenate([np.eye(2), np.zeros([2, 2])], axis=1)
    raw = np.log(np.expm1(arrays["q_var"] - nn.LEAST_VARIANCE))
    density.structure.transition.variance.assign(raw)
    layers = {"emit_0": (both, zero(4)), "emit_1": (np.eye(4), zero(4))}
    layers |= {"transition/linear": (arrays["A"].T, arrays["b"])}
    layers |= {"posterior/right_message": (moment, zero(4))}  # q has its mean where z is
    set_layers(density.structure, layers)
    y, z = (tf.constant(arrays[name], tf.float32) for name in ("y", "z"))
    terms = density.terms(density.batch(y), tf.zeros_like(z), evidence={"right": z})
    trace = density.structure(y, noise=tf.zeros_like(z), evidence={"right": z})
    log_q = nn.gaussian_log_prob(z, trace.posterior_mean, trace.posterior_log_variance)
    joint = tf.reduce_sum(terms.log_likelihood - terms.log_ratio, axis=1)
    joint += tf.reduce_sum(log_q, axis=[1, 2])
    np.testing.assert_allclose(joint, arrays["log_joint"], RTOL)
    np.testing.assert_allclose(joint - arrays["log_posterior"], arrays["log_prob"], RTOL)


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
