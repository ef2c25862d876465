"""`prepare`: from a corpus on disk to shards for training."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from filelock import lock_descriptor

from srnn_tf.core import checks
from srnn_tf.data import corpora
from srnn_tf.data.corpora import Corpus, Found, Options
from srnn_tf.data.corpora.base import check_parts
from srnn_tf.data.prepared import info, records, schema, shards

_RANGES = {
    "sample_rate": (1000, 768_000),
    "frame_size": (1, schema.MOST_VALUES),
    "steps_per_quarter": (1, 480),
}
_NAMED = 100  # bad files, in an error


def prepare(
    name: str,
    source: str | os.PathLike | None,
    out: str | os.PathLike,
    workers: int = 1,
    skip_bad: bool = False,
    runner: str | None = None,
    runner_options: Sequence[str] = (),
    **options: Any,
) -> Path:
    """Read a corpus once and write it as shards with their statistics: a folder for `load`.

    The folder appears when it is complete. The same call resumes a run that was killed. The bytes
    do not depend on the number of workers or on Beam.

    Args:
        name: the name of the corpus.
        source: the folder of the unpacked corpus; None for bach.
        out: the folder to create; it must not exist.
        workers: the number of processes that read files.
        skip_bad: skip files that cannot be read; `dataset_info.json` lists them. Without it they
            are an error, which names all of them once the others have been read.
        runner: a runner of Apache Beam, such as "DirectRunner"; None for no Beam.
        runner_options: extra arguments for Beam.
        options: the options of `corpora.Options` that the corpus accepts.

    Returns:
        `out`.

    Raises:
        ValueError: the name or an option is unknown, the source is not the corpus, or a file is
            invalid.
        OSError: `out` is in use, exists, or cannot be written.

    Example:
        prepare("timit", "/corpora/TIMIT", "timit", workers=8)
    """
    corpus, choice = corpora.get(name), options_of(name, options)
    if not os.fspath(out):
        raise ValueError("out='' must name the folder to create")
    checks.sizes(workers=workers)
    source, out = source_of(name, corpus, source), Path(out).resolve()
    _check_apart(out, source)
    _check_free(out)
    listing = corpus.find(source, choice)  # ty: ignore[invalid-argument-type]  # may be None
    check_found(listing, source, skip_bad)
    for note in listing.notes:
        records.say(f"{name}: {note}")
    with _working(out) as folder:
        tasks = shards.plan(name, listing, folder, choice, skip_bad)
        shards.run(tasks, workers, runner, runner_options)
        if not skip_bad:
            _check_read(tasks)
        _check_free(out)  # while the reports of the shards are still there to go on from
        try:
            _finish(folder, name, tasks, listing, choice)
        except info.NothingToLearn:
            for report in folder.glob("*.tfrecord.json"):  # without which shards are not kept
                report.unlink()
            raise
        os.replace(folder, out)
    return out


def options_of(name: str, given: dict[str, Any]) -> Options:
    """The user's options, checked against those that the corpus accepts."""
    corpus, given = corpora.get(name), {k: v for k, v in given.items() if v is not None}
    strange = sorted(set(given) - set(corpus.options))
    if strange:
        accepted = ", ".join(corpus.options) or "none"
        raise ValueError(f"{name} takes no option {strange[0]!r}; accepted are: {accepted}")
    for key in ("lists", "permutation"):
        if key in given:
            given[key] = Path(given[key])
    for key in set(given) & set(_RANGES):
        checks.between(key, given[key], *_RANGES[key])
        given[key] = int(given[key])
    if "std" in given:
        given["std"] = _std(given["std"])
    options = Options(**given)
    if options.lists is not None and not options.lists.is_dir():
        raise ValueError(f"lists={options.lists} is not a folder")
    info.permutation_of(name, options)  # an error now, not at the end
    return options


def _std(value: Any) -> float:
    least, most = schema.STDS
    try:
        if least <= float(value) <= most:
            return float(value)
    except (TypeError, ValueError):
        pass
    raise ValueError(f"`std` must be a number from {least:g} to {most:g}; received {value!r}")


def source_of(name: str, corpus: Corpus, source: Any) -> Path | None:
    """The source folder of a corpus, checked; None for a corpus without one."""
    if not corpus.needs_source:
        if source is not None:
            raise ValueError(f"source={str(source)!r}: {name} comes with a package; omit it")
        return None
    if source is None:
        raise ValueError(f"source=None: {name} is read from the folder that it was unpacked to")
    path = Path(source).absolute()
    if not path.is_dir():
        raise ValueError(f"source={path} is not a folder; {name} is read from one")
    return path


def _check_apart(out: Path, source: Path | None) -> None:
    real = source and source.resolve()
    if real is not None and (out == real or real in out.parents or out in real.parents):
        raise ValueError(f"out={out} and source={source} must lie outside of one another")


def _check_free(out: Path) -> None:
    """Whether a folder can take the place of `out`: nothing is there, or an empty folder."""
    if out.is_dir() and not any(out.iterdir()):
        if os.path.ismount(out):
            raise OSError(f"out={out} is a mount point and cannot be replaced; name a folder in it")
        return
    if out.exists():
        what = "a prepared data set" if (out / info.FILE).exists() else "something else"
        raise FileExistsError(f"out={out} exists and holds {what}; choose another, or remove it")


def check_found(listing: Found, source: Any, skip_bad: bool) -> None:
    """Check that a corpus has all files in its lists, and items in each part."""
    if listing.missing and not skip_bad:
        raise _bad([f"{key}: {reason}" for key, reason in listing.missing], "are missing")
    check_parts(listing.parts, source)


def _check_read(tasks: list[shards.Task]) -> None:
    """Refuse a corpus some files of which could not be read; the shards are kept."""
    reports = [records.read_json(task.report) for task in tasks]
    reasons = [text for report in reports for *_, text in report["skipped"]]
    if reasons:
        raise _bad(reasons, f"of {sum(len(task.items) for task in tasks)} files are bad")


def _bad(reasons: list[str], what: str) -> ValueError:
    """The error that names all of them, so that they can be mended at once."""
    shown, more = "; ".join(reasons[:_NAMED]), len(reasons) - _NAMED
    count = f"{len(reasons)} {what}: " if len(reasons) > 1 else ""
    rest = f"; and {more} more" if more > 0 else ""
    return ValueError(f"{count}{shown}{rest}; skip_bad (--skip-bad) goes on without")


@contextlib.contextmanager
def _working(out: Path) -> Iterator[Path]:
    """The folder beside `out` in which it is made, for one run at a time."""
    folder = out.with_name(f".{out.name}.preparing")
    out.parent.mkdir(parents=True, exist_ok=True)
    # The lock is beside the folder, which is renamed, and ends with the process, however it ends.
    lock = out.with_name(f".{out.name}.lock")
    with open(lock, "w") as file:
        _lock(file, lock, out)
        try:
            _check_free(out)  # another run may have made it before this one had the lock
            folder.mkdir(exist_ok=True)
            yield folder
        finally:
            if folder.is_dir():
                _tidy(folder)
            lock.unlink(missing_ok=True)


def _lock(file: Any, path: Path, out: Path) -> None:
    """Hold the lock file, or fail: another run holds it, or has just removed it."""
    with contextlib.suppress(OSError):
        held = lock_descriptor(file.fileno(), blocking=False)
        if held and os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
            return
    raise BlockingIOError(f"out={out} is being prepared by another run")


def _tidy(folder: Path) -> None:
    """Leave whole shards for the next run, and nothing where there is none."""
    whole = {p.name.removesuffix(".json") for p in folder.glob("*.tfrecord.json")}
    for path in folder.iterdir():
        if path.name.removesuffix(".json") not in whole:
            _remove(path)
    if not whole:
        folder.rmdir()
    else:
        records.say(f"{len(whole)} shards are kept in {folder}; the same command goes on from them")


def _finish(
    folder: Path, name: str, tasks: list[shards.Task], listing: Found, options: Options
) -> None:
    """Statistics and index from the reports, which are not kept."""
    reports = {task.file: records.read_json(task.report) for task in tasks}
    skipped = [*listing.missing, *(s[:2] for r in reports.values() for s in r["skipped"])]
    for line in info.skipped_lines(skipped):
        records.say(line)
    _check_keys(reports)
    index = {file: [entry[:4] for entry in r["entries"]] for file, r in reports.items()}
    records.write_json(folder / info.INDEX, index)
    content = info.make(name, reports, listing, options, [list(map(str, s)) for s in skipped])
    content["index_sha256"] = records.checksum(folder / info.INDEX)
    wrong = schema.wrong_field(content)
    if wrong is not None:  # `load` would refuse it
        raise ValueError(f"{name}: its {wrong} is {content[wrong]!r}, which is out of range")
    records.write_json(folder / info.FILE, content)
    keep = {*reports, info.INDEX, info.FILE}
    for path in folder.iterdir():
        if path.name not in keep:
            _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _check_keys(reports: dict[str, Any]) -> None:
    seen: set[str] = set()
    for report in reports.values():
        for key, *_ in report["entries"]:
            if key in seen:
                raise ValueError(f"two sequences are named {key!r}")
            seen.add(key)
