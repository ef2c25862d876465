"""Objectives by name: `compile(objective="iwae", num_samples=8)` is `IWAE(8)`."""

from __future__ import annotations

from typing import Any

from srnn_tf.core import checks, registry
from srnn_tf.density import Density
from srnn_tf.objectives.annealing import AIS, RAISE
from srnn_tf.objectives.base import Objective
from srnn_tf.objectives.evidence import ELBO, Exact
from srnn_tf.objectives.filtering import FIVO
from srnn_tf.objectives.importance_weighted import IWAE

OBJECTIVES: dict[str, type[Objective]] = {
    "exact": Exact,
    "elbo": ELBO,
    "iwae": IWAE,
    "fivo": FIVO,
    "ais": AIS,
    "raise": RAISE,
}


def default_of(density: Density) -> Objective:
    """The default objective of a density: `ELBO()` with latents, `Exact()` without."""
    return ELBO() if density.latent_size else Exact()


def for_training(
    density: Density,
    objective: str | Objective,
    default: Objective,
    num_samples: int | None = None,
    max_samples: int | None = None,
    free_nats: float | None = None,
) -> Objective:
    """The objective of `SequenceModel.compile`.

    Args:
        density: the density that the objective must support.
        objective: an `Objective`, or a registered name with options.
        default: the objective whose KL schedule "elbo" uses.
        num_samples, max_samples, free_nats: the options of a name; None where not given.

    Raises:
        ValueError: the name is unknown, an option is given together with an `Objective` or belongs
            to another objective, or the objective does not support the density.
    """
    given: dict[str, Any] = dict(
        num_samples=num_samples, max_samples=max_samples, free_nats=free_nats
    )
    given = {name: value for name, value in given.items() if value is not None}
    chosen = _given_object("objective", objective, density, given)
    if chosen is None:
        checks.sizes(**{n: v for n, v in given.items() if n != "free_nats"})
        checks.weight(free_nats=free_nats or 0.0)
        chosen = _named("objective", objective, density, given, default)
    _check_training(chosen, density)
    registry.describe(OBJECTIVES, chosen)  # an unregistered one could not be saved: an error now
    if free_nats and "free_nats" not in chosen.arguments:
        raise ValueError(
            f"`free_nats` belongs to the ELBO of a model with latents; received {free_nats!r}"
        )
    return chosen


def for_scoring(
    density: Density,
    bound: str | Objective,
    num_samples: int | None = None,
    proposal: str | None = None,
    ess_threshold: float | None = None,
) -> Objective:
    """The bound of `SequenceModel.log_prob`.

    Args:
        density: the density that the bound must support.
        bound: an `Objective`, or a registered name with options.
        num_samples, proposal, ess_threshold: the options of a name; None where not given.

    Raises:
        ValueError: as in `for_training`.
    """
    given: dict[str, Any] = dict(
        num_samples=num_samples, proposal=proposal, ess_threshold=ess_threshold
    )
    given = {name: value for name, value in given.items() if value is not None}
    chosen = _given_object("bound", bound, density, given)
    if chosen is None:
        FIVO(1, **{n: v for n, v in given.items() if n != "num_samples"})  # checked for all bounds
        chosen = _named("bound", bound, density, given, ELBO())
    if not chosen.scores_unnormalized:
        density.check_normalized(f"`bound` {chosen!r}")
    return chosen


def _check_training(chosen, density):
    chosen.check_training()
    if not chosen.trains_unnormalized:
        density.check_normalized(f"`objective` {chosen!r}")
    if density.score_function and not chosen.trains_score_function:
        raise ValueError(
            "`objective` must be ELBO or IWAE for a structure whose latents are not differentiable "
            "functions of noise, which needs the log probability of its draws; received "
            f"{chosen!r}: FIVO is a bound of `log_prob`"
        )


def _given_object(argument, value, density, given):
    if not isinstance(value, Objective):
        return None
    if given:
        raise ValueError(
            f"{', '.join(f'`{name}`' for name in given)} must be left out where `{argument}` is an "
            f"objective; received {value!r} and {given}"
        )
    value.check(density)
    return value


def _named(argument, name, density, given, default):
    """The objective of a registered name, with the options that it has."""
    if not isinstance(name, str) or name not in OBJECTIVES:
        raise registry.unknown(f"`{argument}`", str(name), OBJECTIVES)
    cls = OBJECTIVES[name]
    count = given.get("num_samples", cls.default_samples)
    checks.sizes(num_samples=count)
    if name in ("iwae", "fivo"):
        checks.bound(argument, name, density.latent_size)
    options = {"num_samples": count, **given}
    if name == "elbo" and not density.latent_size:
        return Exact()
    if name == "elbo":
        options = {"kl_schedule": default.get_config().get("kl_schedule"), **options}
    if name == "fivo":
        options["num_particles"] = count
    named = cls(**{key: value for key, value in options.items() if key in cls.arguments})
    named.check(density)
    return named
