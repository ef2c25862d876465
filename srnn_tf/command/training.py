"""`srnn-tf train`."""

from __future__ import annotations

from typing import Any

import click

from srnn_tf.command import options
from srnn_tf.experiments import defaults


@click.command()
@click.argument("name", metavar="[MODEL]", required=False)
@click.option(
    "--out", required=True, type=options.FOLDER, help="The folder of the run, made if need be."
)
@options.data
@options.edition
@click.option("--steps", type=int, help="The updates; the recipe's number by default.")
@click.option("--seed", default=0, show_default=True, help="The seed of everything random.")
@click.option(
    "--candidate",
    help="The structure of an SRNN recipe: parallel (the default), zforcing_0.0025_0, ...",
)
@click.option(
    "--batch-size",
    type=int,
    help="The streams, or whole sequences, of a batch; the recipe's number by default.",
)
@click.option(
    "--validate-every",
    type=int,
    help="The updates between two validations, each with a checkpoint; "
    f"{defaults.EPOCH} by default.",
)
@click.option(
    "--patience",
    type=int,
    help="Stop early after so many validations without a better score; never by default.",
)
@click.option(
    "--window", type=int, help="The frames of a training window; the recipe's number by default."
)
@click.option(
    "--learning-rate", type=float, help="The first learning rate; the recipe's by default."
)
@click.option(
    "--transpose",
    type=int,
    metavar="SEMITONES",
    help="Move each training sequence of piano rolls by so many semitones at most, anew in each "
    "epoch.",
)
@click.option(
    "--openings",
    type=int,
    metavar="ROWS",
    help="So many rows of each batch are beginnings of sequences: samples then begin as they do.",
)
@click.option(
    "--without",
    multiple=True,
    metavar="SET",
    help="Leave a set of the pooled music out, for instance muse; repeatable.",
)
@click.option(
    "--begin-with",
    metavar="RUN_DIR",
    help="Start from the best weights of another run (warm start).",
)
@click.option(
    "--from",
    "source",
    type=options.FOLDER,
    metavar="NAME|FILE|FOLDER",
    help="Fine-tune a model on --data: a published name, a .keras file, the folder of a run or an "
    "exported folder. MODEL is left out.",
)
@click.option(
    "--dtype",
    type=click.Choice(defaults.POLICIES),
    help="The precision to train in; the recipe's by default. mixed_bfloat16 is slow without "
    "AVX-512.",
)
@click.option(
    "--strategy",
    type=click.Choice(defaults.STRATEGIES),
    help="Train on many devices: all of this machine (mirrored), or those of the workers in "
    "TF_CONFIG (multiworker).",
)
@click.option("--no-test", is_flag=True, help="Do not score the test split at the end.")
def train(
    name: str | None,
    out: str,
    data: str | None,
    without: tuple[str, ...],
    strategy: str | None,
    no_test: bool,
    **settings: Any,
) -> None:
    """Train a model on a data set or your own data, or resume a run.

    MODEL is a recipe, one of those of `srnn-tf list --all`, which ends with its data set; or its
    first part alone, such as rnn_hier_mlp, for data of your own: the folder that `srnn-tf data
    prepare` made. The same command again goes on where the run was interrupted. Kept are the
    weights that score best on the validation split; printed at the end are their scores on the test
    split. The folder of the run is a model for `srnn-tf score`, `sample`, `info` and `export`.

    Example: srnn-tf train f_rnn_bach --steps 3000 --out runs/f_rnn_bach
    """
    from srnn_tf.experiments import train as training

    training.start(
        name,
        out,
        data,
        kind=strategy,
        test=not no_test,
        without=list(without) or None,
        **settings,
    )
