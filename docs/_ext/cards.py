"""A page for each published model, and an index of them: from the cards of the package."""

import json
import re

import repository

from srnn_tf.experiments import pages

KINDS = {
    "Music": "Piano rolls of 88 keys; nats per step.",
    "Handwriting": "Moves of a pen; nats per sequence, of standardized moves.",
    "Speech": "16 kHz, 200 samples a frame; nats per sequence, of the standardized signal.",
}
FOLDER = repository.ROOT / "srnn_tf" / "zoo"
INDEX = """# Published models

The newest version of each. Every page is made from the model's card, which `srnn_tf.zoo.card(name)`
returns. Scores are of the test part, protocol full, with their bound; higher is better.
[All scores](../repository/results.md) adds intervals and baselines; [The zoo](../zoo.md) says how
models are found, loaded and published.
"""


def newest() -> dict[str, dict]:
    """The card of the newest version of each model."""
    cards = {}
    for folder in sorted((FOLDER / "cards").iterdir()):
        versions = sorted(folder.glob("*.json"), key=lambda path: int(path.stem))
        cards[folder.name] = json.loads(versions[-1].read_text("utf-8"))
    return cards


def kind(card: dict) -> str:
    if card["sample_rate"]:
        return "Speech"
    return "Music" if card["event_size"] == 88 else "Handwriting"


def row(name: str, card: dict) -> str:
    bound, score = next(iter(card["test"]["full"].items()))
    cells = [
        f"[`{name}`]({name}.md)",
        f"{score['value']:.4f}",
        pages.bound_label(bound),
        f"`{card['structure']['class']}`",
        f"`{card['emission']['class']}`",
        f"{card['parameters']:,}",
    ]
    return "| " + " | ".join(cells) + " |"


def body(text: str) -> str:
    """The text of a model's README, without metadata and comments before its title."""
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)
    return text[re.search(r"^# ", text, re.MULTILINE).start() :]


def make(app):
    cards, text = newest(), [INDEX]
    for title, description in KINDS.items():
        chosen = {n: c for n, c in cards.items() if kind(c) == title}
        if not chosen:
            continue
        text += [f"## {title}\n", f"{description}\n"]
        text += ["| model | score | bound | structure | emission | parameters |"]
        text += ["|---|---|---|---|---|---|"]
        text += [
            row(n, c) for n, c in sorted(chosen.items(), key=lambda item: item[1]["data"]["name"])
        ]
        text += [""]
    published = json.loads((FOLDER / "published.json").read_text("utf-8"))
    aliases = {n: e for n, e in published.items() if "alias_of" in e}
    text += ["## Substitutes\n", "Names of licensed data sets, with the weights of a model of free"]
    text += ["data; loading one warns.\n", "| name | weights of |", "|---|---|"]
    text += [f"| `{n}` | [`{e['alias_of']}`]({e['alias_of']}.md) |" for n, e in aliases.items()]
    text += ["", "```{toctree}", ":hidden:", "", *cards, "```", ""]
    repository.write("models/index.md", "\n".join(text))
    for name, card in cards.items():
        repository.write(f"models/{name}.md", body(pages.readme(card)))
    known = {f"{name}.md" for name in (*cards, "index")}
    for path in (repository.DOCS / "models").glob("*.md"):
        if path.name not in known:
            path.unlink()  # of a model that is withdrawn


def setup(app):
    app.connect("builder-inited", make)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
