"""What a model of every structure does: learn under XLA, be saved, resume, round, sample."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from srnn_tf import ELBO
from tests import harness

NAMES = list(harness.STRUCTURES)
# Every class once with XLA, which takes its time to compile; variants run eagerly.
CLASSES = [name for name, (config, _) in harness.STRUCTURES.items() if "class" not in config]
WIDTH = harness.EVENT_SIZE


def waves(rows, steps, seed=0):
    """Sines of one frequency whose values differ by their phase: certain once two are known."""
    random = np.random.default_rng(seed)
    phase = random.uniform(0, 2 * np.pi, [rows, 1, 1])
    angle = phase + 0.9 * np.arange(steps)[:, None] + np.arange(WIDTH)
    return (np.sin(angle) + 0.05 * random.normal(size=angle.shape)).astype(np.float32)


def floor_of(data, likelihood):
    """The best score of independent values of one fixed distribution each, nats per step."""
    if likelihood == "bernoulli":
        p = np.clip(data.mean(axis=(0, 1)), 1e-6, 1 - 1e-6)
        return float(np.sum(p * np.log(p) + (1 - p) * np.log(1 - p)))
    return float(np.sum(-0.5 * np.log(2 * np.pi * np.e * data.var(axis=(0, 1)))))


@pytest.mark.slow  # `test_training` has a short one
@pytest.mark.parametrize("likelihood", ["bernoulli", "mixture"])
@pytest.mark.parametrize("name", CLASSES)
def test_300_compiled_steps_beat_the_independent_floor(name, likelihood):
    case = harness.case_of(name, likelihood)
    likelihood = case.likelihood
    make = harness.toy if likelihood == "bernoulli" else waves
    train, test = make(64, 8), make(32, 8, seed=1)
    kl = {"initial": 0.2, "increment": 0.8 / 150, "final": 1.0}
    sizes = {"units": 24, "embedding_size": 12}
    sizes = {k: v for k, v in sizes.items() if k in harness.STRUCTURES[name][0]}
    model = harness.build(case, scale=0.2, structure={**sizes, "dropout": 0.05})
    objective = ELBO(kl) if case.latent else "elbo"
    model.compile(keras.optimizers.Adam(0.01), clipnorm=5.0, objective=objective, jit_compile=True)
    model.fit(train, batch_size=16, epochs=75, verbose=0)
    assert model.xla and int(model.step) == 300
    model.xla = False
    score = model.log_prob(test).numpy().mean() / 8
    assert score > floor_of(test, likelihood) + 0.3, (score, floor_of(test, likelihood))


@pytest.mark.sampled(5)
@pytest.mark.parametrize("name", NAMES)
def test_a_keras_file_gives_the_same_model(name, tmp_path):
    case = harness.case_of(name)
    model, x = harness.build(case, seed=3), harness.frames(case)
    model.compile("adam", run_eagerly=True)
    model.fit(x, batch_size=3, epochs=1, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.get_config() == model.get_config()
    np.testing.assert_array_equal(again.log_prob(x), model.log_prob(x))
    on = [m.fit(x, batch_size=3, epochs=2, verbose=0).history["loss"] for m in (again, model)]
    assert on[0] == on[1]


@pytest.mark.sampled(6)
@pytest.mark.parametrize("name", NAMES)
def test_training_resumes_exactly(name, tmp_path):
    case = harness.case_of(name, "normal", "gru")

    def fit(epochs, folder):
        model = harness.build(case, structure={"dropout": 0.3})
        model.compile("adam", run_eagerly=True)
        backup = keras.callbacks.BackupAndRestore(folder, delete_checkpoint=False)
        x = harness.frames(case, rows=4, steps=4)
        return model.fit(x, batch_size=2, epochs=epochs, callbacks=[backup], verbose=0).history

    whole = fit(3, tmp_path / "whole")["loss"]
    fit(1, tmp_path / "parts")
    np.testing.assert_allclose(fit(3, tmp_path / "parts")["loss"], whole[1:], rtol=1e-6)
    assert whole[1] != whole[2]


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", CLASSES)
def test_a_saved_model_scores_without_python(name, tmp_path):
    case = harness.case_of(name, "mixture")
    model, x = harness.build(case), harness.frames(case)
    module = tf.Module()
    module.model = model

    @tf.function(input_signature=[tf.TensorSpec([None, None, WIDTH])])
    def bound(frames):
        out = model(frames)
        return out["log_likelihood"] - out["kl"]

    module.bound = bound
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    out = model(x[:2, :4])
    expected = out["log_likelihood"] - out["kl"]
    np.testing.assert_allclose(loaded.bound(x[:2, :4]), expected, rtol=1e-4, atol=1e-4)
    operations = harness.operations(bound)
    assert len(operations) > 100 and not [name for name in operations if "PyFunc" in name]


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", NAMES)
def test_mixed_bfloat16_trains_and_scores_like_float32(name):
    case = harness.case_of(name, "normal")
    x = harness.frames(case, rows=4, steps=3)
    models = [harness.build(case, dtype=d, scale=0.2) for d in ("float32", "mixed_bfloat16")]
    out = [m(x) for m in models]
    assert {o["log_likelihood"].dtype for o in out} == {o["kl"].dtype for o in out} == {tf.float32}
    scores = [float(tf.reduce_mean(o["log_likelihood"] - o["kl"])) for o in out]
    assert (scores[0] == scores[1]) == (name in harness.FLOAT32)
    assert abs(scores[0] - scores[1]) < 0.02 * abs(scores[0])
    half = models[1]
    assert {w.dtype for w in half.trainable_variables} == {"float32"}
    half.compile(keras.optimizers.Adam(0.02), clipnorm=5.0, run_eagerly=True)
    losses = half.fit(x, batch_size=4, epochs=5, verbose=0).history["loss"]
    after = half(x)  # with the draws of before
    assert np.isfinite(losses).all()
    assert tf.reduce_mean(after["log_likelihood"] - after["kl"]) > scores[1]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", CLASSES)
def test_own_samples_score_higher_than_shuffled_ones(name):
    case, order = harness.case_of(name), np.array([3, 5, 1, 6, 0, 4, 7, 2])
    model = harness.build(case, scale=1.0)
    x = model.sample(batch_size=4000, num_steps=len(order), seed=0).numpy()
    request = {"bound": "fivo", "num_samples": 16, "proposal": "prior"} if case.latent else {}
    own, shuffled = (model.log_prob(a, **request).numpy() for a in (x, x[:, order]))
    difference = own - shuffled
    error = difference.std() / np.sqrt(len(difference))
    assert difference.mean() > 3 * error, (difference.mean(), error)
