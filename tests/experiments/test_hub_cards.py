"""Pages of published models as model cards: what huggingface_hub reads of them, without network."""

import importlib.util
import socket

import pytest

from srnn_tf import zoo
from srnn_tf.experiments import cards, checkout, hub_cards, pages

HELD = cards.newest(checkout.ROOT)
hub = pytest.importorskip("huggingface_hub")


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize("name", HELD)
def test_the_hub_reads_every_page(name):
    card = HELD[name]
    page = hub.ModelCard.load(str(checkout.ROOT / name / "README.md"))
    held = page.data.to_dict()
    assert (held["license"], held["library_name"]) == ("apache-2.0", "srnn_tf")
    assert f"# {name}" in page.text and "---" not in page.text.splitlines()[0]
    if card.get("alias_of"):
        assert held["base_model"] == card["alias_of"] and "substitute" in held["tags"]
        assert card["statement"] in page.text
        return
    assert held["datasets"] == [card["data"]["name"]] and card["structure"]["class"] in held["tags"]
    told = {r.metric_name: r.metric_value for r in page.data.eval_results}
    assert len(told) == sum(len(of) for of in card["test"].values())
    for protocol, of in card["test"].items():
        for bound, score in of.items():
            label = f"{card['unit']}, protocol {protocol}, {pages.bound_label(bound)}"
            assert told[f"log likelihood, {label}"] == pytest.approx(score["value"], abs=1e-4)
    for title in ("Score a file", "Sample", "Limitations", "Citation"):
        assert f"\n## {title}\n" in page.text
    assert f"srnn-tf score {name} FILE" in page.text and pages.CITATION in page.text
    assert f"(../../docs/gallery.md#{name})" in page.text
    assert card["data"]["terms"].removesuffix(".") in page.text


def test_the_citation_is_that_of_the_site():
    assert pages.CITATION in (checkout.FOLDER / "docs" / "citing.md").read_text("utf-8")


def test_without_the_extra_a_page_has_no_metadata(monkeypatch):
    card = zoo.card("f_rnn_bach")
    whole, text = hub_cards.page(card), pages.readme(card)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert whole.endswith(text) and whole.startswith("---\n") and hub_cards.page(card) == text


def test_a_page_of_another_folder_links_no_gallery(tmp_path):
    assert checkout.sample("f_rnn_bach") and not checkout.sample("f_rnn_bach", tmp_path)
    assert not checkout.sample("of_mine")
    text = pages.readme(zoo.card("f_rnn_bach"))
    assert "gallery" not in text and "srnn-tf sample f_rnn_bach" in text


def test_limitations_are_those_of_the_card():
    exact, bound = (pages.readme(zoo.card(f"{m}_bach")) for m in ("f_rnn", "f_srnn"))
    assert "lower bounds" in bound and "lower bounds" not in exact
    updates = zoo.card("f_rnn_bach")["training"]["updates"]
    assert f"{updates:,} updates; the recipe has 20,000" in exact.split("## Limitations")[1]
    assert "no dynamics" in exact
