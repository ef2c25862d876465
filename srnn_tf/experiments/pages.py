"""Pages made from cards: a README for each published model, and the table of results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from srnn_tf.core.registry import MODULE
from srnn_tf.data import modality
from srnn_tf.emissions import EMISSIONS
from srnn_tf.serving import inputs
from srnn_tf.structures import STRUCTURES

FACTORIZATIONS = {
    "rnn": "log p(x) = sum{ log p(x_t | x_<t) }, exact",
    "storn": "p(x, z) = prod{ p(x_t | z_<=t, x_<t) N(z_t; 0, I) }",
    "vrnn": "p(x, z) = prod{ p(x_t | z_<=t, x_<t) p(z_t | z_<t, x_<t) }",
    "srnn": "p(x, z) = prod{ p(x_t | z_t, x_<t) p(z_t | z_{t-1}, x_<t) }",
    "zforcing": "p(x, z) = prod{ p(x_t | z_<=t, x_<t) p(z_t | z_<t, x_<t) }",
    "dmm": "p(x, z) = prod{ p(x_t | z_t) p(z_t | z_{t-1}) }, `autoregressive`: given x_{t-1}",
    "parallel_srnn": "p(x, z) = prod{ p(x_t | z_<=t, x_<t) p(z_t | x_<t) }",
}
INSIDE = {
    "factorized": "p(x_t | h_t) = prod{ p(x_t[i] | h_t) }",
    "delta_split": "p(x_t | h_t) = p(a_t | h_t) p(b_t | a_t, h_t), x_t split into a_t and b_t",
    "autoregressive_rnn": "p(x_t | h_t) = prod{ p(x_t[i] | x_t[<i], h_t) }, by an LSTM over i",
    "masked_mlp": "p(x_t | h_t) = prod{ p(x_t[i] | x_t[<i], h_t) }, by a masked MLP",
    "nade": "p(x_t | h_t) = prod{ p(x_t[i] | x_t[<i], h_t) }, by one hidden layer for all i",
}
DEPARTURES = {
    "window": "Frames of a window",
    "learning_rate": "First learning rate",
    "transpose": "Semitones of transposition",
    "openings": "Rows of a batch that are beginnings of sequences",
}
# What tells whether samples live (`python -m zoo.measures`), as pages call it.
LIVING = {
    "in_key": "share of note onsets in the key of the piece",
    "note_length": "mean length of a note in steps",
    "pitch_autocorrelation": "autocorrelation at the pitch in loud windows",
}
CITATION = """\
@inproceedings{lai2019reexamination,
  title     = {Re-examination of the Role of Latent Variables in Sequence Modeling},
  author    = {Lai, Guokun and Dai, Zihang and Yang, Yiming and Yoo, Shinjae},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {32},
  year      = {2019},
  url       = {https://arxiv.org/abs/1902.01388}
}"""
GENERATED = "<!-- Made by `srnn-tf publish --tables`; do not edit. -->\n"


def bound_label(name: str) -> str:
    """The label of a bound, from its key in a card.

    Example:
        bound_label("iwae_16_first_8")  # "IWAE-16, first 8 sequences"
    """
    head, _, first = name.partition("_first_")
    kind, _, number = head.partition("_")
    label = {"exact": "exact", "elbo": "ELBO"}.get(kind, kind.upper())
    label += f"-{number}" if number else ""
    return label + (f", first {first} sequences" if first else "")


def interval(score: Mapping[str, Any]) -> str:
    """The 95 % interval of a score."""
    return "-" if score["low"] is None else f"{score['low']:.4f} to {score['high']:.4f}"


def scores(card: Mapping[str, Any]) -> str:
    """A table of all scores of the test part."""
    lines = [
        "| protocol | bound | nats per "
        + card["unit"].removeprefix("nats per ")
        + " | 95 % over sequences |"
    ]
    lines.append("|---|---|---|---|")
    for protocol, by_bound in card["test"].items():
        for name, s in by_bound.items():
            between = interval(s)
            lines.append(f"| {protocol} | {bound_label(name)} | {s['value']:.4f} | {between} |")
    for part, of in sorted(card.get("sets", {}).items()):
        for protocol, by_bound in of.items():
            for name, s in by_bound.items():
                label = f"{bound_label(name)}, {part} alone"
                lines.append(f"| {protocol} | {label} | {s['value']:.4f} | {interval(s)} |")
    for name, value in card["floors"].items():
        lines.append(f"| full | exact, a baseline: {name} | {value:.4f} | |")
    return "\n".join(lines)


def training(card: Mapping[str, Any]) -> str:
    """A description of the training, and of its differences from the recipe."""
    t = card["training"]
    schedule = t.get("schedule", t["updates"])
    ended = (
        f"of a schedule of {schedule:,} that was not completed; the recipe has"
        if schedule > t["updates"]
        else "the recipe has"
    )
    text = (
        _begun(t) + f"{t['updates']:,} updates ({ended} {t['updates_of_recipe']:,}) of "
        f"{t['batch_size']} rows (recipe: {t['batch_size_of_recipe']}), seed {t['seed']}, "
        f"{t['precision']}, "
        f"{t['minutes']} minutes on {t['machine']}. The weights are those of update "
        f"{t['best_update']:,}, the best on the validation part "
        f"({card['validation']['value']:.4f} {card['unit']}, protocol paper)."
    )
    text += _departures(t)
    if t.get("transpose"):
        text += (
            " In each epoch, each training sequence was moved up or down by a random number of "
            f"semitones, at most {t['transpose']}."
        )
    if t["candidates_not_tried"]:
        text += (
            f" The structure is the candidate `{t['candidate'] or 'parallel'}`; not tried: "
            f"{', '.join(t['candidates_not_tried'])}."
        )
    if card["seeds"]:
        runs = "; ".join(
            f"seed {r['seed']}, {r['updates']:,} updates: {r['paper']:.4f}"
            for r in card["seeds"]["runs"]
        )
        spread = card["seeds"]["standard_deviation"]
        text += f"\n\nFurther seeds, test, protocol paper: {runs}; mean {card['seeds']['mean']:.4f}"
        text += f", standard deviation {spread:.4f}." if spread is not None else "."
    return text


def _begun(t: Mapping[str, Any]) -> str:
    """The warm starts of a run, first to last; empty without."""
    first = t.get("begun_with")
    if not first:
        return ""
    if "from" in first:
        trained = f", trained on {first['trained_on']}" if first.get("trained_on") else ""
        return f"{_begun(first)}Fine-tuned: it began with {first['from']}{trained}. Then "
    return (
        f"{_begun(first)}Warm start from the weights of update {first['best_update']:,} of another "
        f"run: {first['updates']:,} updates of {first['batch_size']} rows, "
        f"seed {first['seed']}, {first['precision']}, {first['minutes']} minutes on "
        f"{first['machine']}.{_departures(first)} Then "
    )


def updates(t: Mapping[str, Any]) -> str:
    """The updates of the warm starts of a run, and of the run."""
    if "updates" not in t:  # a model that was fine-tuned, of which that is not known
        return "?"
    before = f"{updates(t['begun_with'])} + " if t.get("begun_with") else ""
    return f"{before}{t['updates']:,}"


def _departures(t: Mapping[str, Any]) -> str:
    """The settings that differ from the recipe; older cards do not have them."""
    text = ""
    for what, called in DEPARTURES.items():
        if t.get(what) != t.get(f"{what}_of_recipe"):
            text += f" {called}: {t[what]:g} (recipe: {t[f'{what}_of_recipe']:g})."
    return text


def readme(
    card: Mapping[str, Any], sample: str | None = None, living: Mapping[str, Any] | None = None
) -> str:
    """The README of a published model, without metadata.

    Args:
        card: the card.
        sample: the address of its samples, relative to the page; None for none.
        living: how its samples compare with the data, as `alive` takes it; None for unknown.
    """
    name, exact = card["name"], inputs.bound_of(card) == "exact"
    structure, emission = card["structure"]["class"], card["emission"]["class"]
    of = modality.MODALITIES.get(inputs.kind_of(card))  # None: of a module that is not imported
    uses = modality.Modality.uses if of is None else of.uses
    factorization = _formula(FACTORIZATIONS, STRUCTURES, card["structure"])
    flat = card["emission"]["event_size"] != card["event_size"]
    inside = "one value a step" if flat else _formula(INSIDE, EMISSIONS, card["emission"])
    bound = "exact" if exact else "the ELBO, one draw of a fixed table"
    raw = ""
    if card["sample_rate"]:
        raw = (
            f"\n`score_raw` takes `waveform` (B, S) in [-1, 1] at {card['sample_rate']:,} Hz and "
            "its `length` in samples.\nIt returns the density of these samples, in nats."
        )
    reported = ""
    if card["reported"]:
        reported = f"\nThe paper's code, same files: {card['reported']} ({card['unit']}).\n"
    return f"""{GENERATED}# {name}, version {card["version"]}

`{structure}` + `{emission}`, {card["parameters"]:,} parameters.

    {factorization}
    {inside}

## Scores

Test part of {card["data"]["name"]}, {card["unit"]}, higher is better.{_pooled(card)}
Protocol paper: {_window(card)};
full: all steps, the state carried throughout. {_draws(exact)}

{scores(card)}
{reported}
`srnn-tf evaluate {name} --data PATH{_evaluated(card)}` reproduces them.

## Training

Trained on {card["trained_on"]}.
Terms of the data: {card["data"]["terms"].removesuffix(".")}.

{training(card)}

## Use

{uses} A score is the log likelihood under this model only.

```python
import srnn_tf
{_imports(card)}
model = srnn_tf.zoo.load("{name}")
model.log_prob(frames)  # frames (B, T, {card["event_size"]}); nats, {bound}
model.sample(batch_size=1, num_steps=64, seed=0)
```

The folder `{card["version"]}` is a SavedModel, which TensorFlow Serving serves as it is.
Its signature `score` (and `serving_default`) takes `frames` (B, T, {card["event_size"]}) and
`length` (B,). It returns `log_likelihood` (B,), {bound},
and `log_likelihood_per_step` (B, T).{raw}
`sample` takes `num_steps`, `batch_size` and `seed` (2,).

## Score a file

    srnn-tf score {name} FILE > scores.csv

{_files(of)}It prints the log likelihood of each sequence in nats, protocol full,
{bound}; with `--per-step --format jsonl` that of each step too.

## Sample

{_sample(name, of, sample, living)}

## Limitations

{_limits(card, of, exact)}

## Citation

```bibtex
{CITATION}
```

Name the data too: {card["data"]["name"]}, whose terms are above.
The weights are licensed under Apache-2.0.
"""


def _files(of):
    """The files that a command of this modality reads."""
    return (
        f"FILE is one of {', '.join(of.endings)}, or an array, .npy. " if of and of.endings else ""
    )


def _sample(name, of, address, living):
    written = [*of.written[:1], ".png"] if of is not None else [".png"]
    text = f"    srnn-tf sample {name} --seed 0 --out sample{written[0]}"
    text += f"\n\n[Listening gallery]({address}): two of its samples." if address else ""
    return text + (f" {alive(living)}" if living and alive(living) else "")


def alive(living: Mapping[str, Any]) -> str:
    """How samples compare with the data, in a sentence; empty if nothing is known.

    Args:
        living: what is measured of `samples` and of `data`, by the keys of `LIVING`.
    """
    told = [
        f"{called} {value:.2f} (data: {living['data'][key]:.2f})"
        for key, called in LIVING.items()
        if (value := living["samples"].get(key)) is not None and key in living["data"]
    ]
    return f"Of 32 samples of seed 0: {', '.join(told)}." if told else ""


def _limits(card, of, exact):
    t, limits = card["training"], [of.limits] if of is not None and of.limits else []
    if t["updates"] < t["updates_of_recipe"]:
        limits += [
            f"It was trained for {updates(t)} updates; the recipe has {t['updates_of_recipe']:,}."
        ]
    limits += [f"Its scores are of the test part of {card['data']['name']} and of no other data."]
    if not exact:
        limits += ["Its scores are lower bounds: by how much they are too low is not known."]
    limits += ["Scores of other data, units or protocols cannot be compared with these."]
    return " ".join(limits)


def _pooled(card):
    if "sets" not in card:
        return ""
    sets = ", ".join(sorted(card["sets"]))
    return (
        f"\nA score is the unweighted mean of those of {sets}. Bounds on the first N sequences are "
        "on the first N of each."
    )


def _evaluated(card):
    """The options of `srnn-tf evaluate` with which the card's bounds were computed."""
    name = next((n for n in card["test"]["full"] if n.startswith("fivo_")), "fivo_16")
    draws, _, first = name.removeprefix("fivo_").partition("_first_")
    draws = "" if draws == "16" else f" --num-samples {draws}"
    return draws + (f" --bounds-on {first}" if first else "")


def _window(card):
    window = "whole sequences" if card["window"] is None else f"windows of {card['window']} steps"
    return f"{window}, the first step of a sequence not scored"


def _formula(known: Mapping[str, str], registry: Mapping[str, type], config: Any) -> str:
    """What a structure or an emission is; of a third party, the first line of its documentation."""
    name = config["class"]
    if name in known:
        return known[name]
    said = (getattr(registry.get(name), "__doc__", None) or "").strip().split("\n")[0]
    return said or f"`{name}`, of the module `{config.get(MODULE, 'that registers it')}`"


def _imports(card):
    """Lines that import what is of a third party, which registers itself."""
    configs = (card["structure"], card["emission"])
    modules = dict.fromkeys(config[MODULE] for config in configs if MODULE in config)
    return "".join(f"import {module}\n" for module in modules)


def _draws(exact):
    if exact:
        return ""
    return (
        "The ELBO is from one draw of a fixed table;\n"
        "the index of a sequence seeds the draws of IWAE and FIVO."
    )


def substitute(card: Mapping[str, Any]) -> str:
    """The README of a substitute."""
    name, target = card["name"], card["alias_of"]
    dataset = name.split("_hier_")[-1] if "_hier_" in name else name.split("rnn_", 1)[1]
    return f"""**A substitute:** {card["statement"]}.

{GENERATED}
# {name}

The architecture and the size are those of the recipe `{name}`;
see [{target}](../{target}/README.md) for scores, data and training. If you have the corpus:

    srnn-tf data prepare {dataset} --source DIR --out prepared/{dataset}
    srnn-tf train {name} --data prepared/{dataset} --out runs/{name}
    srnn-tf evaluate runs/{name} --data prepared/{dataset}
    srnn-tf publish runs/{name}
"""


def results(cards: Mapping[str, Mapping[str, Any]], shown: Sequence[str] = ()) -> str:
    """The tables of all published models, after an overview of those `shown`."""
    text = [
        GENERATED,
        "# Results\n",
        "Test scores of the newest version of each published model, from its card, with their 95 % "
        "interval over sequences; higher is better. `srnn-tf evaluate NAME --data PATH` "
        "reproduces a row; a model's page has the options of its bounds. Models with latents have "
        "the ELBO from one draw, then FIVO-16, which is mostly tighter.\n",
    ]
    real = {n: c for n, c in cards.items() if not c.get("alias_of")}
    if names := [name for name in shown if name in real]:
        text += ["## Overview\n", overview(names, cards), ""]
    datasets = dict.fromkeys(c["data"]["name"] for c in real.values())
    for dataset in datasets:
        in_dataset = [c for c in real.values() if c["data"]["name"] == dataset]
        text.append(f"## {dataset}, {in_dataset[0]['unit']}\n")
        text.append(
            "| model | parameters | updates (of recipe) | paper | full | bound | FIVO-16, full | "
            "the paper's code |"
        )
        text.append("|---|---|---|---|---|---|---|---|")
        text += [_row(c) for c in sorted(in_dataset, key=_best, reverse=True)]
        baselines = "; ".join(f"{n} {v:.4f}" for n, v in in_dataset[0]["floors"].items())
        text.append(f"\nBaselines, protocol full, exact: {baselines}.\n" if baselines else "")
    names = [n for n, c in cards.items() if c.get("alias_of")]
    if names:
        text.append("## Substitutes\n")
        text.append("Names of licensed data sets, with the weights of a model of free data:\n")
        text += [f"- `{n}`: `{cards[n]['alias_of']}`" for n in names]
        text.append("")
    return "\n".join(text)


def overview(names: list[str], cards: Mapping[str, Mapping[str, Any]]) -> str:
    """A short table of some models."""
    lines = [
        "| model | nats per | updates | test, paper | test, full | bound | "
        "the paper's code, paper |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in names:
        card, cells = cards[name], []
        for protocol in ("paper", "full"):
            default = [s for n, s in card["test"][protocol].items() if n in ("exact", "elbo")]
            more = [s for n, s in card["test"][protocol].items() if n == "fivo_16"]
            cells.append(" / ".join(f"{s['value']:.4f}" for s in default + more))
        fivo = "fivo_16" in card["test"]["full"]
        bound = "exact" if "exact" in card["test"]["full"] else "ELBO" + " / FIVO-16" * fivo
        reported = (card["reported"] or "-").replace(", protocol paper", "")
        link = f"[`{name}`](../saved_models/{name}/README.md){_without(card)}"
        unit = card["unit"].removeprefix("nats per ")
        row = [link, unit, updates(card["training"]), *cells, bound, reported]
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def _without(card):
    left_out = card["training"].get("without")
    return f", without {', '.join(left_out)}" if left_out else ""


def _best(card):
    return next(iter(card["test"]["full"].values()))["value"]


def _row(card):
    cells = [
        f"[{card['name']}](../saved_models/{card['name']}/README.md){_without(card)}",
        f"{card['parameters']:,}",
    ]
    t = card["training"]
    cells.append(f"{updates(t)} ({t['updates_of_recipe']:,})")
    for protocol in ("paper", "full"):
        s = next(iter(card["test"][protocol].values()))
        cells.append(f"{s['value']:.4f} ({interval(s)})")
    cells.append(bound_label(next(iter(card["test"]["full"]))))
    fivo = [(n, s) for n, s in card["test"]["full"].items() if n.startswith("fivo")]
    label = ""
    if fivo:
        name, s = fivo[0]
        how = bound_label(name).removeprefix("FIVO-16").removeprefix(", ")
        label = f"{s['value']:.4f}" + (f" ({how})" if how else "")
    cells += [label, card["reported"] or ""]
    return "| " + " | ".join(cells) + " |"
