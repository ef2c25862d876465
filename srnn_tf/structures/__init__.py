"""Latent structures, axis 1 of a model: contexts h_t, and KL(q || p) of the latents.

To add one, define a subclass of `Structure` and `register` it. Those of this package are listed in
`STRUCTURES`.
"""

from __future__ import annotations

from srnn_tf.core import registry
from srnn_tf.core.types import Config
from srnn_tf.structures.base import Structure, Trace
from srnn_tf.structures.dmm import DMM
from srnn_tf.structures.hmm import HMM
from srnn_tf.structures.kvae import KVAE
from srnn_tf.structures.lgssm import LGSSM
from srnn_tf.structures.parallel_srnn import ParallelSRNN
from srnn_tf.structures.rnn import RNN
from srnn_tf.structures.rtrbm import RTRBM
from srnn_tf.structures.srnn import SRNN, SRNNCell
from srnn_tf.structures.storn import STORN, STORNCell
from srnn_tf.structures.tcn import TCN
from srnn_tf.structures.transformer import Transformer
from srnn_tf.structures.tsbn import TSBN
from srnn_tf.structures.vrnn import VRNN, VRNNCell
from srnn_tf.structures.zforcing import ZForcing, ZForcingCell

STRUCTURES: dict[str, type[Structure]] = {
    "rnn": RNN,
    "storn": STORN,
    "vrnn": VRNN,
    "srnn": SRNN,
    "zforcing": ZForcing,
    "parallel_srnn": ParallelSRNN,
    "hmm": HMM,
    "transformer": Transformer,
    "tcn": TCN,
    "dmm": DMM,
    "rtrbm": RTRBM,
    "tsbn": TSBN,
    "lgssm": LGSSM,
    "kvae": KVAE,
}
register = registry.register("structure", STRUCTURES, Structure)


def get(config: str | Config | Structure) -> Structure:
    """A structure from its config, `{"class": name, **arguments}`.

    Raises:
        ValueError: the name is unknown; the error suggests the nearest known one.

    Example:
        >>> get({"class": "rnn", "units": 8}).context_size
        8
    """
    return registry.create("structure", STRUCTURES, config, Structure)


__all__ = [
    "HMM",
    "DMM",
    "KVAE",
    "LGSSM",
    "RNN",
    "RTRBM",
    "SRNN",
    "STORN",
    "STRUCTURES",
    "TCN",
    "VRNN",
    "ParallelSRNN",
    "SRNNCell",
    "STORNCell",
    "Structure",
    "TSBN",
    "Trace",
    "Transformer",
    "VRNNCell",
    "ZForcing",
    "ZForcingCell",
    "get",
    "register",
]
