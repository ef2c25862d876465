"""The pages of the site: their Python runs, their commands parse, their links lead to files."""

import importlib
import posixpath
import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import click
import numpy as np
import pytest

import srnn_tf
from srnn_tf import SequenceModel, command
from srnn_tf.data import corpora, modality
from tests import corpora as mini
from tests import pages

README = {"README.md": (pages.ROOT / "README.md").read_text("utf-8")}
ALL = pages.PAGES | README
# Pages whose code another test runs, which names them.
ELSEWHERE = {
    "docs/extending.md": "tests/test_extending.py",
    "docs/listening.md": "tests/command/test_listening.py",
}
LANGUAGES = {"python", "bibtex", "{toctree}", "{eval-rst}"}
WITH_CODE = [name for name, text in ALL.items() if pages.python(text) and name not in ELSEWHERE]
QUICK = ["docs/zoo.md"]


def small(event_size=4, structure="vrnn"):
    latents = {} if structure == "rnn" else {"latent_size": 2}
    return SequenceModel(
        {"class": structure, "units": 4, "embedding_size": 3, **latents},
        {"class": "factorized", "event_size": event_size},
    )


def of_data(folder, patch):
    mini.timit(folder / "TIMIT")
    command.main("data prepare timit --source TIMIT --out prepared/timit".split())
    patch.setattr(modality, "MODALITIES", dict(modality.MODALITIES))
    patch.setattr(corpora, "CORPORA", dict(corpora.CORPORA))
    patch.setattr(corpora, "_MODULES", dict(corpora._MODULES))
    emission = {"class": "factorized", "event_size": 200, "likelihood": "gaussian_mixture"}
    model = SequenceModel({"class": "rnn", "units": 4, "embedding_size": 3}, emission)
    model.compile(loss_per="value")
    return {"srnn_tf": srnn_tf, "model": model}


def of_keras(folder, patch):
    import keras
    import tensorflow as tf

    model = small()
    model.compile()
    optimizer = keras.optimizers.Adam()
    ragged = tf.ragged.constant([[[0.0] * 4] * 3, [[1.0] * 4] * 2], ragged_rank=1)
    return {
        "tf": tf,
        "model": model,
        "ragged": ragged,
        "optimizer": optimizer,
        "batches": [np.zeros([2, 3, 4], "float32")] * 2,
    }


def of_emissions(folder, patch):
    frames = np.stack([mini.roll(6, seed) for seed in range(3)]).astype("float32")
    return {"SequenceModel": SequenceModel, "srnn_tf": srnn_tf, "frames": frames}


def of_structures(folder, patch):
    """Its sections are of different models."""
    rolls = [mini.roll(12, seed) for seed in range(4)]
    x = np.zeros([2, 3, 4], "float32")
    linear = SequenceModel(
        {"class": "lgssm", "state_size": 2},
        {
            "class": "state_gaussian",
            "event_size": 4,
            "state_size": 2,
            "likelihood": {"class": "gaussian_mixture", "num_components": 1},
        },
    )
    return {
        "splits": SimpleNamespace(train=rolls[:3], valid=rolls[3:]),
        "x": np.stack(rolls[:2]).astype("float32"),
        "sections": {
            "linear_states": {"model": linear, "x": x, "observed": np.ones([2, 3], bool)},
            "bound=": {"model": small(), "x": x, "frame": x[:1, 0]},
        },
    }


def of_own_data(folder, patch):
    mini.own_midi(folder / "my_midi")
    command.main("data prepare pianoroll --source my_midi --out prepared/tunes".split())
    command.main("train f_rnn --data prepared/tunes --out runs/tunes --steps 2".split())
    return {}


def of_use(folder, patch):
    mini.own_audio(folder / "my_recordings", seconds=12.0)
    command.main("data prepare audio --source my_recordings --out prepared/mine".split())
    return {}


SETUPS = {
    "docs/data.md": of_data,
    "docs/emissions.md": of_emissions,
    "docs/keras.md": of_keras,
    "docs/own_data.md": of_own_data,
    "docs/structures.md": of_structures,
    "docs/use.md": of_use,
}


def run(name, scope):
    """Run the blocks in order. `sections` has what blocks with a text need before they run."""
    sections = scope.pop("sections", {})
    for block in pages.python(ALL[name]):
        for text in [text for text in sections if text in block]:
            scope |= sections[text]
        exec(compile(block, name, "exec"), scope)  # our own text, nothing from outside
    return scope


def marked(name):
    return pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow)


@pytest.mark.parametrize("name", [marked(n) for n in WITH_CODE if n != "docs/serving.md"])
def test_its_python_runs(name, tmp_path, monkeypatch):
    """All of its blocks, in the order in which they stand."""
    monkeypatch.chdir(tmp_path)
    setup = SETUPS.get(name, lambda folder, patch: {})
    scope = run(name, setup(tmp_path, monkeypatch))
    if name in ("README.md", "docs/use.md"):
        assert scope["nats"].shape == (1,) and float(scope["nats"][0]) < 0
    written = {
        "README.md": {"music.mid"},
        "docs/start.md": {"music.mid"},
        "docs/data.md": {"speech.wav"},
        "docs/use.md": {"sound.wav", "music.mid", "waves.keras", "latents.png"},
    }
    assert written.get(name, set()) <= {p.name for p in tmp_path.iterdir()}


@pytest.mark.slow
def test_the_python_of_serving_runs():
    pytest.importorskip("tensorflow_serving")
    substitute = importlib.import_module("benchmarks.substitute")
    name = "docs/serving.md"
    rolls = [mini.roll(6), mini.roll(4, seed=1)]
    with substitute.Server(substitute.newest(srnn_tf.zoo.folder("f_rnn_bach").parent)) as server:
        (block,) = pages.python(ALL[name])
        scope = {"roll": rolls[0], "another_roll": rolls[1]}
        block = block.replace('"localhost:8500"', f'"{server.grpc}"')
        exec(compile(block, name, "exec"), scope)
    assert scope["scores"].log_likelihood.shape == (2,)


def test_every_page_with_python_is_run():
    """A block in another kind of fence, which no test would run, is an error."""
    for name, text in ALL.items():
        for language, code in pages.fences(text):
            own = name.startswith("docs/tutorials/") and language.startswith("{code-cell}")
            assert language in LANGUAGES or own, f"{name}: ```{language}"
            if language == "python":
                compile(code, name, "exec")
    for name, test in ELSEWHERE.items():
        assert pages.python(ALL[name])
        assert posixpath.basename(name) in (pages.ROOT / test).read_text("utf-8")
    assert set(SETUPS) <= set(WITH_CODE) and set(QUICK) <= set(WITH_CODE)


def parsed(words):
    """Parse a command line as far as its options, without the values that they take."""
    found = command.app
    context = click.Context(found, info_name="srnn-tf")
    while isinstance(found, click.Group):
        while words[0].startswith("-"):  # `srnn-tf -v score`
            words = words[1:]
        found, words = found.get_command(context, words[0]), words[1:]
        assert found is not None, words
        context = click.Context(found, parent=context, **found.context_settings)
    found.make_parser(context).parse_args(list(words))
    return found.name


def test_the_commands_of_every_page_are_known():
    names = set()
    for name, text in ALL.items():
        for line in pages.commands(text):
            try:
                names.add(parsed(shlex.split(line)))
            except (click.ClickException, AssertionError) as error:
                raise AssertionError(f"{name}: srnn-tf {line}: {error}") from error
    assert {"sample", "score", "train", "prepare", "publish", "bulk", "anomalies"} <= names


def test_a_command_with_an_unknown_option_is_found():
    with pytest.raises(click.NoSuchOption):
        parsed(["sample", "f_rnn_bach", "--nothing", "1"])


def without_code(text):
    return re.sub(r"`[^`\n]*`", "", pages.FENCE.sub("", text))


@pytest.mark.parametrize("name", [n for n in ALL if re.search(r"\]\(", ALL[n])])
def test_links_lead_to_files(name):
    """As they are read on the page of the repository, where nothing is built."""
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(ALL[name])):
        path = link.partition("#")[0]
        if not path or "://" in link:
            continue
        file = posixpath.normpath(posixpath.join(posixpath.dirname(name), path))
        if Path(file).parts[1:2] and Path(file).parts[1] in pages.MADE:
            continue  # a page that the build makes, and checks
        assert (pages.ROOT / file).exists(), link


def test_the_readme_is_one_screen():
    text = README["README.md"]
    assert len(text.splitlines()) <= 60 and "![" in text
    assert {
        f"docs/{page}.md" for page in ("start", "concepts", "zoo", "extending", "paper")
    } <= set(re.findall(r"\]\(([^)#]+)\)", text))


def test_a_citation_has_the_version_and_the_paper():
    paper, package = (
        code for lang, code in pages.fences(ALL["docs/citing.md"]) if lang == "bibtex"
    )
    assert all(name in paper for name in ("Lai", "Dai", "Yang", "Yoo", "1902.01388"))
    assert f"version = {{{srnn_tf.__version__}}}" in package
