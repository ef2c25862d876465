"""Structures of the paper's code: their configs, and the keys of their weights."""

from __future__ import annotations

from srnn_tf.convert.rules import Rule, cell_rules, dense_rules


def _rnn(config, domain):
    return {
        "class": "rnn",
        "units": config["d_rnn"],
        "num_layers": config["n_layer"],
        "embedding_size": config["d_emb"],
    }


def _srnn(config, domain):
    structure = {
        "class": "parallel_srnn",
        "units": config["d_rnn"],
        "embedding_size": config["d_emb"],
        "latent_size": config["d_lat"],
        "hidden_size": 0 if domain == "midi" else config["d_mlp"],
    }
    if domain == "handwriting":  # one layer, whatever the config says
        return structure | {"generator_input": "embedding"}
    return structure | {"num_layers": config["n_layer"]}


def _zforcing(config, domain):
    return {
        "class": "zforcing",
        "timing": "goyal",
        "units": config["d_rnn"],
        "embedding_size": config["d_emb"],
        "latent_size": config["d_lat"],
        "hidden_size": config["d_mlp"],
    }


def _rnn_rules(structure, domain) -> list[Rule]:
    return dense_rules(structure.embed.dense, "inp_emb.0") + _lstm_rules(structure.forward, "rnn")


def _srnn_rules(structure, domain) -> list[Rule]:
    handwriting = domain == "handwriting"
    forward, generator = ("forward_z", "forward_h") if handwriting else ("fwd_rnn", "lat_rnn")
    rules = dense_rules(structure.embed.dense, "inp_emb.0")
    rules += _lstm_rules(structure.forward, forward)
    rules += _lstm_rules(structure.backward, "bwd_rnn")
    rules += _lstm_rules(structure.generator, generator)
    if structure.latent_embedding is not None:
        rules += dense_rules(structure.latent_embedding, "gen_mod")
    return rules + _gaussian_rules(structure, domain)


def _zforcing_rules(structure, domain) -> list[Rule]:
    cell = structure.cell
    rules = dense_rules(structure.embed.dense, "inp_emb.0")
    rules += _lstm_rules(structure.backward, "bwd_rnn")
    rules += cell_rules(cell.recurrent, "fwd_rnn", "")
    rules += dense_rules(cell.latent_embedding, "gen_mod")
    return rules + _gaussian_rules(cell, domain)


def _gaussian_rules(layer, domain) -> list[Rule]:
    """Prior and posterior, each a `Sequential` whose dense layers have these places."""
    places = {"speech": (1, 4), "midi": (1,), "handwriting": (0, 2)}[domain]
    rules: list[Rule] = []
    for head, key in ((layer.prior, "prior"), (layer.posterior, "post")):
        dense = [part for part in (head.hidden, head.out) if part is not None]
        for part, place in zip(dense, places, strict=True):
            rules += dense_rules(part, f"{key}.{place}")
    return rules


def _lstm_rules(stack, key) -> list[Rule]:
    cells = [cell_rules(layer, key, f"_l{i}") for i, layer in enumerate(stack.layers)]
    return [rule for rules in cells for rule in rules]


# name: the config, from that of the reference and its domain, and the rules of a structure.
RNN, SRNN, ZFORCING = (_rnn, _rnn_rules), (_srnn, _srnn_rules), (_zforcing, _zforcing_rules)
