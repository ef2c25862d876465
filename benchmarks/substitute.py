"""A substitute for TensorFlow Serving, which cannot be installed where the tests run.

    python -m benchmarks.substitute saved_models/f_rnn_bach --grpc 8500 --rest 8501 [--batching]

It is not TensorFlow Serving and says nothing of its speed: it answers the same gRPC messages, by
the official stubs, and the same JSON, from the SavedModel alone, so that a client can be tried.
With `--batching` requests wait up to two milliseconds for others, are padded to the longest, and
share one status, as in the server under `enable_batching` and `pad_variable_length_inputs`.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import http.server
import json
import multiprocessing
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from benchmarks.servable import Failure, Servable

LARGEST = 64 << 20  # bytes of a request, so that a larger one can be tried


class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
    """The gRPC service."""

    def __init__(self, servable: Servable):
        self.servable = servable

    def Predict(self, request, context):
        spec = request.model_spec
        try:
            self.servable.check(spec.name, spec.version.value or None)
            inputs = {k: _array(k, v) for k, v in request.inputs.items()}
            found = self.servable.predict(spec.signature_name, inputs)
        except Failure as failure:
            context.abort(failure.code, str(failure))
        answer = predict_pb2.PredictResponse()
        for name, value in found.items():
            answer.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return answer

    def GetModelMetadata(self, request, context):
        try:
            self.servable.check(request.model_spec.name, request.model_spec.version.value or None)
        except Failure as failure:
            context.abort(failure.code, str(failure))
        held = _definitions(self.servable)
        answer = get_model_metadata_pb2.GetModelMetadataResponse()
        answer.metadata["signature_def"].Pack(held)
        return answer


def _definitions(servable):
    held = get_model_metadata_pb2.SignatureDefMap()
    for name, value in servable.signature_def.items():
        held.signature_def[name].CopyFrom(value)
    return held


def _array(name, proto):
    try:
        return tf.make_ndarray(proto)
    except (TypeError, ValueError) as error:
        message = f"{name}: malformed tensor: {error}"
        raise Failure(grpc.StatusCode.INVALID_ARGUMENT, message) from None


def _column(dtype, value):
    """An input in JSON, as a tensor of its signature: whole numbers where it has integers."""
    array, wanted = np.asarray(value), tf.dtypes.as_dtype(dtype).as_numpy_dtype
    if array.dtype.kind not in ("iuf" if np.issubdtype(wanted, np.floating) else "iu"):
        raise ValueError(f"numbers of {np.dtype(wanted)} are needed")
    return array.astype(wanted)


STATUS = {
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.OUT_OF_RANGE: 411,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 413,
}


class Handler(http.server.BaseHTTPRequestHandler):
    """The REST service."""

    protocol_version = "HTTP/1.1"
    servable: Servable

    def log_message(self, *words):
        pass

    def do_GET(self):
        self._answer(self._metadata)

    def do_POST(self):
        self._answer(self._predict)

    def _metadata(self):
        self._find("/metadata")
        held = json_format.MessageToDict(
            _definitions(self.servable), preserving_proto_field_name=True
        )
        held = {"signature_def": {"signature_def": held["signature_def"]}}
        return {"metadata": held}

    def _predict(self):
        body = self._body()
        self._find(":predict")
        try:
            asked = json.loads(body)
            columns, signature = asked["inputs"], asked.get("signature_name") or "serving_default"
            specs = dict(self.servable.signature_def[signature].inputs)
            inputs = {name: _column(specs[name].dtype, value) for name, value in columns.items()}
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            message = f"JSON request: {error!r}"
            raise Failure(grpc.StatusCode.INVALID_ARGUMENT, message) from None
        found = {k: v.tolist() for k, v in self.servable.predict(signature, inputs).items()}
        return {"outputs": found if len(found) > 1 else next(iter(found.values()))}

    def _body(self):
        length = self.headers["Content-Length"] or ""
        if not length.isdecimal():
            self.close_connection = True
            raise Failure(grpc.StatusCode.OUT_OF_RANGE, f"Content-Length is {length!r}")
        size = int(length)
        if size <= LARGEST:
            return self.rfile.read(size)
        while size > 0 and (part := self.rfile.read(min(size, 1 << 20))):  # or no answer is heard
            size -= len(part)
        raise Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{length} bytes are too many")

    def _find(self, end):
        path = self.path.removesuffix(end).removeprefix("/v1/models/")
        name, _, version = path.partition("/versions/")
        if version and not version.isdecimal():
            raise Failure(grpc.StatusCode.NOT_FOUND, f"{self.path} is no address of a model")
        self.servable.check(name, int(version) if version else None)

    def _answer(self, make):
        try:
            status, found = 200, make()
        except Failure as failure:
            status, found = STATUS.get(failure.code, 400), {"error": str(failure)}
        content = json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class Server:
    """Both services on loopback, until the end of a `with`; port 0 takes a free one."""

    def __init__(
        self, folder: Path, grpc_port: int = 0, rest_port: int = 0, batching: bool = False
    ):
        self.servable = Servable(folder, batching)
        limit = [("grpc.max_receive_message_length", LARGEST), ("grpc.so_reuseport", 0)]
        pool = concurrent.futures.ThreadPoolExecutor(max_workers=64)
        self._grpc = grpc.server(pool, options=limit)
        service = Service(self.servable)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, self._grpc)
        self.grpc = f"127.0.0.1:{self._grpc.add_insecure_port(f'127.0.0.1:{grpc_port}')}"
        handler = type("Bound", (Handler,), {"servable": self.servable})
        self._rest = http.server.ThreadingHTTPServer(("127.0.0.1", rest_port), handler)
        self.rest = f"http://127.0.0.1:{self._rest.server_address[1]}"

    def __enter__(self) -> Server:
        self._grpc.start()
        threading.Thread(target=self._rest.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._grpc.stop(None)
        self._rest.shutdown()


def newest(folder: Path) -> Path:
    """The newest version of a model's folder."""
    return max((p for p in folder.iterdir() if p.name.isdecimal()), key=lambda p: int(p.name))


class Process:
    """A substitute in a process of its own, for a `with`.

    Attributes:
        address: of gRPC.
        seconds: that it took to load the model.
        before: MB that were resident before, TensorFlow's.
    """

    def __init__(self, folder: Path, batching: bool = False):
        self._words = str(folder), batching

    def __enter__(self) -> Process:
        context = multiprocessing.get_context("spawn")
        self._connection, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(*self._words, there), daemon=True)
        self._process.start()
        there.close()  # so that the end of the process is seen here
        self.address, self.seconds, self.before = self._connection.recv()
        return self

    def memory(self, field: str = "VmRSS") -> float:
        """MB that are resident; with "VmHWM" the most that were."""
        self._connection.send(field)
        return self._connection.recv()

    def __exit__(self, *error: object) -> None:
        self._connection.send("stop")
        self._process.join(10)


def _serve(folder, batching, connection):
    before, begun = _megabytes("VmRSS"), time.perf_counter()
    with Server(Path(folder), batching=batching) as server:
        connection.send((server.grpc, time.perf_counter() - begun, before))
        while (asked := connection.recv()) != "stop":
            connection.send(_megabytes(asked))


def _megabytes(field):
    """A line of this process's own status (Linux)."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024e-6 for line in file if line.startswith(field))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path, help="the folder of a model's versions")
    parser.add_argument("--grpc", type=int, default=8500)
    parser.add_argument("--rest", type=int, default=8501)
    parser.add_argument("--batching", action="store_true")
    args = parser.parse_args(argv)
    with Server(newest(args.model), args.grpc, args.rest, args.batching) as server:
        print(f"a substitute for TensorFlow Serving: {server.grpc}, {server.rest}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
