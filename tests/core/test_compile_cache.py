"""Compiled programs of earlier processes: whatever is in the folder, results are right."""

import atexit
import gc
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from srnn_tf.core import compile_cache as cache

NAME = "xla_compile_cache__{}__7__XLA_CPU_JIT.pb"
DIRECTORY = cache.DIRECTORY
ENDS = []  # what processes do at their ends


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A folder to use, and one for temporary ones; nothing is registered for the end."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(atexit, "register", lambda *what: ENDS.append(what))
    for name in (cache.FLAGS, "XLA_FLAGS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(cache.SWITCH, str(tmp_path / "programs"))
    ENDS.clear()
    yield tmp_path / "programs"
    end()


def end():
    """The end of all processes that have begun."""
    while ENDS:
        function, *arguments = ENDS.pop(0)
        function(*arguments)


def begin(version="1"):
    """The folder that XLA sees; None where there is none."""
    flags = dict(flag.split("=", 1) for flag in cache._begin(version))
    return Path(flags[DIRECTORY[:-1]]) if flags else None


def compiled(root, *programs, version="1"):
    """What a process leaves that has compiled programs: a number and the bytes of each."""
    seen = begin(version)
    for number, content in programs:
        (seen / NAME.format(number)).write_bytes(content)
    end()
    return sorted(root.glob("*/*.pb.*"))


def listed(seen):
    return {path.name.split("__")[1]: path.read_bytes() for path in seen.iterdir()}


def test_without_the_switch_nothing_happens(root, monkeypatch):
    for value in ("", "0", "off"):
        monkeypatch.setenv(cache.SWITCH, value)
        cache.install("1")
    monkeypatch.delenv(cache.SWITCH)
    cache.install("1")
    assert cache.FLAGS not in os.environ and not root.exists()


def test_programs_are_found_by_the_next_process(root):
    compiled(root, (1, b"one"), (2, b"two"))
    assert listed(begin()) == {"1": b"one", "2": b"two"}
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


def test_temporary_folders_are_removed(root):
    seen = begin()
    assert seen.exists() and stat.S_IMODE(seen.parent.stat().st_mode) == 0o700
    end()
    assert not list(seen.parents[1].iterdir())


@pytest.mark.parametrize("damage", ["bit", "truncated", "empty", "longer", "folder", "link"])
def test_damaged_entries_are_not_used(root, damage):
    bad, _ = compiled(root, (1, b"one" * 100), (2, b"two"))
    content = bytearray(bad.read_bytes())
    content[50] ^= 1
    if damage in ("folder", "link"):
        bad.unlink()
        bad.mkdir() if damage == "folder" else bad.symlink_to("elsewhere")
    else:
        parts = {"bit": content, "truncated": content[:40], "empty": b"", "longer": content + b"x"}
        bad.write_bytes(parts[damage])
    assert listed(begin()) == {"2": b"two"}
    assert damage == "folder" or not os.path.lexists(bad)


def test_the_newer_one_of_two_is_used(root):
    compiled(root, (1, b"old"))
    seen, other = begin(), begin()  # two processes at once
    for folder, content in ((seen, b"new"), (other, b"newer")):
        (folder / NAME.format(1)).unlink()  # as XLA replaces it
        (folder / NAME.format(1)).write_bytes(content)
    end()
    for path in root.glob("*/*.pb.*"):
        os.utime(path, (1, {b"old": 1, b"new": 3, b"newer": 2}[path.read_bytes()]))
    assert listed(begin()) == {"1": b"new"}


def test_another_version_or_setting_has_a_folder_of_its_own(root, monkeypatch):
    compiled(root, (1, b"one"))
    assert listed(begin("2")) == {}
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_max_isa=AVX2")
    assert listed(begin()) == {}
    monkeypatch.delenv("XLA_FLAGS")
    monkeypatch.setattr(os, "cpu_count", lambda: 99)
    assert listed(begin()) == {}


def test_what_was_not_used_for_longest_is_removed(root, monkeypatch):
    compiled(root, *((n, bytes(100)) for n in range(5)))
    (root / "mine.txt").touch()
    folder = next(root.glob("srnn_tf-*"))
    (folder / "also_mine").write_bytes(bytes(1000))
    for path in folder.glob("*.pb.*"):
        os.utime(path, (1, 10 + int(path.name.split("__")[1])))
    monkeypatch.setattr(cache, "MOST", 300)
    read = begin() / NAME.format(0)
    os.utime(read, (2, read.stat().st_mtime))  # what reading does, where the disk notes it
    end()
    left = sorted(path.name.split("__")[1] for path in folder.glob("*.pb.*"))
    assert left == ["0", "3", "4"]
    assert (root / "mine.txt").exists() and (folder / "also_mine").exists()
    compiled(root, (9, bytes(300)), version="2")  # of all versions together
    assert [path.name.split("__")[1] for path in root.glob("*/*.pb.*")] == ["9"]


def test_a_program_above_the_bound_is_not_kept(root, monkeypatch):
    monkeypatch.setattr(cache, "MOST", 300)
    assert compiled(root, (1, bytes(301))) == []


@pytest.mark.parametrize("mode", [0o777, 0o720])
def test_a_folder_that_others_can_write_to_is_refused(root, mode):
    root.mkdir()
    root.chmod(mode)
    with pytest.warns(RuntimeWarning, match="must be yours, and writable by you alone"):
        assert begin() is None


def test_a_folder_of_another_user_is_refused(root, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.warns(RuntimeWarning, match="has no effect, and programs are compiled anew"):
        assert begin() is None


def test_a_folder_that_cannot_be_made_is_no_error(root):
    root.touch()
    with pytest.warns(RuntimeWarning, match="SRNN_TF_COMPILE_CACHE=.*programs.*File exists"):
        assert begin() is None
    assert not list((root.parent / "temporary").iterdir())


def test_a_full_disk_at_the_end_is_no_error(root, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    assert compiled(root, (1, b"one")) == []
    assert not list((root.parent / "temporary").iterdir())


def test_xla_writes_nothing_where_there_is_little_space(root, monkeypatch):
    usage = shutil.disk_usage(root.parent)
    assert cache._READ_ONLY not in cache._begin("1")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=cache.MOST))
    assert cache._READ_ONLY in cache._begin("1")


def test_flags_of_the_user_stay(root, monkeypatch):
    monkeypatch.setenv(cache.FLAGS, "--tf_xla_clustering_debug --tf_xla_max_cluster_size=9")
    cache._set_flags("1")
    mine, rest = os.environ[cache.FLAGS].split(DIRECTORY)
    assert mine.split() == ["--tf_xla_clustering_debug", "--tf_xla_max_cluster_size=9"]
    assert rest.split()[0].startswith(tempfile.gettempdir())


def test_a_cache_of_the_user_stays(root, monkeypatch):
    monkeypatch.setenv(cache.FLAGS, f"{DIRECTORY}/mine")
    cache._set_flags("1")
    assert os.environ[cache.FLAGS] == f"{DIRECTORY}/mine" and not root.exists()


def test_a_child_has_a_temporary_folder_of_its_own(root, monkeypatch):
    monkeypatch.setenv(cache.FLAGS, "--tf_xla_max_cluster_size=9")
    cache._set_flags("1")
    first = os.environ[cache.FLAGS]
    cache._set_flags("1")
    second = os.environ[cache.FLAGS]
    assert first != second and second.count(DIRECTORY) == 1 and second.count(cache._CPU) == 1
    assert second.startswith("--tf_xla_max_cluster_size=9 ")


def test_a_fork_does_not_end_its_parent(root, monkeypatch):
    seen = begin()
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: -1)
        end()
        gc.collect()
        assert seen.exists()
    shutil.rmtree(seen.parent)


def test_the_switch_says_which_folder(root, monkeypatch):
    assert cache.folder() == root
    monkeypatch.setenv(cache.SWITCH, "1")
    monkeypatch.setenv("SRNN_TF_CACHE", "/caches/mine")
    assert cache.folder() == Path("/caches/mine/programs")
    monkeypatch.delenv("SRNN_TF_CACHE")
    assert cache.folder().name == "programs" and cache.folder().parent.name == "srnn_tf"


PROGRAM = """
import srnn_tf
import tensorflow as tf
program = tf.function(lambda x: tf.reduce_sum(tf.tanh(x) * 2.0 + tf.sin(x)), jit_compile=True)
print(float(program(tf.range(1000.0))))
"""


@pytest.mark.slow
def test_processes_with_tensorflow(tmp_path):
    """Two at once; then entries are loaded; then they are damaged, and replaced."""
    root = tmp_path / "programs"
    settings = {**os.environ, cache.SWITCH: str(root), "TMPDIR": str(tmp_path)}
    settings.pop(cache.FLAGS, None)

    def start(**more):
        command = [sys.executable, "-c", PROGRAM]
        return subprocess.Popen(command, env={**settings, **more}, stdout=-1, text=True)

    def entries():
        return {path.name: path.stat().st_ino for path in root.glob("*/*.pb.*")}

    def result(process):
        output, _ = process.communicate(timeout=600)
        assert process.returncode == 0
        return float(output)

    wanted = result(start(**{cache.SWITCH: "0"}))
    assert [result(p) for p in [start(), start()]] == [wanted, wanted]
    first = entries()
    assert first
    assert result(start()) == wanted and entries() == first  # loaded, and not written again
    for path in root.glob("*/*.pb.*"):
        content = bytearray(path.read_bytes())
        at = content.find(b"\x7fELF")
        content[at + 64 : at + 256] = b"\xcc" * 192  # of which XLA would die
        path.write_bytes(content)
    damaged = entries()
    assert result(start()) == wanted
    assert entries() and not set(entries().values()) & set(damaged.values())
    assert not list(tmp_path.glob(".srnn_tf-*"))
