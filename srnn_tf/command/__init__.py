"""The command `srnn-tf`: published models listed, scored with, sampled and handed on."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from srnn_tf.command import anomalies, exporting, sampling, scoring, showing
from srnn_tf.serving import ServingError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def app() -> None:
    """Score and sample the published models of srnn_tf, here or at a server.

    `srnn-tf COMMAND --help` shows an example of each command; `score` and `anomalies` read the file
    that the example of `sample` writes.
    """


for command in (
    showing.list_models,
    showing.info,
    scoring.score,
    sampling.sample,
    anomalies.anomalies,
    exporting.export,
):
    app.add_command(command)


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command; a mistake is one line on stderr and an exit status that is not 0."""
    words = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    try:
        app.main(words, prog_name="srnn-tf", standalone_mode=False)
    except click.ClickException as error:
        _fail(f"{error.format_message()}", 2)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted", 130)
    except (ValueError, OSError, ImportError, ServingError) as error:
        _fail(str(error), 1)


def _fail(message: str, status: int) -> None:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(status)
