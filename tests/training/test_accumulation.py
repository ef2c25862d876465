"""Gradient accumulation and loss scaling: the updates of whole batches, and of unscaled losses."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.optimizers import SGD, Adam, AdamW, LossScaleOptimizer

from srnn_tf import data
from tests import harness

RNN = harness.cases(structure="rnn", cell="lstm", likelihood="mixture", flat=False)[0]
VRNN = harness.cases(structure="vrnn", cell="lstm", likelihood="mixture", flat=False)[0]
ROWS, STEPS = 8, 5
# Of unequal lengths: the mean over all frames is not the mean of the batches' means.
GIVEN = {
    "frames": harness.frames(RNN, ROWS, STEPS),
    "mask": harness.lengths_mask([5, 2, 4, 1, 3, 5, 4, 2], STEPS),
}


def schedule():
    return keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)


OPTIMIZERS = {
    "momentum": lambda **k: SGD(0.1, momentum=0.9, **k),
    "schedule": lambda **k: Adam(schedule(), **k),
    "moving average": lambda **k: SGD(0.1, use_ema=True, ema_momentum=0.5, **k),
    "overwritten": lambda **k: SGD(
        0.1, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2, **k
    ),
    "clipnorm": lambda **k: SGD(0.1, clipnorm=0.05, **k),
    "global_clipnorm": lambda **k: SGD(0.1, global_clipnorm=0.05, **k),
    "clipvalue": lambda **k: SGD(0.1, clipvalue=0.01, **k),
    "weight decay": lambda **k: AdamW(0.05, weight_decay=0.3, **k),
    "scaled": lambda **k: LossScaleOptimizer(Adam(0.05, **k)),
}


def compiled(optimizer, case=RNN, **kwargs):
    model = harness.build(case, structure={"num_layers": 1} if case is RNN else {})
    model.compile(optimizer, **{"run_eagerly": True, "clipnorm": 0.3, **kwargs})
    return model


def trained(optimizer, rows, epochs=3, **kwargs):
    model = compiled(optimizer, **kwargs)
    model.fit(GIVEN, batch_size=rows, shuffle=False, epochs=epochs, verbose=0)
    return model


def close(model, other, atol=3e-6):
    pairs = zip(model.trainable_variables, other.trainable_variables, strict=True)
    for a, b in pairs:
        np.testing.assert_allclose(a, b, atol=atol, err_msg=a.path)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_accumulated_batches_are_one_batch(name):
    make = OPTIMIZERS[name]
    model = trained(make(gradient_accumulation_steps=4), 2)
    close(model, trained(make(), 8))
    assert int(model.step) == int(model.optimizer.iterations) == 3


@pytest.mark.parametrize("xla", [False, True])
def test_compiled_accumulation(xla):
    how = {"run_eagerly": False, "jit_compile": xla}
    close(
        trained(Adam(schedule(), gradient_accumulation_steps=4), 2, **how),
        trained(Adam(schedule()), 8),
    )


def test_an_update_can_be_interrupted(tmp_path):
    make = OPTIMIZERS["momentum"]
    model, half = (
        compiled(make(gradient_accumulation_steps=4)),
        {k: v[:6] for k, v in GIVEN.items()},
    )
    model.fit(half, batch_size=2, shuffle=False, verbose=0)
    assert int(model.step) == 0
    model.save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    model.run_eagerly = True
    model.train_on_batch({k: v[6:] for k, v in GIVEN.items()})
    assert int(model.step) == 1
    close(model, trained(make(), 8, epochs=1), atol=0.0 + 3e-7)
    model.compile(model.optimizer)
    assert model.accumulator.steps == 4


def test_each_batch_of_an_update_has_its_own_noise():
    model, said = compiled(SGD(0.0, gradient_accumulation_steps=2), VRNN), []
    x = np.repeat(harness.frames(VRNN, 1, STEPS), 8, axis=0)
    told = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda _, logs: said.append(logs["log_likelihood"])
    )
    for part in np.split(x, 4):
        model.fit(part, batch_size=2, verbose=0, callbacks=[told])
    assert len(set(said)) == 4


def test_each_epoch_has_its_own_order():
    model, epochs = compiled(SGD(0.1, gradient_accumulation_steps=4)), []

    def make_epoch(epoch):
        epochs.append(epoch)
        return lambda i: {k: v[2 * i : 2 * i + 2] for k, v in GIVEN.items()}

    model.fit(data.EpochDataset(make_epoch, 4, same_length=True), epochs=3, verbose=0)
    assert epochs == [0, 1, 2]


def test_an_infinite_gradient_skips_its_update():
    model = compiled(SGD(0.1, gradient_accumulation_steps=2))
    before = [v.numpy() for v in model.trainable_variables]
    model.accumulator.build(model.optimizer, model.trainable_variables)
    bad = [tf.fill(v.shape, np.inf) for v in model.trainable_variables]
    good = [tf.ones(v.shape) for v in model.trainable_variables]
    updates = []
    for gradients in (bad, good, good, good):
        model.accumulator.add(
            model.trainable_variables, gradients, tf.constant(3.0), updates.append
        )
    assert not np.isfinite(updates[0][0]).any() and np.all(np.asarray(updates[1][0]) == 1.0)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.trainable_variables, strict=True))


def test_accumulation_is_refused_under_a_strategy():
    with tf.distribute.MirroredStrategy(["/cpu:0"]).scope():
        model = harness.build(RNN)
        with pytest.raises(ValueError, match="`gradient_accumulation_steps` .* received 4"):
            model.compile(SGD(0.1, gradient_accumulation_steps=4))


SCALED = {
    "wrapped": lambda: LossScaleOptimizer(Adam(0.05)),
    "wrapped, graph": lambda: LossScaleOptimizer(Adam(0.05)),
    "factor": lambda: Adam(0.05, loss_scale_factor=1024.0),
}


@pytest.mark.parametrize("name", SCALED)
def test_a_loss_scale_does_not_change_updates(name):
    how = {"run_eagerly": "graph" not in name, "jit_compile": False}
    close(trained(SCALED[name](), 4, **how), trained(Adam(0.05), 4))


def test_a_policy_of_float16_does_not_wrap_the_optimizer_of_float32_parts():
    before = keras.config.dtype_policy()
    model = harness.build(RNN)
    try:
        keras.config.set_dtype_policy("mixed_float16")
        model = type(model)(model.structure, model.emission)
        model.compile(SGD(0.1), run_eagerly=True)
    finally:
        keras.config.set_dtype_policy(before)
    assert type(model.optimizer) is SGD
