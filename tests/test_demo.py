"""What `make demo` runs."""

from srnn_tf import data
from srnn_tf.experiments import demo

PUBLISHED = ("independent", "dependent")  # samples of published models


def test_the_demo_trains_scores_and_draws(tmp_path, capsys):
    demo.main(["--out", str(tmp_path), "--steps", "2"])
    printed = capsys.readouterr().out
    for words in ("nats per step, protocol full, ELBO", "baseline, independent notes: -11.5541"):
        assert words in printed
    written = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    sounds = {f"{n}{e}" for n in ("sample", *PUBLISHED, "bach") for e in (".mid", ".wav")}
    assert set(written) == sounds | {"pianoroll.png", "training.png"}
    assert min(written.values()) > 100
    # All begin with the same frames of a chorale, and go on in their own way.
    rolls = [data.read_midi(tmp_path / f"{name}.mid") for name in (*PUBLISHED, "bach")]
    heads = {roll[: demo.PRIMER].tobytes() for roll in rolls}
    assert len(heads) == 1 and len({roll.tobytes() for roll in rolls}) == 3
