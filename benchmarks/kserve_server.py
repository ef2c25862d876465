"""A published SavedModel behind KServe's own model server, by the Open Inference Protocol.

    python benchmarks/kserve_server.py saved_models/f_rnn_bach/2 --name f_rnn_bach --http_port 8080

For an environment with kserve and TensorFlow alone (`make test-kserve`): neither Keras nor this
package takes part. The adapter maps names and types; numbers come from the graph as it is. The
server listens on all interfaces.
"""

import argparse
import uuid

import kserve
import numpy as np
import tensorflow as tf
from kserve.errors import InvalidInput


class SavedModel(kserve.Model):
    """The signature `score` of a SavedModel."""

    def __init__(self, name: str, folder: str):
        super().__init__(name)
        self.folder = folder
        self.load()

    def load(self) -> bool:
        self._kept = tf.saved_model.load(self.folder)
        self._score = self._kept.signatures["score"]
        self._specs = self._score.structured_input_signature[1]
        self.ready = True
        return self.ready

    def predict(self, payload, headers=None, response_headers=None):
        if not isinstance(payload, kserve.InferRequest):
            raise InvalidInput("the Open Inference Protocol is needed: /v2/models/NAME/infer")
        try:
            given = {i.name: i.as_numpy() for i in payload.inputs}
            inputs = {name: self._tensor(name, given[name]) for name in self._specs}
            found = self._score(**inputs)
        except KeyError as error:
            raise InvalidInput(f"an input is missing: {error}") from None
        except (ValueError, TypeError, tf.errors.OpError) as error:
            raise InvalidInput(str(error)[:500]) from None
        outputs = [self._output(name, value.numpy()) for name, value in found.items()]
        return kserve.InferResponse(payload.id or str(uuid.uuid4()), self.name, outputs)

    def _tensor(self, name, value):
        spec = self._specs[name]
        if value.dtype != spec.dtype.as_numpy_dtype or not spec.shape.is_compatible_with(
            value.shape
        ):
            raise ValueError(f"{name} must be {spec.dtype.name} {spec.shape}")
        return tf.constant(value)

    def _output(self, name, value):
        output = kserve.InferOutput(name, list(value.shape), "FP32")
        output.set_data_from_numpy(value.astype(np.float32), binary_data=False)
        return output


def main() -> None:
    parser = argparse.ArgumentParser(parents=[kserve.model_server.parser], description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--name", required=True)
    args = parser.parse_args()
    kserve.ModelServer(http_port=args.http_port, enable_grpc=False).start(
        [SavedModel(args.name, args.folder)]
    )


if __name__ == "__main__":
    main()
