"""What every published model scores and draws: written once, compared ever after.

    python -m tests.published_scores  # writes tests/fixtures/published_scores.json

The inputs are made of NumPy's fixed generators. Scores are those of `log_prob` under both
protocols and, of one model of each kind of latent structure, FIVO-4; samples are the first values
of a fixed seed; and each signature of the SavedModel answers one request.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from srnn_tf import zoo

PATH = Path(__file__).parent / "fixtures" / "published_scores.json"
DRAWN = 64  # values of a sample that are kept
# One model of each kind of latents: their particle filters are compared too.
FILTERED = ("f_srnn_bach", "srnn_hier_unipen")


def frames(card: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """A small batch for a model, (2, T, D), and its lengths."""
    random, size = np.random.default_rng(2026), card["event_size"]
    if size == 88:
        roll = random.random([2, 14, size]) < 0.05
        return np.repeat(roll, 2, axis=1)[:, :24].astype(np.float32), np.array([24, 17])
    if size == 3:
        moves = random.standard_normal([2, 20, size]).astype(np.float32)
        moves[:, :, 0] = moves[:, :, 0] > 1.5
        return moves, np.array([20, 13])
    waves = np.cumsum(random.standard_normal([2, 6 * size]), axis=1) / 20
    return waves.reshape(2, 6, size).astype(np.float32), np.array([6, 4])


def requests(card: dict[str, Any]) -> dict[str, dict[str, np.ndarray]]:
    """A request for each signature that a model's artefact has."""
    x, lengths = frames(card)
    scored = {"frames": x, "length": lengths.astype(np.int32)}
    drawn = {"num_steps": 3, "batch_size": 2, "seed": [7, 1]}
    found = {"score": scored, "serving_default": scored}
    found["sample"] = {name: np.array(value, np.int32) for name, value in drawn.items()}
    if card["sample_rate"]:
        wave = np.tanh(0.1 * x.reshape(2, -1)).astype(np.float32)
        samples = (lengths * card["event_size"]).astype(np.int32)
        found["score_raw"] = {"waveform": wave, "length": samples}
    return found


def of(name: str) -> dict[str, Any]:
    """Everything that is compared of a published model."""
    model, card = zoo.load(name), zoo.card(name)
    x, lengths = frames(card)
    mask = np.arange(x.shape[1]) < lengths[:, None]
    found: dict[str, Any] = {
        protocol: model.log_prob(x, mask, protocol=protocol).numpy().tolist()
        for protocol in ("full", "paper")
    }
    if name in FILTERED:
        found["fivo"] = model.log_prob(x, mask, bound="fivo", num_samples=4).numpy().tolist()
    found["drawn"] = model.sample(1, 2, seed=3).numpy().reshape(-1)[:DRAWN].tolist()
    signatures = tf.saved_model.load(str(zoo.folder(name))).signatures
    for signature, inputs in requests(card).items():
        out = signatures[signature](**{k: tf.constant(v) for k, v in inputs.items()})
        found[signature] = {
            k: v.numpy().reshape(-1)[: None if k != "frames" else DRAWN].tolist()
            for k, v in sorted(out.items())
        }
    return found


def names() -> list[str]:
    """The published models that have weights of their own."""
    return [n for n in zoo.names(published=True) if not zoo.card(n).get("alias_of")]


def main() -> None:
    PATH.write_text(json.dumps({name: of(name) for name in names()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
