"""Several data sets as one, with a balanced share of each in every epoch of training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from srnn_tf.core.types import Steps

# How often a sequence is drawn at its own time step, where it has other views too.
_OWN = 0.5


class Pool(Sequence):
    """The sequences of several data sets, concatenated.

    An epoch of `streams` has as many frames as all sets together, but samples them. The share of a
    set is proportional to the square root of its n_k frames: small sets are neither ignored nor
    overfitted.

        frames of set k in an epoch = frames of all * sqrt(n_k) / sum{ sqrt(n_j) : j }

    Within a set, each sequence is drawn once before any is drawn again. A sequence with other views
    is drawn as it is half of the time, and in one of its views otherwise.

    Args:
        sets: a dict from the name of a data set to its sequences, arrays (T_i, D).
        views: a dict from the name of a data set to the list of other views of each sequence, such
            as the same piece at half the time step. None for no views.
        transpose: the default transposition of `streams`, in semitones.

    Raises:
        ValueError: there is no set, a set has no sequence, or `views` lacks a list per sequence.

    Example:
        >>> pool = Pool({"a": [np.zeros([90, 88])], "b": [np.zeros([10, 88])]})
        >>> sum(len(roll) for place, roll in pool.draw(seed=0, epoch=0) if place == 1)
        30
    """

    def __init__(
        self,
        sets: Mapping[str, Sequence[Steps]],
        views: Mapping[str, Sequence[Sequence[Steps]]] | None = None,
        transpose: int = 0,
    ):
        self.sets = {name: tuple(sequences) for name, sequences in sets.items()}
        self.transpose = transpose
        if not self.sets or not all(self.sets.values()):
            raise ValueError(
                "`sets` must have at least one data set, and each a sequence; received "
                f"{ {name: len(sequences) for name, sequences in self.sets.items()} }"
            )
        self._views = dict(views or {})
        for name, others in self._views.items():
            if len(others) != len(self.sets.get(name, ())):
                raise ValueError(
                    f"`views` of {name!r} must be a list for each of its "
                    f"{len(self.sets.get(name, ()))} sequences; received {len(others)}"
                )
        self._flat = [s for sequences in self.sets.values() for s in sequences]

    def __len__(self) -> int:
        return len(self._flat)

    def __getitem__(self, index: Any) -> Any:
        return self._flat[index]

    def first(self, count: int | None) -> Pool:
        """The first `count` sequences of each set, concatenated; all with None."""
        return Pool({name: of[:count] for name, of in self.sets.items()})

    def __repr__(self) -> str:
        return f"Pool({', '.join(f'{name}: {len(s)}' for name, s in self.sets.items())})"

    def draw(self, seed: int, epoch: int) -> list[tuple[int, Steps]]:
        """The (index, sequence) pairs of an epoch, a pure function of (seed, epoch).

        They have at least as many frames as the whole pool; `streams` does not use the excess.
        """
        rng = np.random.default_rng([seed, epoch])
        frames = {name: sum(len(s) for s in of) for name, of in self.sets.items()}
        total, roots = sum(frames.values()), {name: math.sqrt(n) for name, n in frames.items()}
        chosen, first = [], 0
        for name, sequences in self.sets.items():
            wanted = math.ceil(total * roots[name] / sum(roots.values()))
            while wanted > 0:
                for i in rng.permutation(len(sequences)):
                    view = self._view(name, i, rng)
                    chosen.append((first + int(i), view))
                    wanted -= len(view)
                    if wanted <= 0:
                        break
            first += len(sequences)
        return [chosen[i] for i in rng.permutation(len(chosen))]

    def _view(self, name: str, place: int, rng: np.random.Generator) -> Any:
        """A sequence at its own time step, or in one of its other views."""
        others = self._views[name][place] if name in self._views else ()
        if not len(others) or rng.random() < _OWN:
            return self.sets[name][place]
        return others[int(rng.integers(len(others)))]
