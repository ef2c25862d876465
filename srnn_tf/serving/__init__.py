"""Scores and samples of a published model, from a server or in this process, by one interface."""

from typing import TYPE_CHECKING

from srnn_tf.core import lazy
from srnn_tf.serving.answers import Answers, Scores, ServingError

if TYPE_CHECKING:
    from srnn_tf.serving import export, signatures
    from srnn_tf.serving.client import Client
    from srnn_tf.serving.local import Local

__getattr__, __dir__ = lazy.attributes(
    __name__,
    {
        "Client": f"{__name__}.client",
        "Local": f"{__name__}.local",
        "export": f"{__name__}.export",
        "signatures": f"{__name__}.signatures",
    },
)

__all__ = ["Answers", "Client", "Local", "Scores", "ServingError", "export", "signatures"]
