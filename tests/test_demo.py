"""What `make demo` runs."""

from srnn_tf.experiments import demo


def test_the_demo_trains_scores_and_draws(tmp_path, capsys):
    demo.main(["--out", str(tmp_path), "--steps", "2"])
    printed = capsys.readouterr().out
    for words in ("nats per step, protocol full, ELBO", "baseline, independent notes: -11.5541"):
        assert words in printed
    written = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(written) == {"sample.mid", "pianoroll.png", "training.png"}
    assert min(written.values()) > 100
