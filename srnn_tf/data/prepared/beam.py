"""Shards written by Apache Beam, for large corpora: the same tasks, the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def run(
    write: Callable[[Any], str],
    tasks: Sequence[Any],
    runner: str,
    extra_arguments: Sequence[str] = (),
) -> None:
    """Write all shards in a Beam pipeline and wait for its end.

    Source and output must be folders that all workers can access.

    Args:
        write: a function that writes the shard of a task and returns its name.
        tasks: the tasks.
        runner: the runner, such as "DirectRunner" or "FlinkRunner".
        extra_arguments: options of Beam, as on its command line.

    Raises:
        ImportError: apache-beam is not installed.
        ValueError: a file is invalid, or a worker failed for another reason.
    """
    try:
        import apache_beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise ImportError("runner needs Apache Beam: pip install 'srnn-tf[beam]'") from error
    options = PipelineOptions(["--runner", runner, *extra_arguments])
    try:
        with apache_beam.Pipeline(options=options) as pipeline:
            _ = (
                pipeline
                | "shards" >> apache_beam.Create(list(tasks))
                | "spread" >> apache_beam.Reshuffle()
                | "write" >> apache_beam.Map(write)
            )
    except Exception as error:  # runners wrap a worker's error, each in its own type
        text = str(error).split(" [while running")[0].strip().splitlines()
        line = text[-1].removeprefix("ValueError: ") if text else type(error).__name__
        raise ValueError(line) from error
