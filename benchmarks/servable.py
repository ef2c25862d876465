"""A SavedModel as a server holds it: one model's signatures, and requests put together."""

from __future__ import annotations

import concurrent.futures
import queue
import threading
import time
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

MOST_ROWS, WAIT = 64, 0.002  # of a batch, and seconds for it to fill


class Failure(Exception):
    """A request that cannot be answered: a gRPC status and a message."""

    def __init__(self, code: grpc.StatusCode, message: str):
        super().__init__(message)
        self.code = code


class Servable:
    """One SavedModel: its signatures, with the checks of inputs that a server makes."""

    def __init__(self, folder: Path, batching: bool = False):
        self.name, self.version = folder.parent.name, int(folder.name)
        self._model = tf.saved_model.load(str(folder))
        (meta,) = saved_model_pb2.SavedModel.FromString(
            (folder / "saved_model.pb").read_bytes()
        ).meta_graphs
        self.signature_def = {
            k: v for k, v in meta.signature_def.items() if not k.startswith("__saved_model")
        }
        self.requests = 0
        names = self.signature_def if batching else ()
        self._batches = {name: Batches(name, self.run) for name in names}

    def check(self, name: str, version: int | None) -> None:
        if name != self.name or version not in (None, self.version):
            raise Failure(
                grpc.StatusCode.NOT_FOUND,
                f"Servable not found for request: Specific({name}, {version})",
            )

    def predict(self, signature: str, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
        signature = signature or "serving_default"
        self.requests += 1
        if signature not in self.signature_def:
            message = f'Serving signature name: "{signature}" not found in signature def'
            raise Failure(grpc.StatusCode.FAILED_PRECONDITION, message)
        specs = self.signature_def[signature].inputs
        if set(inputs) != set(specs):
            raise Failure(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"input keys must be {sorted(specs)}; received {sorted(inputs)}",
            )
        for name, value in inputs.items():
            wanted, shape = tf.dtypes.as_dtype(specs[name].dtype), specs[name].tensor_shape
            if value.dtype != wanted.as_numpy_dtype:
                message = f"{name}: expected {wanted.name}, received {value.dtype}"
                raise Failure(grpc.StatusCode.INVALID_ARGUMENT, message)
            if not tf.TensorShape(shape).is_compatible_with(value.shape):
                message = f"{name}: shape {value.shape} does not fit the signature"
                raise Failure(grpc.StatusCode.INVALID_ARGUMENT, message)
        if signature in self._batches:
            return self._batches[signature](inputs)
        return self.run(signature, inputs)

    def run(self, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        function = self._model.signatures[signature]
        try:
            found = function(**{name: tf.constant(value) for name, value in inputs.items()})
        except tf.errors.OpError as error:
            raise Failure(grpc.StatusCode.INVALID_ARGUMENT, str(error)[:1000]) from None
        return {name: value.numpy() for name, value in found.items()}


class Batches:
    """Requests of a signature that come at about the same time, answered as one."""

    def __init__(self, name, run):
        self._name, self._run, self._queue = name, run, queue.Queue()
        threading.Thread(target=self._work, daemon=True).start()

    def __call__(self, inputs):
        rows = {value.shape[0] if value.ndim else None for value in inputs.values()}
        if None in rows or len(rows) != 1:
            message = "inputs to be batched must have rows, as many in each"
            raise Failure(grpc.StatusCode.INVALID_ARGUMENT, message)
        if max(rows) > MOST_ROWS:
            message = f"{max(rows)} rows are more than a batch may have, {MOST_ROWS}"
            raise Failure(grpc.StatusCode.INVALID_ARGUMENT, message)
        answer = concurrent.futures.Future()
        self._queue.put((inputs, answer))
        return answer.result()

    def _work(self):
        late = None  # did not fit
        while True:
            waiting, end = [late or self._queue.get()], time.monotonic() + WAIT
            late, rows = None, _rows(waiting[0])
            while rows < MOST_ROWS and late is None:
                try:
                    more = self._queue.get(timeout=max(0.0, end - time.monotonic()))
                except queue.Empty:
                    break
                rows += _rows(more)
                if rows > MOST_ROWS:
                    late = more
                else:
                    waiting.append(more)
            self._answer(waiting)

    def _answer(self, waiting):
        try:
            together = {}
            for name in waiting[0][0]:
                values, row = [inputs[name] for inputs, _ in waiting], 0
                if values[0].ndim > 1:
                    steps = max(value.shape[1] for value in values)
                    values = [_longer(value, steps) for value in values]
                together[name] = np.concatenate(values)
            found = self._run(self._name, together)
            for request in waiting:
                rows = slice(row, row := row + _rows(request))
                request[1].set_result({name: value[rows] for name, value in found.items()})
        except Exception as error:  # a batch has one status
            for _, answer in waiting:
                answer.set_exception(error)


def _rows(request):
    return len(request[0]["length"])


def _longer(values, steps):
    """Padded as the server does it, with the first number of a tensor."""
    first = values.reshape(-1)[0] if values.size else 0.0
    widths = [(0, 0), (0, steps - values.shape[1])] + [(0, 0)] * (values.ndim - 2)
    return np.pad(values, widths, constant_values=first)
