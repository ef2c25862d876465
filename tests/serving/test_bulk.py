"""Bulk scoring by Apache Beam; in continuous integration it is not installed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from srnn_tf import command as app
from srnn_tf import serving
from srnn_tf.serving import bulk

NAME = "f_srnn_bach"


def make(folder, count, files, seed=0):
    """Piano rolls of mixed lengths in files, one in a hundred malformed; ids good and bad."""
    rng, good, bad = np.random.default_rng(seed), {}, set()
    for file in range(files):
        arrays, path = {}, folder / f"in{file}.npz"
        for i in range(count // files):
            number = file * (count // files) + i
            roll = (rng.random([int(np.exp(rng.uniform(1.4, 3.5))), 88]) < 0.05).astype(np.float32)
            key = f"{path}#{i}"
            if number % 100 == 7:
                spoil = (lambda x: x - np.inf, lambda x: x[:, :80], lambda x: x + 0.5)
                roll = spoil[number // 100 % 3](roll)
                bad.add(key)
            else:
                good[key] = roll
            arrays[f"s{i:06d}"] = roll
        np.savez(path, **arrays)
    return good, bad


def rows(folder, prefix):
    found = []
    for path in sorted(folder.glob(f"{prefix}-*.jsonl")):
        found += [json.loads(line) for line in path.read_text().splitlines()]
    return found


def check(folder, good, bad, sample=20):
    """Each id once, with a score or a reason."""
    scores, dead = rows(folder, "scores"), rows(folder, "scores.dead")
    assert sorted(row["id"] for row in scores) == sorted(good)
    assert sorted(row["id"] for row in dead) == sorted(bad)
    assert all(row["error"].startswith("`frames` must") for row in dead)
    held = {row["id"]: row for row in scores}
    keys = list(good)[:: max(1, len(good) // sample)]
    expected = serving.Local(NAME).score([good[key] for key in keys])
    found = [held[key]["log_likelihood"] for key in keys]
    np.testing.assert_allclose(found, expected.log_likelihood, rtol=1e-4)
    np.testing.assert_allclose([held[k]["kl"] for k in keys], expected.kl, rtol=1e-3)
    assert all(held[key]["steps"] == len(good[key]) for key in keys)
    return {row["id"]: row["log_likelihood"] for row in scores}


def command(folder, *words):
    begin = [
        sys.executable,
        "-c",
        "from srnn_tf.command import main; main()",
        "bulk",
        "--model",
        NAME,
    ]
    return [*begin, "--input", f"{folder}/*.npz", "--output", f"{folder}/scores", *words]


WORKERS = ("--direct_num_workers", "2", "--direct_running_mode", "multi_processing")


def test_the_rows_of_a_batch(tmp_path):
    """What the pipeline runs, without it."""
    good, bad = make(tmp_path, 40, 1)
    scorer = bulk.Scorer(NAME)
    model = scorer.load_model()
    batch = [*good.values(), np.zeros([3, 5]), np.zeros(400, np.float32)]
    found = list(scorer.run_inference(batch, model))
    assert [row["error"] for row in found[-2:]] and len(found) == len(batch)
    expected = serving.Local(NAME).score(list(good.values()))
    scores = [row["log_likelihood"] for row in found[:-2]]
    np.testing.assert_allclose(scores, expected.log_likelihood, rtol=1e-4)


def test_mistakes(tmp_path, capsys, monkeypatch):
    words = ["--model", NAME, "--input", f"{tmp_path}/*.npz", "--output", f"{tmp_path}/scores"]
    with pytest.raises(SystemExit):
        app.main(["bulk", *words])
    missing = "*.npz matches no file" if bulk.beam is not None else "pip install 'srnn-tf[beam]'"
    assert missing in capsys.readouterr().err
    make(tmp_path, 1, 1)
    if bulk.beam is not None:
        (tmp_path / "scores-00000-of-00001.jsonl").write_text("")
        with pytest.raises(SystemExit):
            app.main(["bulk", *words])
        assert "an earlier run's rows would stay" in capsys.readouterr().err
        for more, message in (
            (["--direct_num_worker", "2"], "no option of Beam's DirectRunner: --direct_num_worker"),
            (["--runner", "directrunner", "--foo=1"], "no option of Beam's DirectRunner: --foo"),
            (["--direct_num_workers=2", "b.npz"], "unexpected 'b.npz': Beam's options begin with"),
            (["-x", "3"], "unexpected '-x'"),
            (["--direct_running_mode", "processes"], "invalid choice: 'processes'"),
        ):
            with pytest.raises(SystemExit):
                app.main(["bulk", *words, *more])
            error = capsys.readouterr().err
            assert message in error and error.count("\n") == 1
    monkeypatch.setattr(bulk, "beam", None)
    with pytest.raises(SystemExit):
        app.main(["bulk", *words])
    assert "pip install 'srnn-tf[beam]'" in capsys.readouterr().err


def test_in_process(tmp_path):
    pytest.importorskip("apache_beam")
    good, bad = make(tmp_path, 200, 4)
    subprocess.run(command(tmp_path), check=True, capture_output=True)
    check(tmp_path, good, bad)


def test_addresses_are_opened_by_beam(tmp_path):
    """By a file system of Beam's that is a folder of this machine."""
    pytest.importorskip("apache_beam")
    from apache_beam.io import localfilesystem

    class Disk(localfilesystem.LocalFileSystem):
        @classmethod
        def scheme(cls):
            return "disk"

        def match(self, patterns, limits=None):
            found = super().match([p.removeprefix("disk://") for p in patterns], limits)
            for one in (one for result in found for one in result.metadata_list):
                one.path = f"disk://{one.path}"
            return found

        def open(self, path, *args, **kwargs):
            return super().open(path.removeprefix("disk://"), *args, **kwargs)

    good, bad = make(tmp_path, 100, 2)
    words = ["--model", NAME, "--output", f"{tmp_path}/scores", "--input"]
    app.main(["bulk", *words, f"disk://{tmp_path}/*.npz"])
    assert {row["id"] for row in rows(tmp_path, "scores")} == {f"disk://{key}" for key in good}
    assert len(rows(tmp_path, "scores.dead")) == len(bad) == 1
    for where in ("disk:///nowhere/*.npz", "walk://a/*.npz"):
        with pytest.raises(SystemExit):
            app.main(["bulk", *words, where])


def test_names_that_are_no_utf8(tmp_path):
    """Their sequences are scored, and damaged files are dead letters; ids have escapes."""
    pytest.importorskip("apache_beam")
    good, _ = make(tmp_path, 6, 2)
    latin = os.fsencode(tmp_path) + b"/\xe9tude.npz"
    os.rename(tmp_path / "in1.npz", latin)
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.npz")).write_bytes(b"no arrays")
    app.main(["bulk", *words(tmp_path)])
    found = {row["id"] for row in rows(tmp_path, "scores")}
    assert found == {key.replace("in1.npz", "\\xe9tude.npz") for key in good}
    (dead,) = rows(tmp_path, "scores.dead")
    assert dead["id"] == f"{tmp_path}/\\xff.npz" and dead["error"].startswith(dead["id"])


def words(folder):
    return ["--model", NAME, "--input", f"{folder}/*.npz", "--output", f"{folder}/scores"]


def test_what_has_no_rows_has_all_files(tmp_path):
    pytest.importorskip("apache_beam")
    (tmp_path / "a.npz").write_bytes(b"no arrays")
    app.main(["bulk", *words(tmp_path)])
    assert whole(tmp_path) and not rows(tmp_path, "scores")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("output", ["", "scores/", "sc\udce9res", "nowhere/scores"])
def test_outputs_that_are_refused(tmp_path, output):
    pytest.importorskip("apache_beam")
    with pytest.raises((ValueError, FileNotFoundError)):
        bulk.score_files(NAME, ["a.npz"], output and f"{tmp_path}/{output}")
    assert not list(tmp_path.iterdir())


def test_a_device_or_a_link_is_not_replaced(tmp_path):
    pytest.importorskip("apache_beam")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "scores.complete").symlink_to(tmp_path / "nowhere")
    for name, message in (("fifo", "is a device, a FIFO"), ("scores", "scores.complete exists")):
        with pytest.raises(FileExistsError, match=message):
            bulk.score_files(NAME, ["a.npz"], f"{tmp_path}/{name}")
    assert len(list(tmp_path.iterdir())) == 2


def whole(folder):
    """Whether a job is complete; there are never rows without dead letters, nor half a job."""
    held = [len(list(folder.glob(f"scores{kind}-*.jsonl"))) for kind in ("", ".dead")]
    assert held[1] >= held[0], "rows without dead letters"
    mark = folder / "scores.complete"
    if not mark.exists():
        return False
    names = json.loads(mark.read_text())["files"]
    assert all(held) and all((folder / name).is_file() for name in names), "a marker without files"
    return True


def test_a_job_that_is_killed_while_its_files_appear(tmp_path):
    """Before the first rename, and after each."""
    pytest.importorskip("apache_beam")
    renamed = bulk.FileSystems.rename
    for moves in range(4):
        folder = tmp_path / str(moves)
        part = folder / ".scores.01234567.part"
        part.mkdir(parents=True)
        for name in ("rows", "dead"):
            (part / f"{name}-00000-of-00001.jsonl").write_text("{}\n")
        process = os.fork()
        if not process:
            left = iter(range(moves))

            def rename(*files, left=left):
                return renamed(*files) if next(left, None) is not None else os._exit(9)

            bulk.FileSystems.rename = rename
            bulk._publish(NAME, str(part), f"{folder}/scores")
            os._exit(0)
        os.waitpid(process, 0)
        assert whole(folder) == (moves == 3)
        if moves:
            with pytest.raises(FileExistsError, match="interrupted" if moves < 3 else "earlier"):
                bulk.score_files(NAME, ["a.npz"], f"{folder}/scores")
    with pytest.raises(ChildProcessError, match="wrote 0 files of dead"):
        bulk._publish(NAME, str(tmp_path / "0"), f"{tmp_path}/scores")


def test_a_job_that_fails_while_its_files_appear(tmp_path, monkeypatch):
    pytest.importorskip("apache_beam")
    part = tmp_path / "part"
    part.mkdir()
    for name in ("rows", "dead"):
        (part / f"{name}-00000-of-00001.jsonl").write_text("{}\n")
    renamed = bulk.FileSystems.rename

    def rename(sources, targets):
        if "complete" in targets[0]:
            raise OSError("no space")
        renamed(sources, targets)

    monkeypatch.setattr(bulk.FileSystems, "rename", rename)
    with pytest.raises(OSError, match="no space"):
        bulk._publish(NAME, str(part), f"{tmp_path}/scores")
    assert not list(tmp_path.glob("scores*"))


def test_what_killed_jobs_left_is_removed_and_what_others_need_is_not(tmp_path):
    abandoned = tmp_path / ".scores.01234567.part"
    abandoned.mkdir()
    (abandoned / "rows").write_text("")
    others = [tmp_path / ".scores.part", tmp_path / ".other.01234567.part"]
    for folder in others:
        folder.mkdir()
    with bulk._workplace(f"{tmp_path}/scores") as first:
        assert not abandoned.exists() and Path(first).is_dir()
        refused = pytest.raises(FileExistsError, match="another run is writing")
        with refused, bulk._workplace(f"{tmp_path}/scores"):
            pass
        assert Path(first).is_dir()
    assert sorted(tmp_path.iterdir()) == sorted(others)


@pytest.mark.slow
def test_twenty_kills(tmp_path):
    """At any time, and when the first file appears."""
    pytest.importorskip("apache_beam")
    make(tmp_path, 200, 4)
    begun = time.monotonic()
    subprocess.run(command(tmp_path), check=True, capture_output=True)
    seconds, held = time.monotonic() - begun, []
    assert whole(tmp_path)
    for trial in range(20):
        for path in tmp_path.glob("scores*"):
            path.unlink()
        process = subprocess.Popen(
            command(tmp_path), stderr=subprocess.DEVNULL, start_new_session=True
        )
        if trial % 2:
            time.sleep(seconds * (0.4 + 0.03 * trial))
        else:
            until = time.monotonic() + 10 * seconds
            while not list(tmp_path.glob("scores.*")) and time.monotonic() < until:
                time.sleep(1e-4)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        held.append(whole(tmp_path))
    print(f"{sum(held)} of 20 killed jobs were complete, in {seconds:.0f} s each")
    for path in tmp_path.glob("scores*"):
        path.unlink()
    subprocess.run(command(tmp_path), check=True, capture_output=True)
    assert whole(tmp_path) and not list(tmp_path.glob(".scores*"))


@pytest.mark.slow
def test_twenty_thousand_in_two_processes_and_one_killed(tmp_path):
    pytest.importorskip("apache_beam")
    good, bad = make(tmp_path, 20_000, 40)
    assert (len(good), len(bad)) == (19_800, 200)
    subprocess.run(command(tmp_path), check=True, capture_output=True)
    whole = check(tmp_path, good, bad)
    for path in tmp_path.glob("scores*"):
        path.unlink()
    subprocess.run(command(tmp_path, *WORKERS), check=True, capture_output=True)
    two = check(tmp_path, good, bad)
    np.testing.assert_allclose([two[k] for k in whole], list(whole.values()), rtol=1e-4)
    for path in tmp_path.glob("scores*"):
        path.unlink()
    # A worker killed midway changes nothing.
    log = (tmp_path / "log.txt").open("w")
    process = subprocess.Popen(command(tmp_path, *WORKERS), stderr=log, start_new_session=True)
    until = time.monotonic() + 120
    while not (found := beam_workers(process.pid)) and time.monotonic() < until:
        time.sleep(0.5)
    time.sleep(10)
    os.kill(found[0], signal.SIGKILL)
    assert process.wait(timeout=1200) == 0
    assert "the pipeline failed and is restarted" in (tmp_path / "log.txt").read_text()
    check(tmp_path, good, bad)
    assert not list(tmp_path.glob("beam-temp*"))


def beam_workers(session):
    """The worker processes of a run, by its session."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            mine = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[3]) == session
            if mine and b"python" in words[0] and b"sdk_worker_main" in b" ".join(words[:4]):
                found.append(int(folder.name))
    return found
