"""Related models on piano rolls: one command trains and scores a row for each, on two data sets.

    python -m benchmarks.related --data FOLDER --out DIR [--rows hmm_em,f_rnn] [--sets jsb]
        [--updates 3000] [--seed 0]

FOLDER has JSB_Chorales.mat and Nottingham.mat. Most rows train a recipe for `--updates` updates, as
`srnn-tf train --steps` does, and keep the weights of the best validation score. A row of its own
function trains as that says. The table has nats per step of 88 keys on the test split, protocol
full, total over total, with the bound and a 95 % interval over sequences; higher is better. What is
trained is kept in DIR/ROW_SET and not trained again, so that the same command resumes.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import keras

from srnn_tf import SequenceModel, data, zoo
from srnn_tf.core import checks
from srnn_tf.experiments import evaluate, runs, train
from srnn_tf.training.em import fit_em

FILES = {"jsb": "JSB_Chorales.mat", "nottingham": "Nottingham.mat"}
UNIT = "step"
HEAD = ["row", "set", "training", "weights", "bound", "nats per step", "95 % interval", "published"]
HEAD += ["seconds"]


class Job(NamedTuple):
    """A row and a data set: what is to be trained, and where."""

    part: str  # of `FILES`
    path: Path  # the file
    splits: data.Splits
    folder: Path  # to train in
    updates: int
    seed: int
    edition: str | None  # of the file, as in `data.load`


def by_recipe(model: str) -> Callable[[Job], SequenceModel]:
    """Train the recipe of a model part, or go on where that was interrupted."""

    def fit(job: Job) -> SequenceModel:
        name, folder = f"{model}_{job.part}", str(job.folder)
        request = {"steps": job.updates, "seed": job.seed, "edition": job.edition}
        train.start(name, folder, str(job.path), test=False, **request)
        return runs.Run.open(folder).best_model()

    return fit


def hmm_by_em(job: Job) -> SequenceModel:
    """Expectation maximization from states that are frames, while validation improves."""
    file = job.folder / "model.keras"
    if file.is_file():
        return keras.saving.load_model(file)
    model, splits = zoo.build(f"hmm_{job.part}"), job.splits
    fit_em(model.density, splits.train, splits.valid, seed=job.seed, verbose=True, **EM[job.part])
    job.folder.mkdir(parents=True, exist_ok=True)
    model.save(file)
    return model


# Smoothing, chosen on the validation split.
EM = {
    "jsb": {"frame_count": 1.0, "transition_count": 5.0, "sweeps": 60},
    "nottingham": {"frame_count": 1.0, "transition_count": 1.0, "sweeps": 30},
}


class Row(NamedTuple):
    """A row of the table."""

    training: str  # in words
    fit: Callable[[Job], SequenceModel]


# name: a row. A model with latents has a line for each of `BOUNDS`, others one, exact.
ROWS = {
    "hmm_em": Row("EM, 256 states", hmm_by_em),
    "hmm": Row("gradient, 256 states", by_recipe("hmm")),
    "rnn_rbm": Row("exact, 10 hidden units", by_recipe("rnn_rbm")),
    "rtrbm": Row("exact, 16 hidden units", by_recipe("rtrbm")),
    "tsbn": Row("100 bits", by_recipe("tsbn")),
    "dmm": Row("100 latents, DKS", by_recipe("dmm")),
    "dkf": Row("100 latents, mean field", by_recipe("dkf")),
    "kvae": Row("16 latents", by_recipe("kvae")),
    "vrnn": Row("the recipe", by_recipe("vrnn")),
    "f_rnn": Row("the recipe", by_recipe("f_rnn")),
    "f_srnn": Row("the recipe", by_recipe("f_srnn")),
    # With an emission that is autoregressive inside a frame.
    "rnn_nade": Row("the recipe", by_recipe("rnn_nade")),
    "rnn_hier_mlp": Row("the recipe", by_recipe("rnn_hier_mlp")),
    "lru_mlp": Row("the recipe", by_recipe("lru_mlp")),
    "tcn_mlp": Row("the recipe", by_recipe("tcn_mlp")),
    "transformer_mlp": Row("the recipe", by_recipe("transformer_mlp")),
    "dmm_mlp": Row("100 latents, DKS", by_recipe("dmm_mlp")),
}
# What Krishnan, Shalit and Sontag (arXiv:1609.09869, tables 3 and 4) print of such models, with
# their sign turned: nats per step, JSB then Nottingham. Not the same code, sizes or length of
# training; IS-2000 is a bound by importance sampling.
PUBLISHED = {
    "f_rnn": ("RNN -8.71, exact", "RNN -4.46, exact"),
    "tsbn": ("-7.48, bound", "-3.67, bound"),
    "dmm": ("-6.926, ELBO; -6.388, IS-2000", "-2.964, ELBO; -2.770, IS-2000"),
    "rnn_nade": ("-5.19, exact", "-2.31, exact"),
    "dmm_mlp": (
        "DMM-Aug-NADE -5.335, ELBO; -5.118, IS-2000",
        "DMM-Aug-NADE -2.347, ELBO; -2.305, IS-2000",
    ),
}
BOUNDS = {
    "ELBO, 1 draw": {},
    "IWAE-16": {"bound": "iwae", "num_samples": 16},
    "FIVO-16": {"bound": "fivo", "num_samples": 16},
}


def lines(name: str, job: Job, model: SequenceModel, seconds: float) -> list[str]:
    """The lines of a row and a data set: one for each bound."""
    test, count = job.splits.test, sum(math.prod(w.shape) for w in model.trainable_variables)
    bounds = BOUNDS if model.latent_size else {"exact": {}}
    published = dict(zip(FILES, PUBLISHED.get(name, ("", "")), strict=True))[job.part]
    found = []
    for bound, request in bounds.items():
        nats = evaluate.totals(model, test, "full", **request)
        score = evaluate.interval(nats, evaluate.units(model, test, "full", UNIT))
        cells = [name, job.part, ROWS[name].training, f"{count:,}", bound]
        cells += [f"{score.value:.4f}", f"{score.low:.4f} to {score.high:.4f}"]
        cells += ["" if found else published, f"{seconds:.0f}"]
        found.append(f"| {' | '.join(cells)} |")
    return found


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, type=Path, help="the folder of the .mat files")
    parser.add_argument("--out", required=True, type=Path, help="the folder to train in")
    parser.add_argument("--rows", default=",".join(ROWS), help="with commas; all by default")
    parser.add_argument("--sets", default=",".join(FILES), help="with commas; all by default")
    parser.add_argument("--updates", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--edition", help="of the files, as in `srnn_tf.data.load`")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parsed(argv)
    with runs.clear_errors():
        checks.sizes(updates=args.updates)
        rows, sets = args.rows.split(","), args.sets.split(",")
        for name in rows:
            checks.choice("rows", name, ROWS)
        for part in sets:
            checks.choice("sets", part, FILES)
        found = []
        for part in sets:
            path = args.data / FILES[part]
            splits = data.load(part, path, args.edition)
            for name in rows:
                folder = args.out / f"{name}_{part}"
                job = Job(part, path, splits, folder, args.updates, args.seed, args.edition)
                start = time.monotonic()
                model = ROWS[name].fit(job)
                found += lines(name, job, model, time.monotonic() - start)
        print(f"| {' | '.join(HEAD)} |", "|" + "---|" * len(HEAD), *found, sep="\n", flush=True)


if __name__ == "__main__":
    main()
