"""`prepare` after kills, on full disks, twice at once: it goes on, and never leaves a part."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from srnn_tf import data
from srnn_tf.data.prepared import info, records, shards
from tests import corpora as mini
from tests.preparing import beside, content, counted


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", 30_000)  # several in each part


@pytest.fixture
def source(tmp_path):
    mini.timit(tmp_path / "source")
    return tmp_path / "source"


# A process that is killed amid its third shard, as by the machine.
KILLED = """
    import os, sys
    from srnn_tf import data
    from srnn_tf.data.prepared import records, shards

    shards.SHARD_BYTES = 30_000
    write, count = records.write_shard, []

    def killing(items):
        yield next(items)
        os.kill(os.getpid(), 9)

    def dying(path, items, columns):
        count.append(path)
        return write(path, killing(items) if len(count) == 3 else items, columns)

    records.write_shard = dying
    data.prepare("timit", sys.argv[1], sys.argv[2])
"""


def test_a_killed_run_goes_on(source, tmp_path, small_shards, monkeypatch):
    whole = data.prepare("timit", source, tmp_path / "whole")
    out = tmp_path / "out"
    program = [sys.executable, "-c", textwrap.dedent(KILLED), str(source), str(out)]
    ended = subprocess.run(program, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    # Nothing that looks like the data set; its lock, what is finished and a part are beside it.
    assert beside(out) == [".out.lock", ".out.preparing", "source", "whole"]
    first = list((tmp_path / ".out.preparing").glob("*.tfrecord.json"))
    assert len(first) == 2 and len(list((tmp_path / ".out.preparing").iterdir())) == 5
    changed, kept = ({e[0] for e in json.loads(p.read_text())["entries"]} for p in sorted(first))
    path = source / f"{min(changed)}.WAV"
    path.write_bytes(path.read_bytes()[:-9] + b"changed!!")
    read = counted(monkeypatch)
    data.prepare("timit", source, out)
    # What is finished is not read again, but for the shard whose source has changed.
    assert changed <= set(read) and not kept & set(read) and len(read) == 22 - len(kept)
    assert content(out) == content(data.prepare("timit", source, tmp_path / "fresh"))
    assert content(out) != content(whole)
    assert beside(out) == ["fresh", "out", "source", "whole"]


def interrupted(monkeypatch, *arguments):
    """A run that the user stops in its third shard."""
    with monkeypatch.context() as patch:
        write, count = records.write_json, []

        def stopping(path, value):
            count.append(path)
            if len(count) == 3:
                raise KeyboardInterrupt
            write(path, value)

        patch.setattr(records, "write_json", stopping)
        with pytest.raises(KeyboardInterrupt):
            data.prepare(*arguments)


def test_an_interrupted_run_leaves_only_whole_shards(source, tmp_path, small_shards, monkeypatch):
    interrupted(monkeypatch, "timit", source, tmp_path / "out")
    left = sorted(p.name for p in (tmp_path / ".out.preparing").iterdir())
    assert len(left) == 4 and all(".tfrecord" in name for name in left)
    assert beside(source) == [".out.preparing", "source"]
    # Other libraries may decode otherwise: then nothing is kept.
    monkeypatch.setattr(info, "versions", lambda kind: {"soxr": "another"})
    read = counted(monkeypatch)
    data.prepare("timit", source, tmp_path / "out")
    assert len(read) == 22


def test_damaged_leftovers_are_read_again(source, tmp_path, small_shards, monkeypatch):
    one = data.prepare("timit", source, tmp_path / "one")
    interrupted(monkeypatch, "timit", source, tmp_path / "out")
    first, second = sorted((tmp_path / ".out.preparing").glob("*.json"))
    first.write_text("[1")
    shard = second.with_suffix("")
    shard.write_bytes(shard.read_bytes()[:-1])
    (tmp_path / ".out.preparing" / "nested").mkdir()
    read = counted(monkeypatch)
    assert content(data.prepare("timit", source, tmp_path / "out")) == content(one)
    assert len(read) == 22


# Workers that sleep, and tell that they have begun.
WORKERS = """
    import os, sys, time
    from pathlib import Path
    from srnn_tf.data.prepared import shards

    class Endless:
        def __init__(self, folder):
            self.folder = folder

        @property
        def name(self):
            Path(self.folder, str(os.getpid())).touch()
            time.sleep(600)

    if __name__ == "__main__":
        list(shards._in_processes([Endless(sys.argv[1])] * 2, 2))
"""


def ends(process, seconds=20):
    """Whether a process, which need not be a child, is gone soon."""
    for _ in range(10 * seconds):
        try:
            state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.1)
    return False


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="processes are looked up in /proc")
def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    (tmp_path / "begun").mkdir()
    (tmp_path / "program.py").write_text(textwrap.dedent(WORKERS))
    program = [sys.executable, str(tmp_path / "program.py"), str(tmp_path / "begun")]
    parent = subprocess.Popen(program, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            workers = [int(p.name) for p in (tmp_path / "begun").iterdir()]
            if len(workers) == 2:
                break
            time.sleep(0.1)
    finally:
        parent.kill()
        parent.wait()
    left = [worker for worker in workers if not ends(worker)]
    for worker in left:
        os.kill(worker, signal.SIGKILL)
    assert len(workers) == 2 and not left


# A command that tells when a shard is begun, and takes long for it.
SLOW = """
    import sys, time
    from srnn_tf import command
    from srnn_tf.data.prepared import records, shards

    def slow(path, items, columns):
        def waiting():
            for item in items:
                print("begun", file=sys.stderr, flush=True)
                time.sleep(60)
                yield item

        return write(path, waiting(), columns)

    write, records.write_shard = records.write_shard, slow
    if __name__ == "__main__":
        command.main(["data", "prepare", "timit", "--source", sys.argv[1], "--out", sys.argv[2],
                      "--workers", sys.argv[3]])
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_interrupt_ends_all_quietly(workers, source, tmp_path):
    """As Ctrl-C in a terminal, which all processes get."""
    (tmp_path / "program.py").write_text(textwrap.dedent(SLOW))
    program = [sys.executable, tmp_path / "program.py", source, tmp_path / "out", workers]
    running = subprocess.Popen(
        program,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell starts what it runs in the background with the signal ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        env={**os.environ, "PYTHONPATH": str(Path(data.__file__).parents[2])},
    )
    said = ""
    try:
        for line in running.stderr:
            said += line
            if "begun" in line:
                break
        os.killpg(running.pid, signal.SIGINT)
        said += running.communicate(timeout=50)[1]
    finally:
        running.kill()
    assert running.returncode == 130, said
    assert "Traceback" not in said, said[said.index("Traceback") :]
    assert said.endswith("error: interrupted\n")
    assert beside(source) == ["program.py", "source"]


def test_one_run_at_a_time(source, tmp_path):
    lock = tmp_path / ".out.lock"
    with open(lock, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(OSError, match="out=.*out is being prepared by another run"):
            data.prepare("timit", source, tmp_path / "out")
    # The file alone, left by a run that was killed, is no lock.
    assert lock.exists()
    assert (data.prepare("timit", source, tmp_path / "out") / info.FILE).exists()
    assert beside(tmp_path / "out") == ["out", "source"]


# A process whose files may have so many bytes and no more, as on a disk that is full.
FULL = """
    import resource, signal, sys
    from srnn_tf import command

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    command.main(["data", "prepare", "timit", "--source", sys.argv[1], "--out", sys.argv[2]])
"""


def test_a_full_disk(source, tmp_path):
    out = tmp_path / "out"
    program = [sys.executable, "-c", textwrap.dedent(FULL), str(source), str(out)]
    ended = subprocess.run(program, capture_output=True, text=True)
    assert ended.returncode == 1
    message = ended.stderr.strip().splitlines()[-1]
    assert message.startswith("error: ") and ".tfrecord" in message and "cannot write" in message
    assert beside(out) == ["source"]
    assert (data.prepare("timit", source, out) / info.FILE).exists()
