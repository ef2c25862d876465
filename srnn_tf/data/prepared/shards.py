"""The shards of a data set as tasks, written in this process, in several, or with Beam."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from srnn_tf.core import progress
from srnn_tf.data import corpora, modality
from srnn_tf.data.corpora import Found, Item, Options, Record
from srnn_tf.data.corpora.splits import PARTS
from srnn_tf.data.prepared import info, records, schema

SHARD_BYTES = 1 << 26  # of source files that go into one shard


@dataclasses.dataclass(frozen=True)
class Task:
    """A shard to write: all that a worker needs.

    Args:
        name: the name of the corpus.
        file: the name of the shard.
        folder: the folder to write it to.
        items: the items of the shard.
        options: the user's options.
        skip_bad: skip items that cannot be read.
        module: the module that registers the corpus, for workers to import; None for the corpora of
            this package.
    """

    name: str
    file: str
    folder: Path
    items: tuple[Item, ...]
    options: Options
    skip_bad: bool
    module: str | None = None

    @property
    def identity(self) -> str:
        """A digest of all that the shard's bytes depend on, to detect a changed source."""
        corpus = corpora.get(self.name)
        sources = [(i.key, [_stamp(path) for path in corpus.files_of(i)]) for i in self.items]
        versions = info.versions(corpus.kind)  # another decoder, other samples
        parts = [info.FORMAT, versions, self.name, sources, dataclasses.asdict(self.options)]
        return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()

    @property
    def report(self) -> Path:
        return self.folder / f"{self.file}.json"

    def done(self) -> bool:
        """Whether an earlier run wrote the shard."""
        try:
            report = records.read_json(self.report)
            same = report["identity"] == self.identity and (self.skip_bad or not report["skipped"])
            return same and report["sha256"] == records.checksum(self.folder / self.file)
        except (OSError, ValueError, KeyError, TypeError):
            return False


def _stamp(path: Path) -> tuple[int, int]:
    """Size and time of change of a file; zeros where there is none."""
    if not path.exists():
        return 0, 0
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def plan(name: str, listing: Found, folder: Path, options: Options, skip_bad: bool) -> list[Task]:
    """Plan the shards: items in the order of their keys, cut by the size of the source files."""
    tasks, module = [], corpora.module_of(name)
    for part in PARTS:
        groups, size = [[]], 0
        for item in sorted(listing.parts[part]):
            if groups[-1] and size + item.size > SHARD_BYTES:
                groups.append([])
                size = 0
            groups[-1].append(item)
            size += item.size
        for i, group in enumerate(groups):
            file = f"{part}-{i:05d}-of-{len(groups):05d}.tfrecord"
            tasks.append(Task(name, file, folder, tuple(group), options, skip_bad, module))
    return tasks


def write(task: Task) -> str:
    """Write one shard and the report beside it, which names what could not be read."""
    if task.module and task.name not in corpora.CORPORA:
        importlib.import_module(task.module)
    corpus, skipped = corpora.get(task.name), []

    def read() -> Iterator[Record]:
        for item in task.items:
            try:
                # A reader fails before it gives anything, or on what it gives next.
                if corpus.needs_source and not item.path.is_file():
                    raise ValueError("is no file, or a link that leads nowhere")
                for record in corpus.read(item, task.options):
                    _check_scale(record)
                    yield record
            except (ValueError, OSError, MemoryError) as error:
                text = _named(item, error)
                skipped.append([item.key, _without_folders(item, text), text])
                if not task.skip_bad:  # an error at the end, which names all of them
                    records.say(f"bad: {text}")

    identity, path = task.identity, task.folder / task.file
    entries = records.write_shard(path, read(), modality.get(corpus.kind).columns)
    report = {
        "identity": identity,
        "bytes": path.stat().st_size,
        "sha256": records.checksum(path),
        "entries": entries,
        "skipped": skipped,
    }
    records.write_json(task.report, report)
    return task.file


def _named(item: Item, error: Exception) -> str:
    text = str(error) or type(error).__name__
    return text if str(item.path) in text else f"{item.path}: {text}"


def _without_folders(item: Item, text: str) -> str:
    """No folders of this machine: the bytes do not depend on where the corpus lies."""
    for folder in list(item.path.parents)[:-1]:
        text = text.replace(f"{folder}{os.sep}", "")
    return text


def _check_scale(record: Record) -> None:
    least, most = schema.SCALES
    if not least <= record.scale <= most:
        raise ValueError(
            f"its numbers are too small or too large: in units of {record.scale:g}; accepted are "
            f"{least:g} to {most:g}"
        )


def run(
    tasks: list[Task],
    workers: int = 1,
    runner: str | None = None,
    runner_options: Sequence[str] = (),
) -> None:
    """Write the shards that no earlier run has written, in processes or with Beam."""
    total, tasks = len(tasks), [task for task in tasks if not task.done()]
    done = total - len(tasks)
    if done:
        progress.tell(f"{done} of {total} shards are there from an earlier run")
    if not tasks:
        return
    if runner is not None:
        from srnn_tf.data.prepared import beam

        beam.run(write, tasks, runner, runner_options)
        return
    finished = map(write, tasks) if workers == 1 else _in_processes(tasks, workers)
    for _ in progress.track(finished, "writing shards", len(tasks)):
        pass


def _in_processes(tasks: list[Task], workers: int) -> Iterator[str]:
    """Shards as they are finished; the first error stops the rest."""
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    count, others = min(workers, len(tasks)), set(multiprocessing.active_children())
    with ProcessPoolExecutor(count, context, _start_worker) as pool:
        with _workers_without_interrupts():
            futures = [pool.submit(write, task) for task in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise OSError(
                "a worker ended early: it was killed, perhaps for want of memory, or the script "
                "that calls prepare does so outside of `if __name__ == '__main__':`"
            ) from error
        except KeyboardInterrupt:
            # A shard takes minutes; what is left of it is removed with the folder's other parts.
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _workers_without_interrupts() -> Iterator[None]:
    """Start processes that ignore Ctrl-C: a terminal sends it to all, and the parent ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield  # where no handler can be set
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.default_int_handler)


def _start_worker() -> None:
    """Watch the parent: a worker whose parent was killed would wait for work forever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch():
        parent = multiprocessing.parent_process()
        assert parent is not None  # this runs in a worker
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
