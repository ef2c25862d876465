"""A model as a SavedModel: one artefact for this package and for TensorFlow Serving.

    log_likelihood = sum{ log p(x_t | x_<t) : t = 1, ..., T }, nats; with latents the ELBO of it

The folder contains a graph of TensorFlow's own operations, the weights in float16 and, in
`assets.extra`, the model's config and warm-up requests. A separate process writes it, since names
in a graph depend on what the process traced before. Two exports are then equal byte by byte (except
for a number in `fingerprint.pb`).
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from srnn_tf.core import checks
from srnn_tf.core.files import creating
from srnn_tf.core.registry import MODULE
from srnn_tf.model import SequenceModel
from srnn_tf.serving.signatures import Signatures
from srnn_tf.zoo import artifacts

EXTRA = "assets.extra"
WARMUP = "tf_serving_warmup_requests"


def export(
    model: SequenceModel,
    path: str | os.PathLike,
    standardization: Any = None,
    sample_rate: int | None = None,
    details: Mapping[str, Any] | None = None,
) -> Path:
    """Write a model as a SavedModel that scores and samples without Python.

    The signatures are `score`, which is also the default one, `sample` and, for speech,
    `score_raw`; see `srnn_tf.serving.signatures.Signatures`. `srnn_tf.zoo.read` reads the folder
    back into a model.

    The process that writes the folder imports the modules that define your own classes.

    Args:
        model: the model; its weights are rounded to float16.
        path: the folder to create; it must not exist.
        standardization: the `srnn_tf.data.Standardization` of its training data.
        sample_rate: the sample rate of speech in Hz; it adds `score_raw`.
        details: JSON values to add to the config, such as the recipe's name.

    Raises:
        FileExistsError: `path` exists.
        FileNotFoundError: the parent folder of `path` does not exist.
        ImportError: the extra `serving` is not installed.
        ValueError: a weight overflows float16, `sample_rate` is given without `standardization`, or
            a class is defined in a script.

    Example:
        srnn_tf.serving.export.export(model, "exported/1")
    """
    model.density.check_normalized("an export")
    path = Path(path)
    if os.path.lexists(path):  # a link to nowhere too
        raise FileExistsError(f"path={path} exists; name a folder that does not")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"path={path}: the folder {path.parent} does not exist")
    warmup_protos()
    modules = _modules(model.get_config())
    if "__main__" in modules:
        raise ValueError(
            "the model has a class that is defined in a script, which the process that writes the "
            "export cannot import; move the class into a module of its own"
        )
    config = _config(model, standardization, sample_rate, details)
    weights = half(model)
    with creating(path) as out:
        bundle = out.with_name(f"{path.name}.bundle")
        bundle.mkdir()
        (bundle / artifacts.CONFIG).write_text(artifacts.to_json(config))
        arrays: dict[str, Any] = {str(i): w for i, w in enumerate(weights)}
        np.savez(bundle / "weights.npz", **arrays)
        _in_a_fresh_process(bundle, out, sys.path if modules else ())
    return path


def half(model: SequenceModel) -> list[np.ndarray]:
    """The weights in float16, as they are published.

    Raises:
        ValueError: a weight is not finite, in float32 or in float16.
    """
    weights = []
    for name, variable in artifacts.weights(model).items():
        with np.errstate(over="ignore"):
            value = np.asarray(variable).astype(np.float16)
        if not np.isfinite(value).all():
            raise ValueError(f"weight {name} has values that float16 cannot hold (above 65504)")
        weights.append(value)
    return weights


def round_weights(model: SequenceModel) -> None:
    """Round the weights of a model to float16, as they would be published."""
    for variable, value in zip(artifacts.weights(model).values(), half(model), strict=True):
        variable.assign(value.astype(np.float32))


def _config(model, standardization, sample_rate, details):
    if sample_rate is not None:
        checks.sizes(sample_rate=sample_rate)
        if standardization is None:
            raise ValueError("`sample_rate` needs a `standardization`; received None")
    scale = None
    if standardization is not None:
        scale = {
            "mean": list(standardization.mean),
            "std": list(standardization.std),
            "permutation": standardization.permutation and list(standardization.permutation),
        }
    shapes = {name: list(v.shape) for name, v in artifacts.weights(model).items()}
    options = {k: v for k, v in model.get_config().items() if k != "name"}
    return {
        "format": artifacts.FORMAT,
        "model": options,
        "weights": shapes,
        "step": int(model.step),
        "standardization": scale,
        "sample_rate": sample_rate,
        **(details or {}),
    }


def _modules(config: Any) -> set[str]:
    """The modules of third parties that a config needs."""
    if not isinstance(config, Mapping):
        return set()
    own = {config[MODULE]} if MODULE in config else set()
    return own.union(*map(_modules, config.values()))


_NOT_WRITTEN = 3  # the exit status of the process where the disk fails, for instance is full


def _in_a_fresh_process(bundle: Path, out: Path, paths: Sequence[str]) -> None:
    source = str(Path(__file__).parents[2])
    paths = [os.path.abspath(path) for path in paths]
    search = os.pathsep.join([source, *filter(None, [os.environ.get("PYTHONPATH"), *paths])])
    environment = {**os.environ, "PYTHONPATH": search, "PYTHONHASHSEED": "0"}
    environment |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    command = [sys.executable, "-m", "srnn_tf.serving.export", str(bundle), str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode == _NOT_WRITTEN:
        raise OSError(done.stderr.strip().rpartition("\n")[2])
    if done.returncode:
        raise RuntimeError(f"the export failed: {done.stderr.strip()[-2000:]}")


class Module(tf.Module):
    """The content of a SavedModel: weights in float16, and functions that read them."""

    def __init__(self, model: SequenceModel, values: list[np.ndarray]):
        super().__init__()
        self.weights = [tf.Variable(value, trainable=False) for value in values]
        variables = list(artifacts.weights(model).values())

        def restored(function):
            """The function, the model's weights being those of this module."""

            def call(**inputs):
                pairs = zip(variables, self.weights, strict=True)
                mapping = [(v, tf.cast(w, v.dtype)) for v, w in pairs]
                with keras.StatelessScope(state_mapping=mapping):
                    return function(**inputs)

            return call

        self.restored = restored


def write(bundle: Path, out: Path) -> None:
    """Write the SavedModel of a bundle: a config, and weights in float16."""
    config = json.loads((bundle / artifacts.CONFIG).read_text())
    with np.load(bundle / "weights.npz") as arrays:
        values = [arrays[str(i)] for i in range(len(arrays.files))]
    for name in sorted(_modules(config["model"])):
        importlib.import_module(name)
    model = SequenceModel.from_config(config["model"])
    module = Module(model, values)
    signatures = Signatures(model, config["standardization"], config["sample_rate"])
    functions = {
        name: tf.function(
            module.restored(function), input_signature=None, autograph=False
        ).get_concrete_function(**specs)
        for name, (function, specs) in signatures.all().items()
    }
    tf.saved_model.save(
        module,
        str(out),
        signatures={"serving_default": functions["score"], **functions},
        options=tf.saved_model.SaveOptions(experimental_custom_gradients=False),
    )
    (out / "assets").rmdir()  # empty; Git, for one, does not keep it
    extra = out / EXTRA
    extra.mkdir()
    shutil.copyfile(bundle / artifacts.CONFIG, extra / artifacts.CONFIG)
    with tf.io.TFRecordWriter(str(extra / WARMUP)) as file:
        for name, inputs in signatures.examples().items():
            file.write(_warmup(name, inputs))


def warmup_protos() -> tuple[Any, Any]:
    """The message types of TensorFlow Serving for a warm-up file.

    Raises:
        ImportError: the extra `serving` is not installed.
    """
    try:
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
    except ImportError as error:
        raise ImportError("exports need the extra: pip install 'srnn-tf[serving]'") from error
    return predict_pb2, prediction_log_pb2


def _warmup(signature: str, inputs: Mapping[str, np.ndarray]) -> bytes:
    predict_pb2, prediction_log_pb2 = warmup_protos()
    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = signature
    for name in sorted(inputs):
        request.inputs[name].CopyFrom(tf.make_tensor_proto(inputs[name]))
    log = prediction_log_pb2.PredictionLog(
        predict_log=prediction_log_pb2.PredictLog(request=request)
    )
    return log.SerializeToString(deterministic=True)


if __name__ == "__main__":
    try:
        write(Path(sys.argv[1]), Path(sys.argv[2]))
    except (OSError, tf.errors.OpError) as error:  # TensorFlow tells the path, then the reason
        print(f"\n{' '.join(str(error).split()).rpartition('; ')[2]}", file=sys.stderr)
        sys.exit(_NOT_WRITTEN)
