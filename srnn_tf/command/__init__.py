"""The command `srnn-tf`: models scored, sampled, trained and published; data prepared."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from srnn_tf.command import options, quiet

# Each command is a name in a module of this folder, imported when the command is called.
_COMMANDS = {
    "anomalies": "anomalies.anomalies",
    "app": "playing.app",
    "bulk": "bulk.bulk",
    "data": "preparing.data",
    "evaluate": "evaluating.evaluate",
    "export": "exporting.export",
    "info": "showing.info",
    "list": "showing.list_models",
    "publish": "publishing.publish",
    "sample": "sampling.sample",
    "score": "scoring.score",
    "train": "training.train",
}
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


class _Commands(click.Group):
    """Commands that are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.commands and cmd_name in _COMMANDS:
            module, name = _COMMANDS[cmd_name].split(".")
            command = getattr(importlib.import_module(f"{__name__}.{module}"), name)
            if cmd_name != "bulk":  # whose workers would not import the modules
                options.importing(command)
            options.verbosely(command)
            options.refusing_empty(command)
            self.commands[cmd_name] = command
        return self.commands.get(cmd_name)


def _show_version(context: click.Context, option: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        package = importlib.import_module(__name__.partition(".")[0])
        print(f"srnn-tf {package.__version__}")
        context.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Print the version of this package.",
)
def app() -> None:
    """Score and sample the published models of srnn_tf, here or at a server; train others.

    `srnn-tf COMMAND --help` says what a command takes and has an example; `score` and `anomalies`
    read the file that the example of `sample` writes. Begin with `srnn-tf list`.

    Results are printed on stdout, errors and warnings on stderr. The exit status is 0 after
    success, 2 after a mistake in the call (an argument, a file, a package that is not installed), 1
    where something failed on the way (a disk, a server), and 130 after Ctrl-C.

    Completion of commands, options and names in bash (zsh and fish likewise):
    eval "$(_SRNN_TF_COMPLETE=bash_source srnn-tf)"
    """


options.verbosely(app)


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command; an error is one line on stderr.

    The exit status is 2 where the call is at fault, 1 where something failed on the way, and 130
    after Ctrl-C. Where a reader closes the pipe that is printed to, as `head` does, it is 1 too,
    without a message.
    """
    arguments = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    quiet.install()
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
    except OSError as error:
        _fail(str(error), 1)
    except Exception as error:
        if _was_interrupted(error):
            _fail("interrupted", 130)
        if not isinstance(error, _failures()):
            raise
        _fail(str(error) or "there is not enough memory", 1)


def _failures() -> tuple[type[BaseException], ...]:
    """What servers and memory raise; those of TensorFlow only where it has been imported."""
    from srnn_tf.serving import ServingError

    tf = sys.modules.get("tensorflow")
    exhausted = (tf.errors.ResourceExhaustedError,) if tf is not None else ()
    return (ServingError, MemoryError, *exhausted)


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
