"""A published model behind a server that is not ours: KServe's, in an environment of its own.

`make test-kserve` makes it and names its Python in `SRNN_TF_KSERVE`.
"""

import json
import os
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import urllib3

from benchmarks.scaling import free_ports
from srnn_tf import data, serving, zoo

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "kserve_server.py"


@pytest.fixture(params=["f_rnn_bach", "f_srnn_bach"])
def served(request, tmp_path):
    """A model's name, and the address of its server."""
    python = os.environ.get("SRNN_TF_KSERVE")
    if not python:
        pytest.skip("SRNN_TF_KSERVE is not set: make test-kserve")
    name, (port,) = request.param, free_ports(1)
    words = [zoo.folder(name), "--name", name, "--http_port", str(port)]
    env = {"PATH": os.environ["PATH"], "TF_CPP_MIN_LOG_LEVEL": "3"}
    log = tmp_path / "log.txt"
    with log.open("w") as file:
        process = subprocess.Popen([python, SCRIPT, *words], stdout=file, stderr=file, env=env)
        where, until = f"http://127.0.0.1:{port}", time.monotonic() + 120
        try:
            while not ready(f"{where}/v2/models/{name}/ready"):
                ended = process.poll() is not None
                assert not ended and time.monotonic() < until, log.read_text()[-2000:]
                time.sleep(0.5)
            yield name, where
        finally:
            process.terminate()
            process.wait(timeout=30)


def ready(where):
    try:
        return urllib3.request("GET", where, retries=False, timeout=5).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def infer(name, where, **inputs):
    """The status, and the outputs or the error."""
    kinds = {"float32": "FP32", "int32": "INT32", "float64": "FP64"}
    columns = [
        {"name": n, "shape": v.shape, "datatype": kinds[v.dtype.name], "data": v.ravel().tolist()}
        for n, v in inputs.items()
    ]
    found = urllib3.request(
        "POST",
        f"{where}/v2/models/{name}/infer",
        json={"inputs": columns},
        retries=False,
        timeout=60,
    )
    held = json.loads(found.data)
    if found.status != 200:
        return found.status, held["error"]
    return 200, {o["name"]: np.reshape(o["data"], o["shape"]) for o in held["outputs"]}


@pytest.mark.slow
def test_kserve_scores_the_same(served):
    name, where = served
    sequences = [np.asarray(s)[: 40 + 7 * i] for i, s in enumerate(data.load("bach").test[:6])]
    inputs = serving.answers.padded("frames", sequences)
    status, found = infer(name, where, **inputs)
    expected = serving.Local(name).score(sequences)
    assert status == 200
    np.testing.assert_allclose(found["log_likelihood"], expected.log_likelihood, rtol=1e-4)
    for row, steps in zip(
        found["log_likelihood_per_step"], expected.log_likelihood_per_step, strict=True
    ):
        np.testing.assert_allclose(row[: len(steps)], steps, rtol=1e-4, atol=1e-3)
        assert not row[len(steps) :].any()
    assert ("kl" in found) == (expected.kl is not None)
    bad = {
        "must be 0 or 1": {**inputs, "frames": inputs["frames"] + np.float32(0.5)},
        "`length` must be from 1 to T": {**inputs, "length": inputs["length"] + np.int32(999)},
        "missing": {"frames": inputs["frames"]},
        "must be float32": {**inputs, "frames": inputs["frames"][..., :3]},
    }
    for message, wrong in bad.items():
        status, text = infer(name, where, **wrong)
        assert 400 <= status < 500 and message in text, text
    assert infer(name, where, **inputs)[0] == 200
