"""Binary piano rolls, 88 keys: bach, nottingham, muse, jsb, piano_midi, and music, all of them.

    srnn-tf train f_rnn_nottingham --data Nottingham.mat --out runs/f_rnn_nottingham
    srnn-tf train rnn_hier_mlp_music --data FOLDER --out runs/rnn_hier_mlp_music

Sizes and schedules are those of the paper's code for Nottingham and MuseData: 20,000 updates of 16
streams x 100 steps, dropout 0.5, KL weight from 0.2 to 1 by 1e-4 per update. The other three data
sets, which the paper does not use, have the same settings. Scores are nats per step of 88 keys.

Four kinds of recipes are not in the paper. Those of `CORES` have cores of today: a causal
transformer, a temporal convolutional network, and a linear recurrent unit, without and with
latents (`lru_srnn`), each with independent keys and, `..._mlp`, with the masked MLP. A layer of
attention, and all convolutions together, reach no further than the 100 steps of a training window.
`{model}_{dataset}_transposed` transposes each training sequence by up to six semitones, with a new
random number in each epoch. `{model}_music` also pools all five sets with balanced shares, for
40,000 updates, to generalize to other music. Its score is the mean of the five sets' scores per
step.

`hmm_{dataset}` is a hidden Markov model, exact. `srnn_tf.training.em.fit_em` is its usual training,
by expectation maximization; the recipe trains by gradient from a random start, at a learning rate
of 1e-2. `rnn_rbm_{dataset}` and `rtrbm_{dataset}` have as many hidden units as can be summed out,
so that they are exact, where the published ones have 150 and more. `tsbn_{dataset}` has the
published number of bits. `kvae_{dataset}` is the Kalman variational autoencoder, whose paper has no
piano rolls.

Test scores of the paper's code on these files, protocol paper, nats per step: nottingham f_rnn
-3.4351 (exact), delta_rnn_random -3.1059 (exact), f_srnn -2.7841 (ELBO); muse f_rnn -7.0011
(exact).
"""

from __future__ import annotations

import dataclasses

from srnn_tf.recipes.recipe import KVAE, TRANSPOSED, Recipe, candidates, latent_structures

DATASETS = ("bach", "nottingham", "muse", "jsb", "piano_midi")

_COMMON = {"units": 256, "embedding_size": 256, "dropout": 0.5}
_RNN = {"class": "rnn", **_COMMON}
_LATENT = {"latent_size": 256, "hidden_size": 0, **_COMMON}
_SRNN = {"class": "parallel_srnn", **_LATENT}
# The sizes of the published deep Markov model and deep Kalman filter (arXiv:1609.09869).
_CHAIN = {
    "class": "dmm",
    "units": 600,
    "latent_size": 100,
    "embedding_size": 600,
    "transition_units": 400,
    "emission_units": 200,
    "dropout": 0.1,
}
_KALMAN = {**_CHAIN, "transition": "mlp", "inference": "mf_lr"}
_KEYS = {"class": "factorized", "event_size": 88, "likelihood": "bernoulli"}
_KEY = {"class": "factorized", "event_size": 1, "likelihood": "bernoulli"}

# Recurrent over the keys, as the paper's code has it, but without dropout of the embedded keys,
# which would triple the arithmetic; the masked MLP is that of its text.
_LOW = {
    **_KEYS,
    "class": "autoregressive_rnn",
    "units": 256,
    "embedding_size": 256,
    "head": "shared",
    "initial_state": "learned",
    "dropout": 0.5,
}
_MLP = {**_KEYS, "class": "masked_mlp", "num_layers": 3, "units": 64, "dropout": 0.25}
# The hidden layer has the width of the published RNN-NADE (arXiv:1206.6392).
_NADE = {**_KEYS, "class": "nade", "units": 150}
_SPLIT = {**_KEYS, "class": "delta_split", "dropout": 0.5}

# Small rates of dropout: there are residual branches to drop out in each layer.
_TRANSFORMER = {
    "class": "transformer",
    "units": 256,
    "num_layers": 4,
    "num_heads": 4,
    "window": 100,
    "dropout": 0.2,
}
_TCN = {"class": "tcn", "units": 256, "num_layers": 6, "kernel_size": 2, "dropout": 0.2}
_LRU = {**_RNN, "num_layers": 2, "cell": "lru"}
CORES = {
    f"{name}{ending}": (structure, emission)
    for name, structure in {
        "transformer": _TRANSFORMER,
        "tcn": _TCN,
        "lru": _LRU,
        "lru_srnn": {**_SRNN, "cell": "lru"},
    }.items()
    for ending, emission in {"": _KEYS, "_mlp": _MLP}.items()
}

# name: structure, emission. Flat models see one key per step.
MODELS = {
    "f_rnn": ({**_RNN, "num_layers": 1}, _KEYS),
    "f_srnn": (_SRNN, _KEYS),
    "rnn_flat": ({**_RNN, "num_layers": 3}, _KEY),
    "srnn_flat": (_SRNN, _KEY),
    "delta_rnn_random": (
        {**_RNN, "num_layers": 1},
        {**_SPLIT, "kind": "random", "split_size": 11},
    ),
    "delta_rnn_interleave": (
        {**_RNN, "num_layers": 1},
        {**_SPLIT, "kind": "interleave", "stride": 3},
    ),
    "rnn_hier": ({**_RNN, "num_layers": 2}, _LOW),
    "srnn_hier": (_SRNN, _LOW),
    "rnn_hier_mlp": ({**_RNN, "num_layers": 2}, _MLP),
    "srnn_hier_mlp": (_SRNN, _MLP),
    "dmm": (_CHAIN, _KEYS),
    "dmm_mlp": (_CHAIN, _MLP),
    "dkf": (_KALMAN, _KEYS),
    "rnn_nade": ({**_RNN, "num_layers": 2}, _NADE),
    **{name: (structure, _KEYS) for name, structure in latent_structures(_LATENT).items()},
    "hmm": (
        {"class": "hmm", "num_states": 256},
        {**_KEYS, "class": "state_mixture", "num_states": 256},
    ),
    "kvae": (KVAE, _KEYS),
    "rnn_rbm": ({**_RNN, "num_layers": 1}, {**_KEYS, "class": "rbm", "num_hidden": 10}),
    "rtrbm": (
        {"class": "rtrbm", "num_hidden": 16},
        {
            **_KEYS,
            "class": "rbm",
            "num_hidden": 16,
            "visible_context": False,
            "hidden_context": "direct",
        },
    ),
    "tsbn": ({"class": "tsbn", "latent_size": 100}, _KEYS),
    **CORES,
}

REPORTED = {
    "f_rnn_nottingham": "-3.4351, protocol paper, exact",
    "delta_rnn_random_nottingham": "-3.1059, protocol paper, exact",
    "f_srnn_nottingham": "-2.7841, protocol paper, ELBO",
    "f_rnn_muse": "-7.0011, protocol paper, exact",
}

TRANSPOSE = 6  # semitones
POOLED_MODELS = ("f_rnn", "rnn_hier_mlp", "srnn_hier_mlp", "rnn_nade")

_PLAIN = [
    Recipe(
        name=f"{model}_{dataset}",
        dataset=dataset,
        structure=structure,
        emission=emission,
        event_size=88,
        window=100,
        batch_size=16,
        steps=20_000,
        kl_schedule={"initial": 0.2, "increment": 1e-4, "final": 1.0},
        learning_rate=1e-2 if model == "hmm" else 1e-3,
        cpu_dtype="mixed_bfloat16" if emission is _LOW else "float32",
        candidates=candidates(structure),
        reported=REPORTED.get(f"{model}_{dataset}"),
    )
    for model, (structure, emission) in MODELS.items()
    for dataset in DATASETS
]
_TRANSPOSED = [
    dataclasses.replace(recipe, name=recipe.name + TRANSPOSED, transpose=TRANSPOSE, reported=None)
    for recipe in _PLAIN
]
_POOLED = [
    dataclasses.replace(
        recipe,
        name=f"{recipe.model}_music",
        dataset="music",
        steps=40_000,
        kl_schedule={"initial": 0.2, "increment": 5e-5, "final": 1.0},
        transpose=TRANSPOSE,
        reported=None,
    )
    for recipe in _PLAIN
    if recipe.dataset == "bach" and recipe.model in POOLED_MODELS
]
RECIPES = [*_PLAIN, *_TRANSPOSED, *_POOLED]
