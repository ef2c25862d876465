"""Compiled programs: never of settings that have changed since, and bounded in number."""

import copy
import functools
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from srnn_tf.core.snapshot import snapshot
from srnn_tf.inference import programs, scoring
from srnn_tf.objectives import FIVO, IWAE
from tests import harness

CASES = harness.cases(structure=("rnn", "vrnn"), cell="lstm", likelihood="mixture", flat=False)
EXACT, LATENT = (
    next(c for c in CASES if c.latent is latent and c.emission == "factorized")
    for latent in (False, True)
)


def stream(model, x):
    states = model.initial_states(len(x))
    return [model.score_step(x[:, t], states)[0] for t in (0, 1)]


# `states` are those before the frame, so that two frames differ in their values only.
ANSWERS = {
    "log_prob": lambda model, x: model.log_prob(x),
    "paper": lambda model, x: model.log_prob(x, protocol="paper"),
    "sample": lambda model, x: model.sample(2, 4, seed=1),
    "score_step": stream,
    "evaluate": lambda model, x: model.evaluate(x, verbose=0, return_dict=True)["bound"],
}
OF_LATENTS = {
    "iwae": lambda model, x: model.log_prob(x, bound="iwae", num_samples=3),
    "fivo": lambda model, x: model.log_prob(x, bound="fivo", num_samples=3),
    "posterior": lambda model, x: model.posterior(x).mean,
}


def add_lora(model):
    layers = [a for a in model._flatten_layers() if isinstance(a, keras.layers.Dense) and a.built]
    for layer in layers:
        layer.enable_lora(2)
        layer.lora_kernel_b.assign(tf.ones_like(layer.lora_kernel_b))


def quantize(model):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras has no int8 of an LSTM
        model.quantize("int8")


def change_policy(model):
    for layer in model._flatten_layers():
        layer.dtype_policy = "bfloat16"


def change_window(model):
    model.window = 2


def change_activation(model):
    model.emission.dense.activation = tf.tanh


CHANGES = {
    "LoRA": add_lora,
    "int8": quantize,
    "dtype policy": change_policy,
    "activation": change_activation,
    "window": change_window,
}


def fresh(case):
    model = harness.build(case)
    model.compile(jit_compile=False)
    return model


def uncompiled(answer, model, x):
    tf.config.run_functions_eagerly(True)
    try:
        model.make_test_function(force=True)
        return answer(model, x)
    finally:
        tf.config.run_functions_eagerly(False)


QUICK = ("log_prob", "paper", "score_step")
SEEN = [(EXACT, change, QUICK) for change in CHANGES if change != "int8"]
SEEN += [(EXACT, "int8", ANSWERS), (LATENT, "int8", OF_LATENTS)]


@pytest.mark.parametrize(
    "case, change, names", SEEN, ids=[f"{c}-{change}" for c, change, _ in SEEN]
)
def test_a_change_is_seen_by_all_that_is_compiled(case, change, names):
    model, x = fresh(case), harness.frames(case, steps=4)
    answers = {name: (ANSWERS | OF_LATENTS)[name] for name in names}
    before = {name: np.array(answer(model, x)) for name, answer in answers.items()}
    CHANGES[change](model)
    after = {name: np.array(answer(model, x)) for name, answer in answers.items()}
    assert any(np.abs(after[name] - before[name]).max() > 1e-6 for name in answers)
    for name, answer in answers.items():
        tolerance = 0.05 if change == "dtype policy" else 1e-3  # XLA keeps more bits of bfloat16
        np.testing.assert_allclose(
            after[name], uncompiled(answer, model, x), tolerance, tolerance, err_msg=name
        )


def test_a_changed_attribute_is_trained_with():
    model, x = fresh(EXACT), harness.frames(EXACT)
    model.fit(x, verbose=0)
    function = model.train_function
    model.fit(x, verbose=0)
    assert model.train_function is function
    model.structure.dropout = 0.5
    model.fit(x, verbose=0)
    assert model.train_function is not function


def test_an_objective_that_is_changed_is_another_one():
    model, x = fresh(LATENT), harness.frames(LATENT, steps=4)
    for bound, name in ((IWAE(2), "num_samples"), (FIVO(2), "num_particles")):
        before = model.log_prob(x, bound=copy.copy(bound))
        setattr(bound, name, 5)
        wanted = model.log_prob(x, bound=type(bound)(5))
        np.testing.assert_allclose(model.log_prob(x, bound=bound), wanted)
        setattr(bound, name, 2)
        np.testing.assert_allclose(model.log_prob(x, bound=bound), before)


@pytest.mark.parametrize("name", ["density", "structure", "emission"])
def test_parts_of_a_built_model_are_not_replaced_in_silence(name):
    model = fresh(EXACT)
    other = getattr(harness.build(EXACT), name)
    with pytest.raises(ValueError, match=f"`{name}` of a built model cannot be replaced"):
        setattr(model, name, other)


EMISSIONS = [
    harness.cases(emission, structure="rnn", cell="lstm", likelihood=likelihood)[0]
    for emission in harness.EMISSIONS
    for likelihood in [harness.likelihood_of(emission, "mixture")]
]
STRUCTURES = harness.cases(cell="lstm", likelihood="mixture", flat=False)


@pytest.mark.parametrize("case", [*STRUCTURES, *EMISSIONS], ids=str)
def test_what_a_call_notes_is_no_change(case):
    """Otherwise each call would compile."""
    model, x = harness.build(case), harness.frames(case, steps=2)
    before = snapshot(model.density)
    tf.config.run_functions_eagerly(True)
    try:
        model.log_prob(x)
        model.sample(1, 1, seed=0)
    finally:
        tf.config.run_functions_eagerly(False)
    assert snapshot(model.density) == before


def test_settings_are_compared_by_value_and_type():
    class Part:
        def __init__(self, **settings):
            vars(self).update(settings)

    values = [0, 1, 1.0, True, "1", None, (1, 2), [1, 2], np.ones(2), np.zeros(2), tf.nn.relu]
    values += [functools.partial(max, n) for n in (1, 2)]
    keys = [snapshot(Part(value=value)) for value in values]
    assert len(set(keys)) == len(keys)
    assert snapshot(Part(value=float("nan"))) == snapshot(Part(value=float("nan")))
    circle = Part(a=1)
    circle.itself = circle
    assert snapshot(circle) == snapshot(circle)
    assert snapshot(Part(nested={"a": [Part(b=1)]})) != snapshot(Part(nested={"a": [Part(b=2)]}))


def test_programs_are_bounded_in_number(monkeypatch):
    """After a few shapes the rest share a program for any shape, which says the same."""
    monkeypatch.setattr(programs, "MOST_COMPILED", 1)
    monkeypatch.setattr(programs, "MOST_GENERAL", 3)
    model, x = harness.build(LATENT), harness.frames(LATENT, rows=4, steps=6)
    model.xla = True
    whole = {
        "log_prob": lambda rows: model.log_prob(x[:rows]),
        "iwae": lambda rows: model.log_prob(x[:rows], bound="iwae", num_samples=rows),
        "fivo": lambda rows: model.log_prob(x[:rows], bound="fivo", num_samples=rows, seed=1),
        "prefix": lambda rows: model.sample(2, rows, seed=1, prefix=x[:2, :rows]),
        "score_step": lambda rows: model.score_step(x[:rows, 0], model.initial_states(rows))[0],
    }
    cache = model._scorer.programs
    for name, answer in whole.items():
        for rows in (2, 3):
            got = answer(rows)
            wanted = uncompiled(lambda *_, a=answer, r=rows: a(r), model, x)
            np.testing.assert_allclose(got, wanted, 1e-4, 1e-4, err_msg=name)
    assert len(cache.compiled) == 1 and len(cache.general) == 3


@pytest.mark.parametrize("case", [EXACT, LATENT], ids=str)
def test_scores_are_compiled_for_shapes_that_are_common(case, monkeypatch):
    """Before, one program that is traced once serves all; it says the same."""
    monkeypatch.setattr(programs, "COMMON", 3)
    model, x = harness.build(case), harness.frames(case, rows=4, steps=8)
    model.xla = True
    cache = model._scorer.programs
    for answer in (ANSWERS["log_prob"], ANSWERS["paper"], OF_LATENTS["iwae"])[: 2 + case.latent]:
        cache.compiled.clear()
        cache.general.clear()
        for rows, steps in ((1, 2), (1, 8), (3, 4), (2, 8)):
            answer(model, x[:rows, :steps])
        (program,) = cache.general.values()
        assert not cache.compiled and program.experimental_get_tracing_count() == 1
        first, second, third = (answer(model, x) for _ in range(3))
        assert len(cache.compiled) == 1 and not cache.counts.keys() & cache.compiled.keys()
        np.testing.assert_array_equal(first, second)
        np.testing.assert_allclose(third, first, rtol=1e-6)
        answer(model, x)
        assert len(cache.compiled) == 1 and program.experimental_get_tracing_count() == 1


def test_what_rounding_can_change_is_compiled_at_once():
    """Samples, bits of latents, and what a particle filter resamples."""
    model, x = harness.build(LATENT), harness.frames(LATENT, steps=2)
    model.xla = True
    cache = model._scorer.programs
    model.sample(1, 1, seed=0)
    assert len(cache.compiled) == 1
    OF_LATENTS["fivo"](model, x)
    OF_LATENTS["posterior"](model, x)
    bits = harness.build(harness.cases(structure="tsbn", flat=False)[0])
    bits.xla = True
    bits.log_prob(harness.frames(harness.cases(structure="tsbn", flat=False)[0], steps=2))
    assert not cache.general and not bits._scorer.programs.general


def test_what_needs_static_sizes_is_compiled_at_once():
    """A part of a third party may loop over the steps in Python."""

    def total(x):
        return sum(x[:, t] for t in range(x.shape[1]))

    cache = programs.Programs(fresh(EXACT).density, lambda: True)
    program = cache(total, free=1)
    for steps in (3, 5, 3):
        x = np.ones([2, steps], np.float32)
        np.testing.assert_array_equal(program(x), [steps, steps])
    assert len(cache.compiled) == 2 and not cache.general
    on = False
    cache = programs.Programs(fresh(EXACT).density, lambda: on)
    program = cache(total, free=1)
    program(np.ones([2, 3], np.float32))
    on = True  # what was made without XLA for one shape is not for all
    np.testing.assert_array_equal(program(np.ones([2, 5], np.float32)), [5, 5])


def test_large_batches_are_compiled_at_once(monkeypatch):
    model, x = harness.build(EXACT), harness.frames(EXACT, rows=4, steps=8)
    model.xla = True
    monkeypatch.setattr(scoring, "MOST_VALUES", x.size - 1)
    first = model.log_prob(x)
    assert len(model._scorer.programs.compiled) == 1
    np.testing.assert_array_equal(model.log_prob(x), first)
    model.log_prob(x[:2])
    assert len(model._scorer.programs.compiled) == 1 and model._scorer.programs.general


def test_counts_of_shapes_are_bounded(monkeypatch):
    monkeypatch.setattr(programs, "MOST_COUNTED", 4)
    cache = programs.Programs(fresh(EXACT).density, lambda: True)
    program = cache(lambda x: x + 1.0, free=1)
    for size in range(1, 20):
        program(np.zeros([1, size], np.float32))
    assert len(cache.counts) <= 5


@pytest.mark.slow
def test_memory_is_flat_over_many_shapes():
    """2,000 calls of mixed B and T."""

    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096 / 2**20

    model, random = harness.build(LATENT), np.random.default_rng(0)
    model.xla = True
    x = harness.frames(LATENT, rows=64, steps=100)
    grown, at = [], resident()
    for i in range(2000):
        rows, steps = random.integers(1, 65), random.integers(1, 101)
        model.log_prob(x[:rows, :steps])
        if i % 500 == 499:
            grown.append(resident() - at)
            at = resident()
    print(f"MB grown in each 500 calls: {[round(g) for g in grown]}")
    assert max(grown[1:]) < 60.0
