"""The command `srnn-tf`: models scored, sampled, trained and published; data prepared."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from srnn_tf.command import (
    anomalies,
    bulk,
    evaluating,
    exporting,
    options,
    preparing,
    publishing,
    sampling,
    scoring,
    showing,
    training,
)
from srnn_tf.serving import ServingError

# What a call can be corrected for; other errors come from disks and servers.
MISTAKES = (
    ValueError,
    ImportError,
    FileNotFoundError,
    FileExistsError,
    NotADirectoryError,
    IsADirectoryError,
    PermissionError,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def app() -> None:
    """Score and sample the published models of srnn_tf, here or at a server; train others.

    `srnn-tf COMMAND --help` says what a command takes and has an example; `score` and `anomalies`
    read the file that the example of `sample` writes. Begin with `srnn-tf list`.
    """


for command in (
    showing.list_models,
    showing.info,
    scoring.score,
    sampling.sample,
    anomalies.anomalies,
    exporting.export,
    preparing.data,
    training.train,
    evaluating.evaluate,
    publishing.publish,
):
    app.add_command(options.importing(command))
app.add_command(bulk.bulk)  # whose workers would not import the modules
options.refusing_empty(app)


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command; an error is one line on stderr.

    The exit status is 2 where the call is at fault, and 1 where something failed on the way.
    """
    arguments = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    try:
        app.main(arguments, prog_name="srnn-tf", standalone_mode=False)
    except click.ClickException as error:
        _fail(f"{error.format_message()}", 2)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted", 130)
    except MISTAKES as error:
        _fail(str(error), 2)
    except (OSError, ServingError) as error:
        _fail(str(error), 1)


def _fail(message: str, status: int) -> None:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(status)
