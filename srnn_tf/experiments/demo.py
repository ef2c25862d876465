"""Train a small F-SRNN on Bach's chorales, score it, and write a sample to hear and to see.

    python -m srnn_tf.experiments.demo [--out demo] [--steps 1500]

Beside it published models continue the same chorale: in one the notes of a step are independent
given the past, in the other each depends on the others. It takes two minutes on two cores. The
chorales are those in the installed music21 package; nothing is downloaded.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from srnn_tf import data, plots, zoo
from srnn_tf.data.formats import synthesis
from srnn_tf.experiments import baselines, evaluate, runs
from srnn_tf.model import SequenceModel
from srnn_tf.objectives import ELBO

WINDOW, BATCH = 50, 16
LEARNING_RATE = 4e-3
SECONDS = 100.0
# A model whose notes of a step are independent given the past, and one whose notes depend on one
# another.
INDEPENDENT, DEPENDENT = "f_rnn_bach", "delta_rnn_random_bach"
PRIMER, DRAWN, TEMPERATURE = 8, 88, 0.6  # frames of a chorale, frames that follow
BPM, ORGAN = 80, 19


class Course(keras.callbacks.Callback):
    """Anneal the learning rate over the updates, or over time if the time limit comes first."""

    def __init__(self, steps: int):
        super().__init__()
        self.steps, self.start = steps, time.monotonic()
        self.updates: list[int] = []
        self.bounds: dict[str, list[float]] = {"train": [], "valid": []}

    def progress(self) -> float:
        return max(int(self.model.step) / self.steps, (time.monotonic() - self.start) / SECONDS)

    def on_train_begin(self, logs=None):
        self.start = time.monotonic()

    def on_train_batch_begin(self, batch, logs=None):
        cosine = 0.5 * (1.0 + math.cos(math.pi * min(1.0, self.progress())))
        self.model.optimizer.learning_rate.assign(LEARNING_RATE * cosine)

    def on_train_batch_end(self, batch, logs=None):
        self.model.stop_training = self.progress() >= 1.0

    def on_epoch_end(self, epoch, logs: Any = None):
        self.updates.append(int(self.model.step))
        self.bounds["train"].append(logs["bound"])
        self.bounds["valid"].append(logs["val_bound"])


def build() -> SequenceModel:
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
        window=WINDOW,
    )
    objective = ELBO({"initial": 0.2, "increment": 0.8 / 400, "final": 1.0})
    model.compile(keras.optimizers.Adam(LEARNING_RATE), objective=objective)
    return model


def run(folder: Path, steps: int) -> None:
    """Run the demo; it writes samples (.mid, .wav), pianoroll.png and training.png."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"cannot make the folder {folder}: {error.strerror}") from error
    if steps < 1:
        raise ValueError(f"`--steps` must be at least 1; received {steps}")
    keras.utils.set_random_seed(0)
    bach = data.load("bach")
    model = build()
    epoch = min(steps, 100)
    course = Course(steps)
    print(f"\ntraining {model.count_params():,} parameters, {steps} updates at most")
    model.fit(
        data.streams(bach.train, BATCH, WINDOW),
        epochs=-(-steps // epoch),
        steps_per_epoch=epoch,
        validation_data=data.streams(bach.valid, BATCH, WINDOW).as_dataset(),
        callbacks=[course],
        verbose=2,
    )
    print("\nbach, test:")
    evaluate.report(model, bach.test, "F-SRNN")
    scores = baselines.all_of(bach)
    for name, value in scores.items():
        print(f"baseline, {name}: {value:.4f} nats per step, protocol full, exact")
    show(model, bach, folder, course, scores)


def show(model, bach, folder, course, scores) -> None:
    """Write what is to be heard and seen: samples as MIDI and WAV, and the plots."""
    chorale = np.asarray(max(bach.test, key=lambda sequence: len(sequence))[: PRIMER + DRAWN])
    models = {"sample": ("the model trained here", model)}
    for label, name in (("independent", INDEPENDENT), ("dependent", DEPENDENT)):
        if name in zoo.names(published=True):
            title = f"{name}: the notes of a step are {label} given the past"
            models[label] = (title, zoo.load(name))
        else:
            print(f"{name} is not here: no {label}.mid")
    rolls = {key: (title, continued(one, chorale[:PRIMER])) for key, (title, one) in models.items()}
    rolls["bach"] = ("a chorale of Bach, whose beginning all continue", chorale)
    written = []
    for key, (title, roll) in rolls.items():
        notes = roll[PRIMER:].sum(axis=1)
        print(
            f"{title}: {notes.mean():.2f} notes a step, {(notes == 0).mean():.0%} of steps silent"
        )
        data.write_midi(roll, folder / f"{key}.mid", bpm=BPM, program=ORGAN)
        rate = synthesis.SAMPLE_RATE
        data.write_wav(data.synthesize(roll, bpm=BPM), folder / f"{key}.wav", sample_rate=rate)
        written += [f"{key}.mid", f"{key}.wav"]
    plots.plot_pianoroll(dict(rolls.values()), folder / "pianoroll.png")
    curves = {f"{k} (ELBO)": (course.updates, v) for k, v in course.bounds.items()}
    plots.training_curve(curves, folder / "training.png", scores)
    for name in (*written, "pianoroll.png", "training.png"):
        print(f"wrote {folder / name}")


def continued(model: SequenceModel, beginning: np.ndarray) -> np.ndarray:
    """The first frames of a chorale and what a model goes on with, (T, 88)."""
    drawn = model.sample(1, DRAWN, seed=7, prefix=beginning[None], temperature=TEMPERATURE)
    return np.concatenate([beginning, drawn[0].numpy()]).astype(np.uint8)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", default="demo", help="the folder to write to")
    parser.add_argument("--steps", type=int, default=1500, help="updates at most")
    args = parser.parse_args(argv)
    if not args.out:
        parser.error("--out must name a folder; received ''")
    with runs.clear_errors():
        run(Path(args.out), args.steps)


if __name__ == "__main__":
    main()
