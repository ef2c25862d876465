"""What a model with every emission does: train, score, sample, be saved, round, be compiled."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from srnn_tf import emissions, structures
from srnn_tf.inference import sampling
from srnn_tf.inference.programs import Programs
from tests import harness

# The factorized one is that of the tests of every structure.
NAMES = [name for name in harness.OF_ANY if name != "factorized"]
every = pytest.mark.parametrize("name", NAMES)
# One row of each structure that has a choice of emissions.
WITH_ANY = [name for name in structures.STRUCTURES if name not in harness.PARTNERS]
PAIRS = [(structure, name) for structure in WITH_ANY for name in NAMES]
WIDTH = harness.EVENT_SIZE


@pytest.fixture
def eagerly():
    """Nothing is traced, which for few steps takes longer than to run them."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def case_of(name, structure="rnn", likelihood="bernoulli"):
    likelihood = harness.likelihood_of(name, likelihood)
    found = harness.cases(
        emission=name,
        structure=structure,
        cell=harness.cell_of(structure),
        likelihood=likelihood,
        flat=False,
    )
    return found[0]


def losses(model, x, epochs=2, **options):
    model.compile(keras.optimizers.Adam(0.01), **options)
    return model.fit(x, batch_size=len(x), epochs=epochs, verbose=0).history["loss"]


@pytest.mark.sampled(6)
@pytest.mark.parametrize(("structure", "name"), PAIRS)
def test_with_every_structure_it_trains_scores_and_samples(structure, name, eagerly):
    case = case_of(name, structure)
    model, x = harness.build(case), harness.frames(case, rows=2, steps=2)
    together = model.log_prob(x)
    np.testing.assert_allclose(model.log_prob(x[1:]), together[1:], rtol=1e-4, atol=1e-4)
    drawn = model.sample(2, 2, seed=0)
    assert drawn.shape == [2, 2, WIDTH] and np.isin(drawn, (0.0, 1.0)).all()
    before = [w.numpy() for w in model.trainable_variables]
    assert np.isfinite(losses(model, x, run_eagerly=True)).all()
    for old, new in zip(before, model.trainable_variables, strict=True):
        assert np.any(old != new.numpy()) and np.isfinite(new.numpy()).all(), new.path
    assert np.all(model.log_prob(x) != together)


@pytest.mark.sampled(3)
@every
def test_a_keras_file_gives_the_same_model(name, tmp_path, eagerly):
    case = case_of(name)
    model, x = harness.build(case, seed=3), harness.frames(case)
    first = losses(model, x, run_eagerly=True)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.get_config() == model.get_config()
    np.testing.assert_array_equal(again.log_prob(x), model.log_prob(x))
    on = [m.fit(x, batch_size=3, verbose=0).history["loss"] for m in (again, model)]
    assert on[0] == on[1] != first[-1:]


@every
def test_a_config_gives_the_same_emission(name):
    emission = harness.emission(name, event_size=9, dtype="mixed_bfloat16")
    config = emission.get_config()
    again = type(emission).from_config(config)
    assert again.get_config() == config and again.compute_dtype == "bfloat16"
    model = harness.build(case_of(name))
    again = type(model).from_config(model.get_config())
    assert again.get_config() == model.get_config()
    assert model.get_config()["emission"]["class"] in emissions.EMISSIONS
    again.set_weights(model.get_weights())
    x = harness.frames(case_of(name))
    np.testing.assert_array_equal(again(x)["log_likelihood"], model(x)["log_likelihood"])


@pytest.mark.parametrize("split", [{"indices": [5, 0, 2]}, {"split_size": 4, "seed": 7}])
def test_the_indices_of_a_split_are_part_of_the_config(split):
    one = emissions.DeltaSplit(9, **split)
    config = one.get_config()
    assert config["indices"] == list(one.first) and "seed" not in config
    assert all(type(i) is int for i in config["indices"])
    assert config["indices"] == split.get("indices", config["indices"])
    again = emissions.DeltaSplit.from_config(config)
    np.testing.assert_array_equal(again.first, one.first)
    np.testing.assert_array_equal(again.rest, one.rest)


COMPILED = ("autoregressive_rnn", "masked_mlp")  # XLA takes seconds for each


@pytest.mark.parametrize(
    "name", [n if n in COMPILED else pytest.param(n, marks=pytest.mark.slow) for n in NAMES]
)
def test_a_compiled_training_step_equals_one_that_is_not(name):
    case = case_of(name, likelihood="mixture")
    x, changes = harness.frames(case, rows=4, steps=3), {"num_layers": 1}
    models = [harness.build(case, structure=changes, scale=0.3) for _ in range(2)]
    ours, expected = losses(models[0], x), losses(models[1], x, run_eagerly=True)
    assert models[0].xla and not models[1].xla and expected[0] != expected[1]
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)
    for a, b in zip(*(m.trainable_variables for m in models), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-3)


@pytest.mark.sampled(3)
@every
def test_mixed_bfloat16_trains_and_scores_like_float32(name, eagerly):
    case = case_of(name, likelihood="normal")
    x = harness.frames(case, rows=4, steps=3)
    models = [harness.build(case, dtype=d, scale=0.2) for d in ("float32", "mixed_bfloat16")]
    out = [m(x)["log_likelihood"] for m in models]
    assert {o.dtype for o in out} == {tf.float32}
    assert {w.dtype for w in models[1].trainable_variables} == {"float32"}
    scores = [float(tf.reduce_mean(o)) for o in out]
    assert scores[0] != scores[1] and abs(scores[0] - scores[1]) < 0.05 * abs(scores[0])
    found = losses(models[1], x, epochs=5, run_eagerly=True)
    assert np.isfinite(found).all()
    assert float(tf.reduce_mean(models[1](x)["log_likelihood"])) > scores[1]
    drawn = models[1].sample(2, 2, seed=0)
    assert drawn.dtype == tf.float32 and np.isfinite(drawn).all()


@pytest.mark.sampled(3)
@every
def test_a_saved_model_scores_and_samples_without_python(name, tmp_path):
    case = case_of(name, likelihood="mixture")
    model, x = harness.build(case, scale=0.3), harness.frames(case)
    module = tf.Module()
    programs = Programs(model.density, lambda: False)
    module.model, sampler = model, sampling.Sampler(model.density, programs)

    @tf.function(input_signature=[tf.TensorSpec([None, None, WIDTH])])
    def score(frames):
        return model(frames)["log_likelihood"]

    @tf.function(input_signature=[tf.TensorSpec([2], tf.int32)])
    def sample(seed):
        return sampler.draw(2, 3, None, seed, tf.constant(1.0))

    module.score, module.sample = score, sample
    tf.saved_model.save(module, str(tmp_path))
    loaded, seed = tf.saved_model.load(str(tmp_path)), tf.constant([5, 6])
    expected = model(x[:2, :4])["log_likelihood"]
    np.testing.assert_allclose(loaded.score(x[:2, :4]), expected, rtol=1e-4, atol=1e-4)
    drawn = sampler.draw(2, 3, None, seed, tf.constant(1.0))
    np.testing.assert_allclose(loaded.sample(seed), drawn, rtol=1e-3, atol=1e-3)
    for program in (score, sample):
        operations = harness.operations(program)
        assert len(operations) > 50
        assert not [name for name in operations if "PyFunc" in name or "Xla" in name]
