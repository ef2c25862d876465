"""Stochastic recurrent networks for sequence modeling, in Keras 3 and TensorFlow Probability."""

from typing import TYPE_CHECKING, Any

import wrapt

from srnn_tf.core import compile_cache, lazy

if TYPE_CHECKING:
    from srnn_tf import (  # noqa: F401  # found by `__getattr__`, and by type checkers here
        convert,
        data,
        emissions,
        experiments,
        likelihoods,
        objectives,
        plots,
        recipes,
        serving,
        structures,
        testing,
        zoo,
    )
    from srnn_tf.model import SequenceModel
    from srnn_tf.objectives import ELBO, FIVO, IWAE, Exact, KLSchedule

__version__ = "0.1.0"
_MODULES = """convert data density emissions experiments inference likelihoods model objectives
    plots recipes serving structures testing training zoo""".split()
_OBJECTIVES = ("AIS", "ELBO", "Exact", "FIVO", "IWAE", "KLSchedule", "RAISE")

compile_cache.install(__version__)  # TensorFlow reads its flags when it is imported

# TensorFlow takes seconds to import: what needs it is imported on first use.
__getattr__, __dir__ = lazy.attributes(
    __name__,
    {name: f"{__name__}.{name}" for name in _MODULES}
    | {"SequenceModel": f"{__name__}.model"}
    | dict.fromkeys(_OBJECTIVES, f"{__name__}.objectives"),
)


class _Saved:
    """What Keras takes for `SequenceModel` until `srnn_tf.model` is imported and registers it."""

    @classmethod
    def from_config(cls, config: Any) -> Any:
        from srnn_tf.model import SequenceModel

        return SequenceModel.from_config(config)


@wrapt.when_imported("keras")
def _register(keras: Any) -> None:
    """Let `keras.saving.load_model` read our files after `import srnn_tf` alone."""
    keras.saving.get_custom_objects().setdefault(f"{__name__}>SequenceModel", _Saved)


__all__ = [
    "ELBO",
    "Exact",
    "FIVO",
    "IWAE",
    "KLSchedule",
    "SequenceModel",
    "__version__",
    "data",
    "emissions",
    "likelihoods",
    "objectives",
    "plots",
    "recipes",
    "structures",
    "zoo",
]
