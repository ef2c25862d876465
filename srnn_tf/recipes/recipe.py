"""The fields of a recipe."""

from __future__ import annotations

import dataclasses
from typing import Any

from srnn_tf.core.registry import unknown

# Weights of Z-Forcing's two auxiliary costs that the paper chose from.
COSTS = (0.0, 0.0025, 0.005)
# The Kalman variational autoencoder of music and speech. Its paper has small pictures, of which the
# latents are 2 numbers and the variances fixed.
KVAE: dict[str, Any] = {
    "class": "kvae",
    "latent_size": 16,
    "state_size": 32,
    "num_modes": 8,
    "units": 50,
    "hidden_size": 256,
    "train_variances": True,
}
TRANSPOSED = "_transposed"  # what the name of a recipe ends in that departs from a plain one so


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The model and the training settings of one entry of the zoo.

    Args:
        name: `{model}_{dataset}`.
        dataset: a name of `srnn_tf.data.load`.
        structure, emission: their configs.
        event_size: D of the data.
        window: frames per window, in training and under `protocol="paper"`; None for whole
            sequences.
        batch_size: the number of parallel streams, or of whole sequences.
        steps: the number of updates.
        kl_schedule: the KL schedule of a full run.
        learning_rate, final_learning_rate: the first and the last learning rate of a cosine decay.
        clipnorm: the global norm to which gradients are clipped.
        loss_per: "step" or "value".
        unit: the unit of printed scores, "step" for nats per step.
        cpu_dtype: the dtype policy for training on a CPU, without XLA unless it is float32. Scores
            are always computed in float32.
        max_steps: longer sequences are cut into pieces of at most this many steps; None for no cut.
        candidates: alternative structures, by name; the first is `structure`. The best on the
            validation part is published.
        reported: nats per unit in the paper or from its code, with the protocol; or None.
        transpose: for piano rolls, the largest random transposition of a training sequence, in
            semitones. A name that ends in `_transposed` is that of a recipe with transposition
            where the paper's has none.
        openings: the rows of each batch that are beginnings of sequences, as in `data.streams`.
    """

    name: str
    dataset: str
    structure: dict[str, Any]
    emission: dict[str, Any]
    event_size: int
    window: int | None
    batch_size: int
    steps: int
    kl_schedule: dict[str, float]
    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-6
    clipnorm: float = 0.5
    loss_per: str = "step"
    unit: str = "step"
    cpu_dtype: str = "float32"
    max_steps: int | None = None
    candidates: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    reported: str | None = None
    transpose: int = 0
    openings: int = 0

    @property
    def model(self) -> str:
        """The name of the model part.

        Example:
            >>> from srnn_tf import recipes
            >>> recipes.get("rnn_hier_mlp_piano_midi_transposed").model
            'rnn_hier_mlp'
        """
        return self.name.removesuffix(TRANSPOSED).removesuffix(f"_{self.dataset}")

    def candidate(self, name: str | None) -> dict[str, Any]:
        """The config of a candidate's structure; of the recipe's own by default.

        Raises:
            ValueError: the name is unknown.
        """
        if name is None:
            return self.structure
        if name not in self.candidates:
            raise unknown(f"candidate of {self.name}", name, self.candidates)
        return self.candidates[name]

    def scaled_kl_schedule(self, steps: int) -> dict[str, float]:
        """The KL schedule of a run of `steps` updates, scaled to that length."""
        increment = self.kl_schedule["increment"] * self.steps / steps
        return {**self.kl_schedule, "increment": increment}


def candidates(structure: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A parallel SRNN, and Z-Forcing of its sizes with each (alpha, beta); {} for other structures.

    Example:
        >>> list(candidates({"class": "parallel_srnn", "units": 8}))[:3]
        ['parallel', 'zforcing_0_0', 'zforcing_0_0.0025']
    """
    if structure["class"] != "parallel_srnn":
        return {}
    sizes = {k: v for k, v in structure.items() if k not in ("class", "generator_input")}
    structures = {"parallel": structure}
    for alpha in COSTS:
        for beta in COSTS:
            costs = {"alpha": alpha, "beta": beta}
            structures[f"zforcing_{alpha:g}_{beta:g}"] = {"class": "zforcing", **costs, **sizes}
    return structures


def latent_structures(sizes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The structures that the paper's SRNN is compared with, at its sizes."""
    return {
        "storn": {"class": "storn", **sizes},
        "vrnn": {"class": "vrnn", **sizes},
        "fraccaro_srnn": {"class": "srnn", **sizes},
        "zforcing": {"class": "zforcing", "alpha": 0.0025, "beta": 0.0025, **sizes},
        "zforcing_no_aux": {"class": "zforcing", **sizes},
    }
