"""Plots of training curves, latents, waveforms and scores."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from srnn_tf.core import checks
from srnn_tf.core.types import Array
from srnn_tf.plots.figures import axes_of, finished

if TYPE_CHECKING:
    from srnn_tf.model import Posterior


def training_curve(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    path: str | os.PathLike | None = None,
    baselines: Mapping[str, float] | None = None,
    ylabel: str = "nats per step",
    ax: Any = None,
) -> Any:
    """Plot scores against updates, with baselines as dashed lines.

    Args:
        curves: a dict from a label to (updates, scores).
        path: the image file to write; its suffix sets the format. None to write none.
        baselines: a dict from a label to a score.
        ylabel: the unit of the scores.
        ax: the axes to draw on; those of a new figure by default.

    Returns:
        The Matplotlib figure.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: a curve is empty, or its updates and scores differ in number.
        OSError: `path` cannot be written.
    """
    axes = axes_of("training_curve", ax, 1, (7, 4))
    (axis,) = axes
    for label, (updates, scores) in curves.items():
        if len(updates) != len(scores) or not len(updates):
            raise ValueError(
                f"curves[{label!r}] must be two sequences of one length; "
                f"received {len(updates)} updates and {len(scores)} scores"
            )
        axis.plot(updates, scores, label=label, linewidth=2)
    for i, (label, score) in enumerate((baselines or {}).items()):
        axis.axhline(score, label=label, color="0.45", linestyle=("--", ":", "-.")[i % 3])
    _finish(axis, "updates", ylabel)
    axis.legend(frameon=False)
    return finished(axes, path)


def latent_usage(
    posterior: Posterior,
    path: str | os.PathLike | None = None,
    mask: Array | None = None,
    ax: Any = None,
) -> Any:
    """Plot the KL of each latent unit, and the KL at each step.

    The upper plot is the mean KL of each unit, largest first. Active units, whose posterior mean
    varies over the data (`metrics.active_units`), are coloured. The lower plot is the sum over
    units of the KL at each step of the first sequence.

    Args:
        posterior: the result of `model.posterior`, with `mean` and `kl`, (B, S, Z), in nats.
        path: the image file to write; its suffix sets the format. None to write none.
        mask: (B, T) bool, the mask given to `model.posterior`; all real by default.
        ax: the two axes to draw on; those of a new figure by default.

    Returns:
        The Matplotlib figure.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: `mean` and `kl` differ in shape or are not (B, S, Z), or the mask is invalid.
        OSError: `path` cannot be written.
    """
    from srnn_tf.training import metrics

    axes = axes_of("latent_usage", ax, 2, (7, 6))
    mean, kl, real = _latents(posterior, mask)
    units, steps = axes
    _draw_units(units, kl[real].mean(axis=0), metrics.active_units(mean, real).numpy())
    values = kl[0, real[0]].sum(axis=1)
    marker = "o" if len(values) < 50 else None
    steps.plot(np.arange(1, len(values) + 1), values, marker=marker, markersize=4, linewidth=1.5)
    steps.set_ylim(bottom=min(0.0, values.min()))
    steps.xaxis.get_major_locator().set_params(integer=True)
    _finish(steps, "step of the first sequence", "KL of all units (nats)")
    return finished(axes, path)


def waveform(
    samples: Array,
    path: str | os.PathLike | None = None,
    sample_rate: int = 16000,
    ax: Any = None,
) -> Any:
    """Plot the samples of a recording over time.

    Args:
        samples: samples (n,), or frames (T, D), which are concatenated.
        path: the image file to write; its suffix sets the format. None to write none.
        sample_rate: the sample rate in Hz.
        ax: the axes to draw on; those of a new figure by default.

    Returns:
        The Matplotlib figure.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: there are no samples, or they are not finite.
    """
    samples = np.asarray(samples, np.float64).reshape(-1)
    if not samples.size or not np.isfinite(samples).all():
        raise ValueError(f"`samples` must be finite, at least one; received {samples.size} of them")
    axes = axes_of("waveform", ax, 1, (8.0, 2.0))
    (axis,) = axes
    axis.plot(np.arange(len(samples)) / sample_rate, samples, linewidth=0.5)
    axis.margins(x=0.01)
    _finish(axis, "seconds", "amplitude")
    return finished(axes, path)


def frame_values(
    frames: Any, path: str | os.PathLike | None = None, title: str = "", ax: Any = None
) -> Any:
    """Draw the values of frames as rows over time, the first value lowest.

    Args:
        frames: (T, D).
        path: the picture to write; its ending chooses the format. None to write none.
        title: of the picture; none by default.
        ax: the axes to draw on; those of a new figure by default.

    Returns:
        The Matplotlib figure.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: another shape, or values that are not finite.
    """
    frames = np.asarray(frames, np.float64)
    if frames.ndim != 2 or not frames.size or not np.isfinite(frames).all():
        raise ValueError(f"`frames` must be finite, (T, D); received shape {frames.shape}")
    axes = axes_of("frame_values", ax, 1, (8.0, 2.5))
    (axis,) = axes
    drawn = axis.imshow(frames.T, origin="lower", aspect="auto", interpolation="nearest")
    axis.figure.colorbar(drawn, ax=axis)
    if title:
        axis.set_title(title, fontsize="medium")
    axis.set(xlabel="step", ylabel="value of a frame")
    for which in (axis.xaxis, axis.yaxis):
        which.get_major_locator().set_params(integer=True)
    return finished(axes, path)


def step_scores(
    values: Array,
    path: str | os.PathLike | None = None,
    mark: float | None = None,
    label: str = "mark",
    ax: Any = None,
) -> Any:
    """Plot the log likelihood of each step, and highlight steps below a threshold.

    Args:
        values: log likelihoods, (T,), nats.
        path: the image file to write; its suffix sets the format. None to write none.
        mark: the threshold in nats; None for none.
        label: the label of the threshold.
        ax: the axes to draw on; those of a new figure by default.

    Returns:
        The Matplotlib figure.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: there are no values, or they are not finite.
    """
    values = np.asarray(values, np.float64).reshape(-1)
    if not values.size or not np.isfinite(values).all():
        raise ValueError(f"`values` must be finite, at least one; received {values.size} of them")
    axes = axes_of("step_scores", ax, 1, (8.0, 2.5))
    (axis,) = axes
    axis.plot(values, linewidth=0.8)
    if mark is not None:
        low = np.flatnonzero(values < mark)
        axis.axhline(mark, color="C1", linewidth=0.8, label=label)
        axis.plot(low, values[low], "o", color="C3", markersize=3, label=f"{len(low)} below")
        axis.legend(frameon=False)
    axis.margins(x=0.01)
    _finish(axis, "step", "log p(x_t | x_<t), nats")
    return finished(axes, path)


def _latents(posterior, mask):
    """Mean and KL, (B, S, Z), and which steps are real, (B, S)."""
    arrays: list[Any] = [getattr(posterior, name, None) for name in ("mean", "kl")]
    shapes = [np.shape(x) for x in arrays]
    if len(shapes[0]) != 3 or 0 in shapes[0] or shapes[0] != shapes[1]:
        raise ValueError(
            "`posterior` must be what `model.posterior` returns, `mean` and `kl` of one shape "
            f"(B, S, Z); received {type(posterior).__name__}, of shapes {shapes[0]} and {shapes[1]}"
        )
    mean, kl = (np.asarray(x, np.float32) for x in arrays)
    rows, steps = kl.shape[:2]
    mask = np.ones([rows, steps], bool) if mask is None else np.asarray(mask)
    if mask.ndim == 2 and mask.shape[1] and steps % mask.shape[1] == 0:
        mask = np.repeat(mask, steps // mask.shape[1], axis=1)  # a frame may be several steps
    return mean, kl, checks.mask(mask, (rows, steps))


def _draw_units(axis, kl, active):
    """Bars of KL (Z,), largest first, coloured by `active` (Z,)."""
    order = np.argsort(-kl, kind="stable")
    for label, color, which in (("active", "C0", True), ("not active", "0.7", False)):
        rank = np.flatnonzero(active[order] == which)
        axis.bar(rank, kl[order][rank], color=color, label=label)
    axis.set_title(
        f"{active.sum()} of {len(kl)} units active (variance of the posterior mean > 0.01)",
        fontsize="medium",
    )
    if len(kl) <= 40:
        axis.set_xticks(range(len(kl)), order, fontsize="small")
    else:
        axis.set_xticks([])
    axis.margins(x=0.02)
    _finish(axis, "latent unit, by its KL", "mean KL (nats per step)")
    axis.grid(visible=False, axis="x")
    axis.legend(frameon=False)


def _finish(axis, xlabel, ylabel):
    axis.set(xlabel=xlabel, ylabel=ylabel)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25)
