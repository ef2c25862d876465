"""Shapes that the scans refuse."""

import pytest
import tensorflow as tf

from srnn_tf.core import scan
from tests.core.test_scan import ONE, PAIR, STATES, U, X, Z

X4, Z4 = X[:, :4], Z[:, :4]
REFUSED = {
    "wide inputs": lambda: scan.lstm(Z4[..., 1:], U),
    "flat inputs": lambda: scan.lstm(X4, U),
    "kernel": lambda: scan.lstm(Z4, U[:, 1:]),
    "rank one rank": lambda: scan.lstm_rank_one(Z4, *ONE),
    "rank one recurrent": lambda: scan.lstm_rank_one(X4, *ONE[:2], U[:, 1:]),
    "rank one kernel": lambda: scan.lstm_rank_one(X4, ONE[0][:1], *ONE[1:]),
    "rank one base": lambda: scan.lstm_rank_one(X4, ONE[0], ONE[1][:1], U),
    "state": lambda: scan.lstm(Z4, U, (STATES[0][:, 1:], STATES[1])),
    "odd decay": lambda: scan.diagonal(Z4[..., 1:], U[0, 1:]),
    "decay of another width": lambda: scan.diagonal(Z4, U[0, 2:]),
    "diagonal state": lambda: scan.diagonal(Z4, U[0], STATES),
    "unbuilt": lambda: scan.unroll(type(PAIR)(), X4, STATES),
    "no inputs": lambda: scan.unroll(PAIR, {}, STATES),
    "grown state": lambda: scan.unroll(lambda x, s, training: (x, tf.stack([s, s])), X4, X[:, 0]),
    "cast state": lambda: scan.unroll(lambda x, s, training: (x, s > 0), X4, X[:, 0]),
    "more states": lambda: scan.unroll(lambda x, s, training: (x, (s, s)), X4, X[:, 0]),
}


@pytest.mark.parametrize("what", REFUSED)
def test_shapes_that_do_not_fit_are_refused(what):
    with pytest.raises(ValueError, match="must|shape"):
        REFUSED[what]()
