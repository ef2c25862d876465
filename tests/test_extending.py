"""The page "Extending": its code runs as it stands, and what extensions cost is counted."""

import importlib
import re
import sys
from pathlib import Path

from srnn_tf import emissions, objectives, structures

ROOT = Path(__file__).parents[1]
PARTS = {
    "structure": "markov",
    "emission": "hidden_layer",
    "state space model": "average",
    "structure of bits": "coins",
    "emission without a partition function": "ising",
    "objective": "renyi",
    "modality and corpus": "switches",
    "recipe": "recipe",
}


def lines(path):
    """Those that are neither blank nor a comment."""
    found = (line.strip() for line in path.read_text("utf-8").splitlines())
    return sum(1 for line in found if line and not line.startswith("#"))


def test_the_code_of_the_page_runs(tmp_path, monkeypatch):
    """All of its blocks, in order, as one module."""
    text = (ROOT / "docs/extending.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 7
    (tmp_path / "page_of_extending.py").write_text("\n".join(blocks))
    monkeypatch.syspath_prepend(tmp_path)
    for registry in (structures.STRUCTURES, emissions.EMISSIONS, objectives.OBJECTIVES):
        for name in ("my_markov", "my_hidden_layer", "my_renyi", "my_average", "my_pairs"):
            monkeypatch.setitem(registry, name, None)  # taken away again when the test ends
            del registry[name]
    monkeypatch.setitem(sys.modules, "page_of_extending", None)
    del sys.modules["page_of_extending"]
    page = importlib.import_module("page_of_extending")
    assert page.scores.shape == (8,) and structures.STRUCTURES["my_markov"] is page.Markov


def test_the_costs_in_contributing_are_counted():
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    for part, name in PARTS.items():
        path = ROOT / "tests/extension" / f"{name}.py"
        assert f"| {part} | 1, `{name}.py` | {lines(path)} |" in text, (part, lines(path))
    assert {p.stem for p in (ROOT / "tests/extension").glob("[a-z]*.py")} == {*PARTS.values()}
    assert lines(ROOT / "tests/extension/renyi.py") < 30
