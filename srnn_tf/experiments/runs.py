"""A training run on disk: its settings, checkpoint and best weights.

Every write is atomic. Every file has a checksum and the identity of its run, compared when it is
read. One process at a time trains in a folder.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import shutil
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from srnn_tf import data, recipes, zoo
from srnn_tf.core import checks, files, reading
from srnn_tf.core.files import replacing
from srnn_tf.data.batching.transposition import LARGEST
from srnn_tf.data.formats.rolls import NUM_NOTES
from srnn_tf.experiments import checksums
from srnn_tf.experiments.defaults import EPOCH, POLICIES
from srnn_tf.model import SequenceModel
from srnn_tf.objectives import ELBO, Exact, KLSchedule, Objective

# Entries of `run.json` that are there only where a run departs from its recipe.
OPTIONS = (
    *("candidate", "batch_size", "validate_every", "patience"),
    *("window", "learning_rate", "begin_with", "transpose", "openings", "without", "definition"),
)
# Of `run.json` since files have checksums.
FORMAT = 2
WEIGHTS = ("checkpoint.weights.h5", "best.weights.h5")
DATA = "data.json"  # what a run was trained on, with the constants that its model needs
_OTHER = ("best.json", "clock.json", "begun.json", DATA, "result.json", "evaluation.json")
_LOCK = "train.lock"
_RUN = "run"  # the entry of a JSON file that tells its run
_mine = threading.local()  # the folders that this thread has locked


@contextlib.contextmanager
def clear_errors() -> Iterator[None]:
    """In a command, print a user's error as one line on stderr and exit with status 2."""
    try:
        yield
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write a JSON file with its checksum, atomically."""
    write_text(path, checksums.json_text(values))


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text)


@dataclasses.dataclass(frozen=True)
class Run:
    """A folder with `run.json`, `checkpoint.weights.h5`, `best.weights.h5` and `best.json`.

    `checked` is whether files must have checksums: not those of an earlier version, in a folder
    that cannot be written.
    """

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
    openings: int | None = None  # rows of a batch; the recipe's by default
    without: list[str] | None = None  # data sets of a pool that are left out
    definition: dict[str, Any] | None = None  # of a recipe that is not registered
    frames: Any = None  # the numbers of frames that identify the data
    checked: bool = True

    @classmethod
    def create(
        cls,
        folder: str,
        name: str | recipes.Recipe,
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
        openings: int | None = None,
        without: Sequence[str] | None = None,
        dtype: str | None = None,
        add_checksums: bool = True,
    ) -> Run:
        """Create a run, or open the run in the folder if it has the same settings.

        To train in it, lock the folder first: `in_use`.

        Args:
            folder: the folder of the run, created if it does not exist.
            name: the name of the recipe, or one of `recipes.own_data`, which the run then defines.
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
            openings: the rows of each batch that are beginnings of sequences; the recipe's by
                default.
            without: the data sets to leave out of a pool.
            dtype: the dtype policy for training, one of `POLICIES`; the recipe's by default, on a
                GPU float32.
            add_checksums: whether to add them to the files of a run of an earlier version.

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
        path = _folder(folder)
        identity = {"recipe": recipe.name, "steps": steps, "seed": seed, "frames": frames}
        options: dict[str, Any] = {"candidate": candidate, **counts}
        options |= {"learning_rate": learning_rate, "begin_with": begin_with}
        options |= {"transpose": transpose, "openings": _openings(recipe, openings, batch_size)}
        options |= {"without": sorted(set(without)) if without else None}
        options["definition"] = definition_of(recipe)
        identity |= {name: value for name, value in options.items() if value is not None}
        make_folder(path)
        file, checked = path / "run.json", True
        if file.exists():
            config, checked = _config(path)
            dtype = dtype or config["dtype"]  # a run goes on in the mode that it began in
            if config != {**identity, "dtype": dtype}:
                raise ValueError(f"{path} holds another run, {config}; asked for {identity}")
        else:
            dtype = dtype or _fastest(recipe)
        run = cls(path, recipe, steps, seed, dtype, **options, frames=frames, checked=checked)
        if not file.exists():
            run.write()
        return run if checked or not add_checksums else run._add_checksums()

    @classmethod
    def open(cls, folder: str, add_checksums: bool = True) -> Run:
        """Open the run in a folder.

        Args:
            folder: the folder.
            add_checksums: whether to add them to the files of a run of an earlier version.

        Raises:
            ValueError: the folder has none, or its `run.json` is damaged.

        Warns:
            UserWarning: the run is of an earlier version, without checksums.
        """
        path = Path(folder)
        if not (path / "run.json").is_file():
            raise ValueError(f"{path} holds no run (no run.json)")
        config, checked = _config(path)
        try:
            options = {n: config.get(n) for n in OPTIONS}
            recipe = defined(options["definition"]) or recipes.get(config["recipe"])
            known = (config["steps"], config["seed"], config["dtype"])
            run = cls(path, recipe, *known, **options, frames=config.get("frames"), checked=checked)
        except (KeyError, TypeError) as error:
            shown = reading.shortened(config, 200)
            raise ValueError(f"{path / 'run.json'} is not a run's: {shown}") from error
        return run if checked or not add_checksums else run._add_checksums()

    def _add_checksums(self) -> Run:
        """Add checksums to the files of an earlier version, `run.json` last; or say why not."""
        try:
            with in_use(self.folder):
                if _config(self.folder)[1]:  # by another process, just now
                    return dataclasses.replace(self, checked=True)
                for path in (self.folder / name for name in WEIGHTS):
                    if path.is_file() and checksums.verify(path).identity is None:
                        checksums.append(path, self.identity)
                for name in _OTHER:
                    if (self.folder / name).is_file():
                        self.write_json(name, self.read_json(name))
                self.write()
        except OSError as error:
            warnings.warn(
                f"{self.folder} is a run of an earlier version, whose files have no checksums, and "
                f"none can be added ({error}): damage to them is not noticed",
                stacklevel=3,
            )
            return self
        warnings.warn(
            f"{self.folder} is a run of an earlier version, whose files had no checksums; they "
            "have now. Damage from before is not noticed",
            stacklevel=3,
        )
        return dataclasses.replace(self, checked=True)

    @property
    def identity(self) -> dict[str, Any]:
        """What `run.json` says: the recipe, the data, and where the run departs from the recipe."""
        options = {name: getattr(self, name) for name in OPTIONS}
        known = {"recipe": self.recipe.name, "steps": self.steps, "seed": self.seed}
        known |= {"frames": self.frames, "dtype": self.dtype}
        known |= {name: value for name, value in options.items() if value is not None}
        return json.loads(json.dumps(known))  # as it comes back from a file

    def write(self) -> None:
        """Write `run.json`."""
        write_json(self.folder / "run.json", {"format": FORMAT, **self.identity})

    def write_json(self, name: str, values: dict[str, Any]) -> None:
        """Write a JSON file of the run atomically, with a checksum and a digest of the identity."""
        write_json(self.folder / name, {**values, _RUN: _digest(self.identity)})

    def read_json(self, name: str) -> dict[str, Any]:
        """Read a JSON file of the run.

        Raises:
            ValueError: it is missing, damaged or of another run.
        """
        path = self.folder / name
        if not path.is_file():
            raise ValueError(f"{path} is missing")
        values, _ = checksums.read_json(path, self.checked)
        digest = values.pop(_RUN, None)
        if digest != _digest(self.identity) and (self.checked or digest is not None):
            raise ValueError(f"{path} is of another run than run.json beside it")
        return values

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
        record = self.read_json(path.name)
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
        load_weights(model, self.checkpoint, self)
        return int(model.step.numpy())

    def scorer(self) -> SequenceModel:
        """Build the model with fresh weights, in float32, not compiled."""
        return zoo.build(self.recipe, self.seed, "float32", self.candidate)

    def build(self, dtype: str = "float32") -> SequenceModel:
        """Build the model with fresh weights, compiled as in its recipe, with XLA in float32."""
        keras.utils.set_random_seed(self.seed)
        model = zoo.build(self.recipe, self.seed, dtype, self.candidate)
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
            ValueError: there are none yet, or they are damaged or of another run.
        """
        return self.best_weights()[0]

    def best_weights(self) -> tuple[SequenceModel, str]:
        """The model with the best weights, and their SHA-256.

        Raises:
            ValueError: as in `best_model`.
        """
        path = self.folder / "best.weights.h5"
        if not path.is_file():
            raise ValueError(f"{self.folder} holds no best.weights.h5 yet: train first")
        model = self.build()
        return model, load_weights(model, path, self)


def worn_out(run: Run, step: int, best_step: int) -> bool:
    """Whether early stopping ends the run: `patience` validations without a better score."""
    every = run.validate_every or EPOCH
    return run.patience is not None and step - best_step >= run.patience * every


def definition_of(recipe: recipes.Recipe) -> dict[str, Any] | None:
    """What a run says of a recipe that its name does not lead to; None for a registered one."""
    if recipes.RECIPES.get(recipe.name) == recipe:
        return None
    said = dataclasses.asdict(recipe)
    if not recipe.openings:  # which runs of earlier versions do not say
        del said["openings"]
    return json.loads(json.dumps(said))  # as it comes back from a file


def defined(definition: dict[str, Any] | None) -> recipes.Recipe | None:
    """The recipe of `definition_of`; None without one."""
    return None if definition is None else recipes.Recipe(**definition)


def recipe_of(name: str | recipes.Recipe, transpose: int | None = None) -> recipes.Recipe:
    """The recipe of a name; with `transpose` above 0, its variant with transposition.

    Raises:
        ValueError: the name is unknown; or the transposition is out of range, is given for data
            other than piano rolls, or is 0 although the name of the recipe requires one.
    """
    recipe = recipes.get(name) if isinstance(name, str) else name
    if transpose is None:
        return recipe
    name = recipe.name
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
    if not transpose or recipe.transpose:
        return recipe
    if name not in recipes.RECIPES:  # of a user's own data: there is no score to mix it up with
        return recipe
    return recipes.get(name + recipes.TRANSPOSED)


def _openings(recipe, openings, batch_size):
    """The option, None where the recipe has the same."""
    if openings is None:
        return None
    checks.between("--openings", openings, 0, (batch_size or recipe.batch_size) - 1)
    if openings and recipe.window is None:
        raise ValueError(
            f"`--openings` must be left out: {recipe.name} trains on whole sequences; "
            f"received {openings}"
        )
    return None if openings == recipe.openings else openings


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


def save_weights(model: SequenceModel, path: Path, run: Run | None = None) -> None:
    """Write weights, optimizer slots and counters atomically, with checksum and identity.

    Keras reads the file as it is: `model.load_weights(path)`.
    """
    with replacing(path) as temporary:
        model.save_weights(temporary)
        checksums.append(temporary, None if run is None else run.identity)


def load_weights(model: SequenceModel, path: Path, run: Run | None = None) -> str:
    """Read weights, optimizer slots and counters, and return the SHA-256 of the content.

    Args:
        model: the model.
        path: the file.
        run: the run that the file must be of.

    Raises:
        ValueError: the file is damaged, or of another model or run.
    """
    try:
        reading.check_regular(path)
        while True:
            before = _stamp(path)
            sealed = checksums.verify(path, run is not None and run.checked)
            if run is not None and sealed.identity is not None and sealed.identity != run.identity:
                raise ValueError(f"it is of the run {sealed.identity}; this one is {run.identity}")
            reading.check_hdf5(path, path.stat().st_size)
            model.load_weights(path)
            if _stamp(path) == before:  # else a training has just replaced the file
                return sealed.digest
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        if str(error).startswith(f"{path} is damaged"):
            raise
        raise ValueError(f"{path} is damaged or of another model or run: {error}") from error


def digest(path: Path) -> str:
    """The SHA-256 of the content of a file of weights, without its checksum and identity.

    Raises:
        ValueError: the file is damaged.
    """
    return checksums.verify(path).digest


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object, and compare its checksum, if it has one.

    Raises:
        ValueError: the file is damaged.
    """
    return checksums.read_json(path)[0]


@contextlib.contextmanager
def in_use(folder: str | os.PathLike) -> Iterator[None]:
    """A context manager that locks the folder of a run, to write to it.

    The lock ends with the process, however that ends. What killed processes left is removed.

    Raises:
        BlockingIOError: another process trains in the folder; the error names it.

    Example:
        with in_use("runs/f_rnn_bach"):
            ...
    """
    real, held = os.path.realpath(folder), vars(_mine).setdefault("folders", set())
    if real in held:
        yield
        return
    with files.locked(Path(real) / _LOCK, f"the run in {folder}"):
        held.add(real)
        try:
            files.sweep(real)
            yield
        finally:
            held.remove(real)


@contextlib.contextmanager
def starting(folder: str) -> Iterator[None]:
    """A context manager that makes and locks the folder of a run.

    Where the block fails before there are weights, what it made is removed: a refused command
    leaves nothing.

    Raises:
        BlockingIOError: another process trains in the folder; the error names it.
        OSError: the folder cannot be made.
        ValueError: `folder` is empty.
    """
    path = _folder(folder)
    before = set(os.listdir(path)) if path.is_dir() else set()
    with files.made(path), in_use(path):
        try:
            yield
        except Exception:
            if not any((path / name).exists() for name in WEIGHTS):
                for name in {"run.json", "begun.json", "clock.json", DATA} - before:
                    (path / name).unlink(missing_ok=True)
                if "logs" not in before:
                    shutil.rmtree(path / "logs", ignore_errors=True)
            raise


def make_folder(path: Path) -> None:
    """Make the folder of a run.

    Raises:
        OSError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise type(error)(f"cannot make the folder {path}: {error.strerror}") from error


def _folder(folder: str) -> Path:
    if not str(folder):
        raise ValueError("--out must name the folder of the run; received ''")
    return Path(folder)


def _config(folder: Path) -> tuple[dict[str, Any], bool]:
    """The identity in a `run.json`, and whether the files of the run must have checksums."""
    path = folder / "run.json"
    config, checked = checksums.read_json(path)
    version = config.pop("format", None)
    if version is None and not checked:
        return {"dtype": "float32", **config}, False
    if not checked:
        raise ValueError(f"{path} is damaged: it has no checksum")
    if version != FORMAT:
        raise ValueError(f"{path} is of format {version!r}; this version reads {FORMAT}")
    return config, True


def _digest(identity: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def _stamp(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns
