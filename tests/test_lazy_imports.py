"""Nothing waits for TensorFlow that does not need it; in processes of their own."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import srnn_tf

ROOT = Path(__file__).parents[1]
HEAVY = "('tensorflow', 'keras', 'tensorflow_probability', 'matplotlib', 'music21')"
LIGHT = """srnn_tf srnn_tf.recipes srnn_tf.data srnn_tf.zoo srnn_tf.serving srnn_tf.plots
    srnn_tf.data.prepared.preparation srnn_tf.command""".split()


def python(code, *words, **variables):
    """Run code; its output, and the seconds of processor time it took."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TF_")}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        cwd=ROOT,
        env={**environment, "CUDA_VISIBLE_DEVICES": "", **variables},
        capture_output=True,
        text=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done, seconds


def fastest(*arguments, **variables):
    """The same of the fastest of up to five runs: others use the machine too."""
    runs = [python(*arguments, **variables) for _ in range(3)]
    return min(runs, key=lambda run: run[1])


def test_the_package_is_imported_in_a_third_of_a_second():
    done, seconds = fastest("import srnn_tf")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert seconds < 0.3


@pytest.mark.parametrize("module", LIGHT)
def test_a_module_imports_nothing_heavy(module):
    code = f"import sys, {module}; print([m for m in {HEAVY} if m in sys.modules])"
    done, _ = python(code)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_names_are_there_before_they_are_imported():
    code = "import sys, srnn_tf; print(*dir(srnn_tf)); print('keras' in sys.modules)"
    names, imported = python(code)[0].stdout.splitlines()
    assert {*srnn_tf.__all__, "convert", "experiments", "model", "serving", "testing"} <= {
        *names.split()
    }
    assert imported == "False"
    assert {*srnn_tf.serving.__all__} <= {*dir(srnn_tf.serving)}
    for name in dir(srnn_tf):
        assert getattr(srnn_tf, name) is getattr(srnn_tf, name)
    with pytest.raises(AttributeError, match="module 'srnn_tf' has no attribute 'nothing'"):
        _ = srnn_tf.nothing
    with pytest.raises(ImportError, match="cannot import name 'nothing' from 'srnn_tf'"):
        from srnn_tf import nothing  # noqa: F401


@pytest.mark.parametrize("first", ["srnn_tf, keras", "keras, srnn_tf"])
def test_keras_loads_a_file_after_the_import_alone(first, tmp_path):
    emission = {"class": "factorized", "event_size": 3, "likelihood": "bernoulli"}
    model = srnn_tf.SequenceModel({"class": "rnn", "units": 4}, emission)
    model.compile()
    model.save(tmp_path / "model.keras")
    code = f"import sys\nimport {first}\nmodel = keras.saving.load_model(sys.argv[1])\n" + (
        "print(type(model).__name__, type(model) is srnn_tf.SequenceModel, model.objective)"
    )
    done, _ = python(code, tmp_path / "model.keras")
    assert done.stdout == "SequenceModel True Exact()\n", done.stderr
