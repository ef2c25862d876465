"""Handwriting, IAM-OnDB and a free substitute, UNIPEN: nats per sequence.

    srnn-tf data prepare iam_ondb --source DIR --lists LISTS --std 56.04462 --out PREPARED
    srnn-tf train srnn_hier_iam_ondb --data PREPARED --out runs/srnn_hier_iam_ondb

20,000 updates of 32 whole lines, dropout 0.5 (hier 0.25), KL weight from 0.2 to 1 by 5e-5 per
update, loss per step. UNIPEN's sentences are cut into pieces of at most 1,000 points, and a score
is nats per piece. No published script has the paper's size of SRNN-hier; 175 units meet it.
"""

from __future__ import annotations

from srnn_tf.recipes.recipe import Recipe, candidates, latent_structures

_RNN = {"class": "rnn", "units": 256, "embedding_size": 128, "num_layers": 2}
_LATENT = {"units": 200, "embedding_size": 150, "hidden_size": 150, "latent_size": 150}
_SRNN = {"class": "parallel_srnn", "generator_input": "embedding", **_LATENT}
_PEN = {"class": "factorized", "event_size": 3, "likelihood": "handwriting"}
_MLP = {**_PEN, "class": "masked_mlp", "num_layers": 1, "units": 64}
_MUCH, _LESS = {"dropout": 0.5}, {"dropout": 0.25}

# name: structure, emission.
MODELS = {
    "f_rnn": ({**_RNN, **_MUCH}, _PEN),
    "f_srnn": ({**_SRNN, **_MUCH}, _PEN),
    "rnn_hier": ({**_RNN, **_LESS}, {**_MLP, **_LESS}),
    "srnn_hier": ({**_SRNN, "units": 175, **_LESS}, {**_MLP, **_LESS}),
    **{name: (s, _PEN) for name, s in latent_structures({**_LATENT, **_MUCH}).items()},
}
DATASETS = {"iam_ondb": None, "unipen": 1000}  # and the longest sequence, in points

RECIPES = [
    Recipe(
        name=f"{model}_{dataset}",
        dataset=dataset,
        structure=structure,
        emission=emission,
        event_size=3,
        window=None,
        batch_size=32,
        steps=20_000,
        kl_schedule={"initial": 0.2, "increment": 5e-5, "final": 1.0},
        unit="sequence",
        max_steps=max_steps,
        candidates=candidates(structure),
    )
    for model, (structure, emission) in MODELS.items()
    for dataset, max_steps in DATASETS.items()
]
