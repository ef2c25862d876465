"""Frozen weights stay frozen: in training, by saving, and in copies."""

import copy
import pickle

import keras
import numpy as np
import pytest

from srnn_tf import SequenceModel, structures
from tests import harness

CASE = harness.cases(structure="zforcing", cell="lstm", likelihood="mixture", flat=False)[0]
RNN = harness.cases(structure="rnn", cell="lstm", likelihood="mixture", flat=False)[0]


def structure(m):
    m.structure.trainable = False


def all_but_the_cell(m):
    m.structure.trainable = False
    m.structure.cell.trainable = True


def one_weight(m):
    m.structure.cell.recurrent.weights[0].trainable = False


def all_but_one_weight(m):
    m.structure.trainable = False
    m.structure.cell.posterior.out.kernel.trainable = True


def emission(m):
    m.emission.trainable = False


def inner_layer(m):
    m.structure.cell.prior.trainable = False


def head(m):
    m.reconstruction.trainable = False


def model_itself(m):
    m.trainable = False


def all_but_the_emission(m):
    m.trainable = False
    m.emission.trainable = True


FROZEN = (
    structure, all_but_the_cell, one_weight, all_but_one_weight, emission, inner_layer, head,
    model_itself, all_but_the_emission,
)  # fmt: skip


def saved(model, folder):
    model.save(folder / "model.keras")
    return keras.models.load_model(folder / "model.keras")


WAYS = {
    "saved": saved,
    "deepcopy": lambda model, _: copy.deepcopy(model),
    "pickle": lambda model, _: pickle.loads(pickle.dumps(model)),
    "clone": lambda model, _: keras.models.clone_model(model),
    "config": lambda model, _: SequenceModel.from_config(model.get_config()),
}


def flags(layer):
    return [part.trainable for part in layer._flatten_layers()], [
        v.trainable for v in layer.variables
    ]


def test_a_frozen_part_stays_as_it_is_and_loads_frozen(tmp_path):
    model, x = harness.build(RNN), harness.frames(RNN, 4, 5)
    model.structure.trainable = False
    model.compile("adam", run_eagerly=True)
    before = [w.numpy() for w in model.structure.weights]
    model.fit(x, verbose=0)
    loaded = saved(model, tmp_path)
    for each in (model, loaded):
        each.run_eagerly = True
        each.fit(x, epochs=2, initial_epoch=1, verbose=0)
        for a, b in zip(before, each.structure.weights, strict=True):
            np.testing.assert_array_equal(a, b)
    for a, b in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("freeze", FROZEN, ids=lambda f: f.__name__)
def test_copies_are_frozen_alike(freeze, tmp_path):
    model, x = harness.build(CASE), harness.frames(CASE, 2, 4)
    freeze(model)
    model.compile("adam", run_eagerly=True)
    if model.trainable_variables:
        model.fit(x, verbose=0)
    scores = model.log_prob(x).numpy()
    for way, make in WAYS.items():
        other = make(model, tmp_path)
        assert flags(other) == flags(model), way
        assert len(other.trainable_variables) == len(model.trainable_variables), way
        if way in ("saved", "deepcopy", "pickle"):
            np.testing.assert_array_equal(other.log_prob(x), scores, err_msg=way)
            pairs = zip(other.optimizer.variables, model.optimizer.variables, strict=True)
            assert all(np.array_equal(a, b) for a, b in pairs), way


@pytest.mark.parametrize("freeze", (structure, inner_layer), ids=lambda f: f.__name__)
@pytest.mark.parametrize("way", ["deepcopy", "pickle"])
def test_parts_can_be_copied(freeze, way):
    model = harness.build(CASE)
    freeze(model)
    for part in (model.structure, model.structure.cell, model.emission, model.density):
        other = WAYS[way](part, None)
        for a, b in zip(other.variables, part.variables, strict=True):
            assert a is not b and a.trainable == b.trainable
            np.testing.assert_array_equal(a, b)
    batch = model.density.batch(harness.frames(CASE, 2, 4))
    noise = model.density.table(4 * model.steps_per_frame)
    auxiliary = (d.terms(batch, noise).auxiliary for d in (model.density, other))
    np.testing.assert_array_equal(*auxiliary)  # the copy has a head of its own


def test_parts_can_be_frozen_before_there_are_weights():
    config = harness.structure_config("rnn")
    emission = harness.emission_config("factorized", "normal")
    model = SequenceModel({**config, "trainable": False}, emission)
    assert not model.structure.trainable_variables
    assert not any(v.trainable for v in model.structure.variables)
    part = structures.get(config)
    part.forward.trainable = False
    model = SequenceModel(part, emission)
    names = {v.path.split("/")[2] for v in model.structure.variables if v.trainable}
    assert names == {"embed"}


@pytest.mark.parametrize("call", ["fit", "train_on_batch"])
def test_a_frozen_model_has_nothing_to_train(call):
    model, x = harness.build(RNN), harness.frames(RNN, 4, 5)
    model.trainable = False
    model.compile(run_eagerly=True)
    assert np.isfinite(model.evaluate(x, verbose=0)).all()
    with pytest.raises(ValueError, match="no weight to train: all are frozen"):
        getattr(model, call)(x)


def test_parts_frozen_between_fits_are_not_trained():
    model, x = harness.build(RNN, structure={"num_layers": 1}), harness.frames(RNN, 4, 5)
    model.compile(jit_compile=False)
    model.fit(x, verbose=0)
    model.structure.trainable = False
    before = [w.numpy() for w in model.structure.weights]
    model.fit(x, verbose=0)
    for a, b in zip(before, model.structure.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_config_that_names_another_part():
    config = {**harness.build(RNN).get_config(), "trainable": {"structure/cell": False}}
    with pytest.raises(ValueError, match=r"`trainable` names parts .*structure/cell"):
        SequenceModel.from_config(config)
