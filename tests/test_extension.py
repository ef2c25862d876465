"""The third party of `tests/extension`: checked, trained, saved, exported, loaded, refused."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from srnn_tf import (
    SequenceModel,
    command,
    data,
    emissions,
    objectives,
    recipes,
    structures,
    testing,
    zoo,
)
from srnn_tf.data import corpora, modality
from srnn_tf.density import SequenceDensity
from srnn_tf.serving import export
from tests import harness

FOLDER = Path(__file__).parent / "extension"
REGISTRIES = [
    structures.STRUCTURES,
    emissions.EMISSIONS,
    objectives.OBJECTIVES,
    recipes.RECIPES,
    modality.MODALITIES,
    corpora.CORPORA,
    corpora._MODULES,
]
STRUCTURE = {"class": "markov", "latent_size": 3, "hidden_size": 4}
EMISSION = {"class": "hidden_layer", "event_size": 3, "units": 4}


@pytest.fixture(scope="module", autouse=True)
def extension():
    """The modules, imported and registered until the tests of this file end."""
    before = [dict(registry) for registry in REGISTRIES]
    names = [f"tests.extension.{path.stem}" for path in FOLDER.glob("[a-z]*.py")]
    found = [importlib.import_module(name) for name in names]
    yield {module.__name__.rsplit(".", 1)[1]: module for module in found}
    for registry, content in zip(REGISTRIES, before, strict=True):
        registry.clear()
        registry.update(content)
    for name in names:
        del sys.modules[name]


def in_a_fresh_process(code, folder=None):
    root = str(Path(__file__).parents[1])
    env = os.environ | {"PYTHONPATH": root, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=env, capture_output=True, text=True, cwd=folder)


@pytest.fixture(scope="module")
def trained(extension):
    """A model of all four, after some updates."""
    keras.utils.set_random_seed(0)  # some initial weights score so well that 30 updates add little
    model = SequenceModel(STRUCTURE, EMISSION)
    model.compile(
        keras.optimizers.Adam(0.02), objective=extension["renyi"].Renyi(0.5, 4), jit_compile=False
    )
    frames = harness.toy(8, 6)
    before = model.evaluate(frames, verbose=0, return_dict=True)["bound"]
    model.fit(frames, batch_size=4, epochs=15, verbose=0)
    assert model.evaluate(frames, verbose=0, return_dict=True)["bound"] > before + 0.1
    model.xla = False
    return model


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    """A `.keras` file and an export of it."""
    path = tmp_path_factory.mktemp("extension")
    trained.save(path / "model.keras")
    export.export(trained, path / "1")
    return path


def test_the_structure_conforms(extension):
    testing.check_structure(lambda: extension["markov"].Markov(3, 4))


@pytest.mark.parametrize("likelihood", ["bernoulli", {"class": "gaussian_mixture"}])
def test_the_emission_conforms(extension, likelihood):
    testing.check_emission(lambda: extension["hidden_layer"].HiddenLayer(3, likelihood))


@pytest.mark.parametrize("likelihood", ["bernoulli", {"class": "gaussian_mixture"}])
def test_the_state_space_model_conforms(extension, likelihood):
    testing.check_structure(lambda: extension["average"].Average(3), saving=False)
    testing.check_emission(lambda: extension["average"].Features(3, likelihood), saving=False)


def average(event_size=3, units=2, **given):
    """A model whose emission reads 2 features of 3 values for its structure."""
    structure = {"class": "average", "size": units}
    emission = {"class": "features", "event_size": 3, "units": units}
    model = SequenceModel(structure, emission, event_size=event_size, **given)
    model.xla = False
    return harness.randomize(model)


@pytest.mark.parametrize("event_size", [3, 6])
def test_what_the_emission_reads_is_the_input_of_the_structure(event_size):
    """In whole sequences, in streams and in steps of sampling; frames of one step and of two."""
    model, frames = average(event_size), harness.toy(2, 4, width=event_size)
    together, states = model(frames)["log_likelihood"], model.initial_states(2)
    density, batch = model.density, model.density.batch(frames)
    read = np.tanh(batch.steps.numpy() @ model.emission.features.kernel.numpy())
    (first, a), m, found = model.structure.get_weights(), None, []
    state = density.initial_states(2)
    for t in range(read.shape[1]):
        weight = 1.0 / (1.0 + np.exp(-a))
        m = np.tile(first, [2, 1]) if m is None else weight * m + (1.0 - weight) * read[:, t - 1]
        trace, emitted = density.step(batch.previous[:, t], state, tf.zeros([2, 0]))
        np.testing.assert_allclose(trace.context[:, 0], m, rtol=1e-5)
        state = trace.states
        found.append(emitted.log_prob(batch.steps[:, t : t + 1])[:, 0])
    steps = density.sum_frames(tf.stack(found, axis=1))
    np.testing.assert_allclose(steps, together, rtol=1e-5)
    for t in range(4):
        nats, states = model.score_step(frames[:, t], states)
        np.testing.assert_allclose(nats, together[:, t], rtol=1e-5)
    assert model.sample(2, 3, seed=0, prefix=frames).shape == (2, 3, event_size)


def test_a_fresh_row_does_not_read_the_frame_before_it():
    """Nor in the windows of `paper`, which start anew; a row without steps stays fresh."""
    model, frames = average(window=2), harness.toy(2, 5)
    scores = [model(frames, previous=np.full_like(frames, v))["log_likelihood"] for v in (0.0, 1.0)]
    np.testing.assert_array_equal(scores[0][:, 0], scores[1][:, 0])
    assert np.all(scores[0][:, 1:] != scores[1][:, 1:])
    windows = [model.log_prob(frames[:, t : t + 2]) for t in (1, 3)]
    np.testing.assert_allclose(model.log_prob(frames, protocol="paper"), sum(windows), rtol=1e-5)
    mask = harness.lengths_mask([0, 3], 5)
    states = model.density.terms(model.density.batch(frames, mask=mask)).states
    np.testing.assert_array_equal(states["fresh"], [1.0, 0.0])


def test_gradients_pass_through_what_is_read():
    model, frames = average(), tf.constant(harness.toy(2, 4))
    kernel = model.emission.features.kernel
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(model.density.terms(model.density.batch(frames)).log_likelihood)
    gradient, value, found = tape.gradient(total, kernel.value), kernel.numpy(), []
    for sign in (1.0, -1.0):
        change = np.zeros_like(value)
        change[1, 0] = 0.01 * sign
        kernel.assign(value + change)
        found.append(sign * tf.reduce_sum(model(frames)["log_likelihood"]) / 0.02)
    np.testing.assert_allclose(gradient[1, 0], sum(found), rtol=1e-2)
    assert abs(gradient[1, 0]) > 0.01


@pytest.mark.parametrize("structure", ["vrnn", "srnn"])
def test_a_posterior_reads_the_frame_itself(structure):
    emission = {"class": "features", "event_size": 3, "units": 3}
    model = harness.randomize(SequenceModel(harness.structure_config(structure), emission))
    density, noise = model.density, harness.noise(2, 4, 3)
    batch = density.batch(harness.toy(2, 4))
    before = model.emission.read(batch.previous)
    trace = model.structure(before, targets=batch.steps, noise=noise)
    np.testing.assert_allclose(density.terms(batch, noise).kl, trace.kl, rtol=1e-5)
    np.testing.assert_allclose(density.latents(batch, noise)[0], trace.posterior_mean, rtol=1e-5)
    if not density.filtering:
        expected = model.structure.evidence(before, batch.steps)
        np.testing.assert_allclose(density.evidence(batch), expected, rtol=1e-5)


@pytest.mark.slow
def test_a_file_and_an_export_read_the_same(extension):
    testing.check_emission(lambda: extension["average"].Features(3), export=True)


def test_sizes_that_do_not_fit_what_is_read_are_refused():
    with pytest.raises(ValueError, match="the inputs of an average` must end in 2 values"):
        SequenceModel({"class": "average", "size": 2}, EMISSION)
    emission = {"class": "features", "event_size": 3, "units": 2}
    with pytest.raises(ValueError, match="must be one without latents, .* read 2 values of a step"):
        SequenceModel(STRUCTURE, emission)


def test_the_objective_conforms(extension):
    density = SequenceDensity(STRUCTURE, EMISSION)
    testing.check_objective(extension["renyi"].Renyi(0.5, 3), density)


def test_the_objective_lies_between_the_elbo_and_iwae(extension, trained):
    renyi, frames = extension["renyi"].Renyi, harness.toy(3, 5)
    scores = [trained.log_prob(frames, bound=renyi(alpha, 8)) for alpha in (0.0, 0.5, 0.99)]
    np.testing.assert_allclose(scores[0], trained.log_prob(frames, None, 8, bound="iwae"), 1e-5)
    assert np.all(scores[0] > scores[1]) and np.all(scores[1] > scores[2])


def test_compiled_by_xla_it_is_the_same(trained):
    frames = harness.toy(2, 4)
    eager = trained.log_prob(frames)
    trained.xla = True
    np.testing.assert_allclose(trained.log_prob(frames), eager, rtol=1e-5)
    trained.xla = False


def test_a_keras_file_gives_the_model_back(trained, folder):
    again = keras.saving.load_model(folder / "model.keras")
    assert again.objective == trained.objective
    frames = harness.toy(2, 4)
    again.xla = False
    np.testing.assert_array_equal(again.log_prob(frames), trained.log_prob(frames))


def test_an_export_scores_and_names_its_modules(folder):
    config = json.loads((folder / "1/assets.extra/config.json").read_text())["model"]
    assert config["structure"]["module"] == "tests.extension.markov"
    assert config["emission"]["module"] == "tests.extension.hidden_layer"
    score = tf.saved_model.load(str(folder / "1")).signatures["score"]
    frames = harness.toy(2, 4)
    found = score(frames=tf.constant(frames), length=tf.constant([4, 4]))["log_likelihood"]
    again = zoo.read(folder / "1")
    again.xla = False
    np.testing.assert_allclose(found, again.log_prob(frames), rtol=1e-4)


LOAD = {
    "export": "from srnn_tf import zoo; print(zoo.read('1').structure.latent_size)",
    "keras": "import keras, srnn_tf; "
    "print(keras.saving.load_model('model.keras').structure.latent_size)",
}


@pytest.mark.parametrize("kind", ["export", pytest.param("keras", marks=pytest.mark.slow)])
def test_a_fresh_process_must_import_the_modules(folder, kind):
    mine = "import tests.extension.markov, tests.extension.hidden_layer, tests.extension.renyi\n"
    done = in_a_fresh_process(mine + LOAD[kind], folder)
    assert done.returncode == 0 and done.stdout.strip() == "3", done.stderr[-2000:]
    done = in_a_fresh_process(LOAD[kind], folder)
    assert done.returncode == 1
    wanted = "the structure 'markov' is defined in the module 'tests.extension.markov', which is"
    assert wanted in done.stderr.replace("\\'", "'") and "import it first" in done.stderr


@pytest.mark.slow
def test_a_class_of_a_script_is_not_exported(tmp_path):
    code = """
from srnn_tf import SequenceModel, structures
from srnn_tf.serving import export
@structures.register("mine")
class Mine(structures.RNN):
    pass
model = SequenceModel({"class": "mine", "units": 2}, {"class": "factorized", "event_size": 2})
export.export(model, "1")
"""
    done = in_a_fresh_process(code, tmp_path)
    assert done.returncode == 1 and "move the class into a module of its own" in done.stderr
    assert not list(tmp_path.iterdir())


def test_recipes_that_are_refused(extension):
    good = recipes.get("markov_house")
    assert recipes.register(good) is good  # a module that is imported again
    for change, message in [
        ({"units": 3}, "the recipe 'markov_house' is registered already"),
        ({"name": "Markov house"}, "must be letters a to z, digits and _; received 'Markov house'"),
        ({"name": "markov"}, "must be MODEL_house, the data set last; received 'markov'"),
    ]:
        fields = {name: getattr(good, name) for name in good.__dataclass_fields__}
        wrong = {"steps": 1} if "units" in change else change
        with pytest.raises(ValueError, match=message):
            recipes.register(recipes.Recipe(**{**fields, **wrong}))
    with pytest.raises(ValueError, match="`recipe` must be a Recipe; received 'markov'"):
        recipes.register("markov")


@pytest.fixture(scope="module")
def prepared(extension, tmp_path_factory):
    """The data set, prepared from text files."""
    path, random = tmp_path_factory.mktemp("house"), np.random.default_rng(0)
    for i, part in enumerate(("train", "train", "valid", "test")):
        file = path / "source" / part / f"day{i}.bits"
        file.parent.mkdir(parents=True, exist_ok=True)
        rows = random.integers(0, 2, [20 + i, extension["switches"].WIDTH])
        file.write_text("\n".join("".join(map(str, row)) for row in rows))
    return data.prepare("house", path / "source", path / "prepared")


def test_the_data_set_is_read(prepared):
    splits = data.load("house", prepared)
    assert (splits.kind, splits.event_size) == ("switches", 4)
    assert [len(part) for part in (splits.train, splits.valid, splits.test)] == [2, 1, 1]


def test_a_command_trains_it(prepared, tmp_path):
    """The recipe, by name, in a process that knows of it from `--import` alone."""
    main = "from srnn_tf.command import main; main()"
    words = ["train", "markov_house", "--data", str(prepared), "--out", str(tmp_path / "run")]
    words += ["--steps", "2", "--validate-every", "2", "--import", "tests.extension.recipe"]
    done = in_a_fresh_process(f"import sys; sys.argv[1:] = {words!r}\n{main}")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "nats per step" in done.stdout and (tmp_path / "run/best.weights.h5").is_file()


@pytest.fixture(scope="module")
def published(prepared, tmp_path_factory):
    """The recipe, trained, evaluated and published by commands: the root, the run."""
    folder, module = tmp_path_factory.mktemp("zoo"), ["--import", "tests.extension.recipe"]
    run, root, where = str(folder / "run"), folder / "root", ["--data", str(prepared)]
    command.main(["train", "markov_house", "--out", run, *where, "--steps", "4", *module])
    words = ["--num-samples", "2", "--bounds-on", "1"]
    command.main(["evaluate", run, *where, *words, *module])
    command.main(["publish", run, "--root", str(root), *module])
    return root, run


@pytest.fixture
def house(published, monkeypatch):
    """The root of the published model, looked into by every process."""
    monkeypatch.setenv("SRNN_TF_ZOO", str(published[0]))
    return published[0]


@pytest.mark.slow
def test_its_card_and_page_say_what_it_is(house):
    card = zoo.card("markov_house")
    assert (card["data"]["kind"], card["floors"]) == ("switches", {})
    assert card["structure"]["module"] == "tests.extension.markov"
    assert set(card["test"]["full"]) == {"elbo", "iwae_2", "fivo_2"}
    page = (house / "markov_house" / "README.md").read_text()
    for text in (
        "    A deep Markov model.\n",
        "    p(x | h) = prod{ p(x_i | tanh(W h)) : i = 1, ..., D }, `units` wide.\n",
        "import srnn_tf\nimport tests.extension.markov\nimport tests.extension.hidden_layer\n",
        "Saying which switch is likely to be on. A score is",
    ):
        assert text in page, text


def test_commands_sample_and_score_it(house, tmp_path, capsys):
    module = ["--import", "tests.extension.recipe"]
    drawn, picture = tmp_path / "day.bits", tmp_path / "day.png"
    command.main(["sample", "markov_house", "--out", str(drawn), *module])
    rows = np.array([list(line) for line in drawn.read_text().split()], np.float32)
    np.testing.assert_array_equal(rows, zoo.load("markov_house").sample(1, 30, seed=0)[0])
    command.main(["sample", "markov_house", "--out", str(picture), *module])
    assert picture.stat().st_size > 500
    np.save(tmp_path / "day.npy", rows)
    capsys.readouterr()
    files = [str(drawn), str(tmp_path / "day.npy")]
    command.main(["score", "markov_house", *files, "--format", "jsonl", *module])
    scores = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    expected = float(zoo.load("markov_house").log_prob(rows[None])[0])
    assert [row["log_likelihood"] for row in scores] == pytest.approx([expected] * 2, rel=1e-4)
    assert {row["bound"] for row in scores} == {"ELBO"}
    command.main(["anomalies", "markov_house", str(drawn), "--quantile", "0.5", *module])
    assert "8 samples of the model" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        command.main(["score", "markov_house", str(picture), *module])
    assert "markov_house reads .bits, .npz, .npy" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command.main(["sample", "markov_house", "--out", str(tmp_path / "day.mid"), *module])
    assert "markov_house draws .bits, .png" in capsys.readouterr().err


@pytest.mark.slow
def test_commands_evaluate_list_and_export_it(house, published, prepared, tmp_path, capsys):
    module = ["--import", "tests.extension.recipe"]
    where = ["--data", str(prepared), "--num-samples", "2", "--bounds-on", "1"]
    command.main(["evaluate", "markov_house", *where, *module])
    assert "the card: " in capsys.readouterr().out
    command.main(["evaluate", published[1], *where, "--split", "train", *module])
    text = capsys.readouterr().out  # of two sequences, the bounds on one
    assert text.count("ELBO, 1 draw") == 4 and text.count("FIVO-2, no interval, 1 seq") == 2
    for words, said in [
        (["info", "markov_house"], "switches, 4 values"),
        (["list"], "markov_house"),
        (["list", "--all", "--dataset", "house"], "markov     hidden_layer  by default"),
        (["export", "markov_house", str(tmp_path)], "markov_house/1"),
    ]:
        command.main([*words, *module])
        assert said in capsys.readouterr().out
    score = tf.saved_model.load(str(tmp_path / "markov_house/1")).signatures["score"]
    frames = harness.toy(2, 4)[..., [0, 1, 2, 0]]
    found = score(frames=tf.constant(frames), length=tf.constant([4, 4]))["log_likelihood"]
    np.testing.assert_allclose(found, zoo.load("markov_house").log_prob(frames), rtol=1e-4)


def test_a_command_without_the_module_says_so(house, tmp_path):
    main = "from srnn_tf.command import main; main()"
    words = ["sample", "markov_house", "--out", str(tmp_path / "day.bits")]
    done = in_a_fresh_process(f"import sys; sys.argv[1:] = {words!r}\n{main}")
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: markov_house is of the modality 'switches', which is not reg")
    words += ["--import", "tests.extension.recipe"]
    done = in_a_fresh_process(f"import sys; sys.argv[1:] = {words!r}\n{main}")
    assert done.returncode == 0, done.stderr[-2000:]
    assert len((tmp_path / "day.bits").read_text().split()) == 30


def test_a_module_that_cannot_be_imported_is_a_mistake(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "needs_more.py").write_text("import there_is_no_such_thing")
    for module, message in [
        ("no_module_of_mine", "No module named 'no_module_of_mine'"),
        ("needs_more", "No module named 'there_is_no_such_thing'"),
    ]:
        for words in (["train", "markov_house", "--out", "run"], ["info", "f_rnn_bach"]):
            with pytest.raises(SystemExit) as stopped:
                command.main([*words, "--import", module])
            error = capsys.readouterr().err
            assert stopped.value.code == 2
            assert error == f"error: --import {module}: {message}\n"
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".py"] == ["needs_more.py"]


def test_every_command_but_bulk_imports(capsys):
    for name in command.app.commands:
        parts = getattr(command.app.commands[name], "commands", {"": None})
        for part in parts:
            command.main([name, *filter(None, [part]), "--help"])
            assert ("--import MODULE" in capsys.readouterr().out) == (name != "bulk"), name


def test_the_structure_of_bits_conforms(extension):
    testing.check_structure(lambda: extension["coins"].Coins(3), saving=False)


def test_the_emission_without_a_partition_function_conforms(extension):
    testing.check_emission(lambda: extension["ising"].Ising(3))


def test_a_transition_of_another_distribution_is_told(extension):
    class Wrong(extension["ising"].Ising):
        def call(self, context, temperature=1.0, key=None):
            made = super().call(context, temperature, key)
            right = made.transition
            made.transition = lambda x, uniform, beta=1.0: right(x, uniform, beta - 8.0)
            return made

    emissions.EMISSIONS["wrong"] = Wrong
    with pytest.raises(AssertionError, match="leaves p_b invariant"):
        testing.check_emission(lambda: Wrong(3), saving=False)
