"""The fields of a recipe."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How one entry of the zoo is built and trained.

    Args:
        name: `{model}_{dataset}`.
        dataset: as `srnn_tf.data.load` knows it.
        structure, emission: their configs.
        event_size: D of the data.
        window: frames per window, in training and under `protocol="paper"`.
        batch_size: parallel streams.
        steps: updates.
        kl_schedule: of a full run.
        learning_rate, final_learning_rate: ends of the cosine.
        clipnorm: the global norm that gradients are clipped to.
        loss_per: "step" or "value".
        unit: what a printed score is nats per.
        cpu_dtype: the dtype policy to train in on a CPU, without XLA where it is not float32.
            Scores are computed in float32 whatever it is.
        reported: nats per unit in the paper or from its code, and under what protocol; or None.
    """

    name: str
    dataset: str
    structure: dict[str, Any]
    emission: dict[str, Any]
    event_size: int
    window: int
    batch_size: int
    steps: int
    kl_schedule: dict[str, float]
    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-6
    clipnorm: float = 0.5
    loss_per: str = "step"
    unit: str = "step"
    cpu_dtype: str = "float32"
    reported: str | None = None

    def scaled_kl_schedule(self, steps: int) -> dict[str, float]:
        """The KL schedule of a run of `steps` updates: the same course, faster or slower."""
        increment = self.kl_schedule["increment"] * self.steps / steps
        return {**self.kl_schedule, "increment": increment}
