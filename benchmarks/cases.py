"""The models of the paper's Table 6 at their sizes, and what their matrix products cost."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

_MIDI = {"units": 256, "embedding_size": 256, "dropout": 0.5}
_RNN_MIDI = {"class": "rnn", "num_layers": 1, **_MIDI}
_SRNN_MIDI = {"class": "parallel_srnn", "latent_size": 256, "hidden_size": 0, **_MIDI}
_KEYS = {"class": "factorized", "event_size": 88, "likelihood": "bernoulli"}
_KEY = {**_KEYS, "event_size": 1}
_LOW = {"class": "autoregressive_rnn", "initial_state": "learned"}
_LOW_MIDI = {**_KEYS, **_LOW, "units": 256, "embedding_size": 256, "head": "shared", "dropout": 0.5}
_MLP = {"class": "masked_mlp", "num_layers": 3, "units": 64}
_RANDOM = {"class": "delta_split", "kind": "random"}
_INTERLEAVE = {"class": "delta_split", "kind": "interleave", "stride": 3}


def _rnn(units: int, num_layers: int, embedding_size: int = 512) -> dict[str, Any]:
    sizes = {"units": units, "num_layers": num_layers, "embedding_size": embedding_size}
    return {"class": "rnn", **sizes}


def _srnn(units: int, embedding_size: int = 512) -> dict[str, Any]:
    sizes = {"embedding_size": embedding_size, "hidden_size": embedding_size, "latent_size": 256}
    return {"class": "parallel_srnn", "units": units, **sizes}


def _mixture(num_components: int, size: int = 200, **kind) -> dict[str, Any]:
    likelihood = {"class": "gaussian_mixture", "num_components": num_components}
    return {"class": "factorized", "event_size": size, "likelihood": likelihood, **kind}


def _low_speech(num_components: int, units: int) -> dict[str, Any]:
    sizes = {"units": units, "embedding_size": 512, "head": "private"}
    return _mixture(num_components, **_LOW, **sizes)


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
_MLP_MIDI = {**_KEYS, **_MLP, "dropout": 0.25}
_SPLIT_MIDI = {**_KEYS, "dropout": 0.5}

CASES = {
    "f_rnn_speech": Case(_rnn(750, 2), _mixture(20), _SPEECH, _ALL),
    "f_srnn_speech": Case(_srnn(825), _mixture(1), _SPEECH, _ALL),
    "delta_rnn_random_speech": Case(_rnn(750, 2), _mixture(20, **_RANDOM, split_size=40), _SPEECH),
    "delta_rnn_interleave_speech": Case(_rnn(750, 2), _mixture(20, **_INTERLEAVE), _SPEECH),
    "rnn_flat_speech": Case(_rnn(1100, 2), _mixture(20, 1), (32, 1, 200), _KERAS),
    "srnn_flat_speech": Case(_srnn(825), _mixture(1, 1), (32, 1, 200), _KERAS),
    "rnn_hier_speech": Case(_rnn(700, 1), _low_speech(20, 700), _FEW, _HALF),
    "srnn_hier_speech": Case(_srnn(660), _low_speech(1, 660), _FEW, _HALF),
    # Those of Perm-TIMIT.
    "rnn_hier_mlp_speech": Case(_rnn(512, 3, 256), _mixture(20, **_MLP), _FEW, _HALF),
    "srnn_hier_mlp_speech": Case(_srnn(536, 256), _mixture(1, **_MLP), _FEW, _HALF),
    "f_rnn_midi": Case(_RNN_MIDI, _KEYS, _MUSIC, _KERAS),
    "f_srnn_midi": Case(_SRNN_MIDI, _KEYS, _MUSIC, _KERAS),
    "delta_rnn_random_midi": Case(_RNN_MIDI, {**_SPLIT_MIDI, **_RANDOM, "split_size": 11}, _MUSIC),
    "delta_rnn_interleave_midi": Case(_RNN_MIDI, {**_SPLIT_MIDI, **_INTERLEAVE}, _MUSIC),
    "rnn_flat_midi_880": Case({**_RNN_MIDI, "num_layers": 3}, _KEY, (16, 10, 88), _KERAS),
    "srnn_flat_midi_880": Case(_SRNN_MIDI, _KEY, (16, 10, 88), _KERAS),
    # Stock Keras already takes 6 GB at 880 steps.
    "rnn_flat_midi_8800": Case({**_RNN_MIDI, "num_layers": 3}, _KEY, _MUSIC),
    "srnn_flat_midi_8800": Case(_SRNN_MIDI, _KEY, _MUSIC),
    "rnn_hier_midi": Case({**_RNN_MIDI, "num_layers": 2}, _LOW_MIDI, _MUSIC, _HALF),
    "srnn_hier_midi": Case(_SRNN_MIDI, _LOW_MIDI, _MUSIC, _HALF),
    "rnn_hier_mlp_midi": Case({**_RNN_MIDI, "num_layers": 2}, _MLP_MIDI, _MUSIC, _HALF),
    "srnn_hier_mlp_midi": Case(_SRNN_MIDI, _MLP_MIDI, _MUSIC, _HALF),
}
_WIDTHS = ("units", "embedding_size", "latent_size", "hidden_size", "event_size", "split_size")


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
