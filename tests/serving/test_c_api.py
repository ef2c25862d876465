"""A published model without Python: a C program loads the SavedModel and scores the same."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from srnn_tf import data, serving, zoo

TENSORFLOW = Path(tf.__file__).parent
SOURCE = Path(__file__).with_name("score.c")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The compiled program, linked to the library of the installed wheel."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    out = tmp_path_factory.mktemp("c") / "score"
    libraries = [str(TENSORFLOW / f"libtensorflow_{part}.so.2") for part in ("cc", "framework")]
    command = [compiler, "-O1", f"-I{TENSORFLOW / 'include'}", str(SOURCE), "-o", str(out)]
    subprocess.run([*command, *libraries, f"-Wl,-rpath,{TENSORFLOW}"], check=True)
    return out


def run(program, model, signature, values, length, folder):
    """The program's output lines for padded values, by the SavedModel in a folder."""
    (meta,) = saved_model_pb2.SavedModel.FromString(
        (model / "saved_model.pb").read_bytes()
    ).meta_graphs
    held = meta.signature_def[signature]
    (first,) = set(held.inputs) - {"length"}
    values.astype(np.float32).tofile(folder / "values")
    length.astype(np.int32).tofile(folder / "length")
    sizes = [*values.shape, 0][:3]
    output = held.outputs["log_likelihood"].name.split(":")
    names = [held.inputs[first].name.split(":")[0], held.inputs["length"].name.split(":")[0]]
    words = [model, *sizes, folder / "values", folder / "length", *names, *output]
    return subprocess.run(
        [program, *map(str, words)],
        capture_output=True,
        text=True,
        env={"TF_CPP_MIN_LOG_LEVEL": "3"},
    )


@pytest.mark.parametrize(
    "name", [pytest.param("f_rnn_bach", marks=pytest.mark.slow), "f_srnn_bach"]
)
def test_c_program_scores_the_same(program, name, tmp_path):
    sequences = [np.asarray(s) for s in data.load("bach").test[:4]]
    inputs = serving.answers.padded("frames", sequences)
    done = run(program, zoo.folder(name), "score", inputs["frames"], inputs["length"], tmp_path)
    assert done.returncode == 0, done.stderr
    found = np.array(done.stdout.split(), np.float32)
    expected = serving.Local(name).score(sequences).log_likelihood
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    wrong = inputs["length"] + inputs["frames"].shape[1]
    done = run(program, zoo.folder(name), "score", inputs["frames"], wrong, tmp_path)
    assert done.returncode == 1 and "`length` must be from 1 to T" in done.stderr
