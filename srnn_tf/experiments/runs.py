"""A training run on disk: its settings, checkpoint and best weights. Every write is atomic."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from srnn_tf import data, recipes, zoo
from srnn_tf.core import checks, reading
from srnn_tf.core.files import replacing
from srnn_tf.data.batching.transposition import LARGEST
from srnn_tf.data.formats.rolls import NUM_NOTES
from srnn_tf.model import SequenceModel
from srnn_tf.objectives import ELBO, Exact, KLSchedule, Objective

POLICIES = ("float32", "mixed_bfloat16")
# Updates between two validations, by default; checkpoints are written there.
EPOCH = 500
# Entries of `run.json` that are there only where a run departs from its recipe.
OPTIONS = (
    *("candidate", "batch_size", "validate_every", "patience"),
    *("window", "learning_rate", "begin_with", "transpose", "without"),
)


@contextlib.contextmanager
def clear_errors() -> Iterator[None]:
    """In a command, print a user's error as one line on stderr and exit with status 2."""
    try:
        yield
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write a JSON file atomically."""
    write_text(path, json.dumps(values, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text)


@dataclasses.dataclass(frozen=True)
class Run:
    """A folder with `run.json`, `checkpoint.weights.h5`, `best.weights.h5` and `best.json`."""

    folder: Path
    recipe: recipes.Recipe
    steps: int
    seed: int
    dtype: str = "float32"  # the policy it trains in; scores are float32
    candidate: str | None = None  # of the recipe's structures
    batch_size: int | None = None  # the recipe's by default
    validate_every: int | None = None  # updates between two validations
    patience: int | None = None  # validations without a better score that end the run
    window: int | None = None  # frames of a training window; the recipe's by default
    learning_rate: float | None = None  # the first; the recipe's by default
    begin_with: str | None = None  # warm start: SHA-256 of the other run's weights
    transpose: int | None = None  # semitones, of piano rolls; the recipe's by default
    without: list[str] | None = None  # data sets of a pool that are left out

    @classmethod
    def create(
        cls,
        folder: str,
        name: str,
        steps: int | None,
        seed: int,
        frames: Any,
        candidate: str | None = None,
        batch_size: int | None = None,
        validate_every: int | None = None,
        patience: int | None = None,
        window: int | None = None,
        learning_rate: float | None = None,
        begin_with: str | None = None,
        transpose: int | None = None,
        without: Sequence[str] | None = None,
        dtype: str | None = None,
    ) -> Run:
        """Create a run, or open the run in the folder if it has the same settings.

        Args:
            folder: the folder of the run, created if it does not exist.
            name: the name of the recipe.
            steps: the number of updates; the recipe's by default.
            seed: the seed of all random draws.
            frames: the numbers of frames that identify the data.
            candidate: one of the recipe's candidate structures; its own structure by default.
            batch_size: the number of streams or sequences; the recipe's by default.
            validate_every: the updates between two validations; 500 by default.
            patience: early stopping after this many validations without a better score; no early
                stopping by default.
            window: the frames in a training window; the recipe's by default.
            learning_rate: the first learning rate; the recipe's by default.
            begin_with: for a warm start, the SHA-256 of another run's weights, from
                `provenance.beginning`.
            transpose: the largest random transposition of a training sequence, in semitones. Above
                0 the name of a recipe without transposition gets the suffix `_transposed`.
            without: the data sets to leave out of a pool.
            dtype: the dtype policy for training, one of `POLICIES`; the recipe's by default, on a
                GPU float32.

        Raises:
            ValueError: the folder has another run, a number is out of range, or `dtype` is unknown;
                `window` is given for a recipe that trains on whole sequences; or the data cannot be
                transposed, or the name of the recipe requires transposition.
            OSError: the folder cannot be written.
        """
        recipe = recipe_of(name, transpose)
        if transpose == recipe.transpose:
            transpose = None
        recipe.candidate(candidate)  # an unknown one is an error now
        steps = recipe.steps if steps is None else steps
        counts = {"batch_size": batch_size, "validate_every": validate_every, "patience": patience}
        counts["window"] = window
        _check_options(recipe, learning_rate, {"steps": steps, **counts})
        checks.sizes(minimum=0, seed=seed)
        if dtype is not None:
            checks.choice("dtype", dtype, POLICIES)
        path = Path(folder)
        identity = {"recipe": recipe.name, "steps": steps, "seed": seed, "frames": frames}
        options: dict[str, Any] = {"candidate": candidate, **counts}
        options |= {"learning_rate": learning_rate, "begin_with": begin_with}
        options |= {"transpose": transpose, "without": sorted(set(without)) if without else None}
        identity |= {name: value for name, value in options.items() if value is not None}
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise type(error)(f"cannot make the folder {path}: {error.strerror}") from error
        file = path / "run.json"
        if file.exists():
            config = read_json(file)
            if isinstance(config, dict):  # a run goes on in the mode that it began in
                config = {"dtype": "float32", **config}
                dtype = dtype or config["dtype"]
            if config != {**identity, "dtype": dtype}:
                raise ValueError(f"{path} holds another run, {config}; asked for {identity}")
        else:
            dtype = dtype or _fastest(recipe)
            write_json(file, {**identity, "dtype": dtype})
        return cls(path, recipe, steps, seed, dtype, **options)

    @classmethod
    def open(cls, folder: str) -> Run:
        """Open the run in a folder.

        Raises:
            ValueError: the folder has none.
        """
        path = Path(folder)
        if not (path / "run.json").is_file():
            raise ValueError(f"{path} holds no run (no run.json)")
        config = read_json(path / "run.json")
        try:
            recipe, dtype = recipes.get(config["recipe"]), config.get("dtype", "float32")
            options = {name: config.get(name) for name in OPTIONS}
            return cls(path, recipe, config["steps"], config["seed"], dtype, **options)
        except (KeyError, TypeError) as error:
            shown = reading.shortened(config, 200)
            raise ValueError(f"{path / 'run.json'} is not a run's: {shown}") from error

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.weights.h5"

    def best(self) -> tuple[float, int]:
        """The best validation score so far and its update; minus infinity and 0 at the start.

        Raises:
            ValueError: `best.json` is damaged.
        """
        path = self.folder / "best.json"
        if not path.is_file():
            return float("-inf"), 0
        record = read_json(path)
        try:
            return float(record["valid"]), int(record["step"])
        except (KeyError, TypeError, ValueError) as error:
            wanted = "score `valid` and `step`"
            raise ValueError(f"{path} holds no {wanted}; received {record}") from error

    def updates(self) -> int:
        """The number of updates that the run has made.

        Raises:
            ValueError: it has no checkpoint, or the checkpoint is damaged.
        """
        if not self.checkpoint.is_file():
            raise ValueError(
                f"{self.folder} holds no checkpoint.weights.h5, which has the number of its updates"
            )
        model = self.build()
        load_weights(model, self.checkpoint)
        return int(model.step.numpy())

    def scorer(self) -> SequenceModel:
        """Build the model with fresh weights, in float32, not compiled."""
        return zoo.build(self.recipe.name, self.seed, "float32", self.candidate)

    def build(self, dtype: str = "float32") -> SequenceModel:
        """Build the model with fresh weights, compiled as in its recipe, with XLA in float32."""
        keras.utils.set_random_seed(self.seed)
        model = zoo.build(self.recipe.name, self.seed, dtype, self.candidate)
        rate = self.learning_rate or self.recipe.learning_rate
        schedule = keras.optimizers.schedules.CosineDecay(
            rate, self.steps, alpha=self.recipe.final_learning_rate / rate
        )
        model.compile(
            keras.optimizers.Adam(schedule),
            clipnorm=self.recipe.clipnorm,
            loss_per=self.recipe.loss_per,
            objective=self._objective(model),
            jit_compile=None if dtype == "float32" else False,
        )
        model.optimizer.build(model.trainable_variables)
        return model

    def _objective(self, model: SequenceModel) -> Objective:
        """The recipe's objective, with its KL schedule scaled to the length of the run."""
        if not model.latent_size:
            return Exact()
        schedule = KLSchedule(**self.recipe.scaled_kl_schedule(self.steps))
        if self.begin_with:  # the weight of the KL has grown already
            schedule = dataclasses.replace(schedule, initial=schedule.final)
        return ELBO(schedule)

    def best_model(self) -> SequenceModel:
        """The model with the weights that scored best on the validation split.

        Raises:
            ValueError: there are none yet.
        """
        path = self.folder / "best.weights.h5"
        if not path.is_file():
            raise ValueError(f"{self.folder} holds no best.weights.h5 yet: train first")
        model = self.build()
        load_weights(model, path)
        return model


def worn_out(run: Run, step: int, best_step: int) -> bool:
    """Whether early stopping ends the run: `patience` validations without a better score."""
    every = run.validate_every or EPOCH
    return run.patience is not None and step - best_step >= run.patience * every


def recipe_of(name: str, transpose: int | None = None) -> recipes.Recipe:
    """The recipe of a name; with `transpose` above 0, its variant with transposition.

    Raises:
        ValueError: the name is unknown; or the transposition is out of range, is given for data
            other than piano rolls, or is 0 although the name of the recipe requires one.
    """
    recipe = recipes.get(name)
    if transpose is None:
        return recipe
    checks.between("--transpose", transpose, 0, LARGEST)
    if recipe.event_size != NUM_NOTES and transpose:
        raise ValueError(
            f"`--transpose` is for piano rolls, and {name} is of frames of {recipe.event_size} "
            f"values: leave it out; received {transpose}"
        )
    named = name.endswith(recipes.TRANSPOSED)
    if named and not transpose:
        raise ValueError(
            f"`--transpose 0` does not go with {name}; without transposition it is "
            f"{name.removesuffix(recipes.TRANSPOSED)}"
        )
    return recipes.get(name + recipes.TRANSPOSED) if transpose and not recipe.transpose else recipe


def _check_options(recipe, learning_rate, counts):
    for option, value in counts.items():
        if value is not None and value < 1:
            flag = option.replace("_", "-")
            raise ValueError(f"`--{flag}` must be at least 1; received {value}")
    if counts["window"] is not None and recipe.window is None:
        raise ValueError(
            f"`--window` must be left out: {recipe.name} trains on whole sequences; "
            f"received {counts['window']}"
        )
    last = recipe.final_learning_rate
    if learning_rate is not None and not last < learning_rate < math.inf:
        raise ValueError(
            f"`--learning-rate` must be finite and above the last one, {last}; "
            f"received {learning_rate}"
        )


def load_data(
    recipe: recipes.Recipe,
    path: str | None,
    edition: str | None,
    without: Sequence[str] | None = None,
) -> data.Splits:
    """Load the recipe's data set, and cut its sequences to the recipe's `max_steps`."""
    splits = data.load(recipe.dataset, path, edition=edition, without=without or ())
    if recipe.max_steps is None:
        return splits
    given = {part: getattr(splits, part) for part in ("train", "valid", "test")}
    cut = {part: data.pieces(sequences, recipe.max_steps) for part, sequences in given.items()}
    return dataclasses.replace(splits, **cut)


def _fastest(recipe):
    """The dtype policy that trains fastest on this machine, according to the recipe."""
    return "float32" if tf.config.list_physical_devices("GPU") else recipe.cpu_dtype


def save_weights(model: SequenceModel, path: Path) -> None:
    """Write weights, optimizer slots and counters atomically."""
    with replacing(path) as temporary:
        model.save_weights(temporary)


def load_weights(model: SequenceModel, path: Path) -> None:
    """Read weights, optimizer slots and counters.

    Raises:
        ValueError: the file is damaged or of another model.
    """
    try:
        reading.check_regular(path)
        reading.check_hdf5(path, path.stat().st_size)
        model.load_weights(path)
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path} is damaged or of another model: {error}") from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file, which may hold numbers that are not finite.

    Raises:
        ValueError: the file is not valid JSON.
        OSError: the file cannot be read.
    """
    return reading.read_json(path, finite=False)
