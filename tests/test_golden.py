"""Agreement with the paper's reference implementation."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from srnn_tf import convert, objectives

FIXTURES = Path(__file__).parent / "fixtures"
GOLDEN = sorted(FIXTURES.glob("*.npz"))


def load(path):
    arrays = dict(np.load(path))
    config = json.loads(str(arrays.pop("config")))
    params = {k[6:]: v for k, v in arrays.items() if k.startswith("param/")}
    return arrays, params, config


def batch_major(array):
    return np.swapaxes(array, 0, 1)


def answer(model, arrays):
    noise = batch_major(arrays["eps"]) if "eps" in arrays else None
    with tf.GradientTape() as tape:
        out = model(batch_major(arrays["y"]), previous=batch_major(arrays["x"]), noise=noise)
        weight = float(arrays["kl_weight"])
        bound = objectives.elbo(out["log_likelihood"], out["kl"], kl_weight=weight)
        loss = -tf.reduce_mean(bound)
    return out, loss, tape.gradient(loss, model.trainable_variables)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda p: p.stem)
def test_likelihood_kl_and_loss(path):
    arrays, params, config = load(path)
    out, loss, _ = answer(convert.from_reference(params, config), arrays)
    np.testing.assert_allclose(-out["log_likelihood"], batch_major(arrays["nll"]), rtol=1e-4)
    np.testing.assert_allclose(out["kl"], batch_major(arrays["kld"]), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(loss, arrays["loss"], rtol=1e-4)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda p: p.stem)
def test_every_gradient(path):
    arrays, params, config = load(path)
    model = convert.from_reference(params, config)
    _, _, gradients = answer(model, arrays)
    # The gradients of the reference, laid out as our weights by the very same conversion.
    expected = {k[5:]: v for k, v in arrays.items() if k.startswith("grad/")}
    halves = {k: v / 2 if "bias_ih" in k or "bias_hh" in k else v for k, v in expected.items()}
    laid_out = convert.from_reference(halves, config)
    assert len(gradients) == len(laid_out.trainable_variables) > 0
    for ours, theirs in zip(gradients, laid_out.trainable_variables, strict=True):
        theirs = theirs.numpy()
        scale = np.abs(theirs).max()
        assert scale > 0, theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4 * scale)


def test_every_model_of_the_reference_is_there():
    kinds = {
        "handwriting": "rnn rnn_hier srnn srnn_zforce",
        "midi": "rnn rnn_hier_inp rnn_random srnn srnn_hier_inp",
        "speech": "rnn rnn_flat rnn_hier_inp rnn_hier_nade rnn_interleave rnn_random srnn "
        "srnn_flat srnn_hier_inp srnn_hier_nade",
    }
    names = [f"{domain}-{name}" for domain, models in kinds.items() for name in models.split()]
    assert [p.stem for p in GOLDEN] == names


def test_errors_name_what_is_wrong():
    arrays, params, config = load(FIXTURES / "midi-srnn.npz")
    with pytest.raises(ValueError, match="unknown `model` 'srn'.*'srnn'"):
        convert.from_reference(params, config | {"model": "srn"})
    with pytest.raises(ValueError, match="unknown `domain` 'music'"):
        convert.from_reference(params, config | {"domain": "music"})
    with pytest.raises(ValueError, match="unknown `model` 'srnn_zforce'.*in domain 'midi'"):
        convert.from_reference(params, config | {"model": "srnn_zforce"})
    with pytest.raises(ValueError, match="lacks 'post.1.weight'"):
        fewer = {k: v for k, v in params.items() if k != "post.1.weight"}
        convert.from_reference(fewer, config)
    with pytest.raises(ValueError, match="has 'post.9.weight'"):
        convert.from_reference(params | {"post.9.weight": np.zeros(3)}, config)
    with pytest.raises(ValueError, match=r"'inp_emb.0.weight'.*\(5, 8\)"):
        convert.from_reference(params | {"inp_emb.0.weight": np.zeros([5, 8])}, config)
    with pytest.raises(ValueError, match="must hold 'd_lat'"):
        convert.from_reference(params, {k: v for k, v in config.items() if k != "d_lat"})


@pytest.mark.parametrize("size", ["d_mlp", "n_mix"])
def test_errors_of_handwriting_name_what_is_wrong(size):
    _, params, config = load(FIXTURES / "handwriting-srnn_zforce.npz")
    with pytest.raises(ValueError, match=f"must hold '{size}'"):
        convert.from_reference(params, {k: v for k, v in config.items() if k != size})
    with pytest.raises(ValueError, match="'crit1.var.weight'.*do not fit together"):
        convert.from_reference(params | {"crit1.var.weight": np.zeros([2, 8])}, config)
    with pytest.raises(ValueError, match="has 'crit1.var.bias'"):
        convert.from_reference(params | {"crit1.var.bias": np.zeros(3)}, config)
    with pytest.raises(ValueError, match="`event_size` must be 3"):
        convert.from_reference(params, config | {"d_data": 4})
