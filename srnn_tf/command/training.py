"""`srnn-tf train`."""

from __future__ import annotations

from typing import Any

import click

from srnn_tf.command import options
from srnn_tf.experiments import runs, workers
from srnn_tf.experiments import train as training


@click.command()
@options.name
@click.option("--out", required=True, help="The run's folder.")
@options.data
@options.edition
@click.option("--steps", type=int, help="Updates; the recipe's by default.")
@click.option("--seed", default=0, show_default=True, help="The seed of all random draws.")
@click.option("--candidate", help="The structure of an SRNN recipe: zforcing_0.0025_0, ...")
@click.option("--batch-size", type=int, help="Streams or sequences; the recipe's by default.")
@click.option(
    "--validate-every",
    type=int,
    help=f"Updates between two validations, with a checkpoint each; {runs.EPOCH} by default.",
)
@click.option(
    "--patience", type=int, help="Early stopping after N validations without a better score."
)
@click.option("--window", type=int, help="Frames in a window; the recipe's by default.")
@click.option("--learning-rate", type=float, help="The first rate; the recipe's by default.")
@click.option(
    "--transpose",
    type=int,
    metavar="SEMITONES",
    help="Transpose each training sequence at random, by at most N; piano rolls only.",
)
@click.option("--without", multiple=True, metavar="SET", help="A set to leave out of music.")
@click.option("--begin-with", metavar="RUN_DIR", help="Warm start from its best weights.")
@click.option(
    "--dtype",
    type=click.Choice(runs.POLICIES),
    help="For training; the recipe's by default. mixed_bfloat16 is slow without AVX-512.",
)
@click.option(
    "--strategy",
    type=click.Choice(workers.KINDS),
    help="Devices: all of this machine, or those of the workers in TF_CONFIG.",
)
@click.option("--no-test", is_flag=True, help="Do not score the test split.")
def train(
    name: str,
    out: str,
    data: str | None,
    without: tuple[str, ...],
    strategy: str | None,
    no_test: bool,
    **settings: Any,
) -> None:
    """Train the recipe NAME; the same command resumes an interrupted run.

    The weights with the best score on the validation split are kept. Their scores on the test split
    are printed at the end.

    Example: srnn-tf train f_rnn_bach --steps 3000 --out runs/f_rnn_bach
    """
    training.start(
        name,
        out,
        data,
        kind=strategy,
        test=not no_test,
        without=list(without) or None,
        **settings,
    )
