"""Scores of very many sequences by Apache Beam: a row for each, or the reason why it has none.

    srnn-tf bulk --model NAME --input 'data/*.npz' --output out/scores [--runner ...]

It reads the files that `srnn-tf score` reads. Sequence i of a file has the id FILE#i. Rows are
written to `out/scores-00000-of-00001.jsonl`, with id, steps, log_likelihood in nats, the bound, and
kl for models with latents. Sequences and files that cannot be scored are written to the dead-letter
file `out/scores.dead-...jsonl`, with the reason. Extra arguments are options of Beam, such as
`--direct_num_workers 2 --direct_running_mode multi_processing`, or those of Flink, Spark and
Dataflow. Their workers must have access to the files and this package installed.
"""

from __future__ import annotations

import contextlib
import glob
import io
import itertools
import json
import math
import os
import re
import shutil
import sys
import tempfile
import types
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from srnn_tf import serving, zoo
from srnn_tf.core.files import locked
from srnn_tf.serving import inputs

try:
    import apache_beam as beam
    from apache_beam.io.filesystem import BeamIOError
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.ml.inference import base
    from apache_beam.options.pipeline_options import (
        PipelineOptions,
        SetupOptions,
        StandardOptions,
    )
except ImportError:  # the extra `beam`; `score_files` says so
    beam: Any = None
    base: Any = types.SimpleNamespace(ModelHandler=object)


DEAD = "dead"  # the tag of dead-letter rows: what cannot be scored
ATTEMPTS = 3  # runs of the pipeline: the DirectRunner gives up where a worker process is gone
BATCH = 256  # sequences that a worker sorts by length and scores at once, in smaller batches
Row = dict[str, Any]


class Scorer(base.ModelHandler):
    """A published model for Beam's `RunInference`, loaded once in each worker process.

    Elements are sequences (T, D), or samples (S,) of speech. Results are rows, or a row with an
    `error`. A worker sorts its elements by length, to reduce padding.

    Args:
        model: the name of a published model.
    """

    def __init__(self, model: str):
        self.model = model

    def load_model(self) -> serving.Local:
        return serving.Local(self.model)

    def run_inference(
        self, batch: Sequence[np.ndarray], model: serving.Local, inference_args: Any = None
    ) -> Iterable[Row]:
        rows: list[Row] = [{} for _ in batch]
        for i, sequence in enumerate(batch):
            try:
                model.check(sequence)
            except ValueError as error:
                rows[i] = {"error": " ".join(str(error).split())}
        for rank in (1, 2):  # samples, frames
            good = [
                i for i, sequence in enumerate(batch) if not rows[i] and np.ndim(sequence) == rank
            ]
            scored = self._scored(model, [batch[i] for i in good]) if good else []
            for i, row in zip(good, scored, strict=True):
                rows[i] = row
        return rows

    def _scored(self, model: serving.Local, batch: Sequence[np.ndarray]) -> list[Row]:
        try:
            return _rows(model, batch)
        except serving.ServingError as error:
            if len(batch) == 1:
                return [{"error": " ".join(str(error).split())}]
            return [row for sequence in batch for row in self._scored(model, [sequence])]

    def batch_elements_kwargs(self) -> dict[str, Any]:
        return {"min_batch_size": 1, "max_batch_size": BATCH}


def _rows(model: serving.Answers, batch: Sequence[np.ndarray]) -> list[Row]:
    scores = inputs.score(model, [inputs.Sequence("", 0, sequence) for sequence in batch])
    rows = []
    for i, steps in enumerate(scores.log_likelihood_per_step):
        row = {"steps": len(steps), "log_likelihood": float(scores.log_likelihood[i])}
        row |= {} if scores.kl is None else {"kl": float(scores.kl[i])}
        finite = math.isfinite(row["log_likelihood"])
        rows.append(row if finite else {"error": f"its score is {row['log_likelihood']}"})
    return rows


def find(pattern: str) -> list[str]:
    """The files that match a pattern; Beam lists those of an address."""
    if "://" not in pattern:
        return sorted(glob.glob(pattern, recursive=True))
    try:
        return sorted(metadata.path for metadata in FileSystems.match([pattern])[0].metadata_list)
    except BeamIOError as error:
        raise ValueError(f"{pattern}: Beam cannot list it: {error}") from error


def read(path: str, model: str) -> Iterator[Any]:
    """Pairs of an id and a sequence; a file that cannot be read yields a `DEAD` output."""
    try:
        with here(path) as file:
            for sequence in inputs.read(file, model):
                yield f"{path}#{sequence.index}", sequence.values
    except (ValueError, OSError) as error:
        yield beam.pvalue.TaggedOutput(DEAD, {"id": path, "error": " ".join(str(error).split())})


@contextlib.contextmanager
def here(path: str) -> Iterator[Path]:
    """The local path of a file; of an address, that of a copy."""
    if "://" not in path:
        yield Path(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.rsplit("/", 1)[-1]
        with FileSystems.open(path) as source, copy.open("wb") as target:
            shutil.copyfileobj(source, target)
        yield copy


def _sorted_out(pair: tuple[str, Row], bound: str) -> Iterator[Any]:
    """A row of the output, or a dead-letter row."""
    key, row = pair
    if "error" in row:
        yield beam.pvalue.TaggedOutput(DEAD, {"id": key, **row})
    else:
        yield {"id": key, **row, "unit": "nats", "bound": bound}


def score_files(
    model: str, files: Sequence[str], output: str, extra_arguments: Sequence[str] = ()
) -> None:
    """Score files in a Beam pipeline, and wait for its end.

    Args:
        model: the name of a published model.
        files: files that `srnn-tf score` reads.
        output: the prefix of the names of the output files.
        extra_arguments: options of Beam, as on its command line.

    Raises:
        ImportError: apache-beam is not installed.
        ValueError: the model is unknown, there are no files, or an extra argument is not an option
            of the DirectRunner.
        ChildProcessError: the pipeline failed `ATTEMPTS` times.
        FileNotFoundError: the folder of the output does not exist.
        FileExistsError: output files with this prefix exist.

    Example:
        score_files("f_rnn_bach", glob.glob("rolls/*.npz"), "out/scores")
    """
    if beam is None:
        raise ImportError("`srnn-tf bulk` needs Apache Beam: pip install 'srnn-tf[beam]'")
    if not files:
        raise ValueError("`files` must name one file at least; received none")
    bound, options = inputs.bound_of(zoo.card(model)), _options(extra_arguments)
    here = "://" not in output
    if not output or output.endswith("/"):
        raise ValueError(f"`output` must be the beginning of a file's name; received {output!r}")
    if here and not Path(output).parent.is_dir():
        raise FileNotFoundError(f"{output}: the folder {Path(output).parent} does not exist")
    if here and os.path.exists(output) and not (os.path.isfile(output) or os.path.isdir(output)):
        raise FileExistsError(f"{output} is a device, a FIFO or a socket: files are written beside")
    begin = glob.escape(output)
    if existing := find(f"{begin}-*-of-*.jsonl") + find(f"{begin}.dead-*-of-*.jsonl"):
        raise FileExistsError(
            f"{existing[0]} exists: an earlier run's rows would stay beside new ones"
        )
    with contextlib.ExitStack() as stack:
        if here:
            lock = Path(output).with_name(f".{Path(output).name}.lock")
            stack.enter_context(locked(lock, f"output={output}"))
            stack.callback(_clear, output)  # however it ends
            _clear(output)  # of a run that was killed
        _attempt(model, bound, files, output, options)


def _attempt(model: str, bound: str, files: Sequence[str], output: str, options: Any) -> None:
    """The pipeline, until it ends without an error."""
    for left in reversed(range(ATTEMPTS)):
        try:
            _run(model, bound, files, output, options)
            return
        except RuntimeError as error:  # on other engines only what is lost is done again
            _clear(output)
            text = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            if not left:
                raise ChildProcessError(f"the pipeline failed {ATTEMPTS} times: {text}") from error
            print(f"the pipeline failed and is restarted: {text}", file=sys.stderr, flush=True)


def _clear(output: str) -> None:
    """Remove what Beam leaves of rows that were not finished."""
    if "://" not in output:
        name = re.compile(rf"beam-temp-{re.escape(Path(output).name)}(\.dead)?-[0-9a-f]{{32}}")
        for folder in Path(output).parent.iterdir():
            if name.fullmatch(folder.name):
                shutil.rmtree(folder, ignore_errors=True)


def _options(extra_arguments: Sequence[str]) -> Any:
    """Beam's options; what it does not know goes to the runner, and the DirectRunner has none."""
    for before, argument in itertools.pairwise(["", *extra_arguments]):
        if not argument.startswith("--") and (not before.startswith("--") or "=" in before):
            raise ValueError(f"unexpected {argument!r}: Beam's options begin with --")
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):  # Beam prints its usage, of some hundred lines
            options = PipelineOptions(list(extra_arguments))
            known = options.get_all_options()
    except SystemExit:
        raise ValueError(f"Beam: {said.getvalue().strip().splitlines()[-1]}") from None
    options.view_as(SetupOptions).save_main_session = False
    unknown = options.get_all_options(retain_unknown_options=True).keys() - known.keys()
    runner = options.view_as(StandardOptions).runner or "DirectRunner"
    if unknown and runner.lower() == "directrunner":
        raise ValueError(f"no option of Beam's DirectRunner: --{sorted(unknown)[0]}")
    return options


def _run(model: str, bound: str, files: Sequence[str], output: str, options: Any) -> None:
    """The pipeline, once."""
    with beam.Pipeline(options=options) as pipeline:
        loaded = (
            pipeline
            | "files" >> beam.Create(list(dict.fromkeys(files)))
            | "spread" >> beam.Reshuffle()
            | "read" >> beam.FlatMap(read, model).with_outputs(DEAD, main="sequences")
        )
        scored = (
            loaded.sequences
            | "spread sequences" >> beam.Reshuffle()
            | "score" >> base.RunInference(base.KeyedModelHandler(Scorer(model)))
            | "sort out" >> beam.FlatMap(_sorted_out, bound).with_outputs(DEAD, main="rows")
        )
        dead_letters = (loaded[DEAD], scored[DEAD]) | "all dead-letter" >> beam.Flatten()
        for name, rows, prefix in (
            ("rows", scored.rows, output),
            ("dead-letter", dead_letters, f"{output}.dead"),
        ):
            _ = (
                rows
                | f"{name} as JSON" >> beam.Map(json.dumps)
                | f"write {name}" >> beam.io.WriteToText(prefix, file_name_suffix=".jsonl")
            )


def score_patterns(
    model: str, patterns: Sequence[str], output: str, extra_arguments: Sequence[str] = ()
) -> None:
    """Score the files that match patterns, as `score_files` does.

    Raises:
        ValueError: a pattern matches no file.
    """
    files = []
    for pattern in patterns:
        files += (matches := find(pattern))
        if not matches:
            raise ValueError(f"--input {pattern} matches no file")
    score_files(model, files, output, extra_arguments)
