"""Scores and samples of a published model, from a server or in this process, by one interface."""

from srnn_tf.serving import export, signatures
from srnn_tf.serving.answers import Answers, Scores, ServingError
from srnn_tf.serving.client import Client
from srnn_tf.serving.local import Local

__all__ = ["Answers", "Client", "Local", "Scores", "ServingError", "export", "signatures"]
