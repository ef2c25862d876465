"""`srnn-tf evaluate`."""

from __future__ import annotations

import click

from srnn_tf.command import options


@click.command()
@click.argument("runs", metavar="RUN_DIR|NAME", nargs=-1, required=True)
@options.data
@options.edition
@click.option(
    "--split",
    default="test",
    show_default=True,
    type=click.Choice(["train", "valid", "test"]),
    help="The part of the data to score; publish needs the scores of test.",
)
@click.option(
    "--num-samples",
    default=16,
    show_default=True,
    metavar="K",
    help="The draws of IWAE-K and the particles of FIVO-K, the tighter bounds of models with "
    "latents.",
)
@click.option(
    "--bounds-on",
    type=int,
    metavar="N",
    help="Take IWAE and FIVO, which are slow, on the first N sequences; on all by default.",
)
@click.option(
    "--table",
    is_flag=True,
    help="Print a Markdown table, a row for each of several runs; nothing is kept.",
)
def evaluate(
    runs: tuple[str, ...],
    data: str | None,
    edition: str | None,
    split: str,
    num_samples: int,
    bounds_on: int | None,
    table: bool,
) -> None:
    """Score a run, or a published model, on its data.

    RUN_DIR is the folder that `srnn-tf train` wrote, NAME is a published model, as `srnn-tf list`
    names it. Printed are all bounds (exact, or ELBO, IWAE and FIVO) under two protocols: "full"
    scores all steps, "paper" windows of them without the first step of a sequence. What is printed
    of a run's test split is kept in its evaluation.json, which publish reads.

    Example: srnn-tf evaluate runs/f_rnn_bach
    """
    from srnn_tf.experiments import bounds
    from srnn_tf.experiments import evaluate as evaluation

    if table:
        if bounds_on is not None:
            raise ValueError(f"--bounds-on={bounds_on} does not go with --table")
        bounds.table(runs, data, edition, split, num_samples)
        return
    if len(runs) > 1:
        raise ValueError(f"several runs need --table; received {', '.join(runs)}")
    evaluation.evaluate_folder(runs[0], data, edition, split, num_samples, bounds_on)
