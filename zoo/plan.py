"""Say which runs of `zoo/runs.toml` are done, running or missing, and the command of each.

    python -m zoo.plan [--runs DIR] [--data DIR] [--state STATE]
    python -m zoo.plan --queue [--runs DIR]  # what is to be trained, as JSON

A run is `done` when a model with at least its updates is published, `trained` when it has ended
and is not, `running` when its folder, DIR/NAME, holds a part of it, `waiting` when its data must be
obtained first, `taken` when its folder holds another run, else `missing`. `--queue` prints the
missing and the running ones, the most wanted first: objects of `run`, the folder's name; `name`,
the recipe; `data`, a path below the folder of data, or null; `options`, the further arguments of
`srnn-tf train`; and where the data must be prepared first `prepare`, the corpus and its source
below the folder of data.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from srnn_tf import recipes
from srnn_tf.experiments import cards, checkout, provenance, runs
from srnn_tf.zoo import artifacts

TABLE = Path(__file__).with_name("runs.toml")
ROOT = checkout.ROOT
STATES = ("done", "trained", "running", "missing", "waiting", "taken")


@dataclasses.dataclass(frozen=True)
class Planned:
    """A row of the table.

    Args:
        name: of the run and its folder.
        data: a key of the table's `data`.
        steps: updates.
        batch: streams or sequences.
        seed: of everything random.
        hours: on two cores.
        priority: 1 comes first.
        recipe: the name by default.
        options: further arguments of `srnn-tf train`.
    """

    name: str
    data: str
    steps: int
    batch: int
    seed: int
    hours: float
    priority: int
    recipe: str = ""
    options: tuple[str, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "recipe", self.recipe or self.name)
        object.__setattr__(self, "options", tuple(self.options))
        recipes.get(self.recipe)

    def arguments(self) -> list[str]:
        """What `srnn-tf train` is told besides recipe, data and folder."""
        recipe = recipes.get(self.recipe)
        extra = ["--steps", str(self.steps)]
        if self.batch != recipe.batch_size:
            extra += ["--batch-size", str(self.batch)]
        if self.seed:
            extra += ["--seed", str(self.seed)]
        return [*extra, *self.options]

    @property
    def patience(self) -> int | None:
        """Of early stopping."""
        return self._option("--patience")

    @property
    def openings(self) -> int | None:
        """Rows of a batch that are beginnings of sequences; the recipe's by default."""
        return self._option("--openings")

    def _option(self, name: str) -> int | None:
        return int(self.options[self.options.index(name) + 1]) if name in self.options else None


@dataclasses.dataclass(frozen=True)
class Plan:
    """The table: its runs in the order in which they are wanted, and what `--data` is of each."""

    runs: tuple[Planned, ...]
    data: Mapping[str, Mapping[str, Any]]


def read(path: Path = TABLE) -> Plan:
    """The plan.

    Raises:
        ValueError: it is damaged, names an unknown recipe or data, or a run twice; the error says
            which.
    """
    try:
        table = tomllib.loads(path.read_text())
        planned = [Planned(**row) for row in table["run"]]
        plan = Plan(tuple(sorted(planned, key=lambda p: p.priority)), table["data"])
    except (OSError, KeyError, TypeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path} is not a table of runs: {error!r}") from error
    names = [p.name for p in plan.runs]
    for p in plan.runs:
        if p.data not in plan.data:
            raise ValueError(f"{path}: the data {p.data!r} of {p.name} are not in [data]")
        if names.count(p.name) > 1:
            raise ValueError(f"{path}: the run {p.name} is there {names.count(p.name)} times")
    return plan


def state(planned: Planned, data: Mapping[str, Any], folder: Path, root: Path = ROOT) -> str:
    """One of `STATES`.

    Args:
        planned: the run.
        data: what its `--data` is.
        folder: of the runs.
        root: of the published models.
    """
    if any(_finished(planned, trained) for trained in _published(planned, root)):
        return "done"
    run = folder / planned.name
    if (run / "run.json").is_file():
        opened = runs.Run.open(str(run))
        if not _same(planned, opened):
            return "taken"
        return "trained" if _ended(opened) else "running"
    return "waiting" if "obtain" in data else "missing"


def _published(planned: Planned, root: Path) -> Iterator[dict[str, Any]]:
    """How the published versions of the recipe were trained, further seeds too."""
    for number in cards.versions(root / planned.recipe):
        card = artifacts.Artifact.open(root / planned.recipe / str(number)).card
        yield card["training"]
        for further in card["seeds"]["runs"] if card["seeds"] else ():
            # Older cards tell nothing of when a further seed was best.
            plain = {"begun_with": None, "best_update": further["updates"]}
            yield {**card["training"], **plain, **further}


def _finished(planned: Planned, training: Mapping[str, Any]) -> bool:
    """Whether a published training is at least the planned one."""
    recipe = recipes.get(planned.recipe)
    plain = {
        "seed": planned.seed,
        "batch_size": planned.batch,
        "candidate": None,
        "window": recipe.window,
        "transpose": recipe.transpose,
        "without": None,
    }
    if any((training.get(name, value) or None) != (value or None) for name, value in plain.items()):
        return False
    wanted = recipe.openings if planned.openings is None else planned.openings
    if training.get("openings", 0) != wanted:  # which older cards do not say
        return False
    updates, first = training["updates"], training.get("begun_with")
    while first:
        updates, first = updates + first["updates"], first.get("begun_with")
    since = training["updates"] - training["best_update"]
    stopped = planned.patience is not None and since >= planned.patience * runs.EPOCH
    return updates >= planned.steps or (stopped and training.get("schedule") == planned.steps)


def _same(planned: Planned, run: runs.Run) -> bool:
    """Whether a folder's run is the planned one."""
    wanted = (planned.recipe, planned.steps, planned.seed, planned.batch, planned.patience)
    wanted += (run.recipe.openings if planned.openings is None else planned.openings,)
    batch = run.batch_size or run.recipe.batch_size
    openings = run.recipe.openings if run.openings is None else run.openings
    actual = (run.recipe.name, run.steps, run.seed, batch, run.patience, openings)
    others = (run.candidate, run.window, run.transpose, run.without, run.learning_rate)
    return wanted == actual and not any(option is not None for option in others)


def _ended(run: runs.Run) -> bool:
    step = provenance.last_update(run)
    return step >= run.steps or runs.worn_out(run, step, run.best()[1])


def command(planned: Planned, data: Mapping[str, Any], folder: Path, place: str) -> str:
    """The line that trains a run, after the one that prepares its data where that is needed."""
    line, source = [], []
    if "prepare" in data:
        corpus, below = data["prepare"]
        prepared = f"prepared/{corpus}"
        words = [corpus, "--source", f"{place}/{below}", "--out", prepared]
        # A folder that is there already is not prepared again.
        line = [f"test -e {prepared} || srnn-tf data prepare {shlex.join(words)}"]
        source = ["--data", prepared]
    elif "file" in data:
        source = ["--data", f"{place}/{data['file']}"]
    elif "obtain" in data:
        source = ["--data", f"prepared/{planned.data}"]
    words = [planned.recipe, *source, "--out", str(folder / planned.name), *planned.arguments()]
    return "; ".join([*line, "srnn-tf train " + shlex.join(words)])


def queue(plan: Plan, folder: Path, root: Path = ROOT) -> list[dict[str, Any]]:
    """What is to be trained, as `--queue` prints it."""
    jobs = []
    for planned in plan.runs:
        data = plan.data[planned.data]
        if state(planned, data, folder, root) not in ("missing", "running"):
            continue
        job = {"run": planned.name, "name": planned.recipe, "data": data.get("file")}
        job["options"] = planned.arguments()
        if "prepare" in data:
            job["prepare"] = data["prepare"]
        jobs.append(job)
    return jobs


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", default="runs", help="the folder of the runs")
    parser.add_argument("--data", default="data", help="the folder of data, for the commands")
    parser.add_argument("--state", choices=STATES, help="only those")
    parser.add_argument("--queue", action="store_true", help="print JSON of what is to be trained")
    args = parser.parse_args(argv)
    with runs.clear_errors():
        plan, folder = read(), Path(args.runs)
        if args.queue:
            print(json.dumps(queue(plan, folder), indent=1))
            return
        counts, hours = dict.fromkeys(STATES, 0), dict.fromkeys(STATES, 0.0)
        for planned in plan.runs:
            data = plan.data[planned.data]
            status = state(planned, data, folder)
            counts[status] += 1
            hours[status] += planned.hours
            if args.state in (None, status):
                print(f"{status:<8} {planned.hours:>8g} h  {planned.name}")
                print(f"         {_next(planned, data, folder, args.data, status)}")
        told = (f"{counts[s]} {s} ({hours[s]:,.0f} hours)" for s in STATES if counts[s])
        print(f"{len(plan.runs)} runs: {', '.join(told)}")


def _next(planned, data, folder, place, status):
    """What to do about a run in a state."""
    if status == "done":
        return f"saved_models/{planned.recipe}"
    if status == "trained":
        run = shlex.quote(str(folder / planned.name))
        return f"srnn-tf evaluate {run} ... && srnn-tf publish {run}"
    if status == "taken":
        return f"{folder / planned.name} holds another run: move it"
    told = f"(obtain {data['obtain']}) " if status == "waiting" else ""
    return told + command(planned, data, folder, place)


if __name__ == "__main__":
    main()
