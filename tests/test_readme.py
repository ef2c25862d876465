"""The README's examples run, in the order in which they stand."""

import re
from pathlib import Path

import pytest

from srnn_tf import command
from tests import corpora as mini

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.slow
def test_python_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) == 7
    scope = {}
    mini.own_audio(tmp_path / "my_recordings", seconds=12.0)
    command.main("data prepare audio --source my_recordings --out prepared/mine".split())
    for block in blocks:
        exec(compile(block, str(README), "exec"), scope)  # our own text, nothing from outside
    assert scope["nats"].shape == (1,) and float(scope["nats"][0]) < 0
    assert {"sound.wav", "music.mid", "waves.keras", "latents.png"} <= {
        p.name for p in tmp_path.iterdir()
    }
