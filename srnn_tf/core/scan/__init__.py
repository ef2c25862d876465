"""The loops over time: `lstm` and `diagonal`, and `unroll` for any cell.

Automatic differentiation of a `tf.while_loop` is slow under XLA, and its cost grows faster than the
number of steps. So all functions have their own backward loop. They store only what that loop
reads. Time and memory are linear in the number of steps.

Arrays are batch major, (B, T, ...), unless `time_major=True`. Sequences are right-padded. There is
no mask: `lengths` says where each row ends, for the final state and for the reversed direction.
"""

from srnn_tf.core.scan.arrays import flip
from srnn_tf.core.scan.diagonal import diagonal
from srnn_tf.core.scan.lstm import lstm, lstm_rank_one
from srnn_tf.core.scan.lstm_loops import lstm_step, rank_one
from srnn_tf.core.scan.unroll import unroll

__all__ = ["diagonal", "flip", "lstm", "lstm_rank_one", "lstm_step", "rank_one", "unroll"]
