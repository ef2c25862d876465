"""Parameter counts against those of the paper's code, to the unit."""

import math

import pytest

from srnn_tf import SequenceModel, emissions, recipes, zoo

FRAME, HIDDEN = 200, 64  # values of a frame; the masked MLP of speech

# name: parameters of the reference, H, its layers of long short-term memory.
SPEECH_COUNTS = {
    "f_rnn": (17_412_912, 750, 2),
    "f_srnn": (17_525_848, 825, 3),
    "rnn_flat": (16_857_484, 1100, 2),
    "srnn_flat": (16_930_838, 825, 3),
}
MIDI_COUNTS = {
    "f_rnn": (571_736, 256, 1),
    "f_srnn": (2_280_792, 256, 3),
    "rnn_flat": (1_579_777, 256, 3),
    "srnn_flat": (2_236_161, 256, 3),
}


# name: units, components, layers of long short-term memory, parameters of the reference.
HIER = {"rnn_hier": (700, 20, 2, 17_275_736), "srnn_hier": (660, 1, 4, 17_248_352)}
DELTA = {75: 18_597_162, 40: 18_570_000}  # by `split_size`; the second is printed as 18.57M
MIDI_INSIDE = {
    "rnn_hier": (1_865_217, 3),
    "srnn_hier": (3_047_937, 4),
    "delta_rnn_random": (706_648, 1),
}
# Of permuted TIMIT: components, layers of long short-term memory, as printed.
MASKED = {"rnn_hier": (20, 3, 17_094_012), "srnn_hier": (1, 3, 17_076_076)}
# Of handwriting: our count, millions of the paper. Its widths of the last are not known; with ours
# its count is met.
HANDWRITING = {
    "f_rnn": (928_021, 0.93),
    "f_srnn": (1_172_771, 1.17),
    "rnn_hier": (972_181, 0.97),
    "srnn_hier": (1_019_065, 1.02),
}


# Of related models: a linear Gaussian state space model of speech, 64 numbers of state.
STATE_SPACE = 21_584


def trainable(model):
    return sum(math.prod(v.shape) for v in model.trainable_variables)


@pytest.mark.parametrize("name", SPEECH_COUNTS)
def test_speech(name):
    reference, units, layers = SPEECH_COUNTS[name]
    stochastic, size = "srnn" in name, 1 if "flat" in name else FRAME
    # One bias vector where the reference has two; no logits of one component.
    logits = size * units + size if stochastic else 0
    assert trainable(zoo.build(f"{name}_timit")) == reference - 4 * units * layers - logits


@pytest.mark.parametrize("name", MIDI_COUNTS)
def test_midi(name):
    reference, units, layers = MIDI_COUNTS[name]
    model = zoo.build(f"{name}_nottingham")
    assert trainable(model) == reference - 4 * units * layers


@pytest.mark.parametrize("name", HIER)
def test_low_recurrences_of_speech(name):
    units, components, layers, reference = HIER[name]
    logits = FRAME * units + FRAME if components == 1 else 0
    assert trainable(zoo.build(f"{name}_vctk")) == reference - 4 * units * layers - logits


@pytest.mark.parametrize("split_size", DELTA)
def test_split_frames_of_speech(split_size):
    recipe = recipes.get("delta_rnn_random_blizzard")
    assert recipe.emission["split_size"] == 40
    ours = trainable(SequenceModel(recipe.structure, {**recipe.emission, "split_size": split_size}))
    difference = DELTA[split_size] - 4 * 750 * 2 - ours
    assert abs(difference) <= (0 if split_size == 75 else 0.001 * DELTA[split_size])


@pytest.mark.parametrize("name", MIDI_INSIDE)
def test_midi_frames_that_depend_inside(name):
    reference, layers = MIDI_INSIDE[name]
    assert trainable(zoo.build(f"{name}_nottingham")) == reference - 4 * 256 * layers


@pytest.mark.parametrize("name", MASKED)
def test_masked_perceptrons_of_speech(name):
    components, layers, reference = MASKED[name]
    model = zoo.build(f"{name}_perm_timit")
    width = recipes.get(f"{name}_perm_timit").structure["units"]
    pairs = FRAME * (FRAME - 1) // 2
    head = FRAME * (HIDDEN + 1) * model.emission.likelihood.params_size
    logits = FRAME * (HIDDEN + 1) if components == 1 else 0
    # The reference prints its head, logits of one component too, twice, and the ones of its mask;
    # it stores no weight where that is zero, and two bias vectors where ours has one.
    printed = trainable(model) - pairs * HIDDEN + head + 2 * logits + FRAME * width + pairs
    assert printed + 4 * width * layers == reference


@pytest.mark.parametrize("dataset", ["iam_ondb", "unipen"])
@pytest.mark.parametrize("name", HANDWRITING)
def test_handwriting(name, dataset):
    count, millions = HANDWRITING[name]
    model, units = (
        zoo.build(f"{name}_{dataset}"),
        recipes.get(f"{name}_{dataset}").structure["units"],
    )
    assert trainable(model) == count
    # Cut off after two digits, with the second bias vectors of the reference.
    layers = 3 if model.latent_size else 2
    assert (count + 4 * units * layers) // 10_000 == round(100 * millions)


def test_the_chain_of_three_of_handwriting():
    recipe = recipes.get("rnn_hier_iam_ondb")
    emission = {**recipe.emission, "num_layers": 0, "dropout": 0.0}
    assert trainable(SequenceModel(recipe.structure, emission)) == 928_083


def linear(fan_in, fan_out, bias=True):
    return (fan_in + bias) * fan_out


def test_cores():
    size, keys = 256, 88
    norm, ends = 2 * size, linear(keys, size) + linear(size, keys)
    attention = linear(size, 3 * size, bias=False) + linear(size, size)
    mlp = linear(size, 4 * size) + linear(4 * size, size)
    convolution = linear(2 * size, 2 * size) + linear(size, size)
    # B and D, eigenvalues, C with its bias.
    lru = linear(size, 4 * size, bias=False) + 3 * size + linear(2 * size, 2 * size)
    counts = {
        "transformer": 4 * (attention + mlp + 2 * norm) + norm + ends,
        "tcn": 6 * convolution + norm + ends,
        "lru": 2 * lru + ends,
    }
    for name, count in counts.items():
        assert trainable(zoo.build(f"{name}_nottingham")) == count


@pytest.mark.parametrize("inference, count", [("st_r", 3_375_888), ("st_lr", 6_258_288)])
def test_deep_markov_models_of_the_published_sizes(inference, count):
    recipe = recipes.get("dmm_jsb")
    structure = {**recipe.structure, "inference": inference}
    assert trainable(SequenceModel(structure, recipe.emission)) == count


def test_nade_of_the_published_sizes():
    """50,438 weights beside those of the RNN of 100 units; no value reads the last row of W."""
    emission = emissions.NADE(88, units=150)
    emission.build((None, None, 100))
    assert trainable(emission) == 50_438 - 150
    model = zoo.build("rnn_nade_nottingham")
    assert trainable(model) == trainable(model.structure) + 150 * (256 + 1 + 87 + 88) + 88 * 257


def test_linear_gaussian_state_space_model():
    recipe = recipes.get("lgssm_speech_commands")
    parts = ({**part, "state_size": 64} for part in (recipe.structure, recipe.emission))
    assert trainable(SequenceModel(*parts)) == STATE_SPACE
