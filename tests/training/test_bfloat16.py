"""Training in bfloat16 without XLA ends where training in float32 does: a long comparison."""

import keras
import pytest

from srnn_tf import SequenceModel, data, recipes
from srnn_tf.experiments import evaluate

UPDATES, TOLERANCE = 2000, 0.01
SMALL = {"units": 64, "embedding_size": 64}


def build(dtype):
    """RNN-hier for music, a quarter as wide."""
    recipe = recipes.get("rnn_hier_bach")
    configs = ({**c, **SMALL, "dtype": dtype} for c in (recipe.structure, recipe.emission))
    return SequenceModel(*configs, event_size=88, window=recipe.window)


def trained(dtype, splits):
    """The last epoch's loss, and nats per step on the validation part, in float32."""
    keras.utils.set_random_seed(0)
    model = build(dtype)
    schedule = keras.optimizers.schedules.CosineDecay(1e-3, UPDATES, alpha=1e-3)
    jit = None if dtype == "float32" else False
    model.compile(keras.optimizers.Adam(schedule), clipnorm=0.5, jit_compile=jit)
    stream = data.streams(splits.train, batch_size=8, num_steps=25)
    history = model.fit(stream, epochs=4, steps_per_epoch=UPDATES // 4, verbose=0)
    scorer = build("float32")
    scorer.set_weights(model.get_weights())
    return history.history["loss"][-1], evaluate.score(scorer, splits.valid, "paper")


@pytest.mark.slow
def test_bfloat16_ends_within_a_percent_of_float32():
    splits = data.load("bach")
    single, half = (trained(dtype, splits) for dtype in ("float32", "mixed_bfloat16"))
    print(f"after {UPDATES} updates, float32 and bfloat16: training loss, nats per step of 25-step")
    print(f"windows, {single[0]:.4f} and {half[0]:.4f}; validation, nats per step, protocol paper,")
    print(f"exact, {single[1]:.4f} and {half[1]:.4f}")
    for one, other in zip(single, half, strict=True):
        assert abs(one - other) <= TOLERANCE * abs(one)
