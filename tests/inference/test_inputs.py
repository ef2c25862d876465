"""What `log_prob`, `sample`, `score_step` and `posterior` take: tensors, graphs, sizes, units."""

import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf

from srnn_tf import data
from srnn_tf.core import checks
from srnn_tf.serving import answers
from srnn_tf.serving.signatures import Signatures
from tests import harness

ROWS, STEPS = 2, 3
WHOLE = harness.cases(cell="lstm", likelihood="mixture", flat=False)
STRUCTURES = {case.structure: case for case in WHOLE}
EMISSIONS = [
    case
    for emission in harness.EMISSIONS
    if harness.takes(emission, "mixture")
    for case in harness.cases(
        emission, structure="rnn", cell="lstm", likelihood="mixture", flat=False
    )
]
BITS = harness.cases(structure="rnn", cell="lstm", likelihood="bernoulli", flat=False)[0]
EXACT, LATENT = STRUCTURES["rnn"], STRUCTURES["vrnn"]


@pytest.fixture(autouse=True)
def eagerly():
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def frames(case=EXACT):
    return harness.frames(case, rows=ROWS, steps=STEPS).astype(np.float32)


def masked():
    x = np.ma.masked_array(frames())
    x[0, 1:] = np.ma.masked
    return x


class Table:
    """What a pandas frame is to NumPy."""

    def __array__(self, dtype=None, copy=None):
        return frames()


Table.__module__ = "pandas.core.frame"

NUMBERS = r"must be (a numeric array|an array|\(T, D\))"
STRANGE = {
    "masked": (masked, "received a masked array, whose mask would be ignored"),
    "list of masked": (lambda: list(masked()), "received a masked array"),
    "complex": (lambda: frames() + 1j, "of real numbers; received complex64"),
    "dates": (lambda: frames().astype("datetime64[s]"), "received datetime64"),
    "durations": (lambda: frames().astype("timedelta64[s]"), "received timedelta64"),
    "strings": (lambda: frames().astype(str), "received <U"),
    "bytes": (lambda: frames().astype(bytes), r"received \|S"),
    "objects": (lambda: frames().astype(object), "received object"),
    "sparse": (lambda: scipy.sparse.csr_array(frames()[0]), "received a scipy csr_array"),
    "sparse tensor": (lambda: tf.sparse.from_dense(frames()), "must be dense"),
    "ragged tensor": (lambda: tf.RaggedTensor.from_tensor(frames()), "must not be ragged"),
    "table": (Table, "received a pandas Table: convert"),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_what_is_no_array_of_real_numbers_is_refused_everywhere(kind):
    make, message = STRANGE[kind]
    exact, latent = harness.shared(EXACT), harness.shared(LATENT)
    ways = {
        "log_prob": lambda x: exact.log_prob(x),
        "posterior": lambda x: latent.posterior(x),
        "prefix": lambda x: exact.sample(ROWS, 1, seed=0, prefix=x),
        "streams": lambda x: data.streams([x[0] if len(np.shape(x)) > 2 else x], 1, 2),
        "batches": lambda x: data.batches([x[0] if len(np.shape(x)) > 2 else x], 1),
        "client": lambda x: answers._sequences(x, 2, "frames"),
    }
    if isinstance(make(), (tf.SparseTensor, tf.RaggedTensor, Table, list)):
        ways = {name: ways[name] for name in ("log_prob", "posterior", "prefix")}
    for name, way in ways.items():
        with pytest.raises(ValueError, match=message) as raised:
            way(make())
        assert name in ("streams", "batches", "client", "prefix") or "`frames`" in str(raised.value)
    if isinstance(make(), np.ndarray):
        compiled = harness.build(EXACT)
        compiled.compile("adam")
        for way in (compiled.fit, compiled.evaluate):
            with pytest.raises(ValueError, match=message):
                way(make(), verbose=0)
        with pytest.raises(ValueError, match=message.replace("`frames`", "`frame`")):
            exact.score_step(make()[:, 1], exact.initial_states(ROWS))


def test_booleans_are_numbers_of_a_model_of_bits_only():
    bits = np.ones([ROWS, STEPS, harness.EVENT_SIZE], bool)
    assert harness.shared(BITS).log_prob(bits).shape == [ROWS]
    model = harness.shared(EXACT)
    for given in (bits, tf.constant(bits)):
        with pytest.raises(ValueError, match="must be real numbers in this model; .* booleans"):
            model.log_prob(given)
    with pytest.raises(ValueError, match="must be real numbers in this model; .* booleans"):
        model.evaluate(tf.data.Dataset.from_tensors(bits), verbose=0)


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float16", "float64", "longdouble"])
def test_other_dtypes_of_real_numbers_are_taken(dtype):
    x = np.round(frames()).astype(dtype) % 3
    model = harness.shared(EXACT)
    np.testing.assert_array_equal(model.log_prob(x), model.log_prob(x.astype(np.float32)))


def test_bfloat16_is_taken_from_tensors_and_arrays():
    x, model = tf.cast(frames(), tf.bfloat16), harness.shared(EXACT)
    np.testing.assert_array_equal(model.log_prob(x), model.log_prob(x.numpy()))


@pytest.mark.parametrize("mask", [np.ma.masked_array(np.ones([ROWS, STEPS], bool)), "11"])
def test_masks_and_seeds_are_checked_alike(mask):
    model = harness.shared(LATENT)
    with pytest.raises(ValueError, match="`mask` must be a boolean array"):
        model.log_prob(frames(), mask)
    with pytest.raises(ValueError, match="`seed` must be"):
        model.log_prob(frames(), seed=np.ma.masked_array([1, 2]))


@pytest.mark.parametrize("case", [*STRUCTURES.values(), *EMISSIONS], ids=str)
def test_up_to_the_largest_value_densities_are_finite(case):
    model, x = harness.build(case, scale=0.3), frames(case)
    x[0, 1, 1], x[1, 1, 0] = checks.LARGEST, -checks.LARGEST
    assert np.isfinite(model.log_prob(x)).all()


@pytest.mark.parametrize("value", [1.1e9, -1e19, 3e38, 1e300])
def test_beyond_it_every_path_refuses(value):
    model, x = harness.build(EXACT), frames().astype(np.float64)
    x[1, 2, 0] = value
    message = r"must be from -1e\+09 to 1e\+09"
    with pytest.raises(ValueError, match=message + r", beyond .* at \(1, 2, 0\): standardize"):
        model.log_prob(x)
    if abs(value) > 1e38:
        return
    x = x.astype(np.float32)
    model.compile(run_eagerly=True)
    with pytest.raises(ValueError, match=message):
        model.evaluate(tf.data.Dataset.from_tensors(x), verbose=0)
    signatures, length = Signatures(model, None, None), tf.constant([STEPS] * ROWS)
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        signatures.score(tf.constant(x), length)


BOUNDS = {"paper": {"protocol": "paper"}, "one seed a row": {"seed": [1, 2]}}
BOUNDS |= {"iwae": {"bound": "iwae", "num_samples": 3}, "fivo": {"bound": "fivo"}}


@pytest.mark.parametrize("bound", [{}, BOUNDS["iwae"], BOUNDS["fivo"]], ids=str)
@pytest.mark.parametrize("case", [LATENT, STRUCTURES["parallel_srnn"], EXACT], ids=str)
def test_one_step_under_the_paper_protocol_scores_nothing(case, bound):
    if bound and not case.latent:
        return
    model, x = harness.shared(case), frames(case)
    np.testing.assert_array_equal(model.log_prob(x[:, :1], protocol="paper", **bound), 0.0)
    mask = np.array([[1, 0, 0], [1, 1, 1]], bool)
    assert model.log_prob(x, mask, protocol="paper", **bound)[0] == 0.0


def gradient(model, x, **options):
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(model.log_prob(x, **options))
    return tape.gradient(total, x).numpy()


def assert_is_slope(slope, total, x):
    """In a random direction, by central differences."""
    direction = np.random.default_rng(1).standard_normal(x.shape).astype(np.float32)
    step = np.float32(2e-3)
    moved = total(x + step * direction) - total(x - step * direction)
    np.testing.assert_allclose(np.sum(slope * direction), moved / (2 * step), 3e-2, 3e-2)


@pytest.mark.parametrize("case", [*STRUCTURES.values(), *EMISSIONS], ids=str)
def test_log_prob_has_a_gradient_to_its_frames(case):
    model, x = harness.build(case, scale=0.3), frames(case)
    assert_is_slope(gradient(model, x), lambda x: np.sum(model.log_prob(x)), x)


@pytest.mark.parametrize("bound", BOUNDS)
def test_so_has_every_bound(bound):
    model, x = harness.build(LATENT, scale=0.3), frames(LATENT)
    slope = gradient(model, x, **BOUNDS[bound])
    assert_is_slope(slope, lambda x: np.sum(model.log_prob(x, **BOUNDS[bound])), x)


def test_score_step_has_a_gradient_to_its_frame():
    model, x = harness.build(LATENT, scale=0.3), frames(LATENT)[:, 1]
    _, states = model.score_step(x, model.initial_states(ROWS))

    def total(x):
        return tf.reduce_sum(model.score_step(x, states)[0])

    frame = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(frame)
        value = total(frame)
    assert_is_slope(tape.gradient(value, frame).numpy(), lambda x: total(x).numpy(), x)


@pytest.mark.parametrize("xla", [False, True])
def test_inside_a_function_of_the_caller(xla):
    """AutoGraph and all; `seed`, mask, gradient, streams and prefixes too."""
    tf.config.run_functions_eagerly(False)
    model, x = harness.shared(LATENT), frames(LATENT)
    mask = np.array([[1, 1, 0], [1, 1, 1]], bool)
    states = model.initial_states(ROWS)

    def scored(x, mask, states):
        quick = {
            "elbo": model.log_prob(x, mask),
            "stream": model.score_step(x[:, 0], states)[0],
            "gradient": gradient_of(model, x),
        }
        if xla:
            return quick
        return quick | {
            "iwae": model.log_prob(x, bound="iwae", num_samples=2, seed=3),
            "fivo": model.log_prob(x, bound="fivo", num_samples=2),
            "posterior": model.posterior(x, mask).mean,
            "prefix": model.sample(ROWS, 2, seed=0, prefix=x),
        }

    def gradient_of(model, x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(model.log_prob(x))
        return tape.gradient(total, x)

    inside = tf.function(scored, jit_compile=xla)(tf.constant(x), tf.constant(mask), states)
    tf.config.run_functions_eagerly(True)
    for name, value in scored(tf.constant(x), tf.constant(mask), states).items():
        np.testing.assert_allclose(inside[name], value, 1e-4, 1e-4, err_msg=name)


def test_inside_a_function_of_any_shape():
    tf.config.run_functions_eagerly(False)
    model, x = harness.shared(LATENT), frames(LATENT)
    spec = [tf.TensorSpec([None, None, harness.EVENT_SIZE])]

    @tf.function(input_signature=spec)
    def score(x):
        return model.log_prob(x), model.log_prob(x, protocol="paper")

    got = [score(x[:, :steps]) for steps in (1, STEPS)]
    with pytest.raises(tf.errors.InvalidArgumentError, match="`frames` must be finite"):
        score(x * np.nan)
    with pytest.raises(ValueError, match="must have static B and T inside a `tf.function`"):
        tf.function(lambda x: model.log_prob(x, bound="fivo"), input_signature=spec)(x)
    tf.config.run_functions_eagerly(True)
    for steps, (whole, paper) in zip((1, STEPS), got, strict=True):
        np.testing.assert_allclose(whole, model.log_prob(x[:, :steps]), 1e-4)
        np.testing.assert_allclose(paper, model.log_prob(x[:, :steps], protocol="paper"), 1e-4)


def test_sizes_are_refused_before_anything_is_allocated():
    model = harness.shared(LATENT)
    with pytest.raises(ValueError, match="`batch_size` x `num_steps`.* at most .* received 1000"):
        model.sample(1, 10**9, seed=0)
    with pytest.raises(ValueError, match="`batch_size` x `num_particles` must be at most"):
        model.initial_states(10**4, num_particles=10**6)
    with pytest.raises(ValueError, match="`batch_size` must be at most"):
        harness.shared(EXACT).initial_states(10**12)
    with pytest.raises(tf.errors.InvalidArgumentError, match="`num_steps` x `batch_size` must be"):
        Signatures(model, None, None).sample(2**30, tf.constant([0, 2]), 4)
