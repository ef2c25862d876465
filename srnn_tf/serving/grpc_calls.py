"""Requests to TensorFlow Serving over gRPC, with its official stubs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from srnn_tf.serving.answers import ServingError, Tensors, short
from srnn_tf.serving.target import Target

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

    def predict(self, signature: str, inputs: Mapping[str, np.ndarray]) -> Tensors:
        request = self._apis["predict"].PredictRequest()
        self._address(request.model_spec)
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        response = self._call(self._stub.Predict, request, signature)
        return {name: tf.make_ndarray(value) for name, value in response.outputs.items()}

    def event_size(self) -> int:
        request = self._apis["metadata"].GetModelMetadataRequest()
        self._address(request.model_spec)
        request.metadata_field.append("signature_def")
        answer = self._call(self._stub.GetModelMetadata, request, "metadata")
        signatures = self._apis["metadata"].SignatureDefMap()
        answer.metadata["signature_def"].Unpack(signatures)
        sizes = signatures.signature_def["score"].inputs["frames"].tensor_shape.dim
        if len(sizes) != 3:
            raise ServingError(f"{self.target} is not a model of srnn_tf", "NOT_FOUND")
        return sizes[-1].size

    def close(self) -> None:
        self.channel.close()

    def _address(self, spec):
        spec.name = self.target.model
        if self.target.version is not None:
            spec.version.value = self.target.version

    def _call(self, method, request, what):
        try:
            return method(request, timeout=self.target.timeout, metadata=self.metadata)
        except self._grpc.RpcError as error:
            code = error.code().name
            message = f"{what} of {self.target}: {code}: {short(error.details())}"
            raise ServingError(message, code) from None


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
