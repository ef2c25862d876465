"""Checks of what a server answered: nothing of it is believed because it came.

log_likelihood[i] = sum{ log_likelihood_per_step[i, t] : t = 1, ..., T_i }
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Of a sum in float32, in whatever order a server adds; published models are within 2e-7.
RELATIVE, ABSOLUTE = 1e-5, 1e-3


def scores(outputs: Mapping[str, Any], steps: Sequence[int], latents: bool | None) -> None:
    """Check the outputs of a score.

    Args:
        outputs: the outputs, by name.
        steps: T_i of each sequence of the request.
        latents: whether the model has latents and thus `kl`; None where that is not known.

    Raises:
        ValueError: they are not scores of these sequences.
    """
    rows, longest = len(steps), max(steps)
    wanted = {"log_likelihood", "log_likelihood_per_step"}
    _names(
        outputs, wanted | ({"kl"} if latents or (latents is None and "kl" in outputs) else set())
    )
    for name, value in outputs.items():
        rank = 2 if name == "log_likelihood_per_step" else 1
        _numbers(name, value)
        # A server that puts requests together may have padded further.
        if value.ndim != rank or len(value) != rows or (rank == 2 and value.shape[1] < longest):
            shape = f"({rows}, {longest} or more)" if rank == 2 else f"({rows},)"
            raise ValueError(f"`{name}` must have shape {shape}; received {value.shape}")
        _finite(name, value)
    per_step = np.asarray(outputs["log_likelihood_per_step"], np.float64)
    real = np.arange(per_step.shape[1]) < np.asarray(steps)[:, None]
    if per_step[~real].any():
        row = int(np.flatnonzero((per_step * ~real).any(axis=1))[0])
        raise ValueError(
            "`log_likelihood_per_step` must be 0 after the last step; received other numbers after "
            f"step {steps[row]} of sequence {row}"
        )
    total = outputs["log_likelihood"].astype(np.float64)
    allowed = ABSOLUTE + RELATIVE * np.abs(per_step).sum(axis=1)
    for row in np.flatnonzero(np.abs(per_step.sum(axis=1) - total) > allowed):
        raise ValueError(
            "`log_likelihood` must be the sum of `log_likelihood_per_step`, "
            f"{per_step[row].sum():g}; received {total[row]:g} for sequence {row}"
        )


def frames(outputs: Mapping[str, Any], shape: tuple[int, int, int]) -> None:
    """Check the outputs of a sample, frames of shape (B, T, D).

    Raises:
        ValueError: they are not.
    """
    _names(outputs, {"frames"})
    _numbers("frames", outputs["frames"])
    if outputs["frames"].shape != shape:
        received = outputs["frames"].shape
        raise ValueError(f"`frames` must have shape {shape}; received {received}")
    _finite("frames", outputs["frames"])


def _names(outputs: Mapping[str, Any], wanted: set[str]) -> None:
    if set(outputs) != wanted:
        raise ValueError(
            f"it must hold {', '.join(sorted(wanted))}; received "
            f"{', '.join(sorted(map(str, outputs)))[:200] or 'none'}"
        )


def _numbers(name: str, value: Any) -> None:
    if not isinstance(value, np.ndarray) or value.dtype != np.float32:
        received = getattr(value, "dtype", type(value).__name__)
        raise ValueError(f"`{name}` must be float32; received {received}")


def _finite(name: str, value: np.ndarray) -> None:
    finite = np.isfinite(value)
    if not finite.all():
        where = tuple(int(i) for i in np.argwhere(~finite)[0])
        raise ValueError(f"`{name}` must be finite in float32; received {value[where]} at {where}")
