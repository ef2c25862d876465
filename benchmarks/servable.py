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
        self._batches = {"score": Batches(self.run)} if batching else {}

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
    """Requests that come at about the same time, answered as one."""

    def __init__(self, run):
        self._run, self._queue = run, queue.Queue()
        threading.Thread(target=self._work, daemon=True).start()

    def __call__(self, inputs):
        answer = concurrent.futures.Future()
        self._queue.put((inputs, answer))
        return answer.result()

    def _work(self):
        while True:
            waiting, end = [self._queue.get()], time.monotonic() + WAIT
            while sum(len(i["length"]) for i, _ in waiting) < MOST_ROWS:
                try:
                    waiting.append(self._queue.get(timeout=max(0.0, end - time.monotonic())))
                except queue.Empty:
                    break
            self._answer(waiting)

    def _answer(self, waiting):
        try:
            steps = max(i["frames"].shape[1] for i, _ in waiting)
            frames = np.concatenate([_longer(i["frames"], steps) for i, _ in waiting])
            length = np.concatenate([i["length"] for i, _ in waiting])
            found, row = self._run("score", {"frames": frames, "length": length}), 0
            for inputs, answer in waiting:
                rows = slice(row, row := row + len(inputs["length"]))
                answer.set_result({name: value[rows] for name, value in found.items()})
        except Exception as error:  # a batch has one status
            for _, answer in waiting:
                answer.set_exception(error)


def _longer(frames, steps):
    """Padded as the server does it, with the first number of a tensor."""
    first = frames.reshape(-1)[0] if frames.size else 0.0
    width = [(0, 0), (0, steps - frames.shape[1]), (0, 0)]
    return np.pad(frames, width, constant_values=first)
