"""`srnn-tf bulk`."""

from __future__ import annotations

import click

from srnn_tf.core import packages


@click.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.option(
    "--model", required=True, metavar="NAME", help="A published model, as `srnn-tf list` names it."
)
@click.option(
    "--input",
    "patterns",
    required=True,
    multiple=True,
    metavar="PATTERN",
    help="The files to score, with * and ** for any name and any folders; repeatable.",
)
@click.option(
    "--output",
    required=True,
    metavar="PREFIX",
    help="The beginning of the paths of the results, in a folder that exists.",
)
@click.pass_context
def bulk(context: click.Context, model: str, patterns: tuple[str, ...], output: str) -> None:
    """Score very many sequences by Apache Beam.

    Files are those that `srnn-tf score` reads. Scores go to PREFIX-00000-of-00001.jsonl, and what
    cannot be scored, with the reason, to PREFIX.dead-00000-of-00001.jsonl. Further options are
    those of Beam, such as --runner. The extra `beam` must be installed.

    Example: srnn-tf bulk --model f_rnn_bach --input 'rolls/*.npz' --output scores
    """
    packages.require("srnn-tf bulk", "apache_beam")
    from srnn_tf.serving import bulk as pipeline  # Beam takes seconds to import

    pipeline.score_patterns(model, patterns, output, context.args)
