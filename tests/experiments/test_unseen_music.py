"""Music that no data set holds: as MIDI from music21's corpus, and what models make of it."""

import os

import numpy as np
import pytest

from benchmarks import unseen_music
from srnn_tf import zoo
from srnn_tf.data.formats.midi import read_midi
from srnn_tf.experiments import evaluate, runs

MUSIC = "rnn_hier_mlp_music"


@pytest.fixture(scope="module")
def rolls(tmp_path_factory):
    folder = tmp_path_factory.mktemp("midi")
    files = [p for name in unseen_music.COLLECTIONS for p in unseen_music.pieces(name, 3, folder)]
    assert len(files) == 6 and {p.suffix for p in files} == {".mid"}
    return [read_midi(path) for path in files]


def test_pieces_are_music(rolls):
    notes = [roll.sum() / len(roll) for roll in rolls]
    assert min(notes) > 0.5 and max(notes) < 8 and min(map(len, rolls)) > 50
    assert -12 < unseen_music.baseline(rolls) < -1


def test_the_table_has_a_row_for_each_model(capsys):
    words = ["--pieces", "2", "--steps-per-quarter", "2", "--models", "f_rnn_muse,f_rnn_bach"]
    unseen_music.main(words)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| model | palestrina, 2 a quarter | ryansMammoth, 2 a quarter |"
    names = ["independent notes, fitted to each piece", "f_rnn_muse", "f_rnn_bach"]
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines[2:]] == names
    assert all(float(cell) < 0 for line in lines[2:] for cell in line.strip("| ").split(" | ")[1:])


@pytest.mark.slow
def test_the_pooled_model_fits_it_best(rolls):
    """Of the published models of music; with SRNN_TF_MUSIC_RUN, of a run that is none yet."""
    folder = os.environ.get("SRNN_TF_MUSIC_RUN")
    if folder is None and MUSIC not in zoo.names(published=True):
        pytest.skip(f"{MUSIC} is not published; name a run of it by SRNN_TF_MUSIC_RUN")
    model = runs.Run.open(folder).best_model() if folder else zoo.load(MUSIC)
    mine, others = evaluate.score(model, rolls), [unseen_music.baseline(rolls)]
    others += [
        evaluate.score(zoo.load(n), rolls) for n in unseen_music.music_models() if n != MUSIC
    ]
    print(mine, np.round(others, 4))
    assert mine > max(others)
