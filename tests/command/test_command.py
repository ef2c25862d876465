"""The command `srnn-tf`, as a new user would try it."""

import csv
import json
import re
import shlex

import click
import numpy as np
import pytest

from srnn_tf import command, data, zoo
from srnn_tf.data.formats import strokes as formats
from srnn_tf.experiments import baselines

NAME = "f_rnn_bach"


def run(capsys, *words):
    """What a command prints."""
    capsys.readouterr()
    command.main([str(word) for word in words])
    return capsys.readouterr().out


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A chorale as MIDI, and rolls as arrays."""
    folder = tmp_path_factory.mktemp("files")
    roll = np.asarray(data.load("bach").test[0])
    data.write_midi(roll.astype(np.uint8), folder / "chorale.mid")
    rolls = np.zeros([2, 9, 88], np.float32)
    rolls[:, :, 40] = 1.0
    np.savez(folder / "rolls.npz", frames=rolls, length=np.array([9, 4]))
    np.save(folder / "one.npy", roll[:5])
    return folder


def test_list_and_info(capsys):
    text = run(capsys, "list")
    names = [line.split()[0] for line in text.splitlines()[1:]]
    assert names == zoo.names(published=True)
    (row,) = [line for line in text.splitlines() if line.split()[0] == NAME]
    value = zoo.card(NAME)["test"]["full"]["exact"]["value"]
    assert f"{value:.4f} step" in row and "exact" in row
    assert "(substitute: srnn_hier_speech_commands)" in text
    text = run(capsys, "info", NAME)
    assert f"{value:.4f} nats per step" in text and "rnn, factorized" in text
    assert json.loads(run(capsys, "info", NAME, "--json")) == zoo.card(NAME)
    assert "no weights: srnn-tf train" in run(capsys, "list", "--all")


def test_score(capsys, files, tmp_path):
    inputs = [files / name for name in ("chorale.mid", "rolls.npz", "one.npy")]
    rows = list(csv.DictReader(run(capsys, "score", NAME, *inputs).splitlines()))
    assert [int(row["sequence"]) for row in rows] == [0, 0, 1, 0]
    assert [int(row["steps"]) for row in rows][1:] == [9, 4, 5]
    assert {(row["unit"], row["bound"]) for row in rows} == {("nats", "exact")}
    model, roll = zoo.load(NAME), np.asarray(data.load("bach").test[0])
    expected = [float(model.log_prob(x[None])[0]) for x in (roll, roll[:5])]
    found = [float(rows[i]["log_likelihood"]) for i in (0, 3)]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert float(rows[0]["per_step"]) == pytest.approx(expected[0] / len(roll), rel=1e-4)
    one_by_one = run(capsys, "score", NAME, *inputs, "--batch-size", 1)
    again = [float(row["log_likelihood"]) for row in csv.DictReader(one_by_one.splitlines())]
    np.testing.assert_allclose(again, [float(row["log_likelihood"]) for row in rows], rtol=1e-5)
    out = tmp_path / "scores.jsonl"
    words = ["--format", "jsonl", "--per-step", "--output", out]
    assert run(capsys, "score", "f_srnn_bach", files / "rolls.npz", *words) == ""
    held = [json.loads(line) for line in out.read_text().splitlines()]
    assert [len(row["log_likelihood_per_step"]) for row in held] == [9, 4]
    assert held[0]["bound"] == "ELBO" and held[0]["kl"] > 0.0
    total = sum(held[0]["log_likelihood_per_step"])
    assert total == pytest.approx(held[0]["log_likelihood"], rel=1e-5)


def test_music_that_a_model_does_not_fit_is_told(capsys, files, tmp_path):
    cluster = np.zeros([30, 88], np.uint8)
    cluster[:, 80:86] = 1  # a constant cluster, at the end of the keyboard
    np.save(tmp_path / "cluster.npy", cluster)
    inputs = [str(files / "chorale.mid"), str(tmp_path / "cluster.npy")]
    for words in (["score", NAME, *inputs], ["anomalies", NAME, inputs[1]]):
        capsys.readouterr()
        command.main(words)
        found = [x for x in capsys.readouterr().err.splitlines() if x.startswith("warning: ")]
        assert len(found) == 1, found  # the chorale is fitted
        model = float(zoo.load(NAME).log_prob(cluster[None])[0]) / 30
        baseline = baselines.independent([cluster], [cluster])
        assert model < baseline
        for text in (
            f"cluster.npy, sequence 0: {NAME} does not fit it: {model:.4f} nats per step",
            f"below {baseline:.4f} (full, exact) of independent notes fitted to the sequence",
            f"the docs recommend {zoo.recommended()} for music of your own (docs/zoo.md",
        ):
            assert text in found[0]
    command.main(["score", zoo.recommended(), inputs[1]])
    assert "no published model is known to fit" in capsys.readouterr().err
    strokes = np.tile([1.0, 40.0, -40.0], [20, 1]).astype(np.float32)
    np.save(tmp_path / "strokes.npy", strokes)
    command.main(["score", "f_rnn_unipen", str(tmp_path / "strokes.npy")])
    assert "does not fit" not in capsys.readouterr().err  # a baseline of music alone


def test_a_file_of_handwriting_is_standardized_as_the_model_s_data_are(capsys, tmp_path):
    points = np.random.default_rng(0).integers(0, 300, [2, 12, 2])
    strokes = ["\n".join(f"{x} {y}" for x, y in stroke) for stroke in points]
    (tmp_path / "pen.dat").write_text("".join(f".PEN_DOWN\n{s}\n.PEN_UP\n" for s in strokes))
    moves = formats.moves(list(points), "points")
    np.save(tmp_path / "pen.npy", zoo.standardization("f_rnn_unipen").apply(moves))
    files = [tmp_path / "pen.dat", tmp_path / "pen.npy"]
    rows = list(csv.DictReader(run(capsys, "score", "f_rnn_unipen", *files).splitlines()))
    one, two = (float(row["log_likelihood"]) for row in rows)
    assert [int(row["steps"]) for row in rows] == [len(moves)] * 2
    assert one == pytest.approx(two, rel=1e-5)


def test_sample_and_anomalies(capsys, files, tmp_path):
    for name in ("a.mid", "a.png"):
        assert run(capsys, "sample", NAME, "--steps", 8, "--out", tmp_path / name).startswith("wro")
        assert (tmp_path / name).stat().st_size > 50
    words = ["--quantile", 0.2, "--out", tmp_path / "b.png", "--top", 3]
    usual = ["--reference", files / "chorale.mid"]
    text = run(capsys, "anomalies", NAME, files / "rolls.npz", *usual, *words)
    first = text.splitlines()[0]
    marked, total, mark = re.match(r"(\d+) of (\d+) steps below (-?[\d.]+) nats", first).groups()
    assert int(total) == 13 and float(mark) < 0.0 and (tmp_path / "b.png").stat().st_size > 500
    assert "1 reference sequences" in first and len(text.splitlines()) <= 6
    text = run(capsys, "anomalies", NAME, files / "one.npy")
    assert "8 samples of the model" in text


def test_export(capsys, tmp_path):
    folder = zoo.folder(NAME)
    assert f"{NAME}/{folder.name}" in run(capsys, "export", NAME, tmp_path)
    copied = {p.relative_to(folder) for p in folder.rglob("*") if p.is_file()}
    target = tmp_path / NAME / folder.name
    assert {p.relative_to(target) for p in target.rglob("*") if p.is_file()} == copied
    with pytest.raises(SystemExit):
        command.main(["export", NAME, str(tmp_path)])
    assert "never replaced" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / NAME).iterdir()] == [folder.name]


MISTAKES = {
    "command": ("wakl", "No such command"),
    "argument": ("score f_rnn_bach", "Missing argument 'FILES...'"),
    "option": ("score f_rnn_bach a.mid --formt csv", "No such option"),
    "format": ("score f_rnn_bach a.mid --format xml", "'xml' is not one of 'csv', 'jsonl'"),
    "name": ("score f_rnn_bch a.mid", "Did you mean 'f_rnn_bach'?"),
    "no file": ("score f_rnn_bach nowhere.mid", "nowhere.mid is not a file"),
    "ending": ("score f_rnn_bach {}/text.txt", "reads .mid, .midi, .npz, .npy"),
    "no MIDI": ("score f_rnn_bach {}/text.mid", "is not readable as MIDI"),
    "no array": ("score f_rnn_bach {}/text.npz", "is damaged, or no .npz or .npy"),
    "objects": ("score f_rnn_bach {}/objects.npz", "is damaged, or no .npz or .npy"),
    "no arrays": ("score f_rnn_bach {}/none.npz", "holds no array"),
    "width": ("score f_rnn_bach {}/narrow.npy", "sequence 0: must have 88 values a step; has 5"),
    "samples": ("score f_rnn_bach {}/samples.npy", "must be frames (T, 88)"),
    "NaN": ("score f_rnn_bach {}/nan.npy", "nan.npy, sequence 0: must be finite"),
    "picture": ("anomalies f_rnn_bach {}/half.npy --out {}/a.txt", "must end in .png, .svg"),
    "top": ("anomalies f_rnn_bach {}/half.npy --top 0", "0 is not in the range"),
    "recording": ("anomalies rnn_hier_speech_commands {}/samples.npy", "need --reference"),
    "units": (
        "anomalies rnn_hier_speech_commands {}/samples.npy --reference {}/speech.npy",
        "cannot be scored together",
    ),
    "keras": ("export {}/text.keras {}", "Keras cannot load it"),
    "values": ("score f_rnn_bach {}/half.npy", "must be 0 or 1 for a Bernoulli"),
    "length": ("score f_rnn_bach {}/long.npz", "a length of 9; accepted are 1 to 3"),
    "per step": ("score f_rnn_bach {}/half.npy --per-step", "--per-step needs --format jsonl"),
    "out": ("sample f_rnn_bach --out {}/a.ogg", "draws .mid, .midi, .wav, .png"),
    "folder": ("sample f_rnn_bach --out {}/none/a.mid", "none does not exist"),
    "steps": ("sample f_rnn_bach --steps 0 --out {}/a.mid", "`steps` must be an integer of at"),
    "server": ("score f_rnn_bach {}/half.npy --server nowhere", "`address` must be 'host:port'"),
    "timeout": ("score f_rnn_bach {}/half.npy --server a:1 --timeout 0", "`timeout` must be above"),
    "batch": ("score f_rnn_bach {}/half.npy --batch-size 0", "0 is not in the range x>=1"),
    "warm server": ("sample f_rnn_bach --out {}/a.mid --server a:1 --temperature 2", "at 1 only"),
    "quantile": ("anomalies f_rnn_bach {}/half.npy --quantile 2", "--quantile must be between"),
    "no folder": ("export f_rnn_bach {}/text.mid", "text.mid is not a folder"),
    "version": ("export f_rnn_bach {} --version 9", "version=9 of f_rnn_bach does not exist"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(mistake, capsys, tmp_path):
    for ending in (".txt", ".mid", ".npz", ".keras"):
        (tmp_path / f"text{ending}").write_text("text")
    np.savez(tmp_path / "objects.npz", np.array([{}], object))
    np.save(tmp_path / "narrow.npy", np.zeros([3, 5]))
    np.savez(tmp_path / "none.npz")
    np.save(tmp_path / "samples.npy", np.zeros([600]))
    np.save(tmp_path / "speech.npy", np.zeros([3, 200]))
    np.save(tmp_path / "nan.npy", np.full([3, 88], np.nan))
    np.save(tmp_path / "half.npy", np.full([3, 88], 0.5))
    np.savez(tmp_path / "long.npz", frames=np.zeros([1, 3, 88]), length=[9])
    before = {p.name for p in tmp_path.iterdir()}
    words, message = MISTAKES[mistake]
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        command.main(shlex.split(words.format(*[tmp_path] * 2)))
    out, err = capsys.readouterr()
    assert stopped.value.code in (1, 2) and out == ""
    assert message in err and err.startswith("error: ") and err.count("\n") == 1
    assert {p.name for p in tmp_path.iterdir()} == before


def test_every_help_has_an_example_that_runs(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # Some read what others write.
    names = ["list", "info", "sample", "score", "anomalies", "export"]
    others = ["app", "data", "train", "evaluate", "publish", "bulk"]
    assert sorted(names + others) == command.app.list_commands(click.Context(command.app))
    for name in others:
        assert re.search(f"Example: srnn-tf {name}\\s", run(capsys, name, "--help"))
    for name in names:
        text = run(capsys, name, "--help")
        example = text.split("Example: ", 1)[1].split("Options:")[0].split("\n\n")[0]
        words = shlex.split(" ".join(example.split()))
        assert words[:2] == ["srnn-tf", name]
        assert run(capsys, *words[1:])
    assert {p.name for p in tmp_path.iterdir()} == {"chorale.mid", "chorale.png", NAME}
    assert "anomalies" in run(capsys)


def commands():
    """All commands by what is typed, those of groups too."""
    context = click.Context(command.app)
    for name in command.app.list_commands(context):
        one = command.app.get_command(context, name)
        yield name, one
        for part, inner in getattr(one, "commands", {}).items():
            yield f"{name} {part}", inner


def test_a_summary_is_a_whole_sentence(capsys):
    """In the list of commands nothing is cut off, where a terminal has 80 columns."""
    for words in ([], ["data"]):
        lines = run(capsys, *words, "--help").split("Commands:\n")[1].splitlines()
        assert all(re.fullmatch(r"  \w+ +[A-Z].*[^.]\.", line) for line in lines), lines


@pytest.mark.parametrize("name", dict(commands()))
def test_help_says_what_each_word_is(name, capsys):
    """Every argument is explained, every option has a sentence, every command an example."""
    one = dict(commands())[name]
    said = " ".join(one.help.split())
    assert f"Example: srnn-tf {name}" in said
    for parameter in one.params:
        if isinstance(parameter, click.Argument):
            for word in re.findall("[A-Z_]+", parameter.make_metavar(click.Context(one))):
                assert re.search(rf"\b{word} (is|are|being)\b", said), word
        else:
            sentence = parameter.help or ""
            assert re.fullmatch(r"[A-Z].* .*\.", sentence), (parameter.opts, sentence)
            assert not re.match(r"(Of|To) ", sentence), (parameter.opts, sentence)


def texts():
    """Every path, address and name of every command, with what is typed before it."""
    for typed, one in commands():
        for parameter in one.params:
            plain = parameter.type if not hasattr(parameter.type, "of") else parameter.type.of
            if isinstance(plain, (click.Path, click.types.StringParamType)):
                yield pytest.param(typed, parameter, id=f"{typed} {parameter.name}")


@pytest.mark.parametrize(("typed", "parameter"), texts())
@pytest.mark.parametrize("empty", ["", " "])
def test_no_path_address_or_name_is_empty(typed, parameter, empty, capsys, tmp_path, monkeypatch):
    """An empty path would be the working folder, an empty address no server."""
    monkeypatch.chdir(tmp_path)
    empties = [empty] * max(parameter.nargs, 1)
    words = [] if isinstance(parameter, click.Argument) else [parameter.opts[-1]]
    one = dict(commands())[typed]
    before = []  # arguments come in order
    for other in one.params:
        if other is parameter:
            break
        before += ["x"] if isinstance(other, click.Argument) else []
    if not isinstance(parameter, click.Argument):
        before = []
    with pytest.raises(SystemExit) as stopped:
        command.main([*typed.split(), *before, *words, *empties])
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and "must not be empty; received" in error
    assert not list(tmp_path.iterdir())
