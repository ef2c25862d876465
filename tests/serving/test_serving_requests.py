"""Requests that no client of ours would send: an error status each, and the server lives on.

`SRNN_TF_SERVING` and `SRNN_TF_SERVING_REST` point them at a real server, as in `test_serving`.
"""

import http.client
import json

import grpc
import numpy as np
import pytest
import tensorflow as tf
import urllib3
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from benchmarks import substitute
from srnn_tf import serving, zoo
from srnn_tf.serving import export
from tests import harness
from tests.serving.test_c_api import program, run  # noqa: F401, a fixture
from tests.serving.test_export import PERMUTED, written
from tests.serving.test_serving import REAL, address

NAME = "f_rnn_bach"
FRAMES, LENGTH = np.zeros([1, 4, 88], np.float32), np.array([4], np.int32)
GOOD = {"frames": FRAMES, "length": LENGTH}
BAD_TENSORS = {
    "wrong dtype": {"frames": FRAMES.astype(np.float64), "length": LENGTH},
    "integers": {"frames": FRAMES.astype(np.int32), "length": LENGTH},
    "missing": {"frames": FRAMES},
    "another name": {"frames": FRAMES, "lengths": LENGTH},
    "rank": {"frames": FRAMES[0], "length": LENGTH},
    "width": {"frames": FRAMES[..., :3], "length": LENGTH},
    "T = 0": {"frames": FRAMES[:, :0], "length": np.array([0], np.int32)},
    "length 0": {"frames": FRAMES, "length": np.array([0], np.int32)},
    "length beyond T": {"frames": FRAMES, "length": np.array([5], np.int32)},
    "negative": {"frames": FRAMES, "length": np.array([-1], np.int32)},
    "rows": {"frames": FRAMES, "length": np.array([4, 4], np.int32)},
    "NaN": {"frames": FRAMES * np.nan, "length": LENGTH},
    "infinity": {"frames": FRAMES - np.inf, "length": LENGTH},
    "text": {"frames": np.array([b"a"]), "length": LENGTH},
}


@pytest.fixture(scope="module")
def servers():
    with substitute.Server(zoo.folder(NAME)) as server:
        yield {NAME: server}


def predict(where, inputs, damage=False):
    """One raw request; the status' name, or OK."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = NAME, "score"
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    if damage:
        request.inputs["frames"].tensor_content = b"123"
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(where, options) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        try:
            stub.Predict(request, timeout=60)
        except grpc.RpcError as error:
            return error.code().name
    return "OK"


def test_bad_tensors_over_grpc(servers):
    where = address(servers, NAME, "grpc")
    for name, inputs in BAD_TENSORS.items():
        assert predict(where, inputs) == "INVALID_ARGUMENT", name
    assert predict(where, GOOD, damage=True) == "INVALID_ARGUMENT"
    huge = {"frames": np.zeros([1, 300_000, 88], np.float32), "length": LENGTH}  # 106 MB
    if not REAL["grpc"]:
        assert predict(where, huge) == "RESOURCE_EXHAUSTED"
    assert predict(where, GOOD) == "OK"


def body(inputs):
    columns = {name: np.asarray(value).tolist() for name, value in inputs.items()}
    return json.dumps({"signature_name": "score", "inputs": columns})


BAD_BODIES = {
    "no JSON": "{",
    "nothing": "",
    "a list": "[]",
    "no inputs": "{}",
    "inputs are no object": '{"signature_name": "score", "inputs": 3}',
    "another signature": '{"signature_name": "walk", "inputs": {}}',
    "ragged": body(GOOD).replace("[0.0, ", "[", 1),
    "text": body(GOOD).replace("0.0", '"a"', 1),
    "length of text": body(GOOD).replace("[4]", '["4 steps"]'),
    "length not whole": body(GOOD).replace("[4]", "[3.5]"),
    **{
        name: body(BAD_TENSORS[name])
        for name in BAD_TENSORS
        if name not in ("wrong dtype", "integers", "text")  # JSON has numbers, and no types
    },
}


def post(where, content, path=f"/v1/models/{NAME}:predict"):
    """The status and what the answer holds."""
    answer = urllib3.request("POST", where + path, body=content, retries=False, timeout=60)
    return answer.status, json.loads(answer.data)


def test_bad_bodies_over_rest(servers):
    where = address(servers, NAME, "rest")
    for name, content in BAD_BODIES.items():
        status, held = post(where, content)
        assert 400 <= status < 500 and held["error"], name
    paths = [f"/v1/models/{NAME}:walk", f"/v1/models/{NAME}/versions/x:predict"]
    for path in paths if REAL["rest"] else [*paths, "/walk"]:
        status, held = post(where, body(GOOD), path)
        assert 400 <= status < 500 and held["error"], path
    if not REAL["rest"]:
        status, held = post(where, b" " * 100_000_000)
        assert status == 413 and "100000000 bytes are too many" in held["error"]
    status, held = post(where, body(GOOD))
    assert status == 200 and len(held["outputs"]["log_likelihood"]) == 1


def test_a_length_that_is_no_number_over_rest(servers):
    """Headers that no library would send."""
    if REAL["rest"]:
        pytest.skip("how a real server reads headers is not ours to test")
    where = servers[NAME].rest.removeprefix("http://")
    for length in ("many", "-1", None):
        connection = http.client.HTTPConnection(where, timeout=60)
        connection.putrequest("POST", f"/v1/models/{NAME}:predict")
        if length is not None:
            connection.putheader("Content-Length", length)
        connection.endheaders()
        answer = connection.getresponse()
        assert answer.status == 411 and json.loads(answer.read())["error"], length
        connection.close()


def test_waveforms_by_every_way(program, tmp_path):  # noqa: F811
    """`score_raw` of a small model of speech: in C, over gRPC and REST, and in Python."""
    fields = {"structure": "rnn", "likelihood": "mixture", "cell": "lstm", "flat": False}
    case = harness.cases(emission="factorized", **fields)[0]
    model = harness.build(case, scale=0.3)
    out = written(model, tmp_path, PERMUTED, 16000)
    export.round_weights(model)  # as those of the file
    (tmp_path / "small").mkdir()
    folder = out.rename(tmp_path / "small" / "1")
    rng, size = np.random.default_rng(0), model.event_size
    waves = [rng.uniform(-1, 1, n).astype(np.float32) for n in (40, 3, 17, 61, 8)]
    with substitute.Server(folder) as server:
        ways = {}
        for way in ("grpc", "rest"):
            with serving.Client(getattr(server, way), "small", batch_size=2) as client:
                found = client.score_waveform(waves)
                ways[way] = found.log_likelihood
                assert [len(s) for s in found.log_likelihood_per_step] == [
                    len(w) // size for w in waves
                ]
                with pytest.raises(ValueError, match=r"samples or more, in \[-1, 1\]"):
                    client.score_waveform(np.full([40], 1.5))
                with pytest.raises(serving.ServingError, match=r"must be in \[-1, 1\]$"):
                    client.ask("score_raw", {"waveform": [[1.5] * 9], "length": np.int32([9])})
    inputs = serving.answers.padded("waveform", waves)
    done = run(program, folder, "score_raw", inputs["waveform"], inputs["length"], tmp_path)
    assert done.returncode == 0, done.stderr
    ways["C"] = [float(line) for line in done.stdout.split()]
    change = -np.log(np.broadcast_to(PERMUTED.std, size)).sum()
    for i, wave in enumerate(waves):
        frames = PERMUTED.apply(wave[: len(wave) // size * size].reshape(-1, size))
        expected = float(model.log_prob(frames[None].astype(np.float32))[0])
        for way, found in ways.items():
            value = found[i] - change * len(frames)
            assert value == pytest.approx(expected, rel=1e-4, abs=1e-4), (way, i)
