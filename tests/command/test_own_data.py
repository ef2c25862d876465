"""A folder of files becomes a model that is scored, sampled and exported; one handle for all."""

import csv
import dataclasses
import hashlib
import io
import json
import shutil

import numpy as np
import pytest

from srnn_tf import command, data, recipes, zoo
from srnn_tf.experiments import provenance, runs
from srnn_tf.zoo import artifacts, store
from tests import corpora

SMALL = {"units": 6, "embedding_size": 5}
# modality: what `data prepare` is called with, a maker of files, the recipe with the sizes, where
# the model is drawn to.
MODALITIES = {
    "pianoroll": ("pianoroll", corpora.own_midi, "f_rnn_bach", "out.mid"),
    "speech": ("speech", corpora.own_audio, "f_rnn_speech_commands", "out.wav"),
    "handwriting": ("handwriting", corpora.own_strokes, "f_rnn_unipen", "out.png"),
}


@dataclasses.dataclass
class Own:
    kind: str
    source: object
    prepared: object
    run: object
    picture: str

    @property
    def file(self):
        """One of the user's files, not an array, which is scored as it is."""
        return [p for p in sorted(self.source.rglob("*")) if p.is_file()][-1]


def small(recipe):
    emission = recipe.emission
    if isinstance(emission.get("likelihood"), dict):
        emission = {**emission, "likelihood": {**emission["likelihood"], "num_components": 2}}
    structure = {**recipe.structure, **SMALL}
    return dataclasses.replace(recipe, structure=structure, emission=emission, batch_size=2)


@pytest.fixture(scope="module", autouse=True)
def small_recipes():
    with pytest.MonkeyPatch.context() as patch:
        for *_, name, _ in MODALITIES.values():
            patch.setitem(recipes.RECIPES, name, small(recipes.get(name)))
        patch.setattr(runs, "EPOCH", 2)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """By modality: the files, prepared and trained on, once."""
    known = {}

    def make(kind):
        if kind not in known:
            corpus, write, _, picture = MODALITIES[kind]
            folder = tmp_path_factory.mktemp(kind)
            write(folder / "files")
            words = ["--source", folder / "files", "--out", folder / "prepared"]
            words += ["--frame-size", 40] if kind == "speech" else []
            call("data", "prepare", corpus, *words)
            train(folder / "prepared", folder / "mine")
            known[kind] = Own(kind, folder / "files", folder / "prepared", folder / "mine", picture)
        return known[kind]

    return make


def call(*words):
    command.main([str(word) for word in words])


def train(prepared, out, *words, model=("f_rnn",)):
    call("train", *model, "--data", prepared, "--out", out, "--steps", 4, *words)


def fails(capsys, *words):
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        call(*words)
    assert stopped.value.code == 2
    return capsys.readouterr().err


def scores(capsys, *words):
    capsys.readouterr()
    call("score", *words)
    rows = csv.DictReader(io.StringIO(capsys.readouterr().out))
    return [float(row["log_likelihood"]) for row in rows]


def contents(folder):
    return {
        p: (hashlib.sha256(p.read_bytes()).hexdigest(), p.stat().st_mtime_ns)
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


@pytest.mark.parametrize("kind", MODALITIES)
def test_three_commands(kind, made, capsys, tmp_path, monkeypatch):
    own = made(kind)
    before = contents(own.run)
    monkeypatch.chdir(tmp_path)
    (score,) = scores(capsys, own.run, own.file)
    assert np.isfinite(score)
    call("sample", own.run, "--steps", 8, "--out", own.picture)
    assert (tmp_path / own.picture).stat().st_size > 40
    call("info", own.run)
    text = capsys.readouterr().out
    assert f"{kind}, " in text and "4 of " in text and "nats per" in text
    call("info", own.run, "--json")
    assert json.loads(capsys.readouterr().out)["data"]["kind"] == kind
    call("export", own.run, ".")
    (exported,) = scores(capsys, "mine", own.file)  # the newest version of the folder
    assert exported == pytest.approx(score, rel=2e-3)
    opened = zoo.open(tmp_path / "mine" / "1")
    assert (opened.name, opened.source, opened.folder.name) == ("mine", "export", "1")
    assert opened.card["data"]["kind"] == kind
    assert opened.standardization == zoo.open(own.run).standardization
    assert contents(own.run) == before  # a reader changes nothing


@pytest.mark.sampled(2)
@pytest.mark.parametrize("kind", MODALITIES)
def test_a_keras_file(kind, made, capsys, tmp_path):
    own = made(kind)
    opened = zoo.open(own.run)
    model = opened.load()
    model.save(tmp_path / "net.keras")
    frames = np.asarray(model.sample(1, 6, seed=0))[0]
    np.save(tmp_path / "frames.npy", frames)
    expected = scores(capsys, own.run, tmp_path / "frames.npy")
    assert scores(capsys, tmp_path / "net.keras", tmp_path / "frames.npy") == expected
    call("info", tmp_path / "net.keras")
    assert "not known" in capsys.readouterr().out
    if kind == "pianoroll":
        assert len(scores(capsys, tmp_path / "net.keras", own.file)) == 1
    else:
        # Its scores would be of numbers in other units.
        error = fails(capsys, "score", tmp_path / "net.keras", own.file)
        assert "does not say how its data were standardized" in error
    call("export", tmp_path / "net.keras", tmp_path)
    again = scores(capsys, tmp_path / "net" / "1", tmp_path / "frames.npy")
    assert again == pytest.approx(expected, rel=2e-3)


def test_an_interrupted_run_repeats_the_uninterrupted_one(made, tmp_path, monkeypatch):
    own = made("pianoroll")
    saved = runs.save_weights

    def killed(model, path, run=None):
        saved(model, path, run)
        if path.name.startswith("checkpoint"):
            raise KeyboardInterrupt

    monkeypatch.setattr(runs, "save_weights", killed)
    with pytest.raises(SystemExit):
        train(own.prepared, tmp_path / "again")
    monkeypatch.setattr(runs, "save_weights", saved)
    assert runs.Run.open(str(tmp_path / "again")).updates() == 2
    train(own.prepared, tmp_path / "again")
    first, second = (runs.Run.open(str(f)) for f in (own.run, tmp_path / "again"))
    for run in (first, second):
        assert run.updates() == 4 and run.recipe.name == "f_rnn_pianoroll"
    pairs = zip(*(artifacts.weights(r.best_model()).values() for r in (first, second)), strict=True)
    assert all((np.asarray(a) == np.asarray(b)).all() for a, b in pairs)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("handle", ["run", "keras", "export"])
def test_fine_tune(handle, made, tmp_path, capsys):
    own = made("pianoroll")
    first = zoo.open(own.run)
    source = {"run": own.run, "keras": tmp_path / "net.keras", "export": tmp_path / "mine"}[handle]
    if handle == "keras":
        first.load().save(source)
    elif handle == "export":
        call("export", own.run, tmp_path)
    train(own.prepared, tmp_path / "tuned", "--from", source, "--no-test", model=())
    run = runs.Run.open(str(tmp_path / "tuned"))
    model = "f_rnn" if handle == "run" else "own"  # files do not name the recipe
    assert run.recipe.name == f"{model}_tuned_pianoroll"
    assert run.recipe.learning_rate == pytest.approx(1e-4)
    begun = run.read_json(provenance.BEGUN)
    assert begun["from"] == {"run": "mine", "keras": "net", "export": "mine"}[handle]
    pairs = zip(
        artifacts.weights(first.load()).values(),
        artifacts.weights(run.best_model()).values(),
        strict=True,
    )
    assert all(np.abs(np.asarray(a) - np.asarray(b)).max() < 1e-3 for a, b in pairs)
    # The same command again goes on; another source is another run.
    train(own.prepared, tmp_path / "tuned", "--from", source, "--no-test", model=())
    assert "ended at step 4 of 4" in capsys.readouterr().out
    assert "holds another run" in fails(
        capsys, "train", "f_rnn", "--data", own.prepared, "--out", tmp_path / "tuned"
    )


def test_what_does_not_fit_cannot_be_fine_tuned(made, tmp_path, capsys):
    music, speech = made("pianoroll"), made("speech")
    words = ["train", "--out", tmp_path / "new", "--steps", "1"]
    assert "modality speech; --from" in fails(
        capsys, *words, "--from", music.run, "--data", speech.prepared
    )
    call("data", "prepare", "speech", "--source", speech.source, "--out", tmp_path / "other")
    assert "frame size 200; --from" in fails(
        capsys, *words, "--from", speech.run, "--data", tmp_path / "other"
    )
    assert "needs --data" in fails(capsys, *words, "--from", music.run)
    assert "leave f_srnn out" in fails(
        capsys, *words, "f_srnn", "--from", music.run, "--data", music.prepared
    )
    assert not (tmp_path / "new").exists()


def test_publish_to_a_zoo_of_ones_own(made, tmp_path, capsys, monkeypatch):
    own, root = made("pianoroll"), tmp_path / "zoo"
    monkeypatch.setattr(store, "_registered", [])
    run = shutil.copytree(own.run, tmp_path / "run")
    from srnn_tf.experiments import baselines

    monkeypatch.setattr(baselines, "all_of", lambda splits: {"none": -1e9})
    call("evaluate", run)  # which remembers where its data are
    assert "--name must be" in fails(capsys, "publish", run, "--root", root, "--name", "Mine!")
    call("publish", run, "--root", root, "--name", "my_tunes")
    assert sorted(p.name for p in (root / "my_tunes").iterdir()) == ["1", "README.md"]
    assert [p.name for p in root.iterdir()] == ["my_tunes"]  # no pages of the checkout
    monkeypatch.setenv("SRNN_TF_ZOO", str(root))
    capsys.readouterr()
    call("list")
    assert "my_tunes" in capsys.readouterr().out
    opened = zoo.open("my_tunes")
    assert opened.source == "name" and opened.card["definition"]["name"] == "f_rnn_pianoroll"
    assert len(scores(capsys, "my_tunes", own.file)) == 1
    call("evaluate", "my_tunes", "--data", own.prepared)
    printed = capsys.readouterr().out
    (value,) = {s["value"] for s in opened.card["test"]["full"].values()}
    assert f"the card: {value:.4f} nats per step, protocol full, exact" in printed
    call("publish", "my_tunes", "--root", root, "--again")
    assert zoo.open("my_tunes").card["version"] == 2
    train(own.prepared, tmp_path / "tuned", "--from", "my_tunes", "--no-test", model=())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["f_rnn"], "a model part, which is trained on data of your own: add --data"),
        (["f_rnnn", "--data", "{prepared}"], "Did you mean 'f_rnn'?"),
        (["f_rnn", "--data", "{source}"], "srnn-tf data prepare pianoroll --source"),
        (["f_rnn", "--data", "nowhere"], "--data=nowhere does not exist"),
        (["f_rnn_bach", "--data", "{prepared}"], "srnn-tf train f_rnn --data"),
        (["rnn_hierr", "--data", "{prepared}"], "unknown recipe or model part"),
        ([], "name a recipe or a model part"),
    ],
)
def test_what_cannot_be_trained(words, message, made, tmp_path, capsys):
    own = made("pianoroll")
    words = [w.format(prepared=own.prepared, source=own.source) for w in words]
    assert message in fails(capsys, "train", *words, "--out", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_model_part_of_another_modality_is_named(made, tmp_path, capsys):
    words = ["--data", made("speech").prepared, "--out", tmp_path / "new"]
    error = fails(capsys, "train", "rnn_hier_mlp", *words)
    assert "unknown model for data of the modality 'speech' 'rnn_hier_mlp'" in error
    assert "rnn_hier" in error and not (tmp_path / "new").exists()


@pytest.mark.parametrize("command_of", ["score", "info", "sample", "anomalies", "export"])
def test_what_is_no_model(command_of, made, tmp_path, capsys):
    own = made("pianoroll")
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "net.keras").write_text("no zip")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"")
    more = {"score": [own.file], "anomalies": [own.file], "export": [tmp_path], "info": []}
    more["sample"] = ["--out", tmp_path / "x.mid"]
    for handle, message in {
        "f_rnn_bachh": "Did you mean 'f_rnn_bach'?",
        tmp_path / "nothing": "no such file or folder exists either: accepted are",
        own.prepared: "but prepared data: accepted are",
        tmp_path / "notes.txt": "is no model: accepted are",
        tmp_path / "net.keras": "Keras cannot load it",
        tmp_path / "saved": "a SavedModel of another program",
        own.source: "holds no model: accepted are",
    }.items():
        assert message in fails(capsys, command_of, handle, *more[command_of])
    assert not (tmp_path / "x.mid").exists()


def test_open():
    opened = zoo.open("f_rnn_bach")
    assert opened.card == zoo.card("f_rnn_bach") and opened.source == "name"
    assert opened.folder == zoo.folder("f_rnn_bach") and opened.standardization is None
    assert zoo.open(opened) is opened
    exported = zoo.open(opened.folder)
    assert exported.card == opened.card and exported.source == "export"
    frames = data.load("bach").test[0][None]
    expected = opened.load().log_prob(frames)
    np.testing.assert_array_equal(exported.load().log_prob(frames), expected)
    with pytest.raises(ValueError, match="version=7 of f_rnn_bach does not exist"):
        zoo.open("f_rnn_bach", version=7)
    with pytest.raises(ValueError, match=f"version=7 of .*; there are {opened.folder.name}"):
        zoo.open(opened.folder.parent, version=7)
    with pytest.raises(ValueError, match="a model must be a name or a path; received 3"):
        zoo.open(3)  # ty: ignore[invalid-argument-type]
