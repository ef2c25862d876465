"""Arguments that several commands have."""

from __future__ import annotations

from pathlib import Path

import click

FILE = click.Path(path_type=Path)
name = click.argument("name")
server = click.option(
    "--server",
    metavar="ADDRESS",
    help="host:8500 (gRPC) or http://host:8501 of TensorFlow Serving; this process by default.",
)
timeout = click.option(
    "--timeout",
    default=60.0,
    show_default=True,
    help="Seconds that a server may take for a request.",
)
batch_size = click.option(
    "--batch-size",
    default=32,
    type=click.IntRange(min=1),
    show_default=True,
    help="The most sequences that are scored at once: fewer take less memory.",
)
steps_per_quarter = click.option(
    "--steps-per-quarter",
    default=2,
    show_default=True,
    help="Of MIDI files: frames in a quarter note.",
)
data = click.option("--data", help="The prepared folder, or the file of piano rolls.")
edition = click.option("--edition", help='Of piano rolls: a known edition, or "any".')
