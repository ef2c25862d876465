"""The loops over time: `lstm` with a hand-written gradient, and `unroll` for any cell.

Differentiating a `tf.while_loop` automatically is slow under XLA and its cost grows faster than
the number of steps, so both functions carry their own backward loop. Each keeps what that loop
reads and nothing else, and costs time and memory linear in the number of steps.

Arrays are batch major, (B, T, ...), unless `time_major=True`. Sequences are right-padded; there is
no mask: `lengths` says where each row ends, for the final state and for the reversed direction.
"""

from srnn_tf.core.scan.arrays import flip
from srnn_tf.core.scan.lstm import lstm, lstm_rank_one
from srnn_tf.core.scan.lstm_loops import lstm_step, rank_one
from srnn_tf.core.scan.unroll import unroll

__all__ = ["flip", "lstm", "lstm_rank_one", "lstm_step", "rank_one", "unroll"]
