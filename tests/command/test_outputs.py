"""What a command writes is no input, no device is replaced, and an empty path is no folder."""

import os
import stat

import numpy as np
import pytest

from srnn_tf import command, zoo
from srnn_tf.data.prepared.preparation import prepare

NAME = "f_rnn_bach"


def error_of(capsys, *words):
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        command.main([str(word) for word in words])
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    return error, stopped.value.code


@pytest.fixture
def rolls(tmp_path):
    """A file to score, and other names of it."""
    frames = np.zeros([1, 4, 88], np.float32)
    frames[:, :, 40] = 1.0
    np.savez(tmp_path / "rolls.npz", frames=frames)
    (tmp_path / "link.npz").symlink_to("rolls.npz")
    os.link(tmp_path / "rolls.npz", tmp_path / "hard.npz")
    return tmp_path / "rolls.npz"


@pytest.mark.parametrize("name", ["rolls.npz", "link.npz", "hard.npz", "../{}/rolls.npz"])
def test_an_output_is_no_input(name, rolls, tmp_path, capsys):
    before = rolls.read_bytes()
    out = tmp_path / name.format(tmp_path.name)
    error, status = error_of(capsys, "score", NAME, rolls, "--output", out)
    assert f"--output={out} is the input {rolls}; name another file" in error and status == 2
    for words in ([rolls], [tmp_path / "none.npz", "--reference", rolls]):
        (tmp_path / "rolls.png").unlink(missing_ok=True)
        picture = tmp_path / "rolls.png"
        picture.symlink_to(out)
        error, _ = error_of(capsys, "anomalies", NAME, *words, "--out", picture)
        assert f"--out={picture} is the input {rolls}" in error
    assert rolls.read_bytes() == before


def test_scores_go_through_links_and_devices(rolls, tmp_path, capsys):
    (tmp_path / "target.csv").write_text("old")
    (tmp_path / "target.csv").chmod(0o640)
    (tmp_path / "out.csv").symlink_to("target.csv")
    command.main(["score", NAME, str(rolls), "--output", str(tmp_path / "out.csv")])
    assert (tmp_path / "out.csv").is_symlink()
    assert (tmp_path / "target.csv").read_text().startswith("file,sequence,steps")
    assert stat.S_IMODE((tmp_path / "target.csv").stat().st_mode) == 0o640
    command.main(["score", NAME, str(rolls), "--output", "/dev/null"])
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    error, status = error_of(capsys, "score", NAME, rolls, "--output", "/dev/full")
    assert "cannot write /dev/full: No space left on device" in error and status == 1


@pytest.mark.parametrize(
    ("suffix", "words"), [("mid", ["--steps", "8"]), ("png", ["--steps", "8"])]
)  # fmt: skip
def test_samples_go_through_links(suffix, words, tmp_path):
    out, target = tmp_path / f"a.{suffix}", tmp_path / "target"
    out.symlink_to("target")
    command.main(["sample", NAME, *words, "--out", str(out)])
    assert out.is_symlink() and target.stat().st_size > 50
    assert {p.name for p in tmp_path.iterdir()} == {out.name, "target"}


EMPTY = (
    ["score", NAME, "ROLLS", "--output", ""],
    ["sample", NAME, "--out", ""],
    ["anomalies", NAME, "ROLLS", "--out", ""],
    ["export", NAME, ""],
    ["train", NAME, "--out", ""],
    ["train", NAME, "--out", "x", "--data", ""],
    ["train", NAME, "--out", "x", "--begin-with", ""],
    ["evaluate", ""],
    ["publish", "x", "--root", ""],
    ["publish", "--keep", ""],
    ["publish", "--restore", "x", "--out", ""],
    ["data", "prepare", "bach", "--out", ""],
    ["data", "info", ""],
    ["bulk", "--model", NAME, "--input", "x", "--output", ""],
)


@pytest.mark.parametrize("words", EMPTY, ids=lambda words: " ".join(words))
def test_an_empty_path_is_refused(words, rolls, tmp_path, monkeypatch, capsys):
    (tmp_path / "working").mkdir()
    monkeypatch.chdir(tmp_path / "working")
    error, status = error_of(capsys, *[str(rolls) if w == "ROLLS" else w for w in words])
    assert "must not be empty; received ''" in error and status == 2
    assert not list((tmp_path / "working").iterdir())


def test_prepare_needs_the_name_of_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="out='' must name the folder to create"):
        prepare("bach", None, "")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["file", "link", "fifo"])
def test_an_export_replaces_nothing(place, tmp_path, capsys):
    (tmp_path / NAME).mkdir()
    version = zoo.folder(NAME).name
    target = tmp_path / NAME / version
    {"file": target.touch, "link": lambda: target.symlink_to("nowhere"),
     "fifo": lambda: os.mkfifo(target)}[place]()  # fmt: skip
    error, status = error_of(capsys, "export", NAME, tmp_path, "--version", version)
    assert "published versions are never replaced" in error and status == 2
    assert os.listdir(tmp_path / NAME) == [version]
