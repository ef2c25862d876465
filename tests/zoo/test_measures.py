"""What is measured of samples, latents and pairs, and that it is current."""

import numpy as np
import pytest

from srnn_tf.data.formats.rolls import LOWEST_NOTE
from srnn_tf.experiments import cards, checkout, evaluate, pages
from zoo import findings, measures
from zoo.findings import Pair

HELD = {n: c for n, c in cards.newest(checkout.ROOT).items() if not c.get("alias_of")}
MEASURED = measures.read()


def roll(*notes, steps=16):
    """A piano roll of (MIDI note, first step, step after the last)."""
    made = np.zeros((steps, 88), np.int8)
    for note, start, end in notes:
        made[start:end, note - LOWEST_NOTE] = 1
    return made


def test_onsets_in_key():
    c_major = [(60 + n, t, t + 1) for t, n in enumerate(measures.DIATONIC)]
    assert measures.in_key([roll(*c_major)]) == 1.0
    d_flat = [(61 + n, t, t + 1) for t, n in enumerate(measures.DIATONIC)]
    assert measures.in_key([roll(*c_major), roll(*d_flat)]) == 1.0  # each in its own
    chromatic = [(60 + n, n, n + 1) for n in range(12)]
    assert measures.in_key([roll(*chromatic)]) == pytest.approx(7 / 12)
    assert measures.in_key([roll()]) is None


def test_lengths_of_notes():
    assert measures.note_length([roll((60, 0, 4), (64, 1, 3)), roll((70, 2, 5))]) == 3.0
    assert measures.note_length([roll()]) is None


def test_a_periodic_recording_has_pitch_and_noise_has_none():
    rate, rng = 16000, np.random.default_rng(0)
    time = np.arange(rate) / rate
    voice = sum(np.sin(2 * np.pi * 120 * k * time) / k for k in range(1, 9))
    noise = rng.normal(size=rate)
    assert measures.pitch_autocorrelation([voice], rate) > 0.98
    assert measures.pitch_autocorrelation([noise], rate) < 0.3
    quiet = np.concatenate([voice, 0.01 * noise])  # of which only the voice is loud
    assert measures.pitch_autocorrelation([quiet], rate) > 0.95
    assert measures.pitch_autocorrelation([noise[:10]], rate) is None
    assert np.isfinite(measures.pitch_autocorrelation([np.zeros(rate)], rate) or 0.0)


def test_every_published_model_is_measured():
    assert set(MEASURED["models"]) == set(HELD)
    for name, card in HELD.items():
        found = MEASURED["models"][name]
        assert found["version"] == card["version"], f"python -m zoo.measures {name}"
        latents = found.get("latents")
        assert (latents is None) == ("exact" in card["test"]["full"])
        if latents:
            assert 0 <= latents["active_units"] <= latents["units"]


@pytest.mark.parametrize("name", HELD)
def test_what_is_measured_gives_the_score_of_the_card(name):
    test, card = MEASURED["models"][name]["test"], HELD[name]
    if "sets" in card:
        pytest.skip("a score of several sets is the mean of theirs")
    score = evaluate.interval(np.array(test["nats"]), np.array(test["units"]))
    assert score.value == pytest.approx(card["test"]["paper"][test["bound"]]["value"], rel=1e-4)


def test_the_pages_are_those_of_cards_and_measures():
    for path, text in findings.pages_of(HELD, MEASURED).items():
        assert path.read_text("utf-8") == text, "python -m zoo.findings"


def test_a_difference_is_paired():
    def of(nats):
        return {"test": {"nats": nats, "units": [10.0, 20.0, 10.0]}}

    models = {"f_srnn_jsb": of([-10.0, -40.0, -12.0]), "f_rnn_jsb": of([-20.0, -60.0, -22.0])}
    score = findings.difference(Pair("f_srnn", "f_rnn"), "jsb", {"models": models})
    assert score.value == pytest.approx(1.0)
    assert score.low == score.high == pytest.approx(1.0)  # ten nats for every ten steps
    assert findings.verdict(score) == "**higher**"
    assert findings.difference(Pair("f_srnn", "f_rnn"), "muse", {"models": models}) is None
    models["f_rnn_jsb"]["test"]["units"] = [1.0, 2.0, 3.0]
    with pytest.raises(ValueError, match="other sequences"):
        findings.difference(Pair("f_srnn", "f_rnn"), "jsb", {"models": models})


def test_a_verdict_needs_an_interval_on_one_side():
    assert findings.verdict(evaluate.Score(0.1, -0.1, 0.3, 9)) == "no difference seen"
    assert findings.verdict(evaluate.Score(-0.2, -0.3, -0.1, 9)) == "lower"
    assert findings.verdict(evaluate.Score(0.2, None, None, 1)) == "no difference seen"


def test_a_page_says_how_samples_compare_with_the_data():
    living = {"samples": {"in_key": 0.871, "note_length": None}, "data": {"in_key": 0.94}}
    assert pages.alive(living) == (
        "Of 32 samples of seed 0: share of note onsets in the key of the piece 0.87 (data: 0.94)."
    )
    assert pages.alive({"samples": {}, "data": {}}) == ""
    assert f"Of {measures.ROWS} samples of seed {measures.SEED}:" in pages.alive(living)


def test_wrong_names_and_data_that_are_not_at_hand(tmp_path):
    with pytest.raises(ValueError, match="no_such_model"):
        measures.make(["no_such_model"], path=tmp_path / "m.json")
    with pytest.raises(ValueError, match="not at hand"):
        measures.load("timit", tmp_path, tmp_path)
    with pytest.raises(ValueError, match="--data"):
        measures.load("jsb", None, tmp_path)
    assert not list(tmp_path.iterdir())


def test_it_measures_what_is_new_alone(tmp_path, monkeypatch):
    """The file is that of all models, so a version that is there is not measured again."""
    path, called = tmp_path / "m.json", []
    old = {k: dict(v) for k, v in MEASURED.items()}
    first = next(n for n, c in HELD.items() if c["data"]["name"] == "bach")
    old["models"].pop(first)
    old["models"]["gone"] = {"version": 1}
    measures.write(old, path)
    monkeypatch.setattr(measures, "measure", lambda name, *_: called.append(name) or {"version": 9})
    measures.make(path=path)
    assert called == [first]
    found = measures.read(path)["models"]
    assert found[first] == {"version": 9} and "gone" not in found
