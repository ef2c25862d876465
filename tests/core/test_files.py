"""Files are written whole or not at all, through links and to devices; locks end with processes."""

import errno
import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from srnn_tf.core import files

ROOT = Path(__file__).parents[2]


def write(path, text="new"):
    with files.replacing(path) as temporary:
        temporary.write_text(text)


def names(folder):
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o664, 0o755])
def test_a_mode_is_kept(mode, tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    path.chmod(mode)
    write(path)
    assert path.read_text() == "new" and stat.S_IMODE(path.stat().st_mode) == mode
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("levels", [1, 3])
@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_stays_a_link(levels, dangling, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    target = path = tmp_path / "elsewhere" / "target"
    if not dangling:
        target.write_text("old")
    for i in range(levels):
        (tmp_path / f"link{i}").symlink_to(os.path.relpath(path, tmp_path))
        path = tmp_path / f"link{i}"
    write(path)
    assert path.is_symlink() and target.read_text() == "new" and not target.is_symlink()
    assert names(tmp_path / "elsewhere") == ["target"] and len(names(tmp_path)) == levels + 1


@pytest.mark.parametrize("text", ["", "n", "new and longer"])
def test_all_names_of_a_file_see_what_is_written(text, tmp_path):
    path, other = tmp_path / "a", tmp_path / "b"
    path.write_text("the old one")
    os.link(path, other)
    write(path, text)
    assert other.read_text() == text and path.samefile(other) and names(tmp_path) == ["a", "b"]


def test_a_full_disk_leaves_a_file_of_several_names_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_text("old")
    os.link(path, tmp_path / "b")

    def full(*args):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="cannot write .*a: No space left"):
        write(path, "longer than old")
    assert (tmp_path / "b").read_text() == "old" and names(tmp_path) == ["a", "b"]


def test_a_fifo_is_written_through(tmp_path):
    path, received = tmp_path / "fifo", []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: received.append(path.read_text()))
    reader.start()
    write(path)
    reader.join()
    assert (
        received == ["new"] and stat.S_ISFIFO(path.stat().st_mode) and names(tmp_path) == ["fifo"]
    )


def test_a_device_is_written_through(tmp_path):
    (tmp_path / "null").symlink_to("/dev/null")
    for path in ("/dev/null", tmp_path / "null"):
        write(path)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode) and (tmp_path / "null").is_symlink()
    with pytest.raises(OSError, match="cannot write /dev/full: No space left"):
        write("/dev/full")
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


@pytest.mark.parametrize("place", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
@pytest.mark.parametrize("kind", ["pipe", "file", "socket"])
def test_standard_output_is_written_through(place, kind, tmp_path):
    script = f"""
        from srnn_tf.core import files
        print("before")
        with files.replacing({place!r}) as temporary:
            temporary.write_text("new\\n")
        print("after")
    """
    file, ours, theirs = tmp_path / "out", *socket.socketpair()
    with file.open("wb") as out:
        given = {"pipe": subprocess.PIPE, "file": out, "socket": theirs}[kind]
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(LIGHT + textwrap.dedent(script))],
            stdout=given, stderr=subprocess.PIPE, cwd=ROOT,
        )  # fmt: skip
    theirs.close()
    assert done.returncode == 0, done.stderr.decode()
    received = {
        "pipe": lambda: done.stdout,
        "file": file.read_bytes,
        "socket": lambda: ours.recv(99),
    }
    text = received[kind]()
    ours.close()
    assert text == b"before\nnew\nafter\n" and names(tmp_path) == ["out"]


def test_what_can_be_no_output(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "folder").mkdir()
    (tmp_path / "to folder").symlink_to("folder")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        for name, message in {
            "loop": "cannot write .*loop: Too many levels",
            "folder": "is a folder; a file name is needed",
            "to folder": "is a folder; a file name is needed",
            "socket": "is a socket; a file, a device or a FIFO is needed",
            "none/a": "the folder .*none does not exist",
        }.items():
            with pytest.raises(OSError, match=message):
                write(tmp_path / name)
    assert names(tmp_path) == ["folder", "loop", "socket", "to folder"]
    assert (tmp_path / "loop").is_symlink() and (tmp_path / "to folder").is_symlink()


@pytest.mark.skipif(os.geteuid() == 0, reason="an administrator may write all files")
def test_a_file_that_may_not_be_written_is_not_replaced(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    path.chmod(0o400)
    with pytest.raises(PermissionError, match="may not be written"):
        write(path)
    assert path.read_text() == "old"


def test_a_name_may_be_as_long_as_the_disk_takes(tmp_path):
    write(tmp_path / ("x" * 255))
    assert names(tmp_path) == ["x" * 255]


def test_a_folder_appears_when_it_is_complete(tmp_path):
    with files.creating(tmp_path / "a") as temporary:
        temporary.mkdir()
        (temporary / "x").write_text("x")
        assert not (tmp_path / "a").exists()
    assert names(tmp_path) == ["a"] and names(tmp_path / "a") == ["x"]
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("a", "link"):
        with (
            pytest.raises(FileExistsError, match=f"{name} exists"),
            files.creating(tmp_path / name),
        ):
            pass
    with pytest.raises(FileExistsError), files.creating(tmp_path / "b") as temporary:
        temporary.mkdir()
        (tmp_path / "b").mkdir()  # another process was faster
    with pytest.raises(RuntimeError), files.creating(tmp_path / "c") as temporary:
        temporary.mkdir()
        raise RuntimeError
    assert names(tmp_path) == ["a", "b", "link"]


# The package's `__init__` imports TensorFlow, which these processes do not need.
LIGHT = """
import sys, types
package = types.ModuleType("srnn_tf"); package.__path__ = ["srnn_tf"]
sys.modules["srnn_tf"] = package
"""
HOLD = """
from srnn_tf.core import files
import pathlib, time
folder = pathlib.Path(sys.argv[1])
with files.locked(folder / "lock", "the folder"), files.replacing(folder / "a") as temporary:
    temporary.write_text("half")
    with files.creating(folder / "b") as other:
        other.mkdir()
        (folder / "ready").touch()
        time.sleep(100)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds a lock and writes a file and a folder."""
    process = subprocess.Popen([sys.executable, "-c", LIGHT + HOLD, str(tmp_path)], cwd=ROOT)
    while not (tmp_path / "ready").exists():
        assert process.poll() is None
        time.sleep(0.02)
    yield process
    process.kill()
    process.wait()


def test_what_a_killed_writer_left_is_removed_and_what_a_living_one_needs_is_not(holder, tmp_path):
    before = names(tmp_path)
    assert len([name for name in before if name.startswith(".srnn_tf-")]) == 2
    (tmp_path / ".srnn_tf-notes").mkdir()  # a user's own
    files.sweep(tmp_path)
    write(tmp_path / "a", "mine")
    assert names(tmp_path) == sorted([*before, ".srnn_tf-notes", "a"])
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    write(tmp_path / "a", "again")  # sweeps its own
    assert len([name for name in names(tmp_path) if name.startswith(".srnn_tf-")]) == 2
    files.sweep(tmp_path)
    assert names(tmp_path) == [".srnn_tf-notes", "a", "lock", "ready"]
    (tmp_path / ".srnn_tf-00000000-00000000").mkdir()  # killed before it had its lock
    files.sweep(tmp_path)
    assert names(tmp_path) == [".srnn_tf-notes", "a", "lock", "ready"]


def test_a_lock_names_its_holder_and_ends_with_it(holder, tmp_path):
    path = tmp_path / "lock"
    message = f"the folder is in use by process {holder.pid} on .*, since 20"
    with pytest.raises(BlockingIOError, match=message), files.locked(path, "the folder"):
        pass
    began = time.monotonic()
    with pytest.raises(BlockingIOError, match="waited 0.3 s"), files.locked(path, "x", wait=0.3):
        pass
    assert 0.3 <= time.monotonic() - began < 5.0
    threading.Timer(0.3, holder.kill).start()
    with files.locked(path, "the folder", wait=30.0):
        assert str(os.getpid()) in path.read_text()
        with pytest.raises(BlockingIOError), files.locked(path, "x"):  # nor another thread
            pass
    assert not path.exists()


def test_an_output_is_no_input(tmp_path):
    (tmp_path / "a").write_text("")
    os.link(tmp_path / "a", tmp_path / "hard")
    (tmp_path / "soft").symlink_to("a")
    (tmp_path / "folder").mkdir()
    for out in ("a", "hard", "soft", "folder/../a", "new"):
        given = [tmp_path / "b", tmp_path / ("new" if out == "new" else "a")]
        with pytest.raises(ValueError, match=r"--out=.* is the input .*; name another file"):
            files.check_output("--out", tmp_path / out, given)
    files.check_output("--out", tmp_path / "c", [tmp_path / "a", tmp_path / "none"])
    files.check_output("--out", "/dev/null", ["/dev/null"])


def test_a_folder_that_was_made_in_vain_is_removed(tmp_path):
    for fails in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(fails), files.made(tmp_path / "a" / "b"):
            raise fails
        assert not list(tmp_path.iterdir())
    with pytest.raises(RuntimeError), files.made(tmp_path / "a" / "b"):
        (tmp_path / "a" / "c").touch()
        raise RuntimeError
    with files.made(tmp_path / "a" / "d"):
        pass
    assert names(tmp_path / "a") == ["c", "d"]
    with (
        pytest.raises(OSError, match="cannot make the folder .*c/e"),
        files.made(tmp_path / "a" / "c" / "e"),
    ):
        pass
