"""Training on many devices: those of this machine, or those of several workers.

Keras' `fit` does not work across workers, so they have a loop of their own. The environment
variable `TF_CONFIG` of TensorFlow names the workers, and all need access to the run's folder. Each
worker reads its rows of every batch. The chief, the first worker, validates and writes checkpoints.
If a worker dies, the others stop with an error. The same commands resume from the last checkpoint.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
from collections.abc import Callable, Iterator

import tensorflow as tf

from srnn_tf.data import EpochDataset
from srnn_tf.model import SequenceModel
from srnn_tf.training import inputs

LOST = (  # how TensorFlow tells that a worker is gone, or has come back as another one
    tf.errors.UnavailableError,
    tf.errors.InternalError,
    tf.errors.CancelledError,
    tf.errors.AbortedError,
    tf.errors.FailedPreconditionError,
)
EXAMPLE = '{"cluster": {"worker": ["a:2222", "b:2222"]}, "task": {"type": "worker", "index": 0}}'


def strategy(kind: str | None) -> tf.distribute.Strategy | None:
    """The strategy of a kind; None for one device. Create it before any TensorFlow operation.

    Raises:
        ValueError: the kind is "multiworker", and `TF_CONFIG` does not name the workers and this
            one.
    """
    if kind is None:
        return None
    if kind == "mirrored":
        return tf.distribute.MirroredStrategy()
    text = os.environ.get("TF_CONFIG", "")
    try:
        config = json.loads(text)
        workers, task = config["cluster"]["worker"], config["task"]
        if task["type"] != "worker" or not 0 <= task["index"] < len(workers):
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f"--strategy multiworker needs TF_CONFIG, such as {EXAMPLE}; received {text!r}"
        ) from None
    return tf.distribute.MultiWorkerMirroredStrategy()


def is_chief(strategy: tf.distribute.Strategy | None) -> bool:
    """Whether this process is the chief, which writes files."""
    resolver = strategy and strategy.cluster_resolver
    return not resolver or resolver.task_type is None or resolver.task_id == 0


class Loop:
    """The training loop for several workers: each replica gets its rows of each batch.

    Args:
        strategy: a `MultiWorkerMirroredStrategy`.
        model: a model that was built in its scope.
        batches: the global batches; the number of replicas must divide the batch size.

    Raises:
        ValueError: it does not.
    """

    def __init__(
        self, strategy: tf.distribute.Strategy, model: SequenceModel, batches: EpochDataset
    ):
        self.strategy, self.model = strategy, model
        replicas = strategy.num_replicas_in_sync
        here = replicas // strategy.cluster_resolver.cluster_spec().num_tasks("worker")
        first = strategy.cluster_resolver.task_id * here
        self._parts = [batches.shard(first + i, replicas) for i in range(here)]
        self._update = tf.function(self._updated, autograph=False)
        self._sum = tf.function(self._summed, autograph=False)

    def _updated(self, batch):
        return self.strategy.run(self.model.train_step, args=(batch,))

    def _pipeline(self, context):
        """The batches of this worker, one for each of its replicas in turn."""
        parts = [
            inputs.pipeline(
                self.model.density, p, endless=True, start=lambda: int(self.model.step.numpy())
            )
            for p in self._parts
        ]
        if len(parts) == 1:
            return parts[0]

        def in_turn(*batches):
            each = [tf.data.Dataset.from_tensors(b) for b in batches]
            return functools.reduce(lambda a, b: a.concatenate(b), each)

        return tf.data.Dataset.zip(tuple(parts)).flat_map(in_turn)

    def run(self, steps: int, epoch: int, at_end: Callable[[dict[str, float]], bool]) -> None:
        """Update until there have been `steps` updates, or until `at_end` of an epoch is true.

        Raises:
            ConnectionError: the connection to a worker is lost.
        """
        batches = iter(self.strategy.distribute_datasets_from_function(self._pipeline))
        done = int(self.model.step.numpy())
        while done < steps:
            with _together(done):
                logs = self._update(next(batches))
                local = self.strategy.experimental_local_results
                values = {name: float(local(value)[0]) for name, value in logs.items()}
            done += 1
            if done % epoch == 0 or done == steps:
                with _together(done):
                    if self._told(at_end(values)):
                        return
                    self.model.reset_metrics()

    def _told(self, stop: bool) -> bool:
        """Broadcast the chief's decision to all workers, which wait for it."""
        mine = tf.constant(float(stop and is_chief(self.strategy)))
        return float(self._sum(mine)) > 0.0

    def _summed(self, value):
        each = self.strategy.run(tf.identity, args=(value,))
        return self.strategy.reduce(tf.distribute.ReduceOp.SUM, each, axis=None)


@contextlib.contextmanager
def _together(done: int) -> Iterator[None]:
    """Run a collective operation; if a worker is lost, raise a ConnectionError."""
    try:
        yield
    except LOST as error:
        text = " ".join(str(error).split())[:200]
        raise ConnectionError(
            f"a worker is lost at update {done}; start all of them again, with the same commands, "
            f"to go on from the last checkpoint ({text})"
        ) from None


@contextlib.contextmanager
def leaving(kind: str | None) -> Iterator[None]:
    """Exit a failed worker at once: TensorFlow would wait for lost workers."""
    try:
        yield
    except BaseException as error:
        if kind != "multiworker":
            raise
        print(f"error: {str(error) or type(error).__name__}", file=sys.stderr, flush=True)
        sys.stdout.flush()
        os._exit(1)
