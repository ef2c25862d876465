"""`srnn-tf app`: a page to play with models."""

from __future__ import annotations

import click

from srnn_tf.app import page
from srnn_tf.core import packages


@click.command("app")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help="The port to listen on; by default 7860, or the next one that is free.",
)
def app(port: int | None) -> None:
    """Show a page to play with the models.

    It is at http://127.0.0.1:7860, for a browser of this machine alone. It draws samples to hear
    and to see, shows what surprises a model in a MIDI, WAV or strokes file of yours, continues the
    file, and compares two models on it. It works offline and stores nothing. Ctrl-C ends it.

    Example: srnn-tf app
    """
    packages.require("srnn-tf app", "gradio", "matplotlib")
    page.serve(port)
