"""`srnn-tf bulk`."""

from __future__ import annotations

import click


@click.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.option("--model", required=True, help="The name of a published model.")
@click.option(
    "--input",
    "patterns",
    required=True,
    multiple=True,
    help="A pattern of files, with * and **; repeatable.",
)
@click.option("--output", required=True, help="The prefix of the names of the output files.")
@click.pass_context
def bulk(context: click.Context, model: str, patterns: tuple[str, ...], output: str) -> None:
    """Score very many sequences with Apache Beam; further options are those of Beam.

    Example: srnn-tf bulk --model f_rnn_bach --input 'rolls/*.npz' --output scores
    """
    from srnn_tf.serving import bulk as pipeline  # Beam takes seconds to import

    pipeline.score_patterns(model, patterns, output, context.args)
