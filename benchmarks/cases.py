"""The models of the paper's Table 6 at their sizes, and models of others, step by step."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from srnn_tf.recipes import midi, speech


@dataclasses.dataclass(frozen=True)
class Case:
    """A model and the shape of its batch.

    Args:
        structure, emission: configs, as in a recipe.
        shape: (B, T, D), in the user's frames.
        contenders: who takes part in `train_step`.
    """

    structure: dict[str, Any]
    emission: dict[str, Any]
    shape: tuple[int, int, int]
    contenders: tuple[str, ...] = ("ours", "torch")

    @property
    def binary(self) -> bool:
        return self.emission["likelihood"] == "bernoulli"

    @property
    def flat(self) -> bool:
        """Whether each value of a frame is a step of its own."""
        return self.emission["event_size"] == 1

    def batch(self) -> tuple[np.ndarray, np.ndarray]:
        """Frames and the frames before them, (B, T, D) float32."""
        rng = np.random.default_rng(0)
        values = rng.random(self.shape) < 0.05 if self.binary else rng.standard_normal(self.shape)
        return values.astype(np.float32), shifted(values.astype(np.float32))

    def steps(self) -> tuple[np.ndarray, np.ndarray]:
        """The batch as steps of the structure: that of a flat model is (B, T * D, 1)."""
        frames, previous = self.batch()
        if not self.flat:
            return frames, previous
        frames = frames.reshape(len(frames), -1, 1)
        return frames, shifted(frames)


def shifted(frames: np.ndarray) -> np.ndarray:
    """The frame before each, zeros first."""
    return np.concatenate([np.zeros_like(frames[:, :1]), frames[:, :-1]], axis=1)


_KERAS = ("ours", "keras", "torch")
_HALF = ("ours", "ours_bf16", "torch")
_ALL = ("ours", "ours_bf16", "keras", "torch")
_MUSIC, _SPEECH, _FEW = (16, 100, 88), (32, 40, 200), (4, 40, 200)

# name: model of the recipes, shape, contenders; two by default.
_SPEECH_CASES = {
    "f_rnn": (speech.MODELS["f_rnn"], _SPEECH, _ALL),
    "f_srnn": (speech.MODELS["f_srnn"], _SPEECH, _ALL),
    "delta_rnn_random": (speech.MODELS["delta_rnn_random"], _SPEECH),
    "delta_rnn_interleave": (speech.MODELS["delta_rnn_interleave"], _SPEECH),
    "rnn_flat": (speech.MODELS["rnn_flat"], (32, 1, 200), _KERAS),
    "srnn_flat": (speech.MODELS["srnn_flat"], (32, 1, 200), _KERAS),
    "rnn_hier": (speech.MODELS["rnn_hier"], _FEW, _HALF),
    "srnn_hier": (speech.MODELS["srnn_hier"], _FEW, _HALF),
    # Those of Perm-TIMIT.
    "rnn_hier_mlp": (speech.PERMUTED_MODELS["rnn_hier"], _FEW, _HALF),
    "srnn_hier_mlp": (speech.PERMUTED_MODELS["srnn_hier"], _FEW, _HALF),
}
_MUSIC_CASES = {
    "f_rnn_midi": ("f_rnn", _MUSIC, _KERAS),
    "f_srnn_midi": ("f_srnn", _MUSIC, _KERAS),
    "delta_rnn_random_midi": ("delta_rnn_random", _MUSIC),
    "delta_rnn_interleave_midi": ("delta_rnn_interleave", _MUSIC),
    "rnn_flat_midi_880": ("rnn_flat", (16, 10, 88), _KERAS),
    "srnn_flat_midi_880": ("srnn_flat", (16, 10, 88), _KERAS),
    # Stock Keras already takes 6 GB at 880 steps.
    "rnn_flat_midi_8800": ("rnn_flat", _MUSIC),
    "srnn_flat_midi_8800": ("srnn_flat", _MUSIC),
    "rnn_hier_midi": ("rnn_hier", _MUSIC, _HALF),
    "srnn_hier_midi": ("srnn_hier", _MUSIC, _HALF),
    "rnn_hier_mlp_midi": ("rnn_hier_mlp", _MUSIC, _HALF),
    "srnn_hier_mlp_midi": ("srnn_hier_mlp", _MUSIC, _HALF),
}
CASES = {f"{name}_speech": Case(*model, *rest) for name, (model, *rest) in _SPEECH_CASES.items()}
CASES |= {name: Case(*midi.MODELS[model], *rest) for name, (model, *rest) in _MUSIC_CASES.items()}

# Related models, whose latents are drawn step by step, at two sizes: those of our music models, and
# those of the DVAE toolbox (Girin et al., arXiv:2008.12595), spectra of 513 values.
_COMPILED = ("ours", "torch", "torch_compiled")
_RELATED = ("vrnn", "srnn", "storn", "dkf")


def _related(name: str, latent: int, units: int, hidden: int, dropout: float):
    shared = {"latent_size": latent, "units": units, "embedding_size": units, "dropout": dropout}
    if name == "dkf":
        wide = {"transition_units": units, "emission_units": units}
        return {"class": "dmm", **shared, **wide}
    return {"class": name, **shared, "hidden_size": hidden}


def _values(size: int, likelihood: Any) -> dict[str, Any]:
    return {"class": "factorized", "event_size": size, "likelihood": likelihood}


_NORMAL = {"class": "gaussian_mixture", "num_components": 1}
_SIZES = {
    "88": ((256, 256, 0, 0.5), _values(88, "bernoulli"), _MUSIC, _COMPILED),
    "513": ((16, 128, 128, 0.0), _values(513, _NORMAL), (128, 50, 513), _COMPILED),
}
CASES |= {
    f"{name}_{size}": Case(_related(name, *widths), *rest)
    for size, (widths, *rest) in _SIZES.items()
    for name in _RELATED
}
_WIDTHS = ("units", "embedding_size", "latent_size", "hidden_size", "event_size", "split_size")
_WIDTHS += ("transition_units", "emission_units")


def get(name: str, batch: int | None = None, frames: int | None = None, scale: int = 1) -> Case:
    """A case, in other sizes where they are given.

    Args:
        name: in `CASES`.
        batch, frames: B and T.
        scale: divides all widths, D and T: for trying things out.
    """
    case = CASES[name]

    def small(size):
        return size if size < 2 else max(4, size // scale)

    def narrow(config):
        return {k: small(v) if k in _WIDTHS else v for k, v in config.items()}

    rows, steps, width = case.shape
    if scale > 1:
        steps = -(-steps // scale)
        emission = narrow(case.emission)
        if "split_size" in emission:
            emission["split_size"] = max(1, case.emission["split_size"] // scale)
        case = dataclasses.replace(case, structure=narrow(case.structure), emission=emission)
    shape = (batch or rows, frames or steps, small(width))
    return dataclasses.replace(case, shape=shape)
