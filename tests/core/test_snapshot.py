"""A watch says what a snapshot says, and walks only after a change."""

import functools
import types

import keras
import numpy as np
import pytest

from srnn_tf.core import snapshot as snapshots
from srnn_tf.core.snapshot import Watch, snapshot
from tests import harness


class Part:
    def __init__(self, **settings):
        vars(self).update(settings)


class Other(Part):
    pass


def built():
    layer = keras.layers.Dense(2, name="dense")
    layer.build((None, 3))
    return Part(
        number=1,
        items=[1, Part(a=2)],
        names={"a": [1]},
        members={"a"},
        pair=(Part(a=1), 2),
        array=np.zeros(3),
        partial=functools.partial(max, default=0),
        layer=layer,
        variable=keras.Variable([1.0]),
    )


CHANGES = {
    "a number": lambda part: setattr(part, "number", 2),
    "a type": lambda part: setattr(part, "number", True),
    "a new attribute": lambda part: setattr(part, "more", 1),
    "an attribute less": lambda part: delattr(part, "number"),
    "an item": lambda part: part.items.append(1),
    "an item of an item": lambda part: setattr(part.items[1], "a", 3),
    "a value of a dict": lambda part: part.names["a"].append(2),
    "a key of a dict": lambda part: part.names.update(b=part.names.pop("a")),
    "a member": lambda part: (part.members.clear(), part.members.add("b")),
    "a part of a tuple": lambda part: setattr(part.pair[0], "a", 2),
    "a value of an array": lambda part: part.array.__setitem__(1, 1.0),
    "a keyword": lambda part: part.partial.keywords.update(default=1),
    "an activation": lambda part: setattr(part.layer, "activation", keras.activations.tanh),
    "a dtype policy": lambda part: setattr(part.layer, "dtype_policy", "bfloat16"),
    "a variable": lambda part: setattr(part, "variable", keras.Variable([1.0])),
    "a class": lambda part: setattr(part, "__class__", Other),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_watch_sees_what_a_snapshot_sees(change):
    part = built()
    watch, before = Watch(part), snapshot(part)
    key = watch()
    assert watch() is key and snapshot(part) == before
    CHANGES[change](part)
    assert snapshot(part) != before
    assert watch() != key
    assert watch() is watch()


def test_a_setting_that_comes_back_has_the_key_of_before():
    part = built()
    watch = Watch(part)
    before = watch()
    part.number = 2
    watch()
    part.number = int("1")
    assert watch() == before and hash(watch()) == hash(before)


def test_values_of_variables_and_notes_of_keras_are_no_change():
    part = built()
    watch = Watch(part)
    before = watch()
    part.variable.assign([2.0])
    part.layer(np.zeros([1, 3], np.float32))
    assert watch() == before


def test_a_mapping_that_is_no_dict_is_walked_each_time():
    names = {"a": 1}
    watch = Watch(types.MappingProxyType(names))
    before = watch()
    assert watch() is before
    names["a"] = 2
    assert watch() != before


CASES = harness.cases(cell="lstm", likelihood="mixture", flat=False)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_call_walks_the_settings_once(case, monkeypatch):
    model, x = harness.build(case), harness.frames(case, steps=2)
    model.xla = False
    model.log_prob(x)
    model.log_prob(x)  # what Keras noted while the first one was traced

    def walk(*_):
        raise AssertionError("walked")

    monkeypatch.setattr(snapshots, "_walk", walk)
    model.log_prob(x)
