"""`srnn-tf evaluate`."""

from __future__ import annotations

import click

from srnn_tf.command import options
from srnn_tf.experiments import bounds
from srnn_tf.experiments import evaluate as evaluation


@click.command()
@click.argument("runs", metavar="RUN_DIR|NAME", nargs=-1, required=True)
@options.data
@options.edition
@click.option("--split", default="test", type=click.Choice(["train", "valid", "test"]))
@click.option("--num-samples", default=16, show_default=True, help="Draws, or particles.")
@click.option("--bounds-on", type=int, help="Compute IWAE and FIVO on the first N sequences.")
@click.option("--table", is_flag=True, help="Print one row per run; nothing is saved.")
def evaluate(
    runs: tuple[str, ...],
    data: str | None,
    edition: str | None,
    split: str,
    num_samples: int,
    bounds_on: int | None,
    table: bool,
) -> None:
    """Score a run, or a published model, on its data: every bound, both protocols.

    The scores of a run's test split are saved in its evaluation.json, which publish reads.

    Example: srnn-tf evaluate runs/f_rnn_bach
    """
    if table:
        if bounds_on is not None:
            raise ValueError(f"--bounds-on={bounds_on} does not go with --table")
        bounds.table(runs, data, edition, split, num_samples)
        return
    if len(runs) > 1:
        raise ValueError(f"several runs need --table; received {', '.join(runs)}")
    evaluation.evaluate_folder(runs[0], data, edition, split, num_samples, bounds_on)
