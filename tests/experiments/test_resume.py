"""What is saved comes back, and a killed run goes on as if nothing had happened."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from srnn_tf import ELBO, SequenceModel, data
from srnn_tf.experiments import runs
from tests import harness

ROOT = Path(__file__).parents[2]
LSTM = harness.cases(structure="parallel_srnn", cell="lstm", likelihood="mixture", flat=True)[0]
SRNN = harness.cases(structure="parallel_srnn", cell="gru", likelihood="mixture", flat=False)[0]

# `fit` trains for 5 epochs with dropout and shuffling; `zoo` runs `srnn-tf train`, transposing,
# with epochs of 3 updates and a small recipe. Told to wait, they wait in mid-epoch to be killed.
SCRIPT = """
    import dataclasses, functools, json, pathlib, sys, time
    import keras
    from srnn_tf import SequenceModel, recipes
    from tests import harness
    from tests.experiments import test_resume
    from srnn_tf.command import main
    from srnn_tf.experiments import runs, train

    def block(folder):
        (folder / "waiting").touch()
        time.sleep(600)

    def fit(folder, wait):
        class Watch(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                (folder / f"epoch-{epoch}").write_text(json.dumps(logs["loss"]))

            def on_train_batch_end(self, batch, logs=None):
                if wait and int(self.model.step) == 3 * 2 + 1:
                    block(folder)

        model = harness.build(test_resume.SRNN, structure={"dropout": 0.5, "num_layers": 1})
        model.compile("adam", run_eagerly=True)
        backup = keras.callbacks.BackupAndRestore(folder / "backup")
        x = harness.frames(test_resume.SRNN, rows=7, steps=3)
        model.fit(x, batch_size=4, epochs=5, verbose=0, callbacks=[Watch(), backup])

    def zoo(folder, wait):
        recipe = recipes.get("f_srnn_jsb")
        small = {**recipe.structure, "units": 8, "embedding_size": 8, "latent_size": 4}
        changed = dict(structure=small, window=5, batch_size=4)
        for name in (recipe.name, recipe.name + recipes.TRANSPOSED):
            recipes.RECIPES[name] = dataclasses.replace(recipes.get(name), **changed)
        runs.EPOCH = 3
        compile, stop = SequenceModel.compile, train.StopAt.on_train_batch_end
        SequenceModel.compile = functools.partialmethod(compile, run_eagerly=True)

        def on_train_batch_end(self, batch, logs=None):
            if wait and int(self.model.step) == 7:
                block(folder)
            stop(self, batch, logs)

        train.StopAt.on_train_batch_end = on_train_batch_end
        mat = str(folder.parent / "jsb.mat")
        arguments = ["--data", mat, "--edition", "any", "--steps", "8", "--transpose", "6"]
        main(["train", recipe.name, "--out", str(folder), *arguments])

    for name in sys.argv[3:]:
        folder = pathlib.Path(sys.argv[1]) / f"{name}-{sys.argv[2]}"
        folder.mkdir(exist_ok=True)
        {"fit": fit, "zoo": zoo}[name](folder, wait=sys.argv[2] == "cut" and len(sys.argv) == 4)
"""


def start(folder, run, *names):
    """The scripts `names` in one process; a single one of the run "cut" waits to be killed."""
    (folder / "script.py").write_text(textwrap.dedent(SCRIPT))
    env = {**os.environ, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": "tensorflow"}
    command = [sys.executable, str(folder / "script.py"), str(folder), run, *names]
    return subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(process):
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors.decode()[-3000:]


def kill(process, folder):
    """SIGKILL once the process waits in the middle of an epoch."""
    deadline = time.monotonic() + 300
    while not (folder / "waiting").exists() and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read().decode()[-3000:]
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def same(found, expected):
    """Equal to 6 digits; JSON values."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[k], expected[k]) for k in found)
    return found == (expected if isinstance(expected, str) else pytest.approx(expected, rel=1e-6))


@pytest.fixture(scope="module")
def killed_runs(tmp_path_factory):
    """The folder of all runs, and what each killed one held before it was resumed."""
    folder = tmp_path_factory.mktemp("resume")
    harness.write_mat(folder / "jsb.mat", lengths=(20, 20))
    names = ("fit", "zoo")
    waiting = {name: start(folder, "cut", name) for name in names}
    uninterrupted, saved = start(folder, "whole", *names), {}
    for name, process in waiting.items():
        kill(process, folder / f"{name}-cut")
        saved[name] = {file.name for file in (folder / f"{name}-cut").iterdir()}
    resumed = start(folder, "cut", *names)
    finish(uninterrupted)
    finish(resumed)
    return folder, saved


@pytest.mark.parametrize("script", ["fit", "zoo"])
def test_a_killed_run_repeats_an_uninterrupted_one(script, killed_runs):
    folder, saved = killed_runs[0], killed_runs[1][script]
    whole, cut = (folder / f"{script}-{run}" for run in ("whole", "cut"))
    if script == "fit":
        assert saved == {"backup", "waiting", "epoch-0", "epoch-1", "epoch-2"}
        names = [f"epoch-{i}" for i in range(5)]
    else:
        assert {"checkpoint.weights.h5", "best.json", "run.json"} <= saved
        assert "result.json" not in saved and not [n for n in saved if n.startswith(".")]
        names = ["result.json", "best.json"]
    for name in names:
        expected, found = (json.loads((folder / name).read_text()) for folder in (whole, cut))
        assert same(found, expected), (name, found, expected)
    if script == "zoo":
        shown = [dict(harness.scalars(run, "epoch_loss")) for run in (whole, cut)]
        assert len(shown[0]) > 2 and shown[1] == pytest.approx(shown[0], rel=1e-5)


# Trains in processes that are forked before TensorFlow has threads, with a checkpoint an update.
FORKED = """
    import dataclasses, functools, os, sys, traceback
    from srnn_tf import SequenceModel, recipes
    from srnn_tf.command import main

    recipe = recipes.get("f_srnn_jsb")
    small = {**recipe.structure, "units": 8, "embedding_size": 8, "latent_size": 4}
    changed = dataclasses.replace(recipe, structure=small, window=5, batch_size=4)
    recipes.RECIPES[recipe.name] = changed
    SequenceModel.compile = functools.partialmethod(SequenceModel.compile, run_eagerly=True)
    data = ["--data", sys.argv[1], "--edition", "any", "--no-test"]
    print("ready", flush=True)
    for line in sys.stdin:
        if pid := os.fork():
            print(pid, flush=True)
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
            continue
        os.dup2(2, 1)
        try:
            main(["train", recipe.name, *data, "--steps", "40", "--validate-every", "1",
                  "--out", line.strip()])
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
"""


@pytest.mark.slow
def test_24_kills_at_random_moments_change_no_bit(tmp_path):
    """Weights, optimizer and scores are those of the undisturbed run; no temporary file is left."""
    random = np.random.default_rng(0)
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(FORKED))
    mat = harness.write_mat(tmp_path / "jsb.mat", lengths=(20, 20))
    env = {**os.environ, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": "tensorflow"}
    server = subprocess.Popen(
        [sys.executable, str(script), mat],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=(tmp_path / "errors").open("w"),
        text=True,
    )
    assert server.stdout.readline() == "ready\n"

    def step_of(folder):
        file = folder / "clock.json"
        return json.loads(file.read_text())["step"] if file.exists() else 0

    def train(folder, updates=None, seconds=0.0):
        """The exit status; the process is killed some updates and seconds after its start."""
        begin, deadline = step_of(folder), time.monotonic() + 300.0
        server.stdin.write(f"{folder}\n")
        server.stdin.flush()
        pid = int(server.stdout.readline())
        if updates is not None:
            lock = folder / "train.lock"
            while not lock.exists() or f"process {pid} " not in lock.read_text():
                assert time.monotonic() < deadline, (tmp_path / "errors").read_text()[-3000:]
                time.sleep(0.005)
            while step_of(folder) < begin + updates and lock.exists():
                assert time.monotonic() < deadline, (tmp_path / "errors").read_text()[-3000:]
                time.sleep(0.005)
            time.sleep(seconds)
            os.kill(pid, signal.SIGKILL)
        return int(server.stdout.readline())

    whole, cut, stages = tmp_path / "whole", tmp_path / "cut", []
    began = time.monotonic()
    assert train(whole) == 0, (tmp_path / "errors").read_text()[-3000:]
    update, begins = (time.monotonic() - began) / 40, 1
    while len(stages) < 24:
        # Some before the first update, most at any moment of the second to fourth one.
        if train(cut, len(stages) % 4 and random.integers(1, 3), random.uniform(0.0, update)) == 0:
            shutil.rmtree(cut)  # it was at the end; begin once more
            begins += 1
            continue
        left = any(path.name.startswith(".srnn_tf-") for path in cut.iterdir())
        stages.append((step_of(cut), left))
    assert train(cut) == 0
    server.stdin.close()
    server.wait()
    assert {p.name for p in cut.iterdir()} == {p.name for p in whole.iterdir()}
    for name in ("run.json", "best.json"):
        assert (cut / name).read_bytes() == (whole / name).read_bytes()
    for name in runs.WEIGHTS:
        with h5py.File(cut / name) as a, h5py.File(whole / name) as b:
            same_arrays(a, b)
    writing = sum(writes for _, writes in stages)
    print(
        f"24 kills at updates {[step for step, _ in stages]}, {writing} while a file was written,"
    )
    print(f"{begins} runs; the last one is equal to the undisturbed one bit for bit")


def same_arrays(a, b):
    assert a.keys() == b.keys()
    for key in a:
        if isinstance(a[key], h5py.Group):
            same_arrays(a[key], b[key])
        else:
            np.testing.assert_array_equal(a[key][()], b[key][()])


class Stop(keras.callbacks.Callback):
    """An interruption in the middle of an epoch."""

    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.step) == 7:
            raise KeyboardInterrupt


@pytest.mark.parametrize("endless", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_streams_go_on_where_the_backup_was_made(endless, tmp_path):
    """With `steps_per_epoch` the epochs of the fit are not those of the data."""
    stream = data.streams(harness.rolls([22], width=3, density=0.5), 2, 3)
    assert stream.batches_per_epoch == 4
    args = {"epochs": 3, "verbose": 0, "steps_per_epoch": 3 if endless else None}

    def fit(*callbacks):
        case = harness.cases(structure="rnn", cell="gru", likelihood="bernoulli", flat=False)[0]
        model = harness.build(case, structure={"dropout": 0.5})
        model.compile("adam", run_eagerly=True)
        return model.fit(stream, callbacks=list(callbacks), **args).history["loss"]

    expected = fit()
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(KeyboardInterrupt):
        fit(backup, Stop())
    resumed = fit(keras.callbacks.BackupAndRestore(tmp_path / "backup"))
    assert len(resumed) == (1 if endless else 2)
    assert resumed == pytest.approx(expected[-len(resumed) :], rel=1e-6)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("case", harness.cases(cell="gru", likelihood="mixture") + [LSTM], ids=str)
def test_a_config_is_json_and_rebuilds_the_model(case):
    model, x = harness.shared(case), harness.frames(case, steps=2)
    config = json.loads(json.dumps(model.get_config()))
    again = SequenceModel.from_config(config)
    assert json.loads(json.dumps(again.get_config())) == config
    again.set_weights(model.get_weights())
    np.testing.assert_array_equal(again(x)["log_likelihood"], model(x)["log_likelihood"])


def test_a_keras_file_holds_everything(tmp_path):
    objective = ELBO({"initial": 0.1, "increment": 0.01, "final": 0.5}, free_nats=0.1)
    model = harness.build(SRNN, dtype="mixed_bfloat16", seed=5, window=2)
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.02, 10))
    how = {"clipnorm": 2.0, "loss_per": "value", "objective": objective}
    model.compile(optimizer, run_eagerly=True, **how)
    x = harness.frames(SRNN, rows=4, steps=4)
    model.fit(x, batch_size=4, epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.get_config() == model.get_config()
    assert again.objective == objective
    assert (int(again.step), again.clipnorm, again.loss_per) == (2, 2.0, "value")
    assert not again.xla and again.run_eagerly
    for a, b in zip(again.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    scores = [m.log_prob(x, protocol="paper") for m in (again, model)]
    np.testing.assert_array_equal(*scores)
    on = [m.fit(x, batch_size=4, epochs=2, verbose=0).history["loss"] for m in (again, model)]
    assert on[0] == on[1]


@pytest.mark.parametrize("jit", [True, False])
def test_a_keras_file_holds_the_jit_flag(jit, tmp_path):
    model = harness.build(SRNN)
    model.compile("sgd", jit_compile=jit, steps_per_execution=2)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.xla == again.jit_compile == jit and again.steps_per_execution == 2
    harness.build(SRNN).save(tmp_path / "raw.keras")
    assert not keras.models.load_model(tmp_path / "raw.keras").compiled


def test_a_saved_model_scores_without_python(tmp_path):
    model, x = harness.build(LSTM), harness.frames(LSTM)
    module = tf.Module()
    module.model = model

    @tf.function(input_signature=[tf.TensorSpec([None, None, harness.EVENT_SIZE])])
    def bound(frames):
        out = model(frames)
        return out["log_likelihood"] - out["kl"]

    module.bound = bound
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    for rows, steps in ((3, 7), (2, 4)):
        part = x[:rows, :steps]
        np.testing.assert_allclose(loaded.bound(part), bound(part), rtol=1e-5)
        out = model(part)
        np.testing.assert_allclose(bound(part), out["log_likelihood"] - out["kl"], rtol=1e-4)
    graph = bound.get_concrete_function().graph.as_graph_def()
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    assert len(nodes) > 100 and not [n.op for n in nodes if "PyFunc" in n.op]
