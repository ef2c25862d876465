"""`Objective`, the base class of all objectives, and the `Loss` that it returns."""

from __future__ import annotations

import abc
import inspect
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import keras
import tensorflow as tf

from srnn_tf.core.random import Key
from srnn_tf.core.types import Config, Seeds
from srnn_tf.density import Batch, Density

if TYPE_CHECKING:
    from srnn_tf.objectives.filtering import FIVO


class Loss(NamedTuple):
    """The result of an objective for a batch in training, in nats, zero under the mask."""

    value: tf.Tensor  # (), to be minimized; the sum over all real steps
    bound: tf.Tensor  # (B, S), or (B,) of whole sequences: the reported bound on log p(x)
    log_likelihood: tf.Tensor  # (B, S)
    kl: tf.Tensor  # (B, S)
    posterior_moments: tuple[tf.Tensor, ...] | None = None  # `moments`, with latents
    observed: tf.Tensor | None = None  # sums over the batch, for `Objective.observe`


class Job(Protocol):
    """A request of `log_prob`: sequences, and what an objective may ask about them.

    `inference.scoring.Job` is one; seeds are (2,), one draw of all latents each.
    """

    @property
    def seed(self) -> Seeds:
        """Of all that is drawn."""

    @property
    def num_steps(self) -> int:
        """Steps of all rows and windows."""

    def bound(self, objective: Objective) -> tf.Tensor:
        """`Objective.bound` of each row, (B,)."""

    def elbo(self, seed: tf.Tensor) -> tf.Tensor:
        """The evidence lower bound of each row from one draw, (B,)."""

    def log_weights(self, seeds: tf.Tensor) -> tf.Tensor:
        """log p(x, z) - log q(z | x) of each window, one draw per seed, (K, windows)."""

    def sum_windows(self, values: tf.Tensor) -> tf.Tensor:
        """Of windows to rows, (B,)."""

    def filtered(self, objective: FIVO) -> tf.Tensor:
        """The bound of a particle filter of each row, (B,)."""


class Objective(abc.ABC):
    """What training maximizes, and what is reported as a lower bound on log p(x).

    One object serves `compile(objective=...)`, `evaluate` and `log_prob(bound=...)`. Subclasses
    define `loss` and `bound`. They list their constructor arguments in `arguments` and keep each as
    an attribute of the same name; `get_config` returns them. An objective may own Keras variables,
    in `variables`. They are trained and saved with the model.
    """

    variables: tuple[keras.Variable, ...] = ()
    # Constructor arguments, kept as attributes of the same names.
    arguments: tuple[str, ...] = ()
    # Whether `loss` uses the `score` and `baseline` of latents that are not differentiable.
    trains_score_function: bool = False
    # Whether `loss`, and `bound`, support a density that is not `normalized`.
    trains_unnormalized: bool = False
    scores_unnormalized: bool = False
    default_samples: int = 1  # `num_samples` of the objective's name, where it is not given

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls):
            _, *names = inspect.signature(cls.__init__).parameters
            if tuple(names) != cls.arguments:
                raise TypeError(
                    f"`arguments` of {cls.__name__} must name the parameters of its __init__, "
                    f"{tuple(names)}; received {cls.arguments}"
                )

    def _bound_is_of(self, cls: type[Objective]) -> bool:
        """Whether the bound is inherited from a class, not redefined by a subclass."""
        return type(self).bound is cls.bound

    def check(self, density: Density) -> None:
        """Check that the objective supports a density. By default it needs latents.

        Raises:
            ValueError: it does not support the density.
        """
        if not density.latent_size:
            raise ValueError(
                f"{type(self).__name__} needs a model with latents; the likelihood of one without "
                "is exact: use Exact()"
            )

    def check_training(self) -> None:  # noqa: B027, most have nothing to refuse
        """Check that the objective can be trained; by default it can.

        Raises:
            ValueError: it is a bound for `log_prob` only.
        """

    def build(self, density: Density) -> None:  # noqa: B027, most own nothing
        """Create the variables that depend on the density; `compile` calls it. By default none."""

    def observe(self, sums: tf.Tensor) -> None:  # noqa: B027, most observe nothing
        """Update variables that are not trained, after an update of the weights.

        Args:
            sums: `Loss.observed`, summed over the replicas of a strategy.
        """

    @abc.abstractmethod
    def loss(self, density: Density, batch: Batch, key: Key | None, step: tf.Tensor) -> Loss:
        """The training loss of a batch, with the values that are reported beside it.

        Args:
            density: p(x, z) and q(z | x).
            batch: the steps of the structure.
            key: the key for noise and dropout; None for the fixed table of noise and no dropout.
            step: the number of updates made so far.
        """

    @abc.abstractmethod
    def bound(self, density: Density, batch: Batch, key: Key | None) -> tf.Tensor:
        """A lower bound on log p(x) of each row, (B,) nats. No schedule changes it.

        Args:
            density, batch: as in `loss`.
            key: the key for noise; None for the fixed table. There is no dropout.
        """

    def score(self, job: Job) -> tf.Tensor:
        """`bound` of the rows of a request, (B,) nats. Subclasses limit its memory.

        Args:
            job: the request, an `inference.scoring.Job`.

        Raises:
            ValueError: the request has a seed for each row, which this bound does not support.
        """
        return job.bound(self)

    def kl_weight(self, step: tf.Tensor) -> tf.Tensor | float:
        """The weight of the KL in the loss."""
        return 1.0

    def get_config(self) -> Config:
        """The constructor's arguments."""
        return {name: getattr(self, name) for name in self.arguments}

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.get_config() == self.get_config()

    def __hash__(self) -> int:
        return hash((type(self), repr(self)))

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({given})"


def noise_of(density: Density, batch: Batch, key: Key | None) -> tf.Tensor | None:
    """Standard normal draws for the latents of a batch, from a key or from the fixed table."""
    rows, steps = tf.shape(batch.steps)[0], tf.shape(batch.steps)[1]
    if key is None:
        return density.table(steps)
    return density.noise(rows, steps, key.fold("noise"))
