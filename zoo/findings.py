"""Pages of what the published models say: models by data sets, and whether latents help.

    python -m zoo.findings

It writes docs/tables.md and docs/findings.md from the cards in `saved_models` and from what
`python -m zoo.measures` keeps.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from srnn_tf.experiments import cards, checkout, evaluate, pages, runs
from srnn_tf.experiments.evaluate import Score
from zoo import measures

TABLES = checkout.FOLDER / "docs" / "tables.md"
FINDINGS = checkout.FOLDER / "docs" / "findings.md"
MADE = "<!-- Made by `python -m zoo.findings`; do not edit. -->"
MUSIC = ("nottingham", "muse", "jsb", "piano_midi", "bach", "music")
OTHERS = ("speech_commands", "perm_speech_commands", "unipen")
INDEPENDENT, PARTS, FRAME, FLAT = (
    "values of a frame independent, given the context",
    "one part of a frame given the other",
    "values of a frame given one another",
    "a value a step",
)
# What a model part of a name is called; in the order of the table.
ROWS = {
    INDEPENDENT: {
        "f_rnn": "F-RNN",
        "f_srnn": "F-SRNN",
        "storn": "STORN",
        "vrnn": "VRNN",
        "fraccaro_srnn": "SRNN of Fraccaro et al.",
        "zforcing_no_aux": "Z-Forcing without its auxiliary terms",
        "zforcing": "Z-Forcing",
        "dmm": "DMM",
        "dkf": "DKF",
        "kvae": "KVAE",
        "tsbn": "TSBN",
        "hmm": "HMM, 256 states",
    },
    PARTS: {"delta_rnn_random": "delta-RNN-random"},
    FRAME: {
        "rnn_hier": "RNN-hier",
        "srnn_hier": "SRNN-hier",
        "rnn_hier_mlp": "RNN-hier, masked MLP",
        "srnn_hier_mlp": "SRNN-hier, masked MLP",
        "rnn_hier_mlp_transposed": "RNN-hier, masked MLP, transposed data",
        "rnn_nade": "RNN-NADE",
        "dmm_mlp": "DMM, masked MLP",
        "lru_mlp": "LRU, masked MLP",
        "tcn_mlp": "TCN, masked MLP",
        "transformer_mlp": "transformer, masked MLP",
    },
    FLAT: {"rnn_flat": "RNN-flat", "srnn_flat": "SRNN-flat"},
}
CALLED = {model: called for rows in ROWS.values() for model, called in rows.items()}


class Pair(NamedTuple):
    """Two models to compare: parts of their names."""

    one: str
    other: str


# With latents, and without.
LATENTS = {
    INDEPENDENT: [
        Pair(one, "f_rnn")
        for one in ("f_srnn", "storn", "vrnn", "fraccaro_srnn", "zforcing_no_aux", "dmm")
    ],
    FRAME: [
        Pair("srnn_hier", "rnn_hier"),
        Pair("srnn_hier_mlp", "rnn_hier_mlp"),
        Pair("dmm_mlp", "rnn_hier_mlp"),
    ],
    FLAT: [Pair("srnn_flat", "rnn_flat")],
}
# Dependence inside a frame without latents, and latents.
WITHOUT = [
    Pair("delta_rnn_random", "f_srnn"),
    Pair("rnn_hier_mlp", "f_srnn"),
    Pair("rnn_hier", "f_srnn"),
]


def named(model: str, dataset: str) -> str:
    """The published name of a row and a data set."""
    plain = model.removesuffix("_transposed")
    return f"{plain}_{dataset}" + model.removeprefix(plain)


def tables(held: Mapping[str, Mapping[str, Any]], measured: Mapping[str, Any]) -> str:
    """The page of models by data sets."""
    text = [
        MADE,
        "# Models by data sets",
        "",
        "What the paper's main table (Table 4) compares, with the weights that are published here:",
        "scores of the test part, protocol paper, higher is better. **No sign is exact, >= is a",
        "lower bound, the ELBO of one draw.** After it, in brackets, the updates of the training:",
        "most recipes have 20,000, those of speech 40,000, and where a run had fewer the score is",
        "that of a shorter training. [All scores](../zoo/RESULTS.md) have intervals, protocol full",
        "and tighter bounds; [Findings](findings.md) compares models sequence by sequence.",
        "",
        "## Music, nats per step of 88 keys",
        "",
        *grid(held, MUSIC),
        "",
        "`music` is trained on the five other sets; its score is their unweighted mean.",
        "",
        "## Speech and handwriting, nats per sequence",
        "",
        *grid(held, OTHERS),
        "",
        "## The paper's code",
        "",
        "What it reaches with the same data and protocol, where that was measured:",
        "",
        "| model | the paper's code | ours |",
        "|---|---|---|",
    ]
    for name, card in held.items():
        if card["reported"]:
            told = card["reported"].replace(", protocol paper", "")
            text.append(f"| {link(name)} | {told} | {cell(card, of=True)} |")
    text += [
        "",
        "Differences from the paper's training that the tables have: fewer updates where the",
        "brackets say so; batches in which some rows are beginnings of sequences, where the card",
        "says so; the first of the two structures that its stochastic models were chosen",
        "from (each card names those that were not tried); a masked MLP that is a density, which",
        "the paper's is not ([Its code](paper.md#its-code)); speech commands, Unipen, JSB,",
        "Piano-midi, the chorales and the pooled set are not of the paper.",
        "",
        "## Latents in use",
        "",
        "The KL of the posterior from the prior over the test part, protocol full; the units with",
        f"a KL of more than {measures.INFORMED:g} nats per step of the structure; and the active",
        "units, whose posterior mean has a variance above 0.01 (Burda et al., arXiv:1509.00519).",
        "Where the prior depends on the past, a mean may vary with the prior's and tell nothing.",
        "",
        "| model | KL, nats | per | units with a KL | active units | units |",
        "|---|---|---|---|---|---|",
    ]
    for name, card in held.items():
        if used := measured["models"].get(name, {}).get("latents"):
            unit = card["unit"].removeprefix("nats per ")
            counts = [str(used[k]) for k in ("informed_units", "active_units", "units")]
            cells = [link(name), f"{used['kl']:.4f}", unit, *counts]
            text.append(f"| {' | '.join(cells)} |")
    text += ["", "`python -m zoo.measures`, then `python -m zoo.findings` make this page.", ""]
    return "\n".join(text)


def grid(held: Mapping[str, Mapping[str, Any]], datasets: Sequence[str]) -> list[str]:
    """A table with a row for each model and a column for each data set that has any."""
    shown = [d for d in datasets if any(named(model, d) in held for model in CALLED)]
    lines = [f"| model | {' | '.join(shown)} |", "|---" * (len(shown) + 1) + "|"]
    for title, rows in ROWS.items():
        filled = []
        for model, called in rows.items():
            cells = [cell(held.get(named(model, d))) for d in shown]
            if any(cells):
                filled.append(f"| {called} | {' | '.join(cells)} |")
        if filled:
            lines += [f"| *{title}* |" + " |" * len(shown), *filled]
    return lines


def cell(card: Mapping[str, Any] | None, of: bool = False) -> str:
    """A score with its updates; empty without a card."""
    if card is None:
        return ""
    score = next(iter(card["test"]["paper"].items()))
    digits = 1 if "sequence" in card["unit"] else 4
    text = f"{score[1]['value']:,.{digits}f} ({pages.updates(card['training'])})"
    text = text if score[0] == "exact" else f">= {text}"
    return f"{text}, {pages.bound_label(score[0])}" if of else text


def link(name: str) -> str:
    return f"[`{name}`](../saved_models/{name}/README.md)"


def difference(pair: Pair, dataset: str, measured: Mapping[str, Any]) -> Score | None:
    """One minus the other on the same test sequences; None unless both are measured."""
    tests = [measured["models"].get(named(model, dataset), {}).get("test") for model in pair]
    if None in tests:
        return None
    first, second = tests
    if first["units"] != second["units"]:
        raise ValueError(f"{pair} were scored on other sequences of {dataset}")
    nats = np.array(first["nats"]) - np.array(second["nats"])
    return evaluate.interval(nats, np.array(first["units"]))


def verdict(score: Score) -> str:
    """What a difference says."""
    if score.low is None or score.high is None or score.low <= 0.0 <= score.high:
        return "no difference seen"
    return "**higher**" if score.value > 0 else "lower"


def compared(
    pairs: Sequence[Pair], held: Mapping[str, Mapping[str, Any]], measured: Mapping[str, Any]
) -> tuple[list[str], dict[str, list[str]]]:
    """The lines of a table, and the data sets by verdict."""
    lines, verdicts = [], {"**higher**": [], "no difference seen": [], "lower": []}
    for pair in pairs:
        for dataset in (*MUSIC, *OTHERS):
            if (score := difference(pair, dataset, measured)) is None:
                continue
            names = [named(model, dataset) for model in pair]
            updates = " / ".join(pages.updates(held[n]["training"]) for n in names)
            digits = 1 if "sequence" in held[names[0]]["unit"] else 4
            value = f"{score.value:+,.{digits}f}"
            if score.low is not None:
                value += f" ({score.low:+,.{digits}f} to {score.high:+,.{digits}f})"
            row = [dataset, *(CALLED[m] for m in pair), value, verdict(score), updates]
            row.append(" / ".join(seeds(held[n]) for n in names))
            lines.append(f"| {' | '.join(row)} |")
            verdicts[verdict(score)].append(dataset)
    return lines, verdicts


def seeds(card: Mapping[str, Any]) -> str:
    """The standard deviation of a card's scores over seeds, or "-"."""
    spread = card["seeds"]["standard_deviation"] if card["seeds"] else None
    return "-" if spread is None else f"{spread:.4f}"


HEAD = [
    "| data | one | other | one minus other (95 %) | one is | updates | deviation over seeds |",
    "|---|---|---|---|---|---|---|",
]


def findings(held: Mapping[str, Mapping[str, Any]], measured: Mapping[str, Any]) -> str:
    """The page of comparisons."""
    text = [
        MADE,
        "# Does the latent help?",
        "",
        "The paper says: where the values of a frame are independent given the context, latents",
        "help, since only they can express dependence inside a frame; where the emission is",
        "autoregressive inside a frame, the advantage is gone. Each line below compares two",
        "published models on the same test sequences: the mean difference in nats (per step for",
        "music, per sequence else), protocol paper, with its 95 % interval over sequences, paired.",
        "A model with latents counts with its ELBO, so that what it is ahead is at least that;",
        "what it is behind may be the gap of the bound. The interval does not have what another",
        "seed would change: the standard deviation over seeds stands beside where there are some.",
        "Updates are those of the two trainings: where they differ, so do the models' chances.",
        "A training with beginnings of sequences in its batches (`--openings`, on its card) has",
        "seen fewer windows like those of protocol paper.",
    ]
    for title, pairs in LATENTS.items():
        lines, verdicts = compared(pairs, held, measured)
        if not lines:
            continue
        text += ["", f"## Latents or none: {title}", "", *HEAD, *lines, "", said(verdicts)]
    lines, verdicts = compared(WITHOUT, held, measured)
    text += [
        "",
        "## Dependence inside a frame without latents",
        "",
        "Proposition 1 of the paper: a model that gives one part of a frame the other does what a",
        "latent would, without one ([Proposition 1](proposition-1.md)). Here it is the other that",
        "counts with its ELBO, and a part of what one is ahead may be the gap of that bound.",
        "",
        *HEAD,
        *lines,
        "",
        said(verdicts),
        "",
        "`python -m zoo.measures`, then `python -m zoo.findings` make this page from the published",
        "models; [Models by data sets](tables.md) has the scores.",
        "",
    ]
    return "\n".join(text)


def said(verdicts: Mapping[str, Sequence[str]]) -> str:
    """A table in a sentence."""
    total = sum(map(len, verdicts.values()))
    counts = [f"{len(sets)} {verdict.strip('*')}" for verdict, sets in verdicts.items() if sets]
    return f"Of {total} comparisons: {', '.join(counts)}."


def pages_of(held: Mapping[str, Any], measured: Mapping[str, Any]) -> dict[Any, str]:
    """All pages, by file."""
    return {TABLES: tables(held, measured), FINDINGS: findings(held, measured)}


def current() -> tuple[dict[str, Any], dict[str, Any]]:
    """The cards and what is measured of those versions.

    Raises:
        ValueError: a published version is not measured.
    """
    held = {n: c for n, c in cards.newest(checkout.ROOT).items() if not c.get("alias_of")}
    measured = measures.read()
    for name, card in held.items():
        if measured["models"].get(name, {}).get("version") != card["version"]:
            raise ValueError(f"{name} is not measured: python -m zoo.measures {name}")
    return held, measured


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m zoo.findings", description=__doc__)
    parser.parse_args(arguments)
    with runs.clear_errors():
        for path, text in pages_of(*current()).items():
            runs.write_text(path, text)


if __name__ == "__main__":
    main()
