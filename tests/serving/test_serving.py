"""The client, over real gRPC and REST, against a substitute for TensorFlow Serving.

`SRNN_TF_SERVING=host:port` points the same tests at a real server's gRPC port (and
`SRNN_TF_SERVING_REST=http://host:port` at its REST port), which must serve `f_rnn_bach` and
`f_srnn_bach` from `saved_models`; what needs the substitute's inside is skipped then.
"""

import contextlib
import http.server
import os
import pickle
import threading
import time
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2, prediction_service_pb2_grpc

import srnn_tf
from benchmarks import substitute
from srnn_tf import serving, zoo

ROOT = Path(srnn_tf.__file__).parents[1] / "saved_models"
NAMES = ("f_rnn_bach", "f_srnn_bach")
REAL = {
    "grpc": os.environ.get("SRNN_TF_SERVING"),
    "rest": os.environ.get("SRNN_TF_SERVING_REST"),
}


@pytest.fixture(scope="module")
def servers():
    """A substitute for each model."""
    with contextlib.ExitStack() as stack:
        folders = {name: substitute.newest(ROOT / name) for name in NAMES}
        yield {n: stack.enter_context(substitute.Server(f)) for n, f in folders.items()}


@pytest.fixture(scope="module")
def local():
    return {name: serving.Local(name) for name in NAMES}


def rolls(lengths, seed=0):
    """Piano rolls of these lengths."""
    rng = np.random.default_rng(seed)
    return [(rng.random([n, 88]) < 0.05).astype(np.float32) for n in lengths]


def address(servers, name, way):
    if REAL["grpc"] or REAL["rest"]:
        return REAL[way] or pytest.skip(f"no real server is named for {way}")
    return getattr(servers[name], way)


def same(found, expected):
    for a, b in zip(found[:1] + found[2:], expected[:1] + expected[2:], strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3)
    for a, b in zip(found[1], expected[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("name", "way"), zip(NAMES, ["rest", "grpc"], strict=True))
def test_scores_are_those_of_the_model(servers, local, name, way):
    some = rolls([12, 3, 30, 1, 17])
    with serving.Client(address(servers, name, way), name, batch_size=2) as client:
        found = client.score(some)
        assert [len(s) for s in found.log_likelihood_per_step] == [12, 3, 30, 1, 17]
        same(found, local[name].score(some))
        assert client.event_size == local[name].event_size == 88
        drawn = client.sample(num_steps=6, batch_size=2, seed=3)
        np.testing.assert_array_equal(drawn, local[name].sample(6, 2, 3))
    model = zoo.load(name)
    alone = [float(model.log_prob(one[None])[0]) for one in some[:2]]
    np.testing.assert_allclose(found.log_likelihood[:2], alone, rtol=1e-4)
    np.testing.assert_array_equal(drawn, model.sample(2, 6, seed=3))


def test_array_shapes(local):
    (one,) = rolls([7])
    answers = local["f_rnn_bach"]
    expected = answers.score([one]).log_likelihood
    for given in (one, one[None], one.tolist(), tf.constant(one)):
        np.testing.assert_allclose(answers.score(given).log_likelihood, expected, rtol=1e-6)
    assert answers.score([one]).kl is None


MISTAKES = {
    "none": ([], "received none"),
    "a step": (np.zeros([88]), "sequence 0 is float64 of shape"),
    "empty": ([np.zeros([0, 88])], "sequence 0 is float64 of shape"),
    "width": (np.zeros([3, 87]), "must have 88 values a step for this model; received 87"),
    "widths": ([np.zeros([3, 88]), np.zeros([3, 5])], "sequence 1 has 5 values a step"),
    "text": (np.array([["a"]]), "of real numbers; received <U1"),
    "NaN": ([np.full([2, 88], np.nan)], "sequence 0 holds NaN"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told_before_a_request(local, mistake):
    given, message = MISTAKES[mistake]
    with pytest.raises(ValueError, match=message):
        local["f_rnn_bach"].score(given)


@pytest.mark.parametrize("way", ["grpc", "rest"])
def test_what_a_server_refuses(servers, way):
    name = "f_rnn_bach"
    where = address(servers, name, way)
    with serving.Client(where, name) as client:
        with pytest.raises(serving.ServingError, match="must be 0 or 1 for a Bern") as error:
            client.score(np.full([3, 88], 0.5))
        assert error.value.code == "INVALID_ARGUMENT" and "\n" not in str(error.value)
        assert str(error.value).endswith("Bernoulli likelihood")
        with pytest.raises(serving.ServingError) as error:
            client.ask("walk", {})
        assert error.value.code in ("INVALID_ARGUMENT", "FAILED_PRECONDITION")
    for model, version in (("walk", None), (name, 99)):
        with pytest.raises(serving.ServingError) as error:
            serving.Client(where, model, version).score(np.zeros([3, 88]))
        assert error.value.code == "NOT_FOUND"
    with pytest.raises(serving.ServingError, match="not found|no signature|JSON") as error:
        serving.Client(where, name).score_waveform(np.zeros(1000))
    assert error.value.code in ("INVALID_ARGUMENT", "FAILED_PRECONDITION")


def test_a_request_in_process_names_its_inputs(local):
    with pytest.raises(serving.ServingError, match="takes frames, length; received none"):
        local["f_rnn_bach"].ask("score", {})
    for wave in (3.0, None):
        with pytest.raises(ValueError, match="`waveform` must be"):
            local["f_rnn_bach"].score_waveform(wave)


def test_arguments():
    for where in ("http://", "http://a:b", "https://a:1?b"):
        with pytest.raises(ValueError, match="`address` must be http://host:port"):
            serving.Client(where, "m")
    for where in ("localhost", "localhost:port", "localhost:99999", "ftp://a:1", 7):
        with pytest.raises(ValueError, match="`address` must be 'host:port'"):
            serving.Client(where, "m")
    with pytest.raises(ValueError, match="`model` must be the name"):
        serving.Client("a:1", "m/2")
    with pytest.raises(ValueError, match="`retries` must be an integer of at least 0"):
        serving.Client("a:1", "m", retries=-1)
    for given in (object(), False, "nowhere.pem"):
        with pytest.raises(ValueError, match="`credentials` over REST must be a file"):
            serving.Client("https://a:1", "m", credentials=given)
    with pytest.raises(ValueError, match="`credentials` over gRPC must be"):
        serving.Client("a:1", "m", credentials="ca.pem")
    with pytest.raises(ValueError, match="`retries` over gRPC must be 4 at most; is 5"):
        serving.Client("a:1", "m", retries=5)
    for headers in ("Authorization: x", [("a", 1)], ["ab"], {"a": None}):
        for where in ("a:1", "http://a:1"):
            with pytest.raises(ValueError, match="`headers` must be a dict or pairs of text"):
                serving.Client(where, "m", headers=headers)
    serving.Client("dns:///a:1", "m").close()
    for timeout in (0, -1.0, float("nan"), "1", True):
        with pytest.raises(ValueError, match="`timeout` must be above 0 seconds"):
            serving.Client("a:1", "m", timeout=timeout)
    with pytest.raises(ValueError, match="`batch_size` must be an integer of at least 1"):
        serving.Client("a:1", "m", batch_size=0)


class Flaky(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Fails a number of times before it answers, with a status."""

    def __init__(self, code, times):
        self.code, self.left, self.asked = code, times, 0

    def Predict(self, request, context):
        self.asked += 1
        if self.left:
            self.left -= 1
            context.abort(self.code, "not now")
        time.sleep(0.0 if self.asked < 100 else 1.0)
        return predict_pb2.PredictResponse()


@contextlib.contextmanager
def flaky(code, times):
    server, service = grpc.server(futures.ThreadPoolExecutor(4)), Flaky(code, times)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}", service
    finally:
        server.stop(None)


def test_only_what_may_be_sent_again_is():
    with flaky(grpc.StatusCode.UNAVAILABLE, 2) as (where, service):
        with serving.Client(where, "m", headers={"Authorization": "x"}) as client:
            large = {"frames": np.zeros([400_000], np.float32)}  # above what gRPC keeps by default
            assert client.ask("score", large) == {} and service.asked == 3
    with flaky(grpc.StatusCode.UNAVAILABLE, 9) as (where, service):
        with serving.Client(where, "m", retries=1) as client:
            with pytest.raises(serving.ServingError, match="UNAVAILABLE: not now"):
                client.ask("score", {})
            assert service.asked == 2
    for code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED):
        with flaky(code, 1) as (where, service), serving.Client(where, "m") as client:
            with pytest.raises(serving.ServingError) as error:
                client.ask("score", {})
            assert error.value.code == code.name and service.asked == 1


def test_deadline():
    with flaky(grpc.StatusCode.UNAVAILABLE, 10**6) as (where, _):
        with serving.Client(where, "m", timeout=0.05) as client:
            begun = time.monotonic()
            with pytest.raises(serving.ServingError) as error:
                client.ask("score", {})
    assert error.value.code in ("DEADLINE_EXCEEDED", "UNAVAILABLE")
    assert time.monotonic() - begun < 5.0


@pytest.mark.parametrize("where", ["127.0.0.1:9", "http://127.0.0.1:9"])
def test_no_server(where):
    with pytest.raises(serving.ServingError, match="of m at .*: UNAVAILABLE") as error:
        serving.Client(where, "m", retries=0).ask("score", {})
    assert error.value.code == "UNAVAILABLE"


def replay(where, name):
    """The warm-up file of a model, as a server replays it."""
    file = zoo.folder(name) / "assets.extra" / "tf_serving_warmup_requests"
    records = list(tf.data.TFRecordDataset(str(file)).as_numpy_iterator())
    logs = [prediction_log_pb2.PredictionLog.FromString(record) for record in records]
    assert {log.predict_log.request.model_spec.signature_name for log in logs} == {"score"}
    with grpc.insecure_channel(where) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        for log in logs:
            request = log.predict_log.request
            request.model_spec.name = name
            assert stub.Predict(request, timeout=60).outputs


def test_the_warmup_file_is_answered(servers):
    for name in NAMES:
        replay(address(servers, name, "grpc"), name)


def test_batching_server_mixes_nothing_up(local):
    """Requests of mixed lengths that the server puts together."""
    name = "f_srnn_bach"
    some = rolls([5, 9, 2, 14, 7, 3, 11, 4], seed=1)
    expected = local[name].score(some)
    if REAL["grpc"]:
        pytest.skip("a real server has its own batching")
    with substitute.Server(substitute.newest(ROOT / name), batching=True) as server:
        replay(server.grpc, name)
        with serving.Client(server.grpc, name, batch_size=100) as client:
            with pytest.raises(serving.ServingError, match="must have rows"):
                client.sample(num_steps=3)
            with pytest.raises(serving.ServingError, match="65 rows are more than a batch may"):
                client.score([some[0]] * 65)
            with futures.ThreadPoolExecutor(len(some)) as pool:
                found = list(pool.map(client.score, some))
            with pytest.raises(serving.ServingError, match="must be 0 or 1"):
                client.score(some[3] * 0.5)
            same(client.score(some), expected)
    for i, one in enumerate(found):
        np.testing.assert_allclose(one.log_likelihood, expected[0][i : i + 1], rtol=1e-4)
        np.testing.assert_allclose(one.log_likelihood_per_step[0], expected[1][i], 1e-4, 1e-3)


class Slow(http.server.BaseHTTPRequestHandler):
    """Busy twice, then too slow."""

    asked, status = 0, 503

    def log_message(self, *words):
        pass

    def do_POST(self):
        type(self).asked += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.asked > 2:
            time.sleep(1.0)
        self.send_response(self.status)
        self.send_header("Retry-After", "60")
        self.send_header("Content-Length", "0")
        self.end_headers()


def test_over_rest_a_busy_server_is_asked_again_and_a_slow_one_not():
    Slow.asked, Slow.status = 0, 503
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        where, begun = f"http://127.0.0.1:{server.server_address[1]}", time.monotonic()
        with pytest.raises(serving.ServingError) as error:
            serving.Client(where, "m", timeout=0.8).ask("score", {})
        assert error.value.code == "DEADLINE_EXCEEDED" and Slow.asked == 3
        assert time.monotonic() - begun < 10.0
        Slow.asked, Slow.status = 0, 504  # the server's own deadline
        with pytest.raises(serving.ServingError) as error:
            serving.Client(where, "m").ask("score", {})
        assert error.value.code == "DEADLINE_EXCEEDED" and Slow.asked == 1
        server.shutdown()
    copied = pickle.loads(pickle.dumps(error.value))
    assert (str(copied), copied.code) == (str(error.value), error.value.code)
