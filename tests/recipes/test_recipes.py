"""The table of recipes: every row of the paper's tables, each whole."""

import dataclasses
import json
import math
import re

import numpy as np
import pytest

from srnn_tf import SequenceModel, command, data, emissions, objectives, recipes, structures, zoo
from srnn_tf.experiments import evaluate, listing, runs

MIDI = ("bach", "nottingham", "muse", "jsb", "piano_midi")
SPEECH = ("timit", "perm_timit", "vctk", "blizzard", "speech_commands", "perm_speech_commands")
HANDWRITING = ("iam_ondb", "unipen")
LATENT = "storn vrnn fraccaro_srnn zforcing zforcing_no_aux".split()
TABLES = "f_rnn f_srnn delta_rnn_random rnn_flat srnn_flat rnn_hier srnn_hier".split()
CORES = [f"{m}{end}" for m in ("transformer", "tcn", "lru", "lru_srnn") for end in ("", "_mlp")]
SETTINGS = {
    # data set: batch, updates, unit, as in the paper
    "timit": (32, 40_000, "sequence"),
    "perm_timit": (32, 40_000, "sequence"),
    "vctk": (128, 80_000, "sample"),
    "blizzard": (128, 160_000, "8,000 samples"),
    "muse": (16, 20_000, "step"),
    "nottingham": (16, 20_000, "step"),
    "iam_ondb": (32, 20_000, "sequence"),
}


def models(dataset):
    """The names of the models that a data set has recipes of."""
    if dataset in HANDWRITING:
        return [m for m in TABLES if "delta" not in m and "flat" not in m] + LATENT
    of_music = "rnn_hier_mlp srnn_hier_mlp hmm rnn_nade dmm dmm_mlp dkf rnn_rbm rtrbm tsbn kvae"
    more = [*of_music.split(), *CORES] if dataset in MIDI else []
    more += ["lgssm", "kvae"] if dataset == "speech_commands" else []
    return TABLES + LATENT + ["delta_rnn_interleave"] + more


def test_names():
    datasets = MIDI + SPEECH + HANDWRITING
    wanted = {f"{model}_{dataset}" for dataset in datasets for model in models(dataset)}
    wanted |= {f"{model}_{dataset}_transposed" for dataset in MIDI for model in models(dataset)}
    wanted |= {f"{model}_music" for model in ("f_rnn", "rnn_hier_mlp", "srnn_hier_mlp", "rnn_nade")}
    assert set(zoo.names()) == wanted and zoo.names() == sorted(wanted)
    assert all(re.fullmatch("[a-z0-9]+(_[a-z0-9]+)+", name) for name in zoo.names())


@pytest.mark.parametrize("name", zoo.names())
def test_every_recipe_is_whole(name):
    recipe = recipes.get(name)
    plain = name.removesuffix("_transposed")
    assert recipe.name == name and plain == f"{recipe.model}_{recipe.dataset}"
    assert recipe.transpose == (6 if plain != name or recipe.dataset == "music" else 0)
    assert recipe.dataset in data.names()
    json.dumps(dataclasses.asdict(recipe))
    structure, emission = structures.get(recipe.structure), emissions.get(recipe.emission)
    assert (emission.event_size == 1) == ("flat" in name)
    assert recipe.event_size % emission.event_size == 0
    exact = ("f_rnn", "rnn_", "delta_rnn", "hmm", "rtrbm", "lgssm", "transformer", "tcn", "lru")
    assert (structure.latent_size == 0) == (name.startswith(exact) and "srnn" not in name)
    low = type(emission) is emissions.AutoregressiveRNN
    assert recipe.cpu_dtype == ("mixed_bfloat16" if low else "float32")
    assert recipe.loss_per == ("value" if recipe.dataset in SPEECH else "step")
    assert recipe.learning_rate > recipe.final_learning_rate > 0 and recipe.clipnorm > 0
    assert min(recipe.window or 1, recipe.batch_size, recipe.steps) > 0
    assert (recipe.window is None) == (recipe.dataset in HANDWRITING)
    objectives.KLSchedule(**recipe.kl_schedule)


@pytest.mark.parametrize("dataset", MIDI)
def test_a_transposed_recipe_is_the_plain_one_but_for_that(dataset):
    for model in models(dataset):
        plain, other = (recipes.get(f"{model}_{dataset}{end}") for end in ("", "_transposed"))
        changed = dict(name=other.name, transpose=6, reported=None)
        assert dataclasses.replace(plain, **changed) == other


@pytest.mark.parametrize("dataset", SETTINGS)
def test_settings_of_the_paper(dataset):
    for model in models(dataset):
        recipe = recipes.get(f"{model}_{dataset}")
        assert (recipe.batch_size, recipe.steps, recipe.unit) == SETTINGS[dataset]


@pytest.mark.parametrize("dataset", MIDI)
def test_cores_read_no_more_than_a_training_window(dataset):
    window = recipes.get(f"tcn_{dataset}").window
    assert structures.get(recipes.get(f"tcn_{dataset}").structure).receptive_field <= window
    assert structures.get(recipes.get(f"transformer_{dataset}").structure).window == window
    for core in CORES:
        emission = recipes.get(f"{core}_{dataset}").emission["class"]
        assert emission == ("masked_mlp" if core.endswith("_mlp") else "factorized")


@pytest.mark.parametrize("name", [n for n in zoo.names() if re.match("f_srnn|(lru_)?srnn_", n)])
def test_every_srnn_has_both_structures(name):
    recipe = recipes.get(name)
    assert next(iter(recipe.candidates.values())) == recipe.structure
    found = {k: structures.get(config) for k, config in recipe.candidates.items()}
    assert type(found.pop("parallel")) is structures.ParallelSRNN
    costs = {(s.get_config()["alpha"], s.get_config()["beta"]) for s in found.values()}
    assert costs == {(a, b) for a in (0, 0.0025, 0.005) for b in (0, 0.0025, 0.005)}
    assert {s.latent_size for s in found.values()} == {recipe.structure["latent_size"]}


def test_only_srnns_have_candidates():
    assert not recipes.get("fraccaro_srnn_timit").candidates
    assert not recipes.get("f_rnn_timit").candidates


def test_a_candidate_is_built_and_an_unknown_one_named():
    model = zoo.build("f_srnn_unipen", candidate="zforcing_0.0025_0")
    config = model.structure.get_config()
    assert (config["alpha"], config["beta"]) == (0.0025, 0)
    with pytest.raises(ValueError, match="candidate of f_srnn_unipen 'zforcing_1_0'.*parallel"):
        zoo.build("f_srnn_unipen", candidate="zforcing_1_0")


def test_a_candidate_is_part_of_a_run(tmp_path):
    arguments = ("f_srnn_jsb", 10, 0, [1, 1, 1])
    run = runs.Run.create(tmp_path / "a", *arguments, candidate="zforcing_0_0.005")
    assert runs.Run.open(tmp_path / "a") == run
    with pytest.raises(ValueError, match="holds another run"):
        runs.Run.create(tmp_path / "a", *arguments)
    runs.Run.create(tmp_path / "b", *arguments)
    assert "candidate" not in json.loads((tmp_path / "b" / "run.json").read_text())
    with pytest.raises(ValueError, match="unknown candidate"):
        runs.Run.create(tmp_path / "c", *arguments, candidate="x")
    assert not (tmp_path / "c").exists()


def test_long_sentences_are_cut(monkeypatch):
    sequences = [np.zeros([2500, 3]), np.zeros([10, 3])]
    splits = data.Splits("unipen", *[sequences] * 3, "e", "s", kind="handwriting")
    monkeypatch.setattr(data, "load", lambda *_, **__: splits)
    cut = runs.load_data(recipes.get("f_rnn_unipen"), None, None)
    assert [len(s) for s in cut.test] == [1000, 1000, 500, 10]
    whole = runs.load_data(recipes.get("f_rnn_iam_ondb"), None, None)
    assert [len(s) for s in whole.train] == [2500, 10]


def test_scores_in_every_unit():
    structure = {"class": "rnn", "units": 3, "embedding_size": 2}
    emission = {"class": "factorized", "event_size": 2, "likelihood": "bernoulli"}
    model = SequenceModel(structure, emission, window=4)
    sequences = [np.ones([5, 2]), np.zeros([3, 2])]
    total = sum(float(model.log_prob(s[None])[0]) for s in sequences)
    found = {u: evaluate.score(model, sequences, unit=u) for u in ("step", "sequence", "sample")}
    assert found["step"] == pytest.approx(total / 8, rel=1e-5)
    assert found["sequence"] == pytest.approx(total / 2, rel=1e-5)
    assert found["sample"] == pytest.approx(total / 16, rel=1e-5)
    halves = evaluate.score(model, sequences, unit="8,000 samples")
    assert halves == pytest.approx(8000 * total / 16, rel=1e-5)
    # The first step of a sequence is not scored, nor counted, but a sequence counts.
    paper = sum(float(model.log_prob(s[None], protocol="paper")[0]) for s in sequences)
    counted = evaluate.score(model, sequences, "paper", unit="sample")
    assert counted == pytest.approx(paper / 12, rel=1e-5)
    with pytest.raises(ValueError, match="unit='second'.*step, sequence, sample"):
        evaluate.score(model, sequences, unit="second")


def test_the_list_is_of_all_recipes(capsys):
    command.main(["list", "--all"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [*recipes.RECIPES]
    command.main(["list", "--all", "--model", "srnn_hier", "--dataset", "unipen", "--parameters"])
    head, line = capsys.readouterr().out.splitlines()
    assert head.split()[0] == "name" and line.split()[0] == "srnn_hier_unipen"
    for word in ("parallel_srnn or zforcing", "masked_mlp", "ELBO", "32 x whole", "1,019,065"):
        assert word in line
    with pytest.raises(SystemExit):
        command.main(["list", "--all", "--dataset", "x"])
    assert "no recipe of model None for data set 'x'" in capsys.readouterr().err


def test_parameters_are_those_trained():
    model = zoo.build("f_rnn_jsb")
    count = sum(math.prod(v.shape) for v in model.trainable_variables)
    assert listing.parameters(recipes.get("f_rnn_jsb")) == f"{count:,}"
