"""Weights and cards without a server: in the package, in distributions, beside foreign folders."""

import ast
import json
import os
import shutil
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import pytest

from srnn_tf import command, zoo
from srnn_tf.experiments import checkout
from srnn_tf.zoo import artifacts, store
from zoo import wheels

PACKAGE = Path(store.__file__).parents[1]
NAME = store.EMBEDDED[0]
VERSION = str(zoo.card(NAME)["version"])
PUBLISHED = store.published()
VERSIONS = [(n, int(v)) for n, entry in PUBLISHED.items() for v in entry.get("versions", ())]
# The package's `__init__` imports TensorFlow; what is below it need not.
LIGHT = """
import sys, types
for name in ("fcntl", "tensorflow", "keras", "tensorflow_probability", "tf_keras"):
    sys.modules[name] = None
package = types.ModuleType("srnn_tf"); package.__path__ = ["srnn_tf"]
sys.modules["srnn_tf"] = package
"""


@pytest.fixture
def no_weights(monkeypatch, tmp_path):
    """An installation with nothing in it but the package's cards."""
    monkeypatch.setattr(store, "_registered", [])
    monkeypatch.setattr(store, "_own", lambda: [tmp_path / "cache"])
    monkeypatch.setattr(store, "installed", lambda: [])
    monkeypatch.setenv("SRNN_TF_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SRNN_TF_ZOO", raising=False)
    monkeypatch.delenv("SRNN_TF_ZOO_URL", raising=False)


def test_the_package_has_the_cards_of_all_versions():
    files = {p.relative_to(store._CARDS).as_posix() for p in store._CARDS.rglob("*.json")}
    assert files == {f"{name}/{version}.json" for name, version in VERSIONS}
    for name, version in VERSIONS:
        path = checkout.ROOT / name / str(version) / "assets.extra" / artifacts.CARD
        assert (store._CARDS / name / f"{version}.json").read_bytes() == path.read_bytes()


def test_names_and_cards_need_no_weights(no_weights, capsys):
    assert zoo.names(published=True) == sorted(PUBLISHED)
    for name in PUBLISHED:
        assert zoo.card(name)["name"] == name
    assert zoo.card("f_rnn_iam_ondb")["stand_in"] is True
    command.main(["list"])
    command.main(["info", "f_rnn_jsb"])
    assert "f_srnn_bach" in (told := capsys.readouterr().out) and "570,712" in told
    with pytest.raises(OSError, match="f_rnn_jsb version .*pip install srnn-tf-models-music"):
        zoo.load("f_rnn_jsb")
    with pytest.raises(OSError, match="pip install srnn-tf-models-speech-rnn-hier`"):
        zoo.folder("rnn_hier_timit")


def test_a_damaged_card_of_the_package_is_noticed(no_weights, monkeypatch, tmp_path):
    shutil.copytree(store._CARDS / NAME, tmp_path / "cards" / NAME)
    monkeypatch.setattr(store, "_CARDS", tmp_path / "cards")
    path = tmp_path / "cards" / NAME / f"{VERSION}.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    with pytest.raises(ValueError, match=f"{path} is damaged"):
        zoo.card(NAME)


def test_names_and_cards_need_neither_tensorflow_nor_fcntl():
    script = """
from srnn_tf import zoo
assert len(zoo.names(published=True)) > 20 and zoo.card("f_rnn_bach")["parameters"] == 570_712
assert zoo.recommended() in zoo.names() and zoo.card("f_rnn_iam_ondb")["stand_in"]
"""
    done = subprocess.run(
        [sys.executable, "-c", LIGHT + script], cwd=PACKAGE.parent, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_no_module_imports_what_windows_has_not():
    """`filelock` imports it where there is one."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert not {"fcntl", "pwd", "grp", "resource", "termios"} & set(names), path


@pytest.fixture
def distribution(no_weights, tmp_path, monkeypatch):
    """An installed distribution with one model; its package's folder."""
    wheels.lay_out(
        "srnn-tf-models-one", {NAME: zoo.card(NAME)}, tmp_path / "project", checkout.ROOT
    )
    site = tmp_path / "project"
    about = site / "srnn_tf_models_one-0.1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: srnn-tf-models-one\n")
    (about / "entry_points.txt").write_text(f"[{store.GROUP}]\none = srnn_tf_models_one\n")
    monkeypatch.undo()
    monkeypatch.setattr(store, "_registered", [])
    monkeypatch.setattr(store, "_own", lambda: [tmp_path / "cache"])
    monkeypatch.setenv("SRNN_TF_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SRNN_TF_ZOO_URL", raising=False)
    monkeypatch.syspath_prepend(site)
    return site / "srnn_tf_models_one"


def test_an_installed_distribution_is_searched(distribution, tmp_path):
    (distribution / "__init__.py").write_text("raise SystemExit('it is not imported')")
    assert store.installed() == [distribution]
    assert zoo.folder(NAME) == distribution / NAME / VERSION
    assert zoo.load(NAME).sample(1, 3, seed=0).shape == [1, 3, 88]
    assert "srnn_tf_models_one" not in sys.modules
    text = (tmp_path / "project" / "README.md").read_text()
    assert "dependencies = []" in (tmp_path / "project" / "pyproject.toml").read_text()
    assert "may not be used for commercial uses" in text and f"| `{NAME}` | {VERSION} |" in text


def test_the_card_of_a_distribution_may_be_older_and_its_files_not_others(distribution):
    path = distribution / NAME / VERSION / "assets.extra" / artifacts.CARD
    card = json.loads(path.read_text())
    artifacts.write_card(path, {**card, "seeds": {"runs": [], "mean": -1.0}})
    assert zoo.card(NAME)["seeds"]["mean"] == -1.0
    config = path.with_name(artifacts.CONFIG)
    config.write_text(config.read_text() + " ")
    files = {**card["files"], "assets.extra/config.json": artifacts.sha256(config)}
    artifacts.write_card(path, {**card, "files": files})
    with pytest.raises(
        ValueError, match=f"is not {NAME} version {VERSION} as it was published: .*pip"
    ):
        zoo.load(NAME)


@pytest.mark.parametrize("value", ["nowhere_at_all", "srnn_tf.zoo", "json", "this:that"])
def test_an_entry_point_without_a_folder_is_skipped(value, distribution):
    points = distribution.parent / "srnn_tf_models_one-0.1.0.dist-info" / "entry_points.txt"
    points.write_text(points.read_text() + f"other = {value}\n")
    store._installed.cache_clear()
    if value == "json":  # a package, in which nothing has the name of a model
        assert len(store.installed()) == 2
    else:
        with pytest.warns(UserWarning, match=f"entry point 'other' .* is skipped: '{value}'"):
            assert store.installed() == [distribution]
    assert NAME in zoo.names(published=True)
    store._installed.cache_clear()


def test_distributions_are_small_and_have_all_models():
    plan = wheels.plan()
    held = {name: d for d, models in plan.items() for name in models}
    assert held == {
        n: store.distribution(zoo.card(n)) for n, e in PUBLISHED.items() if "versions" in e
    }
    assert {"srnn-tf-models-music", "srnn-tf-models-handwriting"} < set(plan)
    assert "srnn-tf-models-speech-rnn-hier" in plan
    for distribution, required in wheels.REQUIRED.items():
        assert {distribution, *required} <= set(plan)
    with pytest.raises(ValueError, match="unknown distribution 'srnn-tf-models-musc'. Did you"):
        wheels.build(["srnn-tf-models-musc"])


def test_who_installs_music_has_nottingham_too(tmp_path):
    music, (nottingham,) = "srnn-tf-models-music", wheels.REQUIRED["srnn-tf-models-music"]
    wheels.lay_out(music, {NAME: zoo.card(NAME)}, tmp_path, checkout.ROOT)
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text())["project"]
    assert project["dependencies"] == [f"{nottingham}=={project['version']}"]
    assert store.distribution(zoo.card("f_rnn_nottingham")) == nottingham
    assert wheels.required([music]) == [music, nottingham] == wheels.required([music, nottingham])


def test_a_wheel_that_is_too_large_is_none(monkeypatch, tmp_path):
    monkeypatch.setattr(wheels, "MOST", 10**6)
    monkeypatch.setattr(wheels, "plan", lambda root: {"srnn-tf-models-one": {NAME: zoo.card(NAME)}})
    with pytest.raises(
        ValueError, match="models-one has .* bytes; accepted are less than 1,000,000"
    ):
        wheels.build(out=tmp_path / "dist")
    assert not (tmp_path / "dist").exists()


def test_a_foreign_folder_is_skipped_with_a_warning(no_weights, tmp_path, monkeypatch, capsys):
    root = tmp_path / "root"
    shutil.copytree(checkout.ROOT / NAME, root / "my_model")
    (root / "my_model" / VERSION / "assets.extra" / artifacts.CARD).unlink()
    shutil.copytree(root / "my_model" / VERSION, root / "flat")
    (root / "notes").mkdir()
    monkeypatch.setenv("SRNN_TF_ZOO", str(root))
    with pytest.warns(UserWarning) as told:
        names = zoo.names(published=True)
    assert names == sorted(PUBLISHED)
    assert [str(w.message).split(" is skipped")[0] for w in told] == [
        str(root / "flat"),
        str(root / "my_model"),
    ]
    shutil.copytree(checkout.ROOT / NAME, root / "named_otherwise")  # with another name's card
    with pytest.warns(UserWarning, match=f"named_otherwise is skipped: .* its name is '{NAME}'"):
        command.main(["list"])
    assert NAME in (out := capsys.readouterr().out) and "my_model" not in out
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match="unknown model 'my_model'"):
            zoo.load("my_model")


@pytest.mark.slow
def test_a_wheel_from_the_source_distribution_has_the_default(tmp_path):
    """Built, unpacked, and loaded with no checkout; the same with a distribution of models."""
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns("build", "*.egg-info", ".*", "tests", "benchmarks")
    shutil.copytree(PACKAGE.parent, source, ignore=ignored)
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path / "dist", source],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    (models,) = wheels.build(["srnn-tf-models-handwriting"], tmp_path / "dist")
    site = tmp_path / "site"
    for file in (wheel, models):
        shutil.unpack_archive(file, site, "zip")
    script = """
from srnn_tf import zoo
for name in ("f_rnn_bach", "f_srnn_unipen", "f_rnn_iam_ondb"):
    print(zoo.folder(name), zoo.load(name).sample(1, 3, seed=0).shape)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site), "SRNN_TF_CACHE": str(tmp_path / "cache")},
    )
    assert done.returncode == 0, done.stderr
    version = zoo.folder("f_rnn_bach").name
    assert done.stdout.splitlines() == [
        f"{site}/srnn_tf/zoo/embedded/f_rnn_bach/{version} (1, 3, 88)",
        f"{site}/srnn_tf_models_handwriting/f_srnn_unipen/1 (1, 3, 3)",
        f"{site}/srnn_tf_models_handwriting/f_rnn_unipen/1 (1, 3, 3)",
    ]
