"""Pools of data sets: each set's share of an epoch, and scores set by set."""

import itertools
import math

import numpy as np
import pytest

from srnn_tf.data import Pool, streams
from srnn_tf.experiments import evaluate
from tests import harness

SIZES = {"a": (50,) * 40, "b": (20, 30), "c": (7,) * 10}


def pool(**options):
    sets = {n: harness.rolls(sizes, seed=ord(n)) for n, sizes in SIZES.items()}
    return Pool(sets, **options)


def owner(place):
    """The set that a place of the pool is of."""
    ends = itertools.accumulate(len(s) for s in SIZES.values())
    return next(name for name, end in zip(SIZES, ends, strict=True) if place < end)


def test_a_pool_is_its_sequences_one_after_another():
    made = pool()
    assert len(made) == 52 and repr(made) == "Pool(a: 40, b: 2, c: 10)"
    assert [len(s) for s in made] == [n for sizes in SIZES.values() for n in sizes]
    assert len(made[:3]) == 3 and len(made.first(1)) == 3 and len(made.first(None)) == 52
    assert [*made.first(1).sets] == [*SIZES]


@pytest.mark.parametrize("epoch", [0, 3])
def test_each_set_has_its_share_of_an_epoch(epoch):
    frames = {name: sum(sizes) for name, sizes in SIZES.items()}
    total, drawn = sum(frames.values()), pool().draw(1, epoch)
    found = dict.fromkeys(SIZES, 0)
    for place, sequence in drawn:
        found[owner(place)] += len(sequence)
    for name, n in frames.items():
        share = total * math.sqrt(n) / sum(math.sqrt(m) for m in frames.values())
        assert share <= found[name] < share + max(SIZES[name])
    counts = np.bincount([place for place, _ in drawn], minlength=52)
    for name in SIZES:  # each once before any is drawn again
        of_set = [counts[p] for p in range(52) if owner(p) == name]
        assert max(of_set) - min(of_set) <= 1
    assert max(counts) > 1  # the small sets come more than once


def test_draws_are_a_function_of_seed_and_epoch():
    one, two = pool(), pool()
    order = [[p for p, _ in one.draw(s, e)] for s in (0, 1) for e in (0, 1)]
    assert order == [[p for p, _ in two.draw(s, e)] for s in (0, 1) for e in (0, 1)]
    assert len({tuple(o) for o in order}) == 4


def test_views_are_drawn_half_of_the_time():
    sets = {"a": [np.zeros([10, 88], np.uint8)] * 400}
    views = {"a": [[np.zeros([10, 88], np.uint8) + k for k in (1, 2)]] * 400}
    seen = [int(s[0, 0]) for e in range(5) for _, s in Pool(sets, views).draw(0, e)]
    shares = np.bincount(seen) / len(seen)
    assert len(seen) == 2000 and np.abs(shares - [0.5, 0.25, 0.25]).max() < 0.04


def test_streams_of_a_pool_fill_every_epoch():
    made = pool(transpose=6)
    data = streams(made, 4, 25)
    assert data.batches_per_epoch == math.ceil((sum(map(len, made)) // 4 - 1) / 25)
    epochs = range(3 * data.batches_per_epoch)
    assert all(data[i]["mask"].any() and data[i]["frames"].any() for i in epochs)
    again = streams(pool(), 4, 25, transpose=6)
    assert data[7]["frames"].tobytes() == again[7]["frames"].tobytes()
    plain = streams(made, 4, 25, transpose=0)
    assert data[7]["frames"].tobytes() != plain[7]["frames"].tobytes()
    assert data[7]["frames"].sum() == plain[7]["frames"].sum()


def test_a_score_is_the_unweighted_mean_of_the_sets():
    case = harness.cases(structure="rnn", cell="lstm", likelihood="bernoulli", flat=False)[0]
    model = harness.build(case)
    sets = {n: harness.rolls(s, width=3, density=0.5) for n, s in {"a": (9, 4), "b": (5,)}.items()}
    made = Pool(sets)
    each = {name: evaluate.score(model, of) for name, of in sets.items()}
    assert evaluate.by_set(model, made) == pytest.approx(each, rel=1e-5)
    assert evaluate.score(model, made) == pytest.approx(sum(each.values()) / 2, rel=1e-5)
    assert evaluate.by_set(model, sets["a"]) == pytest.approx({"all": each["a"]}, rel=1e-5)
    whole = evaluate.whole(model, made, "test", "step")
    mean, parts = whole["all"]["full"]["exact"], [whole[n]["full"]["exact"] for n in sets]
    assert [p.value for p in parts] == pytest.approx([*each.values()], rel=1e-5)
    assert mean.value == pytest.approx(sum(each.values()) / 2, rel=1e-5)
    assert mean.low is None and mean.sequences == 3  # one sequence has no interval


def test_the_interval_of_a_mean():
    one, two = (evaluate.Score(v, v - h, v + h, 5) for v, h in ((-4.0, 0.3), (-6.0, 0.4)))
    found = evaluate.mean([one, two])
    assert (found.value, found.sequences) == (-5.0, 10)
    assert (found.low, found.high) == pytest.approx((-5.25, -4.75))
    assert evaluate.mean([one]) == pytest.approx(one)


def test_pools_refuse():
    with pytest.raises(ValueError, match="`sets` must have at least one data set"):
        Pool({})
    with pytest.raises(ValueError, match="each a sequence; received {'a': 0}"):
        Pool({"a": []})
    with pytest.raises(ValueError, match="`views` of 'a' must be a list for each of its 1"):
        Pool({"a": [np.zeros([3, 88])]}, {"a": []})
    with pytest.raises(ValueError, match="`views` of 'b' must be a list for each of its 0"):
        Pool({"a": [np.zeros([3, 88])]}, {"b": [[]]})
