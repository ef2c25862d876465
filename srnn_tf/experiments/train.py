"""Train an entry of the zoo: `srnn-tf train NAME --out DIR`.

The same command resumes an interrupted run, with the losses that an uninterrupted run would have
had. It keeps the weights with the best score on the validation split, under the paper's protocol.
At the end it prints their scores on the test split, unless `--no-test` is given.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import sys
from typing import Any

import keras
import tensorflow as tf

from srnn_tf import data
from srnn_tf.experiments import evaluate, own, provenance, runs, trained_on, workers
from srnn_tf.model import SequenceModel


class Keeper:
    """After each epoch: score the validation split, keep the best weights, write a checkpoint."""

    def __init__(self, run: runs.Run, sequences):
        self.run, self.sequences = run, sequences  # of the validation part
        self.scorer = run.scorer()  # in float32, whatever the model trains in
        self.best, self.best_step = run.best()
        self.clock = provenance.Clock(run)
        logs = run.folder / "logs" / "train"
        logs.mkdir(parents=True, exist_ok=True)  # a clear error where it cannot be written
        self.writer = tf.summary.create_file_writer(str(logs))

    def validate(self, model: SequenceModel, logs: dict[str, float]) -> bool:
        """Add the score to the logs, write them to TensorBoard; return whether to stop early."""
        for mine, trained in zip(
            self.scorer.density.variables, model.density.variables, strict=True
        ):
            mine.assign(trained)
        unit, step = self.run.recipe.unit, int(model.step.numpy())
        scores = evaluate.by_set(self.scorer, self.sequences, "paper", unit=unit)
        logs["valid"] = value = statistics.fmean(scores.values())
        if len(scores) > 1:
            logs.update({f"valid_{name}": score for name, score in scores.items()})
        if value > self.best:
            self.best, self.best_step = value, step
            runs.save_weights(model, self.run.folder / "best.weights.h5", self.run)
            state = {"valid": value, "step": self.best_step, "protocol": "paper"}
            if len(scores) > 1:
                state["valid_of_sets"] = scores
            state["machine"] = provenance.machine()
            self.run.write_json("best.json", state)
        self._show(step, {**logs, "learning_rate": float(model.optimizer.learning_rate)})
        # One file, renamed into place, holds weights, optimizer and counters of the same moment.
        runs.save_weights(model, self.run.checkpoint, self.run)
        self.clock.write(step)
        return runs.worn_out(self.run, step, self.best_step)

    def _show(self, step, values):
        """Write TensorBoard scalars against the number of updates.

        Keras' callback writes them against the epoch. With a number as `update_freq` it leaves out
        epochs that end at another number of updates since the start.
        """
        with self.writer.as_default(step):
            for name, value in values.items():
                tf.summary.scalar(f"epoch_{name}", value)
        self.writer.flush()


class KeepBest(keras.callbacks.Callback):
    """A `Keeper` as a callback of `fit`."""

    def __init__(self, keeper: Keeper):
        super().__init__()
        self.keeper = keeper

    def on_epoch_end(self, epoch, logs=None):
        if self.keeper.validate(self.model, logs):
            self.model.stop_training = True


class StopAt(keras.callbacks.Callback):
    """Stop the last, shorter epoch at the run's number of updates."""

    def __init__(self, steps: int):
        super().__init__()
        self.steps = steps

    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.step.numpy()) >= self.steps:
            self.model.stop_training = True


def stream(run: runs.Run, splits: data.Splits) -> data.EpochDataset:
    """The training batches of a run: batch i is that of update i + 1.

    `train` reads them, and so does code that runs the updates on another machine.
    """
    size = run.batch_size or run.recipe.batch_size
    if run.recipe.window is None:
        return data.padded(splits.train, size, run.seed)
    window = run.window or run.recipe.window
    transpose = run.recipe.transpose if run.transpose is None else run.transpose
    openings = run.recipe.openings if run.openings is None else run.openings
    return data.streams(splits.train, size, window, run.seed, transpose, openings)


def train(
    run: runs.Run,
    splits: data.Splits,
    verbose: int | None = None,
    strategy: tf.distribute.Strategy | None = None,
    begin_with: str | own.Source | None = None,
) -> None:
    """Start or resume training; on many devices with a strategy of `workers`.

    A warm start needs the folder of the other run, or the model to fine-tune.
    """
    if verbose is None:  # a bar on a terminal, a line per epoch in a log
        verbose = 1 if sys.stdout.isatty() else 2
    with strategy.scope() if strategy else contextlib.nullcontext():
        model = run.build(run.dtype)
        model.density.check_normalized("`train`, which keeps the weights of the best validation,")
        if run.checkpoint.is_file():
            runs.load_weights(model, run.checkpoint, run)
        elif run.begin_with:
            assert begin_with is not None, "a warm start needs the folder of the other run"
            if isinstance(begin_with, own.Source):
                begin_with.begin(run, model)
            else:
                provenance.begin(run, model, begin_with)
    done = int(model.step.numpy())
    ended = done >= run.steps or runs.worn_out(run, done, run.best()[1])
    if done and workers.is_chief(strategy):
        print(f"{'ended at' if ended else 'going on from'} step {done} of {run.steps}", flush=True)
    if ended:
        return
    batches = stream(run, splits)
    epoch = run.validate_every or runs.EPOCH
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        at_end = (lambda logs: False) if not workers.is_chief(strategy) else None
        at_end = at_end or _chief(Keeper(run, splits.valid), model)
        workers.Loop(strategy, model, batches).run(run.steps, epoch, at_end)
        return
    model.fit(
        batches,
        epochs=-(-run.steps // epoch),
        steps_per_epoch=min(epoch, run.steps),  # what a bar counts to
        initial_epoch=done // epoch,
        callbacks=[StopAt(run.steps), KeepBest(Keeper(run, splits.valid))],
        verbose=verbose,
    )


def _chief(keeper, model):
    """The work of the chief worker at the end of an epoch."""

    def at_end(logs):
        stop, step = keeper.validate(model, logs), int(model.step.numpy())
        print(f"step {step}: loss {logs['loss']:.4f}, valid {logs['valid']:.4f}", flush=True)
        return stop

    return at_end


def score(run: runs.Run, splits: data.Splits) -> None:
    """Print and save the test scores of the best weights, nats per unit."""
    scores = evaluate.report(run.best_model(), splits.test, "test", run.recipe.unit)
    trained = {"unit": f"nats per {run.recipe.unit}", "trained_in": run.dtype}
    run.write_json("result.json", {**trained, **scores})
    if run.recipe.reported:
        print(f"the paper's code: {run.recipe.reported}")


def start(
    name: str | None,
    folder: str,
    path: str | None = None,
    edition: str | None = None,
    steps: int | None = None,
    seed: int = 0,
    dtype: str | None = None,
    kind: str | None = None,
    begin_with: str | None = None,
    source: str | None = None,
    test: bool = True,
    **options: Any,
) -> None:
    """Start or resume a run, and score the test split with its best weights.

    Args:
        name: the name of a recipe, or of a model part, such as "rnn_hier_mlp", for prepared data.
            With `source` it may be left out.
        folder: the folder of the run.
        path, edition: the data, as in `srnn_tf.data.load`.
        steps, seed, dtype: as in `runs.Run.create`.
        kind: one of `defaults.STRATEGIES`; one device by default.
        begin_with: for a warm start, the folder of the run to take the best weights from.
        source: a model to fine-tune, as `zoo.open` takes it.
        test: whether to score the test split.
        options: further arguments of `runs.Run.create`.

    Raises:
        ValueError, OSError: as in `data.load`, `runs.Run.create` and `own.source`.
    """
    if not folder:
        raise ValueError("--out must name the folder of the run; received ''")
    for option, given in (("--data", path), ("--begin-with", begin_with), ("--from", source)):
        if given and os.path.realpath(given) == os.path.realpath(folder):
            raise ValueError(f"--out={folder} is {option}; name another folder for the run")
    if source is not None and begin_with is not None:
        raise ValueError(f"--begin-with={begin_with} does not go with --from={source}")
    if source is None and not name:
        raise ValueError("name a recipe or a model part, or give --from, a model to fine-tune")
    strategy = workers.strategy(kind)  # before anything of TensorFlow runs
    start_from = None if source is None else own.source(source, name, path)
    recipe = own.recipe_for(str(name), path) if start_from is None else start_from.recipe
    recipe = runs.recipe_of(recipe, options.get("transpose"))
    recipe.candidate(options.get("candidate"))
    splits = runs.load_data(recipe, path, edition, options.get("without"))
    frames = [sum(len(s) for s in part) for part in (splits.train, splits.valid, splits.test)]
    if begin_with is not None:
        options["begin_with"] = provenance.beginning(
            begin_with, recipe.name, options.get("candidate"), frames
        )
    if start_from is not None:
        options["begin_with"] = start_from.digest
    chief = workers.is_chief(strategy)  # alone writes
    with workers.leaving(kind), runs.starting(folder) if chief else contextlib.nullcontext():
        options["add_checksums"] = chief
        run = runs.Run.create(folder, recipe, steps, seed, frames, dtype=dtype, **options)
        if chief:
            trained_on.write(run, splits, path)
        train(run, splits, strategy=strategy, begin_with=start_from or begin_with)
        if test and chief:
            score(run, splits)
