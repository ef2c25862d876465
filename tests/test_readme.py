"""The README's examples run, in the order in which they stand."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.slow
def test_python_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) == 3
    scope = {}
    for block in blocks:
        exec(compile(block, str(README), "exec"), scope)  # our own text, nothing from outside
    assert scope["nats"].shape == (1,) and float(scope["nats"][0]) < 0
    assert {"music.mid", "waves.keras", "latents.png"} <= {p.name for p in tmp_path.iterdir()}
