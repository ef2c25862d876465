"""Training in bfloat16 without XLA ends where training in float32 does."""

import keras
import numpy as np
import pytest

from srnn_tf import SequenceModel, data, zoo

STEPS = 300


def trained(dtype, sequences, held_out):
    """Nats per step of held-out sequences, scored in float32."""
    keras.utils.set_random_seed(0)
    recipe = zoo.recipes.get("rnn_hier_bach")

    def small(config):
        return {**config, "units": 64, "embedding_size": 64, "dropout": 0.2, "dtype": dtype}

    structure, emission = small(recipe.structure), small(recipe.emission)
    model = SequenceModel(structure, emission, window=recipe.window)
    schedule = keras.optimizers.schedules.CosineDecay(3e-3, STEPS)
    model.compile(keras.optimizers.Adam(schedule), jit_compile=dtype == "float32")
    stream = data.streams(sequences, batch_size=8, num_steps=25)
    model.fit(stream, epochs=1, steps_per_epoch=STEPS, verbose=0)
    single = SequenceModel(*({**c, "dtype": "float32"} for c in (structure, emission)))
    single.set_weights(model.get_weights())
    return sum(float(single.log_prob(x[None])[0]) for x in held_out) / sum(map(len, held_out))


@pytest.mark.slow
def test_bfloat16_ends_within_a_hundredth_of_float32():
    bach = data.load("bach")
    train, held_out = bach.train[:100], bach.valid[:20]
    single, half = (trained(dtype, train, held_out) for dtype in ("float32", "mixed_bfloat16"))
    assert single > -20.0, single  # better than the start, -60
    np.testing.assert_allclose(half, single, rtol=0.01)
