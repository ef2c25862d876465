"""Requests to TensorFlow Serving over gRPC, with its official stubs."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import message

from srnn_tf.serving.answers import ServingError, Tensors, short
from srnn_tf.serving.target import Facts, Target

RETRIED = ("UNAVAILABLE", "ABORTED")
MOST_RETRIES = 4  # that gRPC makes
ADDRESS = re.compile(r"(dns:///)?([^\s/:]+|\[[0-9a-fA-F:]+\]):(\d{1,5})")


class Calls:
    """The gRPC calls of one model."""

    def __init__(self, target: Target):
        grpc, apis = _stubs()
        _check(target, grpc)
        self.target, self.metadata = target, [(k.lower(), v) for k, v in target.headers]
        options = _options(target.retries)
        if target.credentials is None:
            self.channel = grpc.insecure_channel(target.address, options)
        else:
            self.channel = grpc.secure_channel(target.address, target.credentials, options)
        self._grpc, self._apis = grpc, apis
        self._stub = apis["service"].PredictionServiceStub(self.channel)
        self._process = os.getpid()

    def predict(self, signature: str, inputs: Mapping[str, np.ndarray]) -> Tensors:
        request = self._apis["predict"].PredictRequest()
        self._address(request.model_spec)
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        response = self._call(self._stub.Predict, request, signature)
        try:
            self._check_spec(response.model_spec, signature)
            return {name: _array(name, value) for name, value in response.outputs.items()}
        except ValueError as error:
            said = f"{signature} of {self.target}: INTERNAL: the answer is not believed: {error}"
            raise ServingError(said, "INTERNAL") from None

    def facts(self) -> Facts:
        request = self._apis["metadata"].GetModelMetadataRequest()
        self._address(request.model_spec)
        request.metadata_field.append("signature_def")
        answer = self._call(self._stub.GetModelMetadata, request, "metadata")
        signatures = self._apis["metadata"].SignatureDefMap()
        try:
            answer.metadata["signature_def"].Unpack(signatures)
            score = signatures.signature_def["score"]
            sizes = [axis.size for axis in score.inputs["frames"].tensor_shape.dim]
            return Facts.checked(sizes, list(score.outputs))
        except (ValueError, TypeError, message.DecodeError):
            said = f"{self.target} is not a model of srnn_tf"
            raise ServingError(said, "NOT_FOUND") from None

    def _check_spec(self, spec, signature):
        """Check that an answer is of the model that was asked, where it says so."""
        said = (
            ("model", spec.name, self.target.model),
            ("signature", spec.signature_name, signature),
        )
        for what, received, wanted in said:
            if received not in ("", wanted):
                raise ValueError(f"it must be of the {what} {wanted!r}; received {received!r}")
        version = spec.version.value
        if self.target.version is not None and version not in (0, self.target.version):
            raise ValueError(f"it must be of version {self.target.version}; received {version}")

    def close(self) -> None:
        if self._process == os.getpid():
            self.channel.close()

    def _address(self, spec):
        spec.name = self.target.model
        if self.target.version is not None:
            spec.version.value = self.target.version

    def _call(self, method, request, what):
        if self._process != os.getpid():  # its threads are not here: a call may never end
            raise ServingError(
                f"{what} of {self.target}: FAILED_PRECONDITION: gRPC's connections do not survive "
                "a fork; make a client in each process, best by the start method 'spawn', or use "
                "REST",
                "FAILED_PRECONDITION",
            )
        try:
            return method(request, timeout=self.target.timeout, metadata=self.metadata)
        except self._grpc.RpcError as error:
            code = error.code().name
            said = f"{what} of {self.target}: {code}: {short(error.details() or '')[:2000]}"
            raise ServingError(said, code) from None


def _array(name: str, proto: Any) -> np.ndarray:
    """An output, with a number for each place of its shape.

    `tf.make_ndarray` repeats the last number where some are missing.

    Raises:
        ValueError: it is no such tensor of float32.
    """
    if proto.dtype != tf.float32.as_datatype_enum:
        raise ValueError(f"`{name}` must be DT_FLOAT, 1; received type {proto.dtype}")
    shape = tuple(axis.size for axis in proto.tensor_shape.dim)
    if proto.tensor_shape.unknown_rank or min(shape, default=0) < 0:
        raise ValueError(f"`{name}` must have a shape; received {shape}")
    held = len(proto.float_val) + len(proto.tensor_content) / 4
    if held != math.prod(shape) or (proto.float_val and proto.tensor_content):
        raise ValueError(f"`{name}` of shape {shape} holds {held:g} numbers")
    if proto.tensor_content:
        return np.frombuffer(proto.tensor_content, "<f4").astype(np.float32).reshape(shape)
    return np.array(proto.float_val, np.float32).reshape(shape)


def _check(target: Target, grpc: Any) -> None:
    match = isinstance(target.address, str) and ADDRESS.fullmatch(target.address)
    if not match or int(match[3]) > 65535:
        raise ValueError(
            "`address` must be 'host:port' for gRPC, or begin with http:// or https:// for "
            f"REST; received {target.address!r}"
        )
    if target.retries > MOST_RETRIES:
        raise ValueError(f"`retries` over gRPC must be {MOST_RETRIES} at most; is {target.retries}")
    trusted = target.credentials
    if trusted is not None and not isinstance(trusted, grpc.ChannelCredentials):
        raise ValueError(
            "`credentials` over gRPC must be grpc.ssl_channel_credentials(...); received "
            f"{type(trusted).__name__}"
        )


def _options(retries: int) -> list[tuple[str, Any]]:
    """Options for messages of any size, and for gRPC's own retries."""
    options: list[tuple[str, Any]] = [
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
        # Of what is sent again, so that large requests are too.
        ("grpc.per_rpc_retry_buffer_size", 2**31 - 1),
    ]
    if not retries:
        return [*options, ("grpc.enable_retries", 0)]
    policy = {
        "maxAttempts": retries + 1,
        "initialBackoff": "0.1s",
        "maxBackoff": "5s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": list(RETRIED),
    }
    service = {"service": "tensorflow.serving.PredictionService"}
    config = {"methodConfig": [{"name": [service], "retryPolicy": policy}]}
    return [*options, ("grpc.service_config", json.dumps(config))]


def _stubs() -> tuple[Any, dict[str, Any]]:
    try:
        import grpc
        from tensorflow_serving.apis import (
            get_model_metadata_pb2,
            predict_pb2,
            prediction_service_pb2_grpc,
        )
    except ImportError as error:
        raise ImportError("a client needs the extra: pip install 'srnn-tf[serving]'") from error
    return grpc, {
        "predict": predict_pb2,
        "metadata": get_model_metadata_pb2,
        "service": prediction_service_pb2_grpc,
    }
