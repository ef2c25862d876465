"""Cards of published models, and the pages generated from them: READMEs and the table of results.

`srnn-tf publish --tables` regenerates the pages.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from srnn_tf import recipes
from srnn_tf.core.registry import MODULE
from srnn_tf.data import corpora
from srnn_tf.experiments import checkout, hub_cards, pages, provenance, runs
from srnn_tf.model import SequenceModel
from srnn_tf.zoo import artifacts, store

PUBLISHED = Path(artifacts.__file__).with_name("published.json")
MIDI = (
    "Boulanger-Lewandowski et al. 2012 (arXiv:1206.6392), piano rolls as published by their "
    "authors; their page states no licence for the data"
)
# What the overview of the results shows, in this order.
SHOWN = [
    f"{model}_{dataset}"
    for dataset in (
        "nottingham",
        "muse",
        "jsb",
        "piano_midi",
        "bach",
        "music",
        "unipen",
        "speech_commands",
    )
    for model in (
        "f_rnn",
        "delta_rnn_random",
        "f_srnn",
        "rnn_hier_mlp",
        "srnn_hier_mlp",
        "rnn_hier",
        "srnn_hier",
    )
]
# Where the data of each set come from and under what terms; corpora that are prepared say it there.
TERMS = {
    "nottingham": MIDI,
    "muse": MIDI + "; the encodings of MuseData have terms of their own",
    "jsb": MIDI,
    "piano_midi": MIDI + "; the encodings of piano-midi.de have terms of their own",
    # What music21 says, in the words of its 10.5.1: its licence is not that of its corpus.
    "bach": (
        "Bach's chorales as encoded in the corpus of music21, of which music21 says: \"The music21 "
        "creators assume no copyright or change in licensing for content distributed in the "
        "corpus. The BSD licensed music21 software is distributed with a corpus of encoded "
        "compositions which are distributed with the permission of the encoders (and, where "
        "needed, the composers or arrangers) and where permitted under United States copyright "
        "law. Some encodings included in the corpus may not be used for commercial uses or have "
        "other restrictions: please see the licenses embedded in individual compositions or "
        'directories for more details." (music21/corpus/license.txt), and: "They underlying music '
        "is believed to be in the public domain in the US, EU, and Canada (and most of the world) "
        'and the encodings are also either public domain or used by permission." (its README). Of '
        "the 408 chorales of music21 10.5.1 in MusicXML, 360 name Margaret Greentree "
        '(jsbchorales.net), 337 of them "used by permission"'
    ),
}


def card(
    run: runs.Run,
    evaluation: dict[str, Any],
    version: int,
    model: SequenceModel,
    seeds: dict[str, Any] | None = None,
    name: str | None = None,
) -> dict[str, Any]:
    """The card of a run, without the checksums of its files; named as the recipe by default."""
    recipe, best = run.recipe, run.read_json("best.json")
    parts = evaluation["data"]["parts"]
    if recipe.dataset == "music":
        terms = "; ".join(f"{name}: {TERMS[name]}" for name in evaluation["sets"])
    else:
        terms = TERMS.get(recipe.dataset) or corpora.get(recipe.dataset).licence
    edition = evaluation["data"]["edition"]
    trained_on = (
        f"the training part of {recipe.dataset}{f' ({edition})' if edition else ''}: "
        f"{parts['train']['sequences']:,} sequences, {parts['train']['steps']:,} steps of "
        f"{recipe.event_size} values; nothing else"
    )
    trained_on += "".join(f"; {remark}" for remark in evaluation["data"].get("remarks", ()))
    if recipe.max_steps:
        trained_on += f"; sequences cut into pieces of at most {recipe.max_steps:,} steps"
    return {
        "format": artifacts.FORMAT,
        "name": name or recipe.name,
        "version": version,
        "stand_in": False,
        "structure": _with_module(recipe.candidate(run.candidate), model.structure),
        "emission": _with_module(recipe.emission, model.emission),
        "event_size": recipe.event_size,
        "window": recipe.window,
        "parameters": sum(math.prod(v.shape) for v in model.trainable_variables),
        "data": {
            "name": recipe.dataset,
            **({"kind": kind} if (kind := evaluation["data"].get("kind")) else {}),
            "edition": edition,
            "terms": terms,
            "parts": parts,
        },
        "trained_on": trained_on,
        "training": {
            **provenance.training(run),
            "candidate": run.candidate,
            "candidates_not_tried": [
                c for c in recipe.candidates if c != (run.candidate or "parallel")
            ],
        },
        "unit": evaluation["unit"],
        "validation": {"protocol": "paper", "value": best["valid"]},
        "test": evaluation["test"],
        **({"sets": evaluation["sets"]} if "sets" in evaluation else {}),
        "floors": evaluation["floors"],
        **({"definition": run.definition} if run.definition else {}),
        "reported": recipe.reported,
        "seeds": seeds,
        "sample_rate": evaluation["sample_rate"],
    }


def _with_module(config: dict[str, Any], part: Any) -> dict[str, Any]:
    """The config of a part of the model; of a third party's, with the module to import."""
    module = type(part).__module__
    ours = module.split(".")[0] == __name__.split(".")[0]
    return config if ours else {**config, MODULE: module}


def substitute(name: str, target: str) -> dict[str, Any]:
    """The card of a substitute: a name with the weights of a model of other data.

    Raises:
        ValueError: the two recipes have different models.
    """
    recipe, target_recipe = recipes.get(name), recipes.get(target)
    same = (recipe.structure, recipe.emission, recipe.event_size, recipe.window)
    if same != (
        target_recipe.structure,
        target_recipe.emission,
        target_recipe.event_size,
        target_recipe.window,
    ):
        raise ValueError(f"{target} is not the model of {name}, and cannot be its substitute")
    statement = (
        f"its weights are those of {target}, trained on {target_recipe.dataset}, since "
        f"{recipe.dataset} may not be passed on; it has never seen {recipe.dataset}"
    )
    return {
        "format": artifacts.FORMAT,
        "name": name,
        "alias_of": target,
        "stand_in": True,
        "statement": statement,
    }


def write_substitute(name: str, target: str, root: Path) -> None:
    """Make `root/NAME` an alias of a published model.

    Raises:
        ValueError: the target is not published, or NAME has its own weights or another model.
    """
    if not versions(root / target):
        raise ValueError(f"{target} is not published in {root}")
    if versions(root / name):
        raise ValueError(f"{name} is published in {root}, with weights of its own")
    alias = substitute(name, target)
    (root / name).mkdir(exist_ok=True)
    artifacts.write_card(root / name / artifacts.CARD, alias)
    runs.write_text(root / name / "README.md", hub_cards.page(alias))


def versions(folder: Path) -> list[int]:
    """The versions in a model's folder, in order."""
    return sorted(store.numbers(folder))


def newest(root: Path) -> dict[str, dict[str, Any]]:
    """The card of the newest version of each published model, and of each substitute, by name."""
    cards = {}
    for folder in sorted(p for p in root.iterdir() if artifacts.NAME.fullmatch(p.name)):
        name = folder.name
        if numbers := versions(folder):
            version = folder / str(numbers[-1])
            cards[name] = artifacts.Artifact.open(version, name, numbers[-1]).card
        elif alias := store.alias(name, root):
            cards[name] = alias.card
    return cards


def write_tables(
    root: Path,
    results: Path = checkout.RESULTS,
    index: Path = PUBLISHED,
) -> None:
    """Generate all files from the cards.

    These are the READMEs, the results, the index of downloads, and the package's copies of the
    cards, beside the index.
    """
    cards, published, copies = newest(root), {}, {}
    for name, card in cards.items():
        if card.get("alias_of"):
            published[name] = {k: v for k, v in card.items() if k not in ("format", "name")}
        else:
            files = {
                v: root / name / str(v) / "assets.extra" / artifacts.CARD
                for v in versions(root / name)
            }
            published[name] = {"versions": {str(v): artifacts.sha256(f) for v, f in files.items()}}
            copies |= {f"{name}/{v}.json": f.read_text("utf-8") for v, f in files.items()}
        dataset = card["data"]["name"] if "data" in card else name
        living = checkout.living(name, dataset, root)
        text = hub_cards.page(card, checkout.sample(name, root), living)
        runs.write_text(root / name / "README.md", text)
    runs.write_text(results, pages.results(cards, SHOWN))
    runs.write_text(index, artifacts.to_json(published))
    _write_copies(index.with_name("cards"), copies)


def _write_copies(folder: Path, copies: dict[str, str]) -> None:
    """Make the package's copies of the cards, and remove those of versions that are withdrawn."""
    for file, text in copies.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        runs.write_text(folder / file, text)
    for path in folder.glob("*/*.json"):
        if path.relative_to(folder).as_posix() not in copies:
            path.unlink()
