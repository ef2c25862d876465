"""The tutorials: executed notebooks, small, with nothing of a machine, that use public names."""

import ast
import importlib
import json
import re
import runpy

import pytest

from tests import pages

FOLDER = pages.DOCS / "tutorials"
NOTEBOOKS = {p.stem: p for p in sorted(FOLDER.glob("*.ipynb"))}
MOST = 600_000  # bytes of a notebook, with pictures and sound
SHELL = re.compile(r"^!(?:.*\\\n)*.*$", re.MULTILINE)
# Of a machine: a path, a user, a time, an address in memory.
PRIVATE = re.compile(
    r"(?<![\w.:/])/(?:home|root|tmp|usr|opt|var|work|Users|mnt)/|[A-Za-z]:\\|site-packages"
    r"|\b\d+(?:\.\d+)? ?(?:ms|s)/(?:step|epoch)|\bobject at 0x"
)
# Modules that the pages name: `from srnn_tf.structures.base import Trace`, `srnn_tf.experiments`.
DOCUMENTED = set(re.findall(r"srnn_tf(?:\.\w+)+", "\n".join(pages.PAGES.values())))
each = pytest.mark.parametrize("name", NOTEBOOKS)


def cells(name):
    notebook = json.loads(NOTEBOOKS[name].read_text("utf-8"))
    assert notebook["nbformat"] == 4
    return notebook["cells"]


def code(name):
    return ["".join(c["source"]) for c in cells(name) if c["cell_type"] == "code"]


def text_of(output):
    """What a reader can read of an output; pictures and sound are left out."""
    data = output.get("data", {})
    parts = [output.get("text", ""), data.get("text/plain", ""), data.get("text/html", "")]
    text = "".join("".join(p) for p in parts)
    return re.sub(r"base64,[A-Za-z0-9+/=\s]+", "", text)


def test_there_are_seven():
    assert len(NOTEBOOKS) == 7
    index = (FOLDER / "index.md").read_text("utf-8")
    toc = re.search(r"```\{toctree\}.*?```", index, re.DOTALL)[0]
    for name in NOTEBOOKS:
        assert f"]({name}.ipynb)" in index and re.search(rf"^{name}$", toc, re.MULTILINE), name


@each
def test_it_is_executed_in_order_and_without_errors(name):
    numbers = [c["execution_count"] for c in cells(name) if c["cell_type"] == "code"]
    assert numbers == list(range(1, len(numbers) + 1))
    outputs = [o for c in cells(name) for o in c.get("outputs", [])]
    assert outputs and all(o["output_type"] != "error" for o in outputs)
    assert all(o.get("name") != "stderr" for o in outputs)
    assert any("image/png" in o.get("data", {}) for o in outputs) or name == "serving"


@each
def test_it_is_small_and_has_nothing_of_a_machine(name):
    assert NOTEBOOKS[name].stat().st_size < MOST
    notebook = json.loads(NOTEBOOKS[name].read_text("utf-8"))
    assert notebook["metadata"] == runpy.run_path(str(FOLDER / "run.py"))["METADATA"]
    for cell in notebook["cells"]:
        assert set(cell["metadata"]) <= {"mystnb", "tags"}
        for text in ["".join(cell["source"]), *map(text_of, cell.get("outputs", []))]:
            assert not PRIVATE.search(text), text


@pytest.mark.parametrize(
    "text", ["/home/me/x.mid", "at /tmp/tmpab/a", "12ms/step", "<x object at 0x7f>", "C:\\x"]
)
def test_what_is_of_a_machine_is_found(text):
    assert PRIVATE.search(text)
    assert not PRIVATE.search(
        "nats/step, served/f_rnn_bach/1, p(x_t | x_<t), https://arxiv.org/abs"
    )


@each
def test_pictures_have_a_text(name):
    for cell in cells(name):
        if any("image/png" in o.get("data", {}) for o in cell.get("outputs", [])):
            assert cell["metadata"]["mystnb"]["image"]["alt"], "".join(cell["source"])


def python(source):
    """A cell as Python: without its lines for a shell, or the magic of a file."""
    return SHELL.sub("", re.sub(r"^%%writefile .*\n", "", source))


def public(module, name):
    """Whether a name is one that a module of ours gives to others."""
    found = importlib.import_module(module)
    return name in getattr(found, "__all__", dir(found)) or f"{module}.{name}" in DOCUMENTED


def private_names(source):
    """What a cell uses of us, and what starts with an underscore, that is not public."""
    tree, found = ast.parse(python(source)), []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and re.match(r"_(?!_)", node.attr):
            found.append(node.attr)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("srnn_tf"):
            names = [a.name for a in node.names]
            found += [f"{node.module}.{n}" for n in names if not public(node.module, n)]
        elif (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Attribute)
            and isinstance(node.value.value, ast.Name)
            and node.value.value.id == "srnn_tf"
            and not public(f"srnn_tf.{node.value.attr}", node.attr)
        ):
            found.append(f"srnn_tf.{node.value.attr}.{node.attr}")
    return found


@each
def test_it_uses_public_names(name):
    assert [private for source in code(name) for private in private_names(source)] == []


def test_a_private_name_is_found():
    assert private_names("from srnn_tf import zoo\nsrnn_tf.zoo.load('x')") == []
    assert private_names("model._scorer") == ["_scorer"]
    assert private_names("from srnn_tf.zoo import artifacts_") == ["srnn_tf.zoo.artifacts_"]
    assert private_names("srnn_tf.data.difflib.x") == ["srnn_tf.data.difflib"]


@pytest.mark.slow
@each
def test_it_runs(name):
    for module in ("nbclient", "ipykernel"):
        pytest.importorskip(module, reason=f"pip install -e '.[docs]': {module} is missing")
    runner = runpy.run_path(str(FOLDER / "run.py"))
    again = runner["run"](NOTEBOOKS[name], write=False)  # an error in a cell is raised
    kinds = [
        [[o["output_type"] for o in c.get("outputs", [])] for c in cells]
        for cells in (again.cells, cells(name))
    ]
    assert kinds[0] == kinds[1]


def test_of_a_terminal_the_last_text_is_stored():
    plain = runpy.run_path(str(FOLDER / "run.py"))["plain"]
    first = "\x1b[1m 1/50\x1b[0m \u2501 9s 177ms/step - loss: 2"
    last = "\x1b[1m50/50\x1b[0m \u2501 0s 9ms/step - loss: 1"
    text = f"Epoch 1\r\n{first}\r{last}\r\nreading \u2501 100% 0:00:08\r\nend"
    assert plain(text) == "Epoch 1\nloss: 1\nend\n"


@pytest.mark.slow
def test_a_command_that_fails_is_an_error(tmp_path):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    executed = runpy.run_path(str(FOLDER / "run.py"))["executed"]
    cells = [nbformat.v4.new_code_cell(source) for source in ("!exit 3", "1")]
    with pytest.raises(nbclient.exceptions.CellExecutionError) as stopped:
        executed(nbformat.v4.new_notebook(cells=cells), tmp_path)
    assert (stopped.value.ename, stopped.value.evalue) == ("AssertionError", "3")
