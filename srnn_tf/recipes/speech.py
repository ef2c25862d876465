"""The models that the speech recipes share: the paper's sizes, frames of 200 samples.

Sizes and schedules are those of the paper's commands: streams of 40 frames (flat: 2,000 samples),
no dropout, KL weight from 0.2 to 1 by 5e-5 per update, loss per sample. Where two are published,
the one with the printed number of parameters is taken: delta-RNN-random splits 40 samples off, not
75.
"""

from __future__ import annotations

from typing import Any

from srnn_tf.recipes.recipe import KVAE, Recipe, candidates, latent_structures

FRAME = 200  # samples
LOW = "autoregressive_rnn"  # trains faster in bfloat16 on a CPU
_WINDOW, _FLAT_WINDOW = 40, 10  # frames


def _rnn(units: int, num_layers: int, embedding_size: int = 512) -> dict[str, Any]:
    sizes = {"units": units, "num_layers": num_layers, "embedding_size": embedding_size}
    return {"class": "rnn", **sizes}


def _latent(units: int, width: int = 512) -> dict[str, Any]:
    sizes = {"embedding_size": width, "hidden_size": width, "latent_size": 256}
    return {"units": units, **sizes}


def _srnn(units: int, width: int = 512) -> dict[str, Any]:
    return {"class": "parallel_srnn", **_latent(units, width)}


def _mixture(num_components: int, size: int = FRAME, **kind: Any) -> dict[str, Any]:
    likelihood = {"class": "gaussian_mixture", "num_components": num_components}
    return {"class": "factorized", "event_size": size, "likelihood": likelihood, **kind}


def _low(num_components: int, units: int) -> dict[str, Any]:
    sizes = {"units": units, "embedding_size": 512, "head": "private"}
    kind: dict[str, Any] = {"class": LOW, "initial_state": "learned"}
    return _mixture(num_components, **kind, **sizes)


def _split(**kind: Any) -> dict[str, Any]:
    return _mixture(20, **{"class": "delta_split"}, **kind)


_MLP: dict[str, Any] = {"class": "masked_mlp", "num_layers": 3, "units": 64}

# name: structure, emission. Flat models see one sample per step.
MODELS = {
    "f_rnn": (_rnn(750, 2), _mixture(20)),
    "f_srnn": (_srnn(825), _mixture(1)),
    "delta_rnn_random": (_rnn(750, 2), _split(kind="random", split_size=40)),
    "delta_rnn_interleave": (_rnn(750, 2), _split(kind="interleave", stride=3)),
    "rnn_flat": (_rnn(1100, 2), _mixture(20, 1)),
    "srnn_flat": (_srnn(825), _mixture(1, 1)),
    "rnn_hier": (_rnn(700, 1), _low(20, 700)),
    "srnn_hier": (_srnn(660), _low(1, 660)),
    **{name: (s, _mixture(1)) for name, s in latent_structures(_latent(825)).items()},
}
# No models of the paper.
RELATED_MODELS = {
    "lgssm": (
        {"class": "lgssm", "state_size": 32},
        _mixture(1, **{"class": "state_gaussian"}, state_size=32),
    ),
    "kvae": (KVAE, _mixture(1)),
}
# Of permuted speech, whose samples have no order that a recurrence could follow. The printed number
# of parameters is met by three layers, which the printed command leaves out.
PERMUTED_MODELS = {
    **MODELS,
    "rnn_hier": (_rnn(512, 3, 256), _mixture(20, **_MLP)),
    "srnn_hier": (_srnn(536, 256), _mixture(1, **_MLP)),
}


def recipes(
    dataset: str, batch_size: int, steps: int, unit: str, models: dict[str, tuple] = MODELS
) -> list[Recipe]:
    """A recipe of each model for a corpus."""
    return [
        Recipe(
            name=f"{model}_{dataset}",
            dataset=dataset,
            structure=structure,
            emission=emission,
            event_size=FRAME,
            window=_FLAT_WINDOW if emission["event_size"] == 1 else _WINDOW,
            batch_size=batch_size,
            steps=steps,
            kl_schedule={"initial": 0.2, "increment": 5e-5, "final": 1.0},
            loss_per="value",
            unit=unit,
            cpu_dtype="mixed_bfloat16" if emission["class"] == LOW else "float32",
            candidates=candidates(structure),
        )
        for model, (structure, emission) in models.items()
    ]
