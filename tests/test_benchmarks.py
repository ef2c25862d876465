"""The cases of the benchmarks build, at small sizes, and the contenders are the same models."""

import io
import itertools
import json
import math
import re
import shutil
import time
import types
from pathlib import Path

import numpy as np
import pytest

from benchmarks import (
    anatomy,
    cases,
    contenders,
    first_use,
    flops,
    input_pipeline,
    lowered,
    memory,
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
    # PyTorch has two bias vectors where we have one.
    layers = (torch.nn.LSTM, torch.nn.LSTMCell)
    lstms = [m for m in theirs.modules() if isinstance(m, layers)]
    second = sum(4 * m.hidden_size * getattr(m, "num_layers", 1) for m in lstms)
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


@pytest.mark.parametrize("name", cases.CASES)
def test_an_update_of_pytorch_lowers_the_loss(name):
    torch = pytest.importorskip("torch")
    step = contenders.training("torch", cases.get(name, **SMALL))
    losses = []
    for _ in range(2):
        torch.manual_seed(1)  # the same dropout and latents
        losses.append(step())
    assert np.isfinite(losses).all() and losses[1] < losses[0]


RELATED = [name for name in cases.CASES if name.endswith(("_88", "_513"))]
# Paths of our weights, without the structure and its cell, and modules of PyTorch's.
MODULES = {"forward": "ahead", "factorized/dense": "emission.out", "embed/dense": "embed"}
LSTM = {"kernel": "weight_ih", "recurrent_kernel": "weight_hh", "bias": "bias_ih"}


def copy_weights(model, theirs):
    """Give PyTorch's parameters the values of ours; its second bias vectors are zero."""
    torch = pytest.importorskip("torch")
    for name, parameter in theirs.named_parameters():
        if "bias_hh" in name:
            parameter.data.zero_()
    chain = ("transition/", "posterior/") if "dmm" in str(type(model.structure)) else ()
    for weight in model.trainable_variables:
        path = re.sub(r"(factorized)_\d+", r"\1", weight.path)
        path = re.sub(r"^.*?/(?=factorized)|^[^/]*/[^/]*/(cell/)?", "", path, count=1)
        for part in (*chain, "/lstm_0"):
            path = path.replace(part, "")
        path, leaf = path.rsplit("/", 1)
        module = theirs.get_submodule(MODULES.get(path, path).replace("/", "."))
        if isinstance(module, torch.nn.LSTM):
            leaf = f"{LSTM[leaf]}_l0"
        elif isinstance(module, torch.nn.LSTMCell):
            leaf = LSTM[leaf]
        parameter = getattr(module, {"kernel": "weight"}.get(leaf, leaf))
        value = torch.from_numpy(weight.numpy().T.copy())
        assert parameter.shape == value.shape, path
        parameter.data.copy_(value)


@pytest.mark.parametrize("name", RELATED)
def test_related_models_of_pytorch_are_ours(name, monkeypatch):
    torch = pytest.importorskip("torch")
    case = cases.get(name, batch=2, frames=5, scale=12)
    frames, previous = case.batch()
    model, theirs = contenders.ours(case), contenders.in_torch(case).eval()
    noise = np.random.default_rng(1).standard_normal((2, 5, theirs.latent_size), np.float32)
    ours = model(frames, previous=previous, noise=noise)
    copy_weights(model, theirs)
    noise = torch.from_numpy(noise.swapaxes(0, 1).copy())
    turn = itertools.count()
    monkeypatch.setattr(torch, "randn_like", lambda x: noise if x.ndim == 3 else noise[next(turn)])
    x, y = (torch.from_numpy(a.swapaxes(0, 1).copy()) for a in (previous, frames))
    with torch.inference_mode():
        score, kl = (a.numpy().T for a in theirs(x, y))
    np.testing.assert_allclose(score, ours["log_likelihood"], rtol=1e-4)
    np.testing.assert_allclose(kl, ours["kl"], rtol=1e-3, atol=1e-4)


def test_related_models_of_music_are_those_of_the_recipes():
    for name, recipe in (("vrnn", "vrnn"), ("srnn", "fraccaro_srnn"), ("storn", "storn")):
        case = cases.CASES[f"{name}_88"]
        assert (case.structure, case.emission) == midi.MODELS[recipe]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vrnn_513", "storn_513"])
def test_pytorch_compiled_does_the_same(name):
    torch = pytest.importorskip("torch")
    if shutil.which("g++") is None:
        pytest.skip("torch.compile needs a C++ compiler")
    case = cases.get(name, batch=2, frames=3, scale=12)
    losses = {}
    with torch._inductor.config.patch(fallback_random=True):  # the draws of eager PyTorch
        for contender in contenders.TORCH:
            step = contenders.training(contender, case)
            torch.manual_seed(1)
            losses[contender] = [step() for _ in range(2)]
    np.testing.assert_allclose(losses["torch_compiled"], losses["torch"], rtol=1e-5)


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
    context = torch.randn(1, 1, flops.context(structure)).expand(1, 16, -1)
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
    full = {"ours": 2.0, "ours_bf16": 1.0, "keras": 6.0, "torch": 3.0, "torch_compiled": 4.0}
    ratios = {"keras": 3.0, "torch": 1.5, "torch_compiled": 2.0, "best": 3.0}
    found = {"seconds": full, "ratios": ratios, "peak_mb": full}
    line = train_step.row("name", found, work=10**9, rate=1.0)
    cells = "2.0000 1.0000 6.0000 3.0000 4.0000 3.00 1.50 2.00 3.00 50%".split()
    assert line.split(" | ")[1:11] == cells
    # The name and the batch are one argument of `row`.
    assert line.count(" | ") == len(train_step.HEADER)
    nothing = {"seconds": {}, "ratios": {}, "peak_mb": {}}
    columns = line.count("|")
    assert train_step.row("name", nothing, 1, 1.0).count("|") == columns
    assert {case for case, *_ in table7.MODELS.values()} <= set(cases.CASES)
    with pytest.raises(SystemExit, match="no such case: f_rnn; there are"):
        turns.chosen("f_rnn_midi,f_rnn")


@pytest.mark.parametrize("clock", turns.CLOCKS)
def test_a_worker_takes_the_time_of_its_clock(clock, monkeypatch, capsys):
    monkeypatch.setitem(contenders.JOBS, "waiting", lambda *_: lambda: time.sleep(0.1))
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    monkeypatch.setattr(turns, "TURN", 1e-9)
    turns._work("waiting", "ours", "f_rnn_midi", {}, clock)
    _, seconds = map(float, capsys.readouterr().out.split())
    assert (seconds >= 0.1) == (clock == "wall") and seconds > 0.0


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
    rows = [cells for cells in lines if len(cells) == len(related.HEAD)]
    return [cells for cells in rows if cells[1] in related.FILES]


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


def test_steps_of_loops():
    # Two layers over 2,000 values, forth and back; three recurrences; one, and 199 values.
    found = {name: flops.loop_steps(lowered._case(name, 1)) for name in table7.MODELS}
    assert found["RNN-flat"] == 8000 and found["F-SRNN"] == 240
    assert found["RNN-hier"] == 2 * (40 + 199)


STRANGE, KNOWN = "--xla_no_such_flag=1", "--xla_gpu_graph_min_graph_size=1"
FLAGS = {"default": "", "strange": STRANGE, "half": f"{STRANGE} {KNOWN}"}


def test_a_sweep_leaves_out_what_xla_does_not_know(tmp_path, monkeypatch, capsys):
    held = {"updates": 3600, "shape": [2, 3, 4], "loop_steps": 10, "hours": 2.0}

    def child(flags, job, *words):
        if STRANGE in flags:
            return types.SimpleNamespace(returncode=-6, stdout="", stderr="Unknown flag")
        label = words[words.index("--label") + 1] if job == "run" else ""
        line = lowered.row(label, "F-RNN", held, 0.5 if KNOWN in flags else 1.0)
        title = f"Device: a CPU\n\n{lowered.HEADER}\n|---|"
        return types.SimpleNamespace(returncode=0, stdout=f"{title}\n{line}\n", stderr="")

    monkeypatch.setattr(lowered, "SETS", FLAGS)
    monkeypatch.setattr(lowered, "_child", child)
    lowered.main(["sweep", str(tmp_path), "--runner", "jax", "--seconds", "0"])
    found = capsys.readouterr().out.splitlines()
    assert found[4:] == [
        "| default | F-RNN | 2 x 3 x 4 | 1.00000 | 100000.0 | 1.000 | 2.00 | 0.500 |",
        f"strange: without {STRANGE}, which this XLA does not know",
        f"half: without {STRANGE}, which this XLA does not know",
        "| half | F-RNN | 2 x 3 x 4 | 0.50000 | 50000.0 | 0.500 | 2.00 | 0.250 |",
        "",
        f"F-RNN is fastest with half: XLA_FLAGS='{FLAGS['half']}'",
    ]
    with pytest.raises(SystemExit, match="--sets=halve; accepted are default, strange, half"):
        lowered.main(["sweep", str(tmp_path), "--sets", "halve"])
    with pytest.raises(SystemExit, match="holds no program"):
        lowered.programs(tmp_path)


def test_programs_are_written_once_and_without_the_gpu(tmp_path, monkeypatch):
    (tmp_path / "F-RNN.json").write_text("{}")
    calls = []

    def child(flags, *words, **variables):
        calls.append((words, variables))
        return types.SimpleNamespace(returncode=len(calls) - 1, stderr="no memory")

    monkeypatch.setattr(lowered, "_child", child)
    lowered.write_missing(tmp_path, ["F-RNN"], 1)
    assert not calls
    lowered.write_missing(tmp_path, ["F-RNN", "F-SRNN"], 5)
    words = ("write", str(tmp_path), "--models", "F-SRNN", "--scale", "5")
    assert calls == [(words, {"CUDA_VISIBLE_DEVICES": ""})]
    with pytest.raises(SystemExit, match="writing F-SRNN ended with code 1 no memory"):
        lowered.write_missing(tmp_path, ["F-SRNN"], 1)


@pytest.mark.slow
@pytest.mark.parametrize("runner", lowered.RUNNERS)
def test_one_command_measures_all_sets_of_flags(tmp_path, runner, monkeypatch, capsys):
    pytest.importorskip(runner)
    monkeypatch.setattr(lowered, "SETS", FLAGS)
    words = ["--models", "F-RNN", "--scale", "50", "--seconds", "0", "--runner", runner]
    lowered.main(["measure", str(tmp_path), *words])
    found = capsys.readouterr().out
    assert re.search(r"^\| default \| F-RNN \| 32 x 40 x 4 \| 0\.\d{5} \|", found, re.MULTILINE)
    assert f"strange: without {STRANGE}, which this XLA does not know" in found
    assert "| half | F-RNN |" in found and "F-RNN is fastest with" in found


@pytest.mark.parametrize("name", [*anatomy.CASES, "storn_513", "rnn_hier_midi"])
def test_products_of_the_anatomy_are_those_of_the_update(name):
    case = cases.CASES[name]
    assert 3 * sum(product.flops for product in anatomy.products(case)) == flops.training(case)
    assert 2 * sum(loop.steps for loop in anatomy.loops(case)) == flops.loop_steps(case)


def test_anatomy_names_what_it_cannot_take_apart():
    with pytest.raises(
        ValueError, match="must be an RNN or STORN .*; received vrnn with factorized"
    ):
        anatomy.loops(cases.CASES["vrnn_88"])


@pytest.mark.slow
@pytest.mark.parametrize("name", anatomy.CASES)
def test_an_anatomy_measures_all_parts(name):
    case = cases.get(name, batch=2, frames=4, scale=20)
    lines = [line.strip("| ").split(" | ") for line in anatomy.table(case, 2, rate=1.0)]
    assert [cells[0] for cells in lines[:6]] == [
        "update",
        "structure",
        "emission",
        "clipping and Adam",
        "loops of LSTMs",
        "matrix products",
    ]
    assert len(lines) == 6 + len(set(anatomy.products(case)))
    assert all(float(cells[1]) > 0.0 for cells in lines) and lines[0][2] == "100%"


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


def test_memory_is_that_of_processes_and_what_xla_plans(monkeypatch, capsys):
    asked = []

    def peak(contender, case, rows, **environment):
        asked.append((contender, rows, *sorted(environment)))
        if folder := re.search("--xla_dump_to=([^ ]*)", environment.get("XLA_FLAGS", "")):
            for module, size in (("small", 7), ("update", 3 * 2**20)):
                file = Path(folder[1], f"{module}-memory-usage-report.txt")
                file.write_text(f"allocation 1\nTotal bytes used: {size} (3MiB)\n")
        return None if contender == "torch" else 200.0 / len(asked)

    monkeypatch.setattr(memory, "peak", peak)
    memory.main(["--cases", "f_rnn_midi", "--batches", "16"])
    (row,) = capsys.readouterr().out.splitlines()[2:]
    assert row == "| f_rnn_midi | 16 x 100 x 88 | 200 | 100 | 3 | - |"
    cached = ("ours", 16, "SRNN_TF_COMPILE_CACHE")
    assert asked == [cached, cached, ("ours", 16, "XLA_FLAGS"), ("torch", 16)]


@pytest.mark.slow
def test_memory_of_an_update(capsys):
    memory.main(["--cases", "f_rnn_midi", "--batches", "4", "--contenders", "ours"])
    first, cached, buffers, torch = capsys.readouterr().out.split("|")[-5:-1]
    assert float(first) > float(cached) > float(buffers) > 5 and torch.strip() == "-"
