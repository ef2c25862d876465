"""Mistakes in the arguments of emissions: the argument, the value, and what is accepted."""

import pytest
import tensorflow as tf

from srnn_tf import SequenceModel, emissions
from tests import harness

DELTA = {"class": "delta_split", "event_size": 5}
EVERY = {**DELTA, "kind": "interleave"}
LOW = {"class": "autoregressive_rnn", "event_size": 5, "units": 4, "embedding_size": 3}
MASKED = {"class": "masked_mlp", "event_size": 5, "units": 4}
PEN = {"event_size": 3, "likelihood": "handwriting"}
DIFFERENT = r"`indices` must be 1 to 4 different integers from 0 to 4; received"
FROM_1_TO_4, FROM_2_TO_5 = "must be an integer from 1 to 4", "must be an integer from 2 to 5"
OF_VALUES = "`likelihood` must be one of single values, .*'bernoulli'.*received Handwriting"

REFUSED = [
    ({**DELTA, "split_size": 0}, f"`split_size` {FROM_1_TO_4}; received 0"),
    ({**DELTA, "split_size": 5}, f"`split_size` {FROM_1_TO_4}; received 5"),
    ({**DELTA, "split_size": 2.0}, f"`split_size` {FROM_1_TO_4}; received 2.0"),
    ({**EVERY, "stride": 1}, f"`stride` {FROM_2_TO_5}; received 1"),
    ({**EVERY, "stride": 6}, f"`stride` {FROM_2_TO_5}; received 6"),
    ({**EVERY, "stride": "2"}, f"`stride` {FROM_2_TO_5}; received '2'"),
    ({**DELTA, "indices": [1, 3, 1]}, rf"{DIFFERENT} \[1, 3, 1\]"),
    ({**DELTA, "indices": [1, 5]}, rf"{DIFFERENT} \[1, 5\]"),
    ({**DELTA, "indices": [-1, 2]}, rf"{DIFFERENT} \[-1, 2\]"),
    ({**DELTA, "indices": [0.0, 1.0]}, rf"{DIFFERENT} \[0.0, 1.0\]"),
    ({**DELTA, "indices": ["a"]}, rf"{DIFFERENT} \['a'\]"),
    ({**DELTA, "indices": [True, False]}, rf"{DIFFERENT} \[True, False\]"),
    ({**DELTA, "indices": []}, rf"{DIFFERENT} \[\]"),
    ({**DELTA, "indices": [0, 1, 2, 3, 4]}, rf"{DIFFERENT} \[0, 1, 2, 3, 4\]"),
    ({**DELTA, "indices": [[0], [1]]}, rf"{DIFFERENT} \[\[0\], \[1\]\]"),
    ({**DELTA, "indices": 3}, f"{DIFFERENT} 3"),
    ({**DELTA, "event_size": 1}, "`event_size` must be an integer of at least 2; received 1"),
    ({**DELTA, "seed": -1}, "`seed` must be an integer of at least 0; received -1"),
    ({**DELTA, "stride": 3}, "`stride` must be None with kind='random'; received 3"),
    ({**EVERY, "split_size": 2}, "`split_size` must be None with kind='interleave'; received 2"),
    ({**EVERY, "indices": [0]}, r"`indices` must be None with kind='interleave'; received \[0\]"),
    ({**MASKED, "num_layers": 0, "dropout": 0.5}, "`dropout` must be 0 without hidden .* 0.5"),
    (
        {**DELTA, "indices": [0, 1], "split_size": 3},
        "`split_size` must be the number of `indices`, 2; received 3",
    ),
    ({**DELTA, "kind": "randon"}, "unknown `kind` 'randon'. Did you mean 'random'.*interleave"),
    ({**DELTA, "dropout": 1.0}, r"`dropout` must be in \[0, 1\); received 1.0"),
    ({**DELTA, **PEN}, OF_VALUES),
    ({**EVERY, **PEN}, OF_VALUES),
    ({**LOW, "units": 0}, "`units` must be an integer of at least 1; received 0"),
    ({**LOW, "embedding_size": 0}, "`embedding_size` must be an integer of at least 1; received 0"),
    ({**LOW, "head": "privat"}, "unknown `head` 'privat'. Did you mean 'private'.*private, shared"),
    ({**LOW, "initial_state": "zero"}, "unknown `initial_state` 'zero'.*context, learned"),
    ({**LOW, "event_size": 1}, "`initial_state` must be 'context' for frames of one value"),
    ({**LOW, "recompute": "no"}, "`recompute` must be True or False; received 'no'"),
    ({**LOW, "dropout": "a"}, r"`dropout` must be in \[0, 1\); received 'a'"),
    ({**EVERY, "seed": 3}, "`seed` must be None with kind='interleave'; received 3"),
    ({**LOW, "dropout": -0.1}, r"`dropout` must be in \[0, 1\); received -0.1"),
    ({**LOW, "embedding_dropout": 1.0}, r"`embedding_dropout` must be in \[0, 1\); received 1.0"),
    ({**LOW, **PEN}, "`head` must be 'private' where .* received 'shared' with Handwriting"),
    ({**MASKED, "num_layers": -1}, "`num_layers` must be an integer of at least 0; received -1"),
    ({**MASKED, "units": 0}, "`units` must be an integer of at least 1; received 0"),
    ({**MASKED, "dropout": 1.5}, r"`dropout` must be in \[0, 1\); received 1.5"),
    ({**MASKED, "class": "nade", "units": 0}, "`units` must be an integer of at least 1; .* 0"),
    ({**MASKED, "event_size": 0}, "`event_size` must be an integer of at least 1; received 0"),
    ({**MASKED, "likelihood": "bernouli"}, "unknown likelihood 'bernouli'. Did you mean 'bern"),
    ({**LOW, "class": "autoregresive_rnn"}, "unknown emission .*'autoregressive_rnn'.*masked_mlp"),
] + [
    ({**config, "event_size": size}, f"`event_size` must be 3 for a handwriting .*received {size}")
    for config in (
        {**LOW, "head": "private"},
        MASKED,
        {**MASKED, "class": "nade"},
        {**MASKED, "num_layers": 0},
    )
    for config in ({**config, "likelihood": "handwriting"},)
    for size in (2, 5)
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_bad_arguments(number):
    config, message = REFUSED[number]
    with pytest.raises(ValueError, match=message):
        emissions.get(config)
    with pytest.raises(ValueError, match=message):
        SequenceModel(harness.structure_config("rnn"), config)


def case_of(name, likelihood="bernoulli"):
    wanted = {"structure": "rnn", "cell": "lstm", "likelihood": likelihood}
    return harness.cases(emission=name, flat=False, **wanted)[0]


CASES = [case_of(name) for name in harness.OF_ANY]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_frames_that_the_emission_cannot_divide(case):
    with pytest.raises(ValueError, match="`event_size` must be a multiple .* 3; received 4"):
        SequenceModel(
            harness.structure_config("rnn"),
            harness.emission_config(case.emission, "bernoulli"),
            event_size=4,
        )


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_bad_temperatures(case, temperature):
    with pytest.raises(
        ValueError, match=f"`temperature` must be a positive number; received {temperature}"
    ):
        harness.shared(case).sample(2, 2, seed=0, temperature=temperature)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_frames_that_do_not_fit(case):
    model, x = harness.shared(case), harness.frames(case)
    with pytest.raises(ValueError, match=r"`frames` must have 3 values per step; .*\(3, 7, 2\)"):
        model.log_prob(x[..., :2])
    with pytest.raises(ValueError, match="must be 0 or 1 for a Bernoulli .* received 0.5"):
        model.log_prob(0.5 * x + 0.5 * (x == 0))


@pytest.mark.parametrize("name", harness.FRAMED[1:])
def test_only_the_pen_bit_must_be_binary(name):
    case = case_of(name, "handwriting")
    model, x = harness.shared(case), harness.frames(case, steps=4)
    assert model.binary == (True, False, False)
    assert tf.reduce_all(tf.math.is_finite(model.log_prob(x)))
    x[1, 2, 0] = 0.5
    with pytest.raises(ValueError, match=r"must be 0 or 1 .* received 0.5 at \(1, 2, 0\)"):
        model.log_prob(x)


@pytest.mark.parametrize("name", harness.OF_ANY)
def test_what_does_not_fit_an_emission(name):
    emission = harness.emission(name)
    with pytest.raises(ValueError, match=r"`context` must end in 4 values; received .*\(2, 5, 3\)"):
        emission(tf.zeros([2, 5, 3]))
    with pytest.raises(ValueError, match="`temperature` must be a positive number; received 0.0"):
        emission(tf.zeros([2, 5, 4]), temperature=0.0)
    if name != "factorized":  # which is TensorFlow Probability's, with its own
        with pytest.raises(ValueError, match=r"`value` must end in 3 values; .*\(2, 5, 2\)"):
            emission(tf.zeros([2, 5, 4])).log_prob(tf.zeros([2, 5, 2]))


def test_parts_that_were_built_for_other_sizes():
    config, emission = harness.structure_config("rnn"), harness.emission("masked_mlp", width=9)
    with pytest.raises(ValueError, match="`emission` must be for inputs of 5 values; .* for 9"):
        SequenceModel(config, emission)
    structure = SequenceModel(config, harness.emission_config("factorized", "bernoulli")).structure
    again = SequenceModel(structure, harness.emission_config("masked_mlp", "bernoulli"))
    assert again.structure is structure
    with pytest.raises(ValueError, match="`structure` must be for inputs of 4 values; .* for 3"):
        SequenceModel(structure, harness.emission_config("factorized", "bernoulli", 4))
