"""`srnn-tf list` and `srnn-tf info`."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator

import click
from rich.console import Console
from rich.table import Table

from srnn_tf import zoo
from srnn_tf.command import options
from srnn_tf.experiments import listing
from srnn_tf.serving import inputs


@click.command("list")
@click.option(
    "--all", "all_names", is_flag=True, help="List every recipe, with or without weights."
)
@click.option("--dataset", help="List only those of this data set, for instance timit.")
@click.option("--model", help="List only those of this model, for instance srnn_hier.")
@click.option(
    "--parameters", is_flag=True, help="Count the parameters; with --all each model is built."
)
def list_models(all_names: bool, dataset: str | None, model: str | None, parameters: bool) -> None:
    """List the published models and their test scores.

    The first column is the NAME that other commands take. With --all it is that of a recipe, which
    `srnn-tf train` takes.

    Example: srnn-tf list
    """
    published = zoo.names(published=True)
    if all_names:
        head, *rows = listing.rows(dataset, model, published, parameters)
    else:
        if dataset is not None or model is not None:
            chosen = {recipe.name for recipe in listing.chosen(dataset, model)}
            published = [name for name in published if name in chosen]
        head = ["model", "data", "test score, nats per", "bound, protocol full"]
        head += ["parameters"] if parameters else []
        rows = list(_rows(published, parameters))
    table = Table(*head, box=None)
    for row in rows:
        table.add_row(*row)
    _console().print(table)


def _rows(names: Iterable[str], parameters: bool) -> Iterator[list[str]]:
    """The rows of the models whose cards can be read; a damaged one does not hide the others."""
    for name in names:
        try:
            yield _row(name, parameters)
        except (ValueError, OSError) as error:
            warnings.warn(f"{name} is skipped: {error}", stacklevel=2)


def _row(name: str, parameters: bool) -> list[str]:
    """What the list says of a published model."""
    card = zoo.card(name)
    score = next(iter(card["test"]["full"].values()))["value"]
    substitute = f" (substitute: {card['alias_of']})" if card.get("stand_in") else ""
    unit = card["unit"].removeprefix("nats per ")
    row = [name, card["data"]["name"] + substitute, f"{score:.4f} {unit}", inputs.bound_of(card)]
    return [*row, f"{card['parameters']:,}"] if parameters else row


@click.command()
@options.model
@click.option("--json", "as_json", is_flag=True, help="Print the whole card, as JSON.")
def info(name: str, as_json: bool) -> None:
    """Say what a model is, was trained on, and scores.

    MODEL is a published name, one of those of `srnn-tf list`, a .keras file, the folder of a run or
    an exported folder.

    Example: srnn-tf info f_srnn_bach
    """
    published = zoo.open(name)
    card = published.card
    if as_json:
        print(json.dumps(card, indent=2))
        return
    table = Table(show_header=False, box=None)
    training = card.get("training")
    version = f", version {card['version']}" if "version" in card else ""
    rows = {
        "model": f"{published.name}{version}",
        "structure, emission": f"{card['structure']['class']}, {card['emission']['class']}",
        "parameters": f"{card['parameters']:,}",
        "frames": f"{inputs.kind_of(card)}, {card['event_size']} values",
        "trained on": card.get("trained_on", "not known"),
    }
    if published.source != "name":
        rows["read from"] = str(published.folder)
    if training:
        updates = f"{training['updates']:,} of {training['updates_of_recipe']:,}"
        rows["updates"] = f"{updates} of the recipe"
    if card.get("validation"):
        value = f"{card['validation']['value']:.4f} {card['unit']}"
        rows[f"validation, {card['validation']['protocol']}"] = value
    if card.get("stand_in"):
        rows["substitute"] = card["statement"]
    for protocol, scores in card["test"].items():
        for bound, score in scores.items():
            label = f"test, {protocol}, {bound.replace('_', ' ')}"
            rows[label] = f"{score['value']:.4f} {card['unit']}"
    for key, value in rows.items():
        table.add_row(key, value)
    _console().print(table)


def _console() -> Console:
    """Wide enough for whole rows where the output is a file."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=200)
