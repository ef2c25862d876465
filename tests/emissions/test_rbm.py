"""The restricted Boltzmann machine against its formula; its other promises are those of all."""

import numpy as np
import pytest
import tensorflow as tf

from srnn_tf import SequenceModel, emissions
from srnn_tf.core.random import Key
from srnn_tf.emissions import RBM, rbm
from tests import harness

D, H = 3, 4


def machine(context=True, **given):
    layer = RBM(D, num_hidden=H, visible_context=context, **given)
    layer.build((None, None, H))
    return harness.randomize(layer, 1.0)


def params(rows, each):
    random = np.random.default_rng(0)
    shapes = [[rows, D] if each else [D], [rows, H], [D, H]]
    return [tf.constant(random.normal(size=shape), tf.float32) for shape in shapes]


@pytest.mark.parametrize("each", [True, False])
def test_the_partition_function_in_blocks_is_the_sum_over_all_states(each, monkeypatch):
    """Its gradient too, also for a number of rows that is not static."""
    given = params(7, each)
    x = harness.all_binary(1, D)[:, 0]
    visible = given[0] if each else tf.repeat(given[0][None], 7, axis=0)
    units = tf.math.softplus(given[1] + tf.matmul(x, given[2])[:, None])
    exact = tf.reduce_logsumexp(
        tf.matmul(x, visible, transpose_b=True) + tf.reduce_sum(units, axis=-1), axis=0
    )

    def run(*given):
        with tf.GradientTape() as tape:
            tape.watch(given)
            nats = rbm.log_partition(*given)
            total = tf.reduce_sum(nats * tf.range(1.0, tf.cast(tf.size(nats), tf.float32) + 1.0))
        return nats, *tape.gradient(total, given)

    whole = run(*given)
    np.testing.assert_allclose(whole[0], exact, rtol=1e-5)
    monkeypatch.setattr(rbm, "BLOCK", 3 * 2**H * (D if each else 1))
    spec = [tf.TensorSpec([None, *g.shape[1:]] if len(g.shape) > 1 else g.shape) for g in given[:2]]
    spec += [tf.TensorSpec([D, H])]
    for blocks in (run, tf.function(run, input_signature=spec, autograph=False)):
        for a, b in zip(blocks(*given), whole, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("context", [True, False])
def test_a_temperature_divides_the_energy(context):
    layer, h = machine(context), harness.noise(1, 1, H)
    x = tf.constant(harness.all_binary(1, D)[:, None])
    rough = machine(context, normalized=False)
    rough.set_weights(layer.get_weights())
    for temperature in (0.5, 2.0):
        energy = rough(h, temperature).free_energy(x)[:, 0, 0]
        found = layer(h, temperature).log_prob(x)[:, 0, 0]
        np.testing.assert_allclose(found, tf.nn.log_softmax(-energy), rtol=1e-4, atol=1e-5)
    bv, bh, kernel = (np.asarray(p) for p in layer._params(h[0], 2.0))
    frames = x[:, 0, 0].numpy()
    energy = -frames @ np.ravel(bv) - np.logaddexp(0.0, bh + frames @ kernel).sum(axis=-1)
    np.testing.assert_allclose(rough(h, 2.0).free_energy(x)[:, 0, 0], energy, rtol=1e-4)


def test_the_greedy_frame_is_that_of_the_most_probable_pair():
    layer, h = machine(), harness.noise(2, 3, H)
    bv, bh, kernel = (np.asarray(p) for p in layer._params(h, 1.0))
    x, s = harness.all_binary(1, D)[:, 0], harness.all_binary(1, H)[:, 0]
    joint = (x @ kernel @ s.T)[:, :, None, None]
    joint = joint + np.einsum("nv,btv->nbt", x, bv)[:, None] + np.einsum("nh,bth->nbt", s, bh)
    best = joint.max(axis=1).argmax(axis=0)
    np.testing.assert_array_equal(layer(h).greedy(), x[best])


def test_what_is_read():
    layer, x = machine(False, hidden_context="direct"), tf.constant(harness.toy(2, 3, width=D))
    np.testing.assert_allclose(layer.read(x), x.numpy() @ layer.kernel.numpy(), rtol=1e-5)
    assert layer.read_size == H and machine().read(x) is x and machine().read_size == D


def test_as_many_hidden_units_as_can_be_summed():
    layer = RBM(D, num_hidden=17, visible_context=False)
    layer.build((None, None, 2))
    assert np.isfinite(layer(tf.zeros([1, 1, 2])).log_prob(tf.ones([1, 1, D]))).all()
    with pytest.raises(
        ValueError, match="at most 16 in training with normalized=True; received 17"
    ):
        layer(tf.zeros([1, 1, 2]), key=Key([1, 2]))
    many = RBM(D, num_hidden=150, normalized=False)
    assert emissions.get({"class": "rbm", **many.get_config()}).num_hidden == 150


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"num_hidden": 11},
            "at most 10 with normalized=True and visible_context=True.*divergence",
        ),
        ({"num_hidden": 21, "visible_context": False}, "at most 20 .*received 21"),
        ({"num_hidden": 0}, "`num_hidden` must be an integer of at least 1; received 0"),
        ({"cd_steps": 0}, "`cd_steps` must be an integer of at least 1; received 0"),
        ({"gibbs_steps": 0}, "`gibbs_steps` must be an integer of at least 1; received 0"),
        ({"hidden_context": "direkt"}, "unknown `hidden_context` 'direkt'. Did you mean 'direct'"),
        ({"likelihood": "gaussian_mixture"}, "must be bernoulli.* received GaussianMixture"),
    ],
)
def test_arguments_that_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        RBM(D, **given)


def test_parts_that_do_not_fit():
    direct = {"class": "rbm", "event_size": D, "num_hidden": H, "hidden_context": "direct"}
    with pytest.raises(ValueError, match="contexts of num_hidden=4 biases.*of 5 values"):
        SequenceModel({"class": "rnn", "units": 5, "embedding_size": 2}, direct)
    with pytest.raises(ValueError, match="rtrbm with num_hidden=5 needs .* that reads 4 values"):
        SequenceModel({"class": "rtrbm", "num_hidden": 5}, direct)
    with pytest.raises(ValueError, match="without latents, for an emission that has it read 4"):
        SequenceModel({"class": "tsbn", "latent_size": 4}, direct)
