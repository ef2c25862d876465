"""What a server may answer in place of scores: none of it is believed, over gRPC and REST alike."""

import contextlib
import copy
import http.server
import json
import threading
from concurrent import futures

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from srnn_tf import serving

LENGTHS = (2, 3, 1)
FRAMES = [np.zeros([n, 4], np.float32) for n in LENGTHS]
STEPS = [[-1.5, -2.0, 0.0], [-1.0, -0.25, -4.0], [-3.0, 0.0, 0.0]]  # in the order they are sent
STEPS = [STEPS[1], STEPS[0], STEPS[2]]  # the longest first
GOOD = {
    "log_likelihood": [sum(row) for row in STEPS],
    "log_likelihood_per_step": STEPS,
    "kl": [0.5, 0.0, 1.0],
}
NAMES = tuple(GOOD)


def but(**values):
    """The good answer with other values; None leaves an output out."""
    return {k: v for k, v in {**copy.deepcopy(GOOD), **values}.items() if v is not None}


def steps_but(row, step, value):
    steps = copy.deepcopy(STEPS)
    steps[row][step] = value
    return but(log_likelihood_per_step=steps)


# Both ways; a message tells what is wrong.
ANSWERS = {
    "one score for three": (
        but(log_likelihood=[-5.25]),
        r"must have shape \(3,\); received \(1,\)",
    ),
    "a scalar score": (but(log_likelihood=-5.25), r"must have shape \(3,\); received \(\)"),
    "four scores": (but(log_likelihood=[-5.25, -3.5, -3.0, -1.0]), r"received \(4,\)"),
    "a column of scores": (but(log_likelihood=[[-5.25], [-3.5], [-3.0]]), r"received \(3, 1\)"),
    "no scores": (but(log_likelihood=[]), r"received \(0,\)"),
    "one row of steps": (but(log_likelihood_per_step=STEPS[:1]), r"shape \(3, 3 or more\)"),
    "too few steps": (but(log_likelihood_per_step=[r[:2] for r in STEPS]), r"received \(3, 2\)"),
    "steps of no axis": (but(log_likelihood_per_step=[-5.25, -3.5, -3.0]), r"received \(3,\)"),
    "steps of a third axis": (but(log_likelihood_per_step=[STEPS]), r"received \(1, 3, 3\)"),
    "one kl for three": (but(kl=[0.5]), r"`kl` must have shape \(3,\)"),
    "steps beyond the last": (
        steps_but(2, 1, 7.0),
        "0 after the last step.* step 1 of sequence 2",
    ),
    "NaN score": (but(log_likelihood=[-5.25, np.nan, -3.0]), r"must be finite.* nan at \(1,\)"),
    "infinite score": (but(log_likelihood=[-np.inf, -3.5, -3.0]), r"received -inf at \(0,\)"),
    "NaN step": (steps_but(0, 1, np.nan), r"must be finite.* nan at \(0, 1\)"),
    "NaN in the padding": (steps_but(2, 2, np.nan), r"must be finite.* nan at \(2, 2\)"),
    "infinite kl": (but(kl=[np.inf, 0.0, 1.0]), "`kl` must be finite"),
    "scores in another order": (but(log_likelihood=[-3.5, -5.25, -3.0]), "must be the sum"),
    "a score beside its steps": (but(log_likelihood=[-5.25, -3.5, -3.01]), "-3; received -3.01"),
    "a step beside its score": (steps_but(1, 0, -1.6), "must be the sum"),
    "no outputs": ({}, "must hold"),
    "no score": (but(log_likelihood=None), "must hold kl, log_likelihood, log_likelihood_per_step"),
    "no steps": (but(log_likelihood_per_step=None), "received kl, log_likelihood$"),
    "no kl of a model with latents": (but(kl=None), "must hold kl"),
    "another name": (but(kl=None, KL=[0.5, 0.0, 1.0]), "received KL"),
    "an output more": (but(frames=[0.0]), "received frames, kl"),
}
# What only JSON, or only a tensor, can hold.
BODIES = {
    "null": (but(log_likelihood=[-5.25, None, -3.0]), "must be numbers; received null"),
    "booleans": (but(kl=[True, False, True]), "must be numbers; received (true|false)"),
    "a boolean among numbers": (but(kl=[True, 0.0, 1.0]), "received true"),
    "strings": (but(kl=["0.5", "0.0", "1.0"]), 'received "0.5"'),
    "an object": (but(kl={"0": 1.0}), "must be numbers"),
    "a huge integer": (but(kl=[10**400, 0, 1]), "a larger integer"),
    "a number beyond float32": (
        but(kl=[1e39, 0.0, 1.0]),
        "finite in float32; received inf",
    ),
    "ragged steps": (but(log_likelihood_per_step=[[-5.25], [-3.5, 0.0], [-3.0]]), "of one length"),
    "lists in lists": (but(kl=[[[[[0.5]]]]]), "of one length"),
    "outputs that are a list": ([-5.25, -3.5, -3.0], "received frames"),
    "outputs that are null": (None, "must hold outputs"),
}
TEXTS = {
    "no JSON": ("log_likelihood", "must be a JSON object"),
    "nothing": ("", "must be a JSON object"),
    "a list": ("[1]", "must be a JSON object"),
    "rows": (json.dumps({"predictions": [GOOD]}), "must hold outputs"),
    "an error and outputs": (json.dumps({"error": "x", "outputs": GOOD}), "and no error"),
    "deep": ("[" * 100_000, "must be a JSON object"),
    "a name twice": ('{"outputs": 1, "outputs": {}}', "must be a JSON object"),
    "cut off": (json.dumps({"outputs": GOOD})[:-9], "must be a JSON object"),
}


def tensor(value):
    return tf.make_tensor_proto(np.asarray(value, np.float32))


def spoiled(name, spoil):
    """The good answer in tensors, one of them spoiled."""
    tensors = {key: tensor(value) for key, value in GOOD.items()}
    spoil(tensors[name])
    return tensors


def shape(proto, *sizes):
    del proto.tensor_shape.dim[:]
    for size in sizes:
        proto.tensor_shape.dim.add(size=size)


def repeated(proto):
    """Three numbers by TensorFlow's rule that the last one is repeated."""
    proto.CopyFrom(tensor([1.0]))
    shape(proto, 3)


def of_type(value):
    return lambda proto: proto.CopyFrom(tf.make_tensor_proto(np.asarray(value)))


TENSORS = {
    "float64": ("kl", of_type([0.5, 0.0, 1.0]), "must be DT_FLOAT"),
    "integers": ("kl", of_type([1, 0, 1]), "must be DT_FLOAT"),
    "booleans": ("kl", of_type([True, False, True]), "must be DT_FLOAT"),
    "strings": ("kl", of_type([b"0.5", b"0.0", b"1.0"]), "must be DT_FLOAT"),
    "halves": ("kl", of_type(np.float16([0.5, 0.0, 1.0])), "must be DT_FLOAT"),
    "no type": ("kl", lambda proto: proto.Clear(), "must be DT_FLOAT"),
    "one repeated": ("log_likelihood", repeated, r"of shape \(3,\) holds 1 numbers"),
    "bytes cut off": ("kl", lambda p: setattr(p, "tensor_content", b"1234567"), "holds 1.75"),
    "a larger shape": ("kl", lambda p: shape(p, 10**9, 10**9), "holds 3 numbers"),
    "a negative shape": ("kl", lambda p: shape(p, -1), "must have a shape"),
    "numbers twice": ("kl", lambda p: p.float_val.extend([1.0, 2.0, 3.0]), "holds 6 numbers"),
    "no rank": ("kl", lambda p: setattr(p.tensor_shape, "unknown_rank", True), "have a shape"),
}


def definitions(latents=True, size=4):
    """The metadata of a model."""
    held = get_model_metadata_pb2.SignatureDefMap()
    for axis in (-1, -1, size):
        score = held.signature_def["score"]
        score.inputs["frames"].tensor_shape.dim.add(size=axis)
    for name in NAMES if latents else NAMES[:2]:
        score.outputs[name].dtype = 1
    return held


class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers what it was told to."""

    held, tensors, spec = definitions(), {}, {}

    def GetModelMetadata(self, request, context):
        answer = get_model_metadata_pb2.GetModelMetadataResponse()
        answer.metadata["signature_def"].Pack(self.held)
        return answer

    def Predict(self, request, context):
        answer = predict_pb2.PredictResponse()
        for key, value in self.tensors.items():
            answer.outputs[key].CopyFrom(value)
        for key, value in self.spec.items():
            setattr(answer.model_spec, key, value)
        return answer


class Handler(http.server.BaseHTTPRequestHandler):
    """The same over REST."""

    protocol_version = "HTTP/1.1"
    latents, size, text, asked = True, "4", "", []

    def log_message(self, *words):
        pass

    def do_GET(self):
        axes = [{"size": "-1"}, {"size": "-1"}, {"size": self.size}]
        names = NAMES if self.latents else NAMES[:2]
        score = {
            "inputs": {"frames": {"tensor_shape": {"dim": axes}}},
            "outputs": {name: {} for name in names},
        }
        held = {"metadata": {"signature_def": {"signature_def": {"score": score}}}}
        self.answer(json.dumps(held))

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(self.text)

    def answer(self, text):
        type(self).asked.append(self.path)
        content = text.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def over_grpc():
    server, service = grpc.server(futures.ThreadPoolExecutor(4)), Service()
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}", service
    finally:
        server.stop(None)


@pytest.fixture
def over_rest():
    handler = type("Bound", (Handler,), {"asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", handler
        server.shutdown()


@contextlib.contextmanager
def refused(client, message, name):
    with client, pytest.raises(serving.ServingError, match=message) as error:
        yield
    assert error.value.code == "INTERNAL" and "\n" not in str(error.value), name
    assert "the answer is not believed" in str(error.value), name


def test_a_good_answer_is_believed(over_grpc, over_rest):
    further = but(log_likelihood_per_step=[[*row, 0.0, 0.0] for row in STEPS])
    for good in (GOOD, further):
        over_grpc[1].tensors = {key: tensor(value) for key, value in good.items()}
        over_rest[1].text = json.dumps({"outputs": good})
        for where in (over_grpc[0], over_rest[0]):
            with serving.Client(where, "m") as client:
                found = client.score(FRAMES)
            np.testing.assert_array_equal(found.log_likelihood, [-3.5, -5.25, -3.0])
            np.testing.assert_array_equal(found.kl, [0.0, 0.5, 1.0])
            assert [len(steps) for steps in found.log_likelihood_per_step] == list(LENGTHS)


def test_hostile_answers_over_grpc(over_grpc):
    where, service = over_grpc
    answers = {
        name: ({key: tensor(value) for key, value in given.items()}, message)
        for name, (given, message) in ANSWERS.items()
    }
    answers |= {name: (spoiled(key, how), said) for name, (key, how, said) in TENSORS.items()}
    for name, (tensors, message) in answers.items():
        service.tensors = tensors
        client = serving.Client(where, "m")
        with refused(client, message, name):
            client.score(FRAMES)
    assert len(answers) == 37


def test_hostile_answers_over_rest(over_rest):
    where, handler = over_rest
    answers = {
        name: (json.dumps({"outputs": given}), message)
        for name, (given, message) in {**ANSWERS, **BODIES}.items()
    } | TEXTS
    for name, (text, message) in answers.items():
        handler.text = text
        client = serving.Client(where, "m")
        with refused(client, message, name):
            client.score(FRAMES)
    assert len(answers) == 44


def test_an_answer_of_another_model(over_grpc):
    where, service = over_grpc
    service.tensors = {key: tensor(value) for key, value in GOOD.items()}
    for spec in ({"name": "n"}, {"signature_name": "sample"}):
        service.spec = spec
        client = serving.Client(where, "m")
        with refused(client, "must be of the", spec):
            client.score(FRAMES)
    service.spec = {"name": "m", "signature_name": "score"}
    with serving.Client(where, "m") as client:
        client.score(FRAMES)


@pytest.mark.parametrize("way", ["grpc", "rest"])
def test_kl_is_of_models_with_latents(way, over_grpc, over_rest):
    """Of all requests, or of none; a model without latents has none."""
    over_grpc[1].tensors = {key: tensor(value) for key, value in GOOD.items()}
    over_grpc[1].held = definitions(latents=False)
    over_rest[1].text, over_rest[1].latents = json.dumps({"outputs": GOOD}), False
    client = serving.Client({"grpc": over_grpc, "rest": over_rest}[way][0], "m")
    with refused(client, "must hold log_likelihood, log_likelihood_per_step; received kl", way):
        client.score(FRAMES)


SAMPLES = {
    "another shape": np.zeros([1, 5, 4]),
    "fewer axes": np.zeros([6, 4]),
    "NaN": np.full([1, 6, 4], np.nan),
    "infinity": np.full([1, 6, 4], -np.inf),
}


def test_hostile_samples(over_grpc, over_rest):
    for name, frames in {**SAMPLES, "good": np.ones([1, 6, 4])}.items():
        over_grpc[1].tensors = {"frames": tensor(frames)}
        over_rest[1].text = json.dumps({"outputs": frames.tolist()})
        for where in (over_grpc[0], over_rest[0]):
            client = serving.Client(where, "m")
            if name == "good":
                assert client.sample(6).shape == (1, 6, 4)
                continue
            with refused(client, "`frames` must", name):
                client.sample(6)


def test_hostile_metadata(over_grpc, over_rest):
    for size in (0, -1, 2**40):
        over_grpc[1].held = definitions(size=size)
        over_rest[1].size = size
        for where in (over_grpc[0], over_rest[0]):
            with pytest.raises(serving.ServingError, match="is not a model of srnn_tf"):
                _ = serving.Client(where, "m").event_size
    for size in (True, None, 4.0, "many", [4]):
        over_rest[1].size = size
        with pytest.raises(serving.ServingError, match="is not a model of srnn_tf"):
            _ = serving.Client(over_rest[0], "m").event_size


def test_names_of_models_in_addresses(over_rest):
    """Escaped, or refused by name: `..` would be another address."""
    where, handler = over_rest
    handler.text = json.dumps({"outputs": GOOD})
    names = {"a b": "a%20b", "%2e%2e": "%252e%252e", "a?b": "a%3Fb", "a#b": "a%23b", "ä": "%C3%A4"}
    for name, escaped in {**names, "a:b": "a%3Ab", "...": "..."}.items():
        handler.asked.clear()
        with serving.Client(where, name) as client:
            client.score(FRAMES)
        assert handler.asked == [f"/v1/models/{escaped}{end}" for end in ("/metadata", ":predict")]
    for name in ("", ".", "..", "a/b", "/", "a\nb", "a\0", "\udce4", None):
        for address in (where, "a:1"):
            with pytest.raises(ValueError, match="`model` must be the name of a model"):
                serving.Client(address, name)
