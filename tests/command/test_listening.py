"""The examples of docs/listening.md run, in the order in which they stand."""

import re
import shlex
from pathlib import Path

import pytest

from srnn_tf import command

PAGE = (Path(__file__).parents[2] / "docs" / "listening.md").read_text("utf-8")


@pytest.mark.slow
def test_commands_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = re.findall(r"^    srnn-tf (.*)", PAGE, re.M)
    assert len(lines) == 3
    for line in lines:
        command.main(shlex.split(line))
    written = {"chorale.mid", "chorale.wav", "more-1.mid", "more-2.mid", "more-3.mid"}
    assert {path.name for path in tmp_path.iterdir()} == written


def test_python_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scope = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block, "docs/listening.md", "exec"), scope)  # our own text
    assert scope["more"].shape == (32, 88) and scope["frames"].shape[1] == 200
    for shown in ("preview", "spoken"):
        assert "<audio" in scope[shown]._repr_html_()
