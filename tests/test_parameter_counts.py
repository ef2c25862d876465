"""Parameter counts against those of the paper's code, to the unit."""

import math

import pytest

from srnn_tf import SequenceModel, zoo

FRAME = 200
SPEECH = {
    "f_rnn": {"class": "rnn", "units": 750, "num_layers": 2},
    "f_srnn": {"class": "parallel_srnn", "units": 825, "hidden_size": 512, "latent_size": 256},
    "rnn_flat": {"class": "rnn", "units": 1100, "num_layers": 2},
    "srnn_flat": {"class": "parallel_srnn", "units": 825, "hidden_size": 512, "latent_size": 256},
}

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


def trainable(model):
    return sum(math.prod(v.shape) for v in model.trainable_variables)


@pytest.mark.parametrize("name", SPEECH_COUNTS)
def test_speech(name):
    reference, units, layers = SPEECH_COUNTS[name]
    stochastic, size = "srnn" in name, 1 if "flat" in name else FRAME
    mixture = {"class": "gaussian_mixture", "num_components": 1 if stochastic else 20}
    model = SequenceModel(
        {**SPEECH[name], "embedding_size": 512},
        {"class": "factorized", "event_size": size, "likelihood": mixture},
        event_size=FRAME,
    )
    # One bias vector where the reference has two; no logits of one component.
    logits = size * units + size if stochastic else 0
    assert trainable(model) == reference - 4 * units * layers - logits


@pytest.mark.parametrize("name", MIDI_COUNTS)
def test_midi(name):
    reference, units, layers = MIDI_COUNTS[name]
    model = zoo.build(f"{name}_nottingham")
    assert trainable(model) == reference - 4 * units * layers
