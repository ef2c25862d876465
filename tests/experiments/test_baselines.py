"""The baselines against loops over single notes, and their normalization over tiny spaces."""

import itertools
import math

import numpy as np
import pytest

from srnn_tf.experiments.baselines import independent, markov


def rolls(seed, *lengths, width=3):
    random = np.random.default_rng(seed)
    return [(random.random((length, width)) < 0.3).astype(np.uint8) for length in lengths]


def brute_force(train, test, order):
    """Count and score one note of one step at a time; order 0 is independent, 1 is Markov."""
    total, steps = 0.0, 0
    for note in range(train[0].shape[1]):
        ones, seen = {}, {}
        for sequence in train:
            before = 0
            for value in sequence[:, note].tolist():
                key = before if order else None
                ones[key], seen[key] = ones.get(key, 0) + value, seen.get(key, 0) + 1
                before = value
        for sequence in test:
            before = 0
            for value in sequence[:, note].tolist():
                key = before if order else None
                on = (ones.get(key, 0) + 1) / (seen.get(key, 0) + 2)
                total += math.log(on if value else 1 - on)
                before = value
    steps = sum(len(sequence) for sequence in test)
    return total / steps


@pytest.mark.parametrize(("baseline", "order"), [(independent, 0), (markov, 1)])
def test_baseline_equals_brute_force(baseline, order):
    train, test = rolls(0, 7, 1, 12), rolls(1, 5, 9)
    train[0][:, 1] = 0
    train[1][:, 1] = train[2][:, 1] = 0  # a note that training never heard
    assert math.isclose(baseline(train, test), brute_force(train, test, order), rel_tol=1e-12)


@pytest.mark.parametrize("baseline", [independent, markov])
@pytest.mark.parametrize("length", [1, 2, 3])
def test_baseline_is_a_normalized_density(baseline, length):
    train = rolls(2, 6, 4, width=2)
    total = 0.0
    for values in itertools.product((0, 1), repeat=2 * length):
        sequence = np.array(values).reshape(length, 2)
        total += math.exp(baseline(train, [sequence]) * length)
    assert math.isclose(total, 1.0, rel_tol=1e-12)


def test_markov_beats_independent_on_held_notes():
    held = [np.repeat(roll, 5, axis=0) for roll in rolls(3, 40, 40, 40)]
    assert markov(held[:2], held[2:]) > independent(held[:2], held[2:]) + 0.5


def test_counts_do_not_overflow_bytes():
    train = [np.ones((1000, 1), np.uint8)]
    assert math.isclose(independent(train, train), math.log(1001 / 1002))
    wanted = (math.log(2 / 3) + 999 * math.log(1000 / 1001)) / 1000
    assert math.isclose(markov(train, train), wanted)


@pytest.mark.parametrize("baseline", [independent, markov])
def test_baseline_refuses(baseline):
    good = rolls(4, 5)
    with pytest.raises(ValueError, match="train has no sequence"):
        baseline([], good)
    with pytest.raises(ValueError, match="test has no sequence"):
        baseline(good, [])
    with pytest.raises(ValueError, match=r"test\[0\] has shape \(5, 4\)"):
        baseline(good, rolls(4, 5, width=4))
    with pytest.raises(ValueError, match=r"train\[1\] has shape \(5,\)"):
        baseline([good[0], good[0][:, 0]], good)
    with pytest.raises(ValueError, match=r"test\[0\] holds values"):
        baseline(good, [good[0] * 0.5])
