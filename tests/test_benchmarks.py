"""The cases of the benchmarks build, at small sizes, and the contenders are the same models."""

import itertools
import json
import math
import types

import numpy as np
import pytest

from benchmarks import (
    cases,
    contenders,
    first_use,
    flops,
    input_pipeline,
    lowered,
    related,
    rounding,
    table7,
    train_step,
    turns,
)
from srnn_tf.recipes import midi
from tests import harness

SMALL = {"batch": 2, "scale": 12}


def trainable(model):
    return sum(math.prod(v.shape) for v in model.trainable_variables)


@pytest.mark.parametrize("name", cases.CASES)
def test_contenders_have_the_same_parameters(name):
    torch = pytest.importorskip("torch")
    case = cases.get(name, **SMALL)
    theirs = contenders.in_torch(case)
    lstms = [m for m in theirs.modules() if isinstance(m, torch.nn.LSTM)]
    # PyTorch has two bias vectors where we have one.
    second = sum(4 * m.hidden_size * m.num_layers for m in lstms)
    count = sum(p.numel() for p in theirs.parameters())
    assert trainable(contenders.ours(case)) == count - second > 0


# The paper's code; its mixtures of one component have logits, which ours and PyTorch's here lack.
PAPER = {
    "f_rnn_speech": 17_412_912,
    "f_srnn_speech": 17_525_848 - (200 * 825 + 200),
    "rnn_hier_speech": 17_275_736,
    "srnn_hier_speech": 17_248_352 - (200 * 660 + 200),
    "f_rnn_midi": 571_736,
    "f_srnn_midi": 2_280_792,
    "delta_rnn_random_midi": 706_648,
    "rnn_hier_midi": 1_865_217,
    "srnn_hier_midi": 3_047_937,
}


@pytest.mark.parametrize("name", PAPER)
def test_sizes_are_those_of_the_paper(name):
    pytest.importorskip("torch")
    model = contenders.in_torch(cases.CASES[name])
    assert sum(p.numel() for p in model.parameters()) == PAPER[name]


@pytest.mark.parametrize("name", [n for n in cases.CASES if n.endswith("_midi")])
def test_music_is_that_of_the_recipes(name):
    case = cases.CASES[name]
    assert (case.structure, case.emission) == midi.MODELS[name.removesuffix("_midi")]


@pytest.mark.parametrize("name", cases.CASES)
def test_pytorch_trains_scores_and_samples(name):
    pytest.importorskip("torch")
    case = cases.get(name, **SMALL)
    step = contenders.training("torch", case)
    assert step() != step()
    score = contenders.scoring("torch", case)().numpy()
    assert score.shape == (2,) and np.isfinite(score).all()
    drawn = contenders.sampling("torch", case)().numpy()
    assert drawn.size == math.prod(case.shape) and np.isfinite(drawn).all()


@pytest.mark.parametrize(
    "name", [n for n, case in cases.CASES.items() if case.binary and not case.flat]
)
def test_densities_of_pytorch_sum_to_one(name):
    torch = pytest.importorskip("torch")
    case = cases.CASES[name]
    emission = {**case.emission, "event_size": 4, "split_size": 2, "units": 6}
    structure = {**case.structure, "units": 5, "embedding_size": 3, "latent_size": 2}
    from benchmarks import torch_models

    model = torch_models.build(structure, emission).eval()
    frames = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4)))[None]
    context = torch.randn(1, 1, 5).expand(1, 16, 5)
    with torch.inference_mode():
        total = model.emission(context, frames).exp().sum().item()
    assert total == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("name", [n for n, c in cases.CASES.items() if "keras" in c.contenders])
def test_stock_keras_builds(name):
    case = cases.get(name, **SMALL)
    model = contenders.stock_keras(case, *case.steps())
    assert trainable(model) == trainable(contenders.ours(case))


def test_bfloat16_is_that_of_both_layers_without_xla():
    model = contenders.ours(cases.get("rnn_hier_midi", **SMALL), bfloat16=True)
    dtypes = {model.structure.compute_dtype, model.emission.compute_dtype}
    assert dtypes == {"bfloat16"} and not model.xla


def test_ours_scores_and_samples():
    case = cases.get("f_rnn_midi", **SMALL)
    assert contenders.scoring("ours", case)().shape == (2,)
    assert contenders.sampling("ours", case)().shape == case.shape


def test_arithmetic_of_an_update():
    for name, case in cases.CASES.items():
        assert flops.training(case) > 0, name
    single = cases.get("f_rnn_midi", batch=1, frames=1)
    embedding, recurrence, head = 88 * 256, 512 * 4 * 256, 256 * 88
    assert flops.training(single) == 6 * (embedding + recurrence + head)
    # Without dropout a value is never embedded: the first layer multiplies by its state alone.
    flat = cases.get("rnn_flat_speech", batch=1, frames=1)
    assert flops.training(flat) == 6 * 200 * (3 * 1100 * 4 * 1100 + 1100 * 60)


def test_rows_of_the_tables():
    full = {"ours": 2.0, "ours_bf16": 1.0, "keras": 6.0, "torch": 3.0}
    ratios = {"keras": 3.0, "torch": 1.5, "best": 3.0}
    found = {"seconds": full, "ratios": ratios, "peak_mb": full}
    line = train_step.row("name", found, work=10**9, rate=1.0)
    assert line.split(" | ")[1:9] == "2.0000 1.0000 6.0000 3.0000 3.00 1.50 3.00 50%".split()
    nothing = {"seconds": {}, "ratios": {}, "peak_mb": {}}
    columns = line.count("|")
    assert train_step.row("name", nothing, 1, 1.0).count("|") == columns
    assert {case for case, *_ in table7.MODELS.values()} <= set(cases.CASES)
    with pytest.raises(SystemExit, match="no such case: f_rnn; there are"):
        turns.chosen("f_rnn_midi,f_rnn")


@pytest.fixture
def music(tmp_path):
    """Small files of the two data sets of related models."""
    for file in related.FILES.values():
        harness.write_mat(tmp_path / file)
    return tmp_path


def related_rows(capsys, music, *words):
    where = ["--data", str(music), "--out", str(music / "runs"), "--edition", "any"]
    related.main([*where, *words])
    lines = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()]
    return [cells for cells in lines if len(cells) == 8 and cells[1] in related.FILES]


def test_related_models_are_trained_once_and_scored(music, capsys, monkeypatch):
    for part in related.EM:
        monkeypatch.setitem(related.EM, part, {"sweeps": 1})
    rows = related_rows(capsys, music, "--rows", "hmm_em")
    assert [row[:5] for row in rows] == [
        ["hmm_em", part, "EM, 256 states", "88,320", "exact"] for part in related.FILES
    ]
    for row in rows:
        low, high = map(float, row[6].split(" to "))
        assert -60.0 < low < float(row[5]) < high < 0.0
    monkeypatch.setattr(related, "fit_em", None)  # which is not called again
    assert [row[:7] for row in related_rows(capsys, music, "--rows", "hmm_em")] == [
        row[:7] for row in rows
    ]
    with pytest.raises(SystemExit):
        related_rows(capsys, music, "--rows", "hmm_me")
    assert "unknown `rows` 'hmm_me'. Did you mean 'hmm_em'?" in capsys.readouterr().err


@pytest.mark.slow
def test_related_models_that_are_recipes(music, capsys):
    rows = related_rows(capsys, music, "--rows", "hmm", "--sets", "jsb", "--updates", "2")
    assert len(rows) == 1 and rows[0][2:5] == ["gradient, 256 states", "88,320", "exact"]


def test_rounding_of_a_model_and_itself(monkeypatch, capsys):
    splits = types.SimpleNamespace(train=harness.rolls((9, 7, 8, 9)))
    monkeypatch.setattr(rounding.data, "load", lambda name: splits)
    rounding.main(["--models", "f_rnn_jsb", "--ulps", "0,4", "--updates", "3"])
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if "f_rnn" in line]
    none, four = ([float(cell.strip("| ")) for cell in row[2:]] for row in rows)
    assert none == [0.0] * 4 and all(1e-8 < difference < 1e-5 for difference in four[:3])
    assert four[3] < 1e-5
    with pytest.raises(SystemExit):
        rounding.main(["--models", "f_rnn_jbs", "--updates", "1"])
    assert "f_rnn_jbs" in capsys.readouterr().err


def test_the_input_pipeline_at_a_small_size(tmp_path, capsys):
    pytest.importorskip("soundfile")
    input_pipeline.decoding(tmp_path, seconds=1.0)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6 and all(float(line.split("|")[3]) > 1 for line in lines[2:])
    input_pipeline.chapters(tmp_path / "tree", hours=0.005, minutes_each=0.1)
    input_pipeline.preparing(tmp_path, hours=0.005, workers=1)
    found = capsys.readouterr().out
    assert "prepared in" in found and float(found.split("process ")[1].split()[0]) > 100
    own, whole = input_pipeline.memory()
    assert 0 < own < whole


def test_a_lowered_update_gives_back_all_that_it_changes(tmp_path):
    lowered.write("F-SRNN", tmp_path, scale=12)
    held = json.loads((tmp_path / "F-SRNN.json").read_text())
    case, (rows, frames), _ = table7.MODELS["F-SRNN"]
    case = cases.get(case, batch=rows, frames=frames, scale=12)
    assert tuple(held["shape"]) == case.shape
    weights = [i for i, is_weight in enumerate(held["weights"]) if is_weight]
    shapes = [held["variables"][i][0] for i in weights]
    assert sum(math.prod(shape) for shape in shapes) == trainable(contenders.ours(case))
    # Two arguments are the batch; the loss is the first result.
    assert {i + 2 for i in weights} <= {int(p) for p in held["alias"]}
    assert (
        len(set(held["alias"].values())) == len(held["alias"]) and min(held["alias"].values()) > 0
    )


def test_a_lowered_update_runs_under_jax(tmp_path):
    pytest.importorskip("jax")
    lowered.write("F-RNN", tmp_path, scale=12)
    held = json.loads((tmp_path / "F-RNN.json").read_text())
    program = lowered.portable((tmp_path / "F-RNN.stablehlo").read_bytes())
    times = lowered.seconds_per_update(program, held, 0.0)
    assert len(times) == lowered.LEAST and min(times) > 0.0


@pytest.mark.parametrize(
    "job", ["score", *(pytest.param(j, marks=pytest.mark.slow) for j in ("sample", "step"))]
)
def test_first_uses_are_timed(job):
    seconds = first_use.work(job, "f_rnn_bach", scale=20)
    lengths = first_use.LENGTHS if job == "score" else ()
    assert set(seconds) == {"import", "load", job, *lengths} <= set(first_use.COLUMNS)
    assert all(wall > 0.0 and processor >= 0.0 for wall, processor in seconds.values())


def test_the_least_seconds_count():
    rounds = [{"load": (3.0, 1.0)}, {"load": (2.0, 2.0), "step": (5.0, 4.0)}]
    assert first_use.least(rounds) == {"load": (2.0, 1.0), "step": (5.0, 4.0)}
