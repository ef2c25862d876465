"""Train a small F-SRNN on Bach's chorales, score it, and hear and see what it composes.

    python -m zoo.demo [--out demo] [--steps 1500]

Two minutes on two cores. The chorales are those inside the installed music21; nothing is
downloaded.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import keras

from srnn_tf import SequenceModel, data, plots
from zoo import evaluate, floors, runs

WINDOW, BATCH, LIMIT = 50, 16, 105.0


class Watch(keras.callbacks.Callback):
    """Keep the curve, and stop when the time is up."""

    def __init__(self, seconds: float):
        super().__init__()
        self.deadline = time.monotonic() + seconds
        self.updates: list[int] = []
        self.bounds: dict[str, list[float]] = {"train": [], "valid": []}

    def on_train_batch_end(self, batch, logs=None):
        if time.monotonic() > self.deadline:
            self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        self.updates.append(int(self.model.step))
        self.bounds["train"].append(logs["bound"])
        self.bounds["valid"].append(logs["val_bound"])


def build(steps: int) -> SequenceModel:
    """A small F-SRNN: 128 units, 32 latent units."""
    model = SequenceModel(
        {
            "class": "parallel_srnn",
            "units": 128,
            "latent_size": 32,
            "embedding_size": 128,
            "dropout": 0.25,
        },
        {"class": "factorized", "event_size": 88, "likelihood": "bernoulli"},
        kl_schedule={"initial": 0.2, "increment": 1.6 / steps, "final": 1.0},
        window=WINDOW,
    )
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(4e-3, steps)))
    return model


def run(folder: Path, steps: int) -> None:
    """The whole demonstration; writes sample.mid, pianoroll.png and training.png."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"cannot make the folder {folder}: {error.strerror}") from error
    if steps < 1:
        raise ValueError(f"`--steps` must be at least 1; received {steps}")
    keras.utils.set_random_seed(0)
    bach = data.load("bach")
    model = build(steps)
    epoch = min(steps, 100)
    watch = Watch(LIMIT)
    print(f"\ntraining {model.count_params():,} parameters, {steps} updates at most")
    model.fit(
        data.streams(bach.train, BATCH, WINDOW),
        epochs=-(-steps // epoch),
        steps_per_epoch=epoch,
        validation_data=data.streams(bach.valid, BATCH, WINDOW).as_dataset(),
        callbacks=[watch],
        verbose=2,
    )
    print("\nbach, test:")
    evaluate.report(model, bach.test, "F-SRNN")
    scores = {
        "first-order Markov chain per note": floors.markov(bach.train, bach.test),
        "independent notes": floors.independent(bach.train, bach.test),
    }
    for name, value in scores.items():
        print(f"floor, {name}: {value:.4f} nats per step, protocol full, exact")
    show(model, bach, folder, watch, scores)


def show(model, bach, folder, watch, scores) -> None:
    """What can be heard and seen."""
    chorale = max(bach.test, key=len)[:96]
    sample = model.sample(1, 96, seed=7, prefix=chorale[None, :8], temperature=0.6)[0].numpy()
    data.write_midi(sample.astype("uint8"), folder / "sample.mid", bpm=80, program=19)
    panels = {"composed by the model": sample.astype("uint8"), "a chorale of Bach": chorale}
    data.plot_pianoroll(panels, folder / "pianoroll.png")
    curves = {f"{k} (ELBO)": (watch.updates, v) for k, v in watch.bounds.items()}
    plots.training_curve(curves, folder / "training.png", scores)
    for name in ("sample.mid", "pianoroll.png", "training.png"):
        print(f"wrote {folder / name}")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", default="demo", help="the folder to write to")
    parser.add_argument("--steps", type=int, default=1500, help="updates at most")
    args = parser.parse_args(argv)
    with runs.clear_errors():
        run(Path(args.out), args.steps)


if __name__ == "__main__":
    main()
