"""Scores of very many sequences by Apache Beam: a row for each, or the reason why it has none.

    srnn-tf bulk --model NAME --input 'data/*.npz' --output out/scores [--runner ...]

It reads the files that `srnn-tf score` reads. Sequence i of a file has the id FILE#i. Rows are
written to `out/scores-00000-of-00001.jsonl`, with id, steps, log_likelihood in nats, the bound, and
kl for models with latents. Sequences and files that cannot be scored are written to the dead-letter
file `out/scores.dead-...jsonl`, with the reason. All appear at the end of the job, the file
`out/scores.complete` last: where it is, they are whole. Bytes of a file's name that are no UTF-8
are escaped in ids, as in `\\xe9tude.npz#0`. Extra arguments are options of Beam, such as
`--direct_num_workers 2 --direct_running_mode multi_processing`, or those of Flink, Spark and
Dataflow. Their workers must have access to the files and this package installed.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import io
import itertools
import json
import os
import re
import secrets
import shutil
import sys
import tempfile
import types
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from srnn_tf import serving, zoo
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


# The kinds of output files, each with what its names have after the prefix: in this order they
# appear, so that there are never rows without their dead letters.
PARTS = (("dead", ".dead"), ("rows", ""))
COMPLETE = ".complete"  # the end of the name of the file that appears last
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
        rows.append(row)
    return rows


def find(pattern: str) -> list[str]:
    """The files that match a pattern; Beam lists those of an address."""
    if "://" not in pattern:
        return sorted(glob.glob(pattern, recursive=True))
    try:
        return sorted(metadata.path for metadata in FileSystems.match([pattern])[0].metadata_list)
    except BeamIOError as error:
        raise ValueError(f"{pattern}: Beam cannot list it: {error}") from error


def read(name: str | bytes, model: str) -> Iterator[Any]:
    """Pairs of an id and a sequence; a file that cannot be read yields a `DEAD` output."""
    path = os.fsdecode(name)
    try:
        with here(path) as file:
            for sequence in inputs.read(file, model):
                yield _plain(f"{path}#{sequence.index}"), sequence.values
    except (ValueError, OSError) as error:
        row = {"id": _plain(path), "error": _plain(" ".join(str(error).split()))}
        yield beam.pvalue.TaggedOutput(DEAD, row)


def _plain(text: str) -> str:
    """Text with escapes for the bytes of a file's name that are no UTF-8: Beam encodes it."""
    try:
        content = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        content = text.encode("utf-8", "backslashreplace")
    return content.decode("utf-8", "backslashreplace")


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
        ValueError: the model is unknown, there are no files, `output` is no prefix of names, or an
            extra argument is not an option of the DirectRunner.
        ChildProcessError: the pipeline failed `ATTEMPTS` times, or lost files.
        FileNotFoundError: the folder of the output does not exist.
        FileExistsError: output files with this prefix exist, whole or of an interrupted run.

    Example:
        score_files("f_rnn_bach", glob.glob("rolls/*.npz"), "out/scores")
    """
    if beam is None:
        raise ImportError("`srnn-tf bulk` needs Apache Beam: pip install 'srnn-tf[beam]'")
    if not files:
        raise ValueError("`files` must name one file at least; received none")
    bound, options = inputs.bound_of(zoo.card(model)), _options(extra_arguments)
    _check_output(output)
    with _workplace(output) as part:
        for left in reversed(range(ATTEMPTS)):
            try:
                _run(model, bound, files, part, options)
                break
            except RuntimeError as error:  # on other engines only what is lost is done again
                text = (str(error).strip().splitlines() or [type(error).__name__])[-1]
                if not left:
                    said = f"the pipeline failed {ATTEMPTS} times: {text}"
                    raise ChildProcessError(said) from error
                print(f"the pipeline failed and is restarted: {text}", file=sys.stderr, flush=True)
                _empty(part)
        _publish(model, part, output)


def _check_output(output: str) -> None:
    """Check that output files can be made, and that there are none."""
    if not output or output.endswith("/") or _plain(output) != output:
        raise ValueError(
            f"`output` must be the beginning of the paths of files, in UTF-8; received {output!r}"
        )
    if "://" not in output and not Path(output).parent.is_dir():
        raise FileNotFoundError(f"{output}: the folder {Path(output).parent} does not exist")
    here = "://" not in output and os.path.exists(output)
    if here and not os.path.isfile(output) and not os.path.isdir(output):
        raise FileExistsError(f"{output} is a device, a FIFO or a socket: files are written beside")
    begin = glob.escape(output)
    found = [found for _, prefix in PARTS for found in find(f"{begin}{prefix}-*-of-*.jsonl")]
    done = find(begin + COMPLETE)
    if found and not done:
        raise FileExistsError(
            f"{found[0]} exists, {output}{COMPLETE} does not: it is of an interrupted run or of an "
            "older version; remove it: an earlier run's rows would stay beside new ones"
        )
    if existing := found + done:
        raise FileExistsError(
            f"{existing[0]} exists: an earlier run's rows would stay beside new ones"
        )


@contextlib.contextmanager
def _workplace(output: str) -> Iterator[str]:
    """A folder beside the output for files that are not finished, removed at the end."""
    if "://" in output:
        part = f"{output}.{secrets.token_hex(4)}.part"
        FileSystems.mkdirs(part)
        try:
            yield part
        finally:
            FileSystems.delete([part])
        return
    while (lock := _locked(folder := _new_folder(output))) is None:
        pass  # another run took it, before it was locked, for an abandoned one
    try:
        _remove_abandoned(output, folder)
        yield str(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _locked(folder: Path) -> int | None:
    """Make a folder that is locked as long as this process lives; None where it is gone."""
    folder.mkdir()
    with contextlib.suppress(FileNotFoundError):
        lock = os.open(folder, os.O_RDONLY)
        with contextlib.suppress(OSError):  # some file systems have no locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():
            return lock
        os.close(lock)
    return None


def _new_folder(output: str) -> Path:
    return Path(output).with_name(f".{Path(output).name}.{secrets.token_hex(4)}.part")


def _remove_abandoned(output: str, own: Path) -> None:
    """Remove the folders of runs that were killed, those that no process has locked.

    Raises:
        FileExistsError: another run is writing this output.
    """
    pattern = re.compile(rf"\.{re.escape(Path(output).name)}\.[0-9a-f]{{8}}\.part")
    for folder in own.parent.iterdir():
        if folder == own or not pattern.fullmatch(folder.name) or folder.is_symlink():
            continue
        with contextlib.suppress(OSError):
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
            except BlockingIOError:
                break
            finally:
                os.close(lock)
    else:
        return
    raise FileExistsError(f"{folder} exists and is locked: another run is writing {output}")


def _empty(part: str) -> None:
    """Remove what a failed pipeline left."""
    if "://" in part:
        FileSystems.delete([part])
        FileSystems.mkdirs(part)
        return
    for path in Path(part).iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _publish(model: str, part: str, output: str) -> None:
    """Move finished files to their places: dead letters, rows, and then the file that says so."""
    moves: list[tuple[str, str]] = []
    for name, prefix in PARTS:
        written = find(f"{glob.escape(part)}/{name}-*-of-*.jsonl")
        if not written or not written[0].endswith(f"-of-{len(written):05d}.jsonl"):
            raise ChildProcessError(f"the pipeline wrote {len(written)} files of {name}, not all")
        moves += [(w, output + prefix + w.removeprefix(f"{part}/{name}")) for w in written]
    mark = f"{part}/complete"
    with FileSystems.create(mark) as file:
        names = [target.rsplit("/", 1)[-1] for _, target in moves]
        file.write(json.dumps({"model": model, "files": names}).encode() + b"\n")
    moves.append((mark, output + COMPLETE))
    _check_output(output)  # again: what another run has written since is not replaced
    moved = []
    try:
        for source, target in moves:
            moved.append(target)
            FileSystems.rename([source], [target])
    except BaseException:
        for target in reversed(moved):
            with contextlib.suppress(Exception):
                FileSystems.delete([target])
        raise


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


def _run(model: str, bound: str, files: Sequence[str], part: str, options: Any) -> None:
    """The pipeline, once, with its files in a folder."""
    names = [os.fsencode(file) for file in dict.fromkeys(files)]  # Beam takes no other text
    with beam.Pipeline(options=options) as pipeline:
        loaded = (
            pipeline
            | "files" >> beam.Create(names)
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
        for name, rows in (("rows", scored.rows), ("dead", dead_letters)):
            _ = (
                rows
                | f"{name} as JSON" >> beam.Map(json.dumps)
                | f"write {name}" >> beam.io.WriteToText(f"{part}/{name}", ".jsonl")
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
