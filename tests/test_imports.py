"""Which module may import which, and calls that the package must not make, read from the source."""

import ast
from pathlib import Path

import pytest

import srnn_tf

PACKAGE = Path(srnn_tf.__file__).parent
# A row imports only rows above it: CONTRIBUTING.md says what each holds.
ROWS = """core likelihoods structures emissions density objectives data training inference model
    convert recipes plots zoo serving testing experiments app command""".split()
# The two axes of a model never import each other; what is below may import both.
APART = ("structures", "emissions")
# The same of the folders of `data`; from left to right, each imports only those before it.
DATA = ("formats", "modality", "batching", "corpora", "prepared")
OUTSIDE = {"zoo", "benchmarks", "tests", "torch"}
FORBIDDEN = (
    "tf.keras", "tensorflow.keras", "tensorflow.python", "tf_keras", "tfp.layers",
    "tensorflow_probability.layers", "keras.layers.Dropout", "keras.random", "tf.random.normal",
    "tf.random.uniform", "tf.random.set_seed", "tf.nn.dropout", "pickle.load", "pickle.loads",
    "pickle.Unpickler", "eval", "exec",
)  # fmt: skip
# Keras has `model.export`: the one call that goes from a row to one below it, when it is called.
CALLED = {("model", "serving")}
ALLOWED = {("data/formats/pianoroll.py", "pickle.Unpickler")}  # the base of a restricted one


def module_name(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(p): p for p in sorted(PACKAGE.rglob("*.py"))}
PARTS = {name.split(".")[1] for name in SOURCES if "." in name}


def imports(source):
    """Dotted names of all imports; `from a import b` gives `a.b`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def dotted(node):
    """`a.b.c` of an attribute chain on a name, else None."""
    if isinstance(node, ast.Name):
        return node.id
    value = dotted(node.value) if isinstance(node, ast.Attribute) else None
    return value and f"{value}.{node.attr}"


def violations(source):
    """Forbidden names that a source imports or uses."""
    used = {dotted(n) for n in ast.walk(ast.parse(source))} | set(imports(source))
    return sorted(
        f for f in FORBIDDEN if any(u == f or (u or "").startswith(f + ".") for u in used)
    )


def imported(part):
    """Top-level parts of the package that the modules of one part import."""
    own = [p for name, p in SOURCES.items() if name.split(".")[1:2] == [part]]
    names = {name for path in own for name in imports(path.read_text("utf-8"))}
    return {n.split(".")[1] for n in names if n.startswith("srnn_tf.")} - {part}


@pytest.mark.parametrize("part", sorted(PARTS))
def test_imports_point_one_way(part):
    assert part in ROWS, "a new folder: give it a row"
    above, used = set(ROWS[: ROWS.index(part)]), imported(part)
    used -= {below for above_it, below in CALLED if above_it == part}
    assert used <= above, f"{part} imports {sorted(used - above)}, which are below it"
    if part in APART:
        assert not used & set(APART)


@pytest.mark.parametrize("name", SOURCES)
def test_a_module_uses_nothing_that_is_forbidden(name):
    source = SOURCES[name].read_text("utf-8")
    path = SOURCES[name].relative_to(PACKAGE).as_posix()
    assert [v for v in violations(source) if (path, v) not in ALLOWED] == []
    names = set(imports(source))
    assert not {n.split(".")[0] for n in names} & OUTSIDE
    # Anything but a module, and a bare `import srnn_tf`, would hide where it comes from.
    own = [n.split(".") for n in names if n.split(".")[0] == "srnn_tf"]
    assert all(len(n) > 1 and n[1] in PARTS for n in own)


@pytest.mark.parametrize("folder", DATA)
def test_folders_of_data_import_those_before_them(folder):
    own = [p for name, p in SOURCES.items() if name.split(".")[1:3] == ["data", folder]]
    names = {n for path in own for n in imports(path.read_text("utf-8"))}
    parts = {n.split(".")[2] for n in names if n.startswith("srnn_tf.data.")}
    assert own and parts <= {*DATA[: DATA.index(folder) + 1]}


@pytest.mark.parametrize(("part", "below"), CALLED)
def test_what_a_call_alone_imports(part, below):
    tree = ast.parse((PACKAGE / f"{part}.py").read_text("utf-8"))
    named = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and below in str(n.module)]
    assert len(named) == 1 and named[0] not in tree.body


def test_imports_are_seen():
    assert {"core", "likelihoods"} <= imported("emissions")
    assert {"density", "objectives", "training", "inference"} <= imported("model")


def test_few_modules_lie_loose():
    loose = {p.stem for p in PACKAGE.glob("*.py")} - {"__init__"}
    assert len(loose) <= 8, loose


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import tensorflow as tf\nx = tf.keras.layers.Dense(3)", "tf.keras"),
        ("from tensorflow.keras import layers", "tensorflow.keras"),
        ("from tensorflow import keras", "tensorflow.keras"),
        (
            "def f():\n    from tensorflow_probability import layers",
            "tensorflow_probability.layers",
        ),
        ("x = tf.random.normal([3])", "tf.random.normal"),
        ("layer = keras.layers.Dropout(0.5)", "keras.layers.Dropout"),
        ("from keras.layers import Dropout", "keras.layers.Dropout"),
        ("x = pickle.load(file)", "pickle.load"),
        ("from pickle import loads", "pickle.loads"),
        ("x = eval('1')", "eval"),
    ],
)
def test_forbidden_names_are_found(source, found):
    assert violations(source) == [found]


@pytest.mark.parametrize(
    "source", ["tf.random.stateless_uniform", "model.eval()", "keras.layers.Dense", "'tf.keras'"]
)
def test_other_names_are_not(source):
    assert violations(source) == []


def test_tests_mirror_the_folders():
    """Of each row a folder (or a file, if it is a module); what is beside them has its own name."""
    tests = Path(__file__).parent
    folders = {p.name for p in tests.iterdir() if any(p.glob("test_*.py"))}
    loose = {p.stem.removeprefix("test_") for p in tests.glob("test_*.py")}
    assert folders <= {*ROWS, "docs"}  # that of the site
    assert {r for r in ROWS if r not in folders | loose} <= {
        "density",
        "convert",
    }  # test_model, test_golden
