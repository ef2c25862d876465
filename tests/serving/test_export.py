"""Models as SavedModels: what they answer, what they are made of, and what they refuse."""

import functools
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from srnn_tf import SequenceModel, data
from srnn_tf.serving import export, signatures
from srnn_tf.zoo import artifacts
from tests import harness

# All that a served graph may be made of; none of them needs XLA, Python or a library of ours.
ALLOWED = set(
    """
    Abs AddV2 All Any ArgMax Assert AssignVariableOp BatchMatMulV2 BiasAdd Bitcast BitwiseOr
    BitwiseXor BroadcastArgs BroadcastTo Cast ConcatV2 Const DisableCopyOnRead Equal Exp
    ExpandDims Fill FloorDiv GatherNd GatherV2 Greater GreaterEqual Identity IdentityN IsFinite
    LeftShift Less LessEqual Log LogSoftmax LogicalAnd LogicalNot LogicalOr MatMul Max Maximum
    Mean MergeV2Checkpoints Minimum Mul MulNoNan Ndtri Neg NoOp OneHot Pack Pad Placeholder Pow
    Prod Range ReadVariableOp RealDiv Relu Reshape RestoreV2 ReverseSequence RightShift Rsqrt
    SaveV2 ScatterNd Select SelectV2 Shape ShardedFilename Sigmoid Size Softplus Split SplitV
    Sqrt Square SquaredDifference StatefulPartitionedCall StatelessRandomGetKeyCounter
    StatelessRandomUniformFullIntV2 StatelessWhile StaticRegexFullMatch StopGradient
    StridedSlice StringJoin Sub Sum Tanh TensorListFromTensor TensorListGetItem
    TensorListReserve TensorListSetItem TensorListStack Tile Transpose Unpack VarHandleOp
    ZerosLike
    """.split()
)
slow = functools.partial(pytest.param, marks=pytest.mark.slow)
# structure, emission, likelihood, flat: every structure and every emission once.
ROWS = [
    ("rnn", "factorized", "bernoulli", True),
    slow(("storn", "factorized", "mixture", False)),
    slow(("vrnn", "masked_mlp", "mixture", False)),
    ("srnn", "delta_split", "bernoulli", False),
    ("zforcing", "autoregressive_rnn", "mixture", False),
    ("parallel_srnn", "autoregressive_rnn_private", "normal", False),
    slow(("rnn", "masked_mlp", "handwriting", False)),
    slow(("parallel_srnn_embedding", "factorized", "handwriting", False)),
]
PERMUTED = data.Standardization((0.01,), (0.2,), (2, 0, 1))


def case_of(structure, emission, likelihood, flat):
    fields = {"structure": structure, "likelihood": likelihood, "cell": "lstm", "flat": flat}
    return harness.cases(emission=emission, **fields)[0]


def written(model, folder, standardization=None, sample_rate=None):
    """The SavedModel, made in this process, which is quicker."""
    bundle, out = folder / "bundle", folder / "out"
    bundle.mkdir()
    config = export._config(model, standardization, sample_rate, None)
    (bundle / artifacts.CONFIG).write_text(artifacts.to_json(config))
    weights = {str(i): w for i, w in enumerate(export.half(model))}
    np.savez(bundle / "weights.npz", **weights)
    export.write(bundle, out)
    return out


@pytest.fixture(scope="module", params=ROWS, ids=lambda row: f"{row[0]}-{row[1]}-{row[2]}")
def made(request, tmp_path_factory):
    """A case, its model with rounded weights, and the SavedModel's folder."""
    case = case_of(*request.param)
    model = harness.build(case, scale=0.3)
    speech = case.likelihood in ("mixture", "normal")
    folder = tmp_path_factory.mktemp("export")
    out = written(model, folder, PERMUTED if speech else None, 16000 if speech else None)
    export.round_weights(model)
    return case, model, out


def signature(out, name="score"):
    loaded = tf.saved_model.load(str(out))
    function = loaded.signatures[name]

    def call(**inputs):
        return {k: v.numpy() for k, v in function(**inputs).items()}

    call.kept = loaded
    return call


def test_it_scores_as_the_model_does(made):
    case, model, out = made
    x, length = harness.frames(case, rows=3, steps=7), np.array([7, 4, 1], np.int32)
    mask = np.arange(7) < length[:, None]
    found = signature(out)(frames=x, length=length)
    expected = model.log_prob(x, mask)
    np.testing.assert_allclose(found["log_likelihood"], expected, rtol=1e-4, atol=1e-4)
    per_step = found["log_likelihood_per_step"]
    assert per_step.shape == (3, 7) and not per_step[~mask].any()
    np.testing.assert_allclose(per_step.sum(axis=1), expected, rtol=1e-4, atol=1e-4)
    assert ("kl" in found) == bool(model.latent_size)
    if model.latent_size:
        noise = harness.table_noise(model, 7)
        terms = model(x, mask=mask, noise=tf.tile(noise, [3, 1, 1]))
        np.testing.assert_allclose(found["kl"], tf.reduce_sum(terms["kl"], 1), rtol=1e-4)
    default = signature(out, "serving_default")(frames=x, length=length)
    np.testing.assert_array_equal(default["log_likelihood"], found["log_likelihood"])


def test_a_row_depends_neither_on_its_batch_nor_on_padding(made):
    case, _, out = made
    score, x = signature(out), harness.frames(case, rows=3, steps=7)
    length = np.array([7, 4, 1], np.int32)
    together = score(frames=x, length=length)["log_likelihood"]
    for i, n in enumerate(length):
        alone = score(frames=x[i : i + 1, :n], length=length[i : i + 1])["log_likelihood"]
        np.testing.assert_allclose(alone[0], together[i], rtol=1e-5, atol=1e-5)


def test_it_samples_as_the_model_does(made):
    case, model, out = made
    seed = np.array([3, 2], np.int32)
    drawn = signature(out, "sample")(num_steps=np.int32(4), batch_size=np.int32(2), seed=seed)
    expected = model.sample(2, 4, seed=3)
    assert drawn["frames"].shape == (2, 4, harness.EVENT_SIZE)
    np.testing.assert_allclose(drawn["frames"], expected, rtol=1e-3, atol=1e-3)
    one = signature(out, "sample")(num_steps=np.int32(1), batch_size=np.int32(1), seed=seed)
    assert one["frames"].shape == (1, 1, harness.EVENT_SIZE)


def test_raw_waveforms_are_standardized_inside(made):
    case, model, out = made
    if case.likelihood not in ("mixture", "normal"):
        assert "score_raw" not in tf.saved_model.load(str(out)).signatures
        return
    x = np.clip(harness.frames(case, rows=2, steps=5), -2, 2)
    raw = PERMUTED.undo(x).astype(np.float32)
    waves = np.pad(raw.reshape(2, -1), [(0, 0), (0, 2)])  # what is left is not scored
    length = np.array([17, 10], np.int32)  # five frames and three
    found = signature(out, "score_raw")(waveform=waves, length=length)
    mask = np.arange(5) < np.array([5, 3])[:, None]
    # d x / d raw is 1 / std for each of three values a frame.
    expected = model.log_prob(x, mask).numpy() - np.log(0.2) * 3 * np.array([5, 3])
    np.testing.assert_allclose(found["log_likelihood"], expected, rtol=1e-4, atol=1e-3)
    assert found["log_likelihood_per_step"].shape == (2, 5)
    np.testing.assert_allclose(found["log_likelihood_per_step"].sum(1), expected, rtol=1e-4)


def nodes(graph):
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


def test_the_graph_is_of_stock_operations_without_xla(made):
    _, model, out = made
    saved = saved_model_pb2.SavedModel.FromString((out / "saved_model.pb").read_bytes())
    (meta,) = saved.meta_graphs
    used = {node.op for node in nodes(meta.graph_def)}
    names = {f.signature.name for f in meta.graph_def.library.function}
    assert used - names <= ALLOWED
    for function in meta.graph_def.library.function:
        xla = function.attr.get("_XlaMustCompile")
        assert xla is None or not xla.b
        assert not function.signature.name.startswith("__backward")
    reader = tf.train.load_checkpoint(str(out / "variables" / "variables"))
    stored = reader.get_variable_to_dtype_map()
    held = [name for name in stored if name.startswith("weights/")]
    assert len(held) == len(artifacts.weights(model))
    assert set(stored) - set(held) == {"_CHECKPOINTABLE_OBJECT_GRAPH"}
    assert {stored[name] for name in held} == {tf.float16}


BAD = {
    "NaN": ({"frames": np.full([2, 3, 3], np.nan, np.float32)}, "must be finite"),
    "0 or 1": ({"frames": np.full([2, 3, 3], 0.5, np.float32)}, "must be 0 or 1"),
    "length 0": ({"length": np.array([0, 3], np.int32)}, "from 1 to T"),
    "too long": ({"length": np.array([4, 3], np.int32)}, "from 1 to T"),
    "T = 0": ({"frames": np.zeros([2, 0, 3], np.float32)}, "from 1 to T"),
    "rows": ({"length": np.array([3], np.int32)}, "one number for each row"),
}


@pytest.fixture(scope="module")
def strict(tmp_path_factory):
    model = harness.build(case_of("rnn", "factorized", "bernoulli", False))
    return signature(written(model, tmp_path_factory.mktemp("strict")))


@pytest.mark.parametrize("what", BAD)
def test_a_bad_request_is_an_error(what, strict):
    good = {"frames": np.zeros([2, 3, 3], np.float32), "length": np.array([3, 1], np.int32)}
    assert np.isfinite(strict(**good)["log_likelihood"]).all()
    changed, message = BAD[what]
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        strict(**{**good, **changed})


def test_loud_or_short_waveforms_and_empty_samples_are_errors(tmp_path):
    model = harness.build(case_of("rnn", "factorized", "normal", False))
    out = written(model, tmp_path, data.Standardization((0.0,), (0.1,)), 16000)
    raw, draw = signature(out, "score_raw"), signature(out, "sample")
    for wave, length, message in (
        (np.full([1, 9], 1.5), 9, r"in \[-1, 1\]"),
        (np.full([1, 9], np.nan), 9, r"in \[-1, 1\]"),
        (np.zeros([1, 9]), 2, "from 3 to S"),
        (np.zeros([1, 9]), 10, "from 3 to S"),
    ):
        inputs = {"waveform": wave.astype(np.float32), "length": np.array([length], np.int32)}
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            raw(**inputs)
    for steps, rows in ((0, 1), (1, 0), (-1, 1)):
        numbers = {"num_steps": np.int32(steps), "batch_size": np.int32(rows)}
        with pytest.raises(tf.errors.InvalidArgumentError, match="above 0"):
            draw(**numbers, seed=np.array([0, 2], np.int32))


ALONE = """
import sys
for name in ("keras", "tf_keras", "tensorflow_probability", "srnn_tf"):
    sys.modules[name] = None  # any import of it fails
import numpy as np, tensorflow as tf
score = tf.saved_model.load(sys.argv[1]).signatures["score"]
frames = np.load(sys.argv[2])
length = np.full([len(frames)], frames.shape[1], np.int32)
found = score(frames=tf.constant(frames), length=tf.constant(length))["log_likelihood"]
print(*found.numpy())
"""


@pytest.mark.slow
def test_export_twice_and_use_it_without_our_packages(tmp_path):
    """Two processes write the same bytes; a third, with TensorFlow alone, gets the same scores."""
    case = case_of("parallel_srnn", "factorized", "bernoulli", False)
    model = harness.build(case)
    first, second = (export.export(model, tmp_path / n, details={"n": 1}) for n in "ab")
    files = [p.relative_to(first) for p in first.rglob("*") if p.is_file()]
    assert {str(f) for f in files} == set(artifacts.FILES)
    for file in files:
        if file.name != "fingerprint.pb":
            assert (first / file).read_bytes() == (second / file).read_bytes(), file
    prints = [tf.saved_model.experimental.read_fingerprint(str(p)) for p in (first, second)]
    assert prints[0].singleprint() == prints[1].singleprint()
    config = json.loads((first / "assets.extra" / artifacts.CONFIG).read_text())
    assert config["n"] == 1 and config["model"]["structure"]["class"] == "parallel_srnn"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]

    x = harness.frames(case, rows=2, steps=5)
    np.save(tmp_path / "x.npy", x)
    command = [sys.executable, "-c", ALONE, str(first), str(tmp_path / "x.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    export.round_weights(model)
    found = [float(word) for word in done.stdout.split()]
    np.testing.assert_allclose(found, model.log_prob(x), rtol=1e-4, atol=1e-4)


def test_the_warm_up_file_holds_a_request_of_each_signature_with_rows(made):
    _, model, out = made
    _, logs = export.warmup_protos()
    loaded = tf.saved_model.load(str(out))
    seen = set()
    for record in tf.data.TFRecordDataset(str(out / "assets.extra" / export.WARMUP)):
        request = logs.PredictionLog.FromString(record.numpy()).predict_log.request
        name = request.model_spec.signature_name
        inputs = {k: tf.constant(tf.make_ndarray(v)) for k, v in request.inputs.items()}
        answer = loaded.signatures[name](**inputs)
        assert all(np.isfinite(v).all() for v in answer.values())
        seen.add(name)
    assert seen == set(loaded.signatures) - {"serving_default", "sample"}


def test_errors_before_anything_is_written(tmp_path):
    model = harness.build(case_of("rnn", "factorized", "bernoulli", False))
    with pytest.raises(FileExistsError, match="exists"):
        export.export(model, tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "fifo")
    for name in ("link", "fifo"):  # neither is replaced
        with pytest.raises(FileExistsError, match="exists"):
            export.export(model, tmp_path / name)
        (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match="the folder .*nowhere does not exist"):
        export.export(model, tmp_path / "nowhere" / "model")
    with pytest.raises(ValueError, match="`sample_rate` needs a `standardization`"):
        export.export(model, tmp_path / "model", sample_rate=16000)
    for value in (np.nan, 1e6):
        weight = model.trainable_variables[0]
        held = weight.numpy()
        weight.assign(np.full(weight.shape, value))
        with pytest.raises(ValueError, match="float16 cannot hold"):
            export.export(model, tmp_path / "model")
        weight.assign(held)
    assert not list(tmp_path.iterdir())


def test_a_failed_export_leaves_nothing(tmp_path, monkeypatch):
    model = harness.build(case_of("rnn", "factorized", "bernoulli", False))
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="the export failed"):
        export.export(model, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_signatures_of_speech_name_their_arguments():
    model = SequenceModel(
        {"class": "rnn", "units": 4, "embedding_size": 4},
        harness.emission_config("factorized", "normal"),
    )
    scale = {"mean": [0.0], "std": [1.0], "permutation": None}
    found = signatures.Signatures(model, scale, 16000)
    specs = {name: set(spec) for name, (_, spec) in found.all().items()}
    assert specs == {
        "score": {"frames", "length"},
        "score_raw": {"waveform", "length"},
        "sample": {"num_steps", "seed", "batch_size"},
    }
    del specs["sample"]  # its inputs are no rows: no server that batches could be warmed up with it
    assert {n: set(v) for n, v in found.examples().items()} == specs


def test_keras_export_writes_the_signatures(tmp_path):
    case = case_of("rnn", "factorized", "bernoulli", False)
    model, x = harness.build(case), harness.frames(case, 3, 5)
    model.compile(run_eagerly=True)
    model.fit(x, verbose=0)
    model.export(tmp_path / "1")
    export.round_weights(model)
    found = signature(tmp_path / "1")(frames=x, length=np.full(3, 5, np.int32))
    np.testing.assert_allclose(found["log_likelihood"], model.log_prob(x), rtol=1e-4, atol=1e-4)
    with pytest.raises(FileExistsError, match="exists"):
        model.export(tmp_path / "1")


@pytest.mark.parametrize(
    "extra", [{"kl_schedule": {"increment": 1e-3}}, {"trainable": {"emission": False}}]
)
def test_models_of_every_config_can_be_exported(extra, tmp_path):
    case = case_of("vrnn", "factorized", "mixture", False)
    model = SequenceModel.from_config({**harness.build(case).get_config(), **extra})
    assert set(extra) <= set(model.get_config())
    assert artifacts.read(written(model, tmp_path)).get_config().keys() == model.get_config().keys()
