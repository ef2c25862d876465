"""The command `srnn-tf`: models scored, sampled, trained and published; data prepared."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any

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

    The exit status is 2 where the call is at fault, 1 where something failed on the way, and 130
    after Ctrl-C. Where a reader closes the pipe that is printed to, as `head` does, it is 1 too,
    without a message.
    """
    arguments = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    try:
        app.main(arguments, prog_name="srnn-tf", standalone_mode=False)
        sys.stdout.flush()  # an error of the last words, too, is one line
    except click.ClickException as error:
        _fail(f"{error.format_message()}", 2)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted", 130)
    except BrokenPipeError:
        _drop(sys.stdout)
        raise SystemExit(1) from None
    except MISTAKES as error:
        _fail(str(error), 2)
    except (OSError, ServingError) as error:
        _fail(str(error), 1)
    except Exception as error:
        if not _was_interrupted(error):
            raise
        _fail("interrupted", 130)


def _was_interrupted(error: BaseException | None) -> bool:
    """Whether TensorFlow or a library took Ctrl-C for an error of its own."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt) or "KeyboardInterrupt" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _fail(message: str, status: int) -> None:
    with contextlib.suppress(OSError):
        print(f"error: {' '.join(message.split())}", file=sys.stderr)
    try:
        sys.stdout.flush()
    except OSError:
        _drop(sys.stdout)
    raise SystemExit(status)


def _drop(stream: Any) -> None:
    """Let what cannot be written go to nowhere: Python would try, and complain, once more."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
