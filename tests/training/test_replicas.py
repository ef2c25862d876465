"""Two replicas do what one device does: losses, weights, metrics, whatever rows each gets."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from srnn_tf.core import nn, random
from srnn_tf.core.random import Key, Rows
from tests import harness

HEAD = """
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    import keras, numpy as np
    from srnn_tf import SequenceModel, data

    VRNN = {"class": "vrnn", "units": 6, "embedding_size": 5, "latent_size": 3, "dropout": 0.3}
    RNN = {"class": "rnn", "units": 6, "embedding_size": 5, "dropout": 0.3}
    SRNN = {**VRNN, "class": "parallel_srnn"}
    KEYS = {"class": "factorized", "event_size": 6, "likelihood": "bernoulli"}
    HIER = {**KEYS, "class": "autoregressive_rnn", "units": 5, "dropout": 0.3}
    MLP = {**KEYS, "class": "masked_mlp", "units": 5, "dropout": 0.3}
    DELTA = {**KEYS, "class": "delta_split", "dropout": 0.3}
    ONE, TWO = None, ["/cpu:0", "/cpu:1"]

    def sequences(count, seed=0, least=3):
        rng = np.random.default_rng(seed)
        return [(rng.random([rng.integers(least, 9), 6]) < 0.4).astype("f4") for _ in range(count)]

    def train(devices, structure, emission, batches, epochs=1, held_out=None, **options):
        def make():
            keras.utils.set_random_seed(1)
            model = SequenceModel(structure, emission)
            model.compile(keras.optimizers.Adam(0.01), clipnorm=0.05, **options)
            return model

        if devices is None:
            model = make()
        else:
            with tf.distribute.MirroredStrategy(devices).scope():
                model = make()
        history = model.fit(batches(), epochs=epochs, verbose=0).history
        if held_out is not None:
            found = model.evaluate(held_out(), verbose=0, return_dict=True)
            history |= {f"held_out_{key}": [value] for key, value in found.items()}
        return history, [w.numpy() for w in model.trainable_variables], int(model.step.numpy())

    def same(structure, emission, batches, atol=1e-5, **options):
        (a, v, n), (b, w, m) = (
            train(devices, structure, emission, batches, **options) for devices in (ONE, TWO)
        )
        assert n == m and a.keys() == b.keys()
        for key in a:
            np.testing.assert_allclose(a[key], b[key], rtol=1e-5, atol=1e-5, err_msg=key)
        for x, y in zip(v, w):
            np.testing.assert_allclose(x, y, rtol=0, atol=atol)
"""


def run(body, folder):
    script = folder / "script.py"
    script.write_text(textwrap.dedent(HEAD) + textwrap.dedent(body))
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, str(script)], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def test_two_replicas_repeat_one_device(tmp_path):
    # 9 rows in batches of 4: the last one leaves a replica without a row.
    run(
        """
        def padded():
            return data.padded(sequences(9), 4, seed=1)

        held_out = lambda: data.padded(sequences(5, seed=2), 3, seed=1).as_dataset()
        same(VRNN, DELTA, padded, epochs=2, held_out=held_out, jit_compile=False)
        """,
        tmp_path,
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["VRNN, KEYS", "SRNN, HIER"])
def test_fifty_steps_with_xla(tmp_path, kind):
    run(
        f"""
        def streams():
            return data.streams(sequences(60, least=6), batch_size=6, num_steps=4, seed=3)

        steps = streams().batches_per_epoch
        same({kind}, streams, epochs=-(-50 // steps), loss_per="value")
        """,
        tmp_path,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [
        "RNN, MLP, free",
        "{**VRNN, 'class': 'zforcing', 'alpha': 0.1, 'beta': 0.1}, KEYS, free",
        "VRNN, HIER, free, objective='iwae', num_samples=4, max_samples=2",
        "SRNN, KEYS, free, objective='fivo', num_samples=3",
    ],
)
def test_every_way_of_drawing(tmp_path, case):
    run(
        f"""
        def free():
            return data.padded(sequences(7), 4, seed=1)

        same({case}, jit_compile=False, atol=2e-5)
        """,
        tmp_path,
    )


def test_the_rows_of_a_replica_are_drawn_as_one_device_draws_them():
    seed, whole = [1, 2], np.asarray(random.normal([3, 2 * 5 * 4, 2], [1, 2]))
    shares = [(0, 2), (2, 3)]  # of five rows, two copies, four particles or steps in a row
    found = []
    for first, rows in shares:
        key = Key(seed, Rows(*map(tf.constant, (first, rows, 5)))).repeated(2)
        part = key.normal([3, 2 * rows * 4, 2], axis=1)
        found.append(np.reshape(part, [3, 2, rows, 4, 2]))
    np.testing.assert_array_equal(np.concatenate(found, 2), whole.reshape(3, 2, 5, 4, 2))
    np.testing.assert_array_equal(Key(seed).repeated(2).normal([3, 40, 2], axis=1), whole)
    key = Key(seed, Rows(*map(tf.constant, (0, 1, 2)))).fold("dropout").without_rows()
    assert nn.keep([4, 2], 0.0, key) == ()
    with pytest.raises(ValueError, match="does not go with `recompute`"):
        nn.keep([4, 2], 0.5, key.repeated(3).fold("again"))
    # On one device blocks may be dropped out.
    assert nn.keep([4, 2], 0.5, Key(seed).without_rows()).shape == (4, 2)


def test_several_steps_per_execution_are_refused_under_a_strategy():
    with tf.distribute.MirroredStrategy(["/cpu:0"]).scope():
        model = harness.build(harness.Case("rnn", "lstm", "factorized", "bernoulli"))
        with pytest.raises(ValueError, match="`steps_per_execution` must be 1 under a `tf.dist"):
            model.compile(steps_per_execution=2)
        model.compile()
    assert model.xla and not model.jit_compile  # XLA is inside of the step
