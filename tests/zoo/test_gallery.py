"""The gallery: every published model is in it, and what it lists is there and can be perceived."""

import html.parser
import posixpath

import numpy as np
import pytest

from srnn_tf.experiments import cards, checkout
from zoo import gallery

INDEX = gallery.read(gallery.OUT)
HELD = {n: c for n, c in cards.newest(checkout.ROOT).items() if not c.get("alias_of")}
PAGE = gallery.PAGE.read_text("utf-8")
SHOWN = {"bach", "jsb", "nottingham", "speech_commands", "unipen"}  # real data, and no other
MOST = 60_000  # bytes of a file


class Elements(html.parser.HTMLParser):
    """The elements of a page, with their attributes."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def of(self, tag):
        return [attrs for name, attrs in self.found if name == tag]


def test_every_published_model_is_in_it():
    assert list(INDEX["models"]) == list(HELD)
    for name, entry in INDEX["models"].items():
        assert entry["version"] == HELD[name]["version"], f"python -m zoo.gallery {name}"
        assert [s["temperature"] for s in entry["samples"]] == list(gallery.TEMPERATURES)
        heard = ["sound" in s for s in entry["samples"]]
        assert heard == [entry["kind"] != "handwriting"] * 2


def test_its_files_are_those_that_are_listed_and_small():
    there = {p.name: p.stat().st_size for p in gallery.OUT.iterdir() if p.name != gallery.INDEX}
    assert set(there) == gallery.files(INDEX)
    assert max(there.values()) < MOST and sum(there.values()) < 4_000_000
    assert sum(size for name, size in there.items() if name.endswith(".png")) < 1_200_000


def test_its_sounds_last_a_few_seconds():
    soundfile = pytest.importorskip("soundfile")
    for name in gallery.files(INDEX):
        if name.endswith(".mp3"):
            assert 1.5 < soundfile.info(gallery.OUT / name).duration < 13, name


def test_only_free_data_are_shown_with_their_source():
    assert set(INDEX["data"]) == set(gallery.SOURCES) == SHOWN
    for name in SHOWN:
        assert gallery.SOURCES[name].credit in PAGE


def test_the_page_is_that_of_index_and_cards():
    assert gallery.page(INDEX, HELD, "_static/gallery") == PAGE
    for name, card in HELD.items():
        bound = next(iter(card["test"]["full"].values()))
        assert f"### {name}\n" in PAGE and f"{bound['value']:.4f}" in PAGE


def test_every_picture_and_sound_has_a_text_and_waits():
    page = Elements(PAGE)
    images, sounds = page.of("img"), page.of("audio")
    listed = gallery.files(INDEX)
    assert {posixpath.basename(e["src"]) for e in (*images, *sounds)} == listed
    assert len({e["alt"] for e in images}) == len(images)
    for image in images:
        assert image["alt"].startswith(tuple(gallery.KINDS.values())) and len(image["alt"]) > 20
        assert image["loading"] == "lazy" and image["width"] and image["height"]
    for sound in sounds:
        assert sound["preload"] == "none" and "controls" in sound and sound["aria-label"]
    for element in (*images, *sounds):
        assert (gallery.PAGE.parent / element["src"]).is_file()
    assert sum("data-plot" in e for e in page.of("figure")) == len(sounds)


def test_a_name_that_is_not_published():
    with pytest.raises(ValueError, match="f_rnn_bahc.*f_rnn_bach"):
        gallery.make(gallery.OUT, gallery.PAGE, ["f_rnn_bahc"])


@pytest.mark.parametrize(
    "kind,frames,rate",
    [
        ("pianoroll", np.eye(88)[30:38], None),
        ("speech", np.sin(np.arange(1600.0)).reshape(8, 200) / 2, 16000),
        ("handwriting", np.tile([[0.0, 1.0, 0.5], [1.0, -0.5, 1.0]], (4, 1)), None),
    ],
)
def test_the_same_frames_are_the_same_bytes(kind, frames, rate, tmp_path):
    pytest.importorskip("soundfile")
    pytest.importorskip("matplotlib")
    written = [gallery.write(tmp_path, stem, kind, frames, None, rate) for stem in "ab"]
    assert ("sound" in written[0]) == (kind != "handwriting")
    for key in written[0]:
        first, second = ((tmp_path / w[key]).read_bytes() for w in written)
        assert first == second and len(first) > 200
    other, _ = (frames * 0.5, rate) if kind != "pianoroll" else (np.eye(88)[31:39], rate)
    if kind == "pianoroll":
        changed = gallery.write(tmp_path, "c", kind, other, None, rate)
        assert (tmp_path / changed["sound"]).read_bytes() != (tmp_path / "a.mp3").read_bytes()


def test_it_is_said_where_music_falls_silent():
    notes = np.eye(88)[30:38]
    quiet = np.concatenate([notes[:2], np.zeros([6, 88])])
    assert gallery.silence("pianoroll", notes) == {}
    assert gallery.silence("pianoroll", quiet) == {"silent_from": 1.0}
    assert gallery.silence("pianoroll", 0 * notes) == {"silent_from": 0.0}
    assert gallery.silence("speech", 0 * notes) == {}
    sample = {"temperature": 0.7, "picture": "a.png", "sound": "a.mp3", "silent_from": 1.0}
    entry = {"kind": "pianoroll", "samples": [sample]}
    text = gallery.section("f_rnn_bach", HELD["f_rnn_bach"], entry, "files")
    assert text.count("emperature 0.7, silent from quarter note 1 on") == 3


@pytest.mark.slow
def test_the_command_writes_what_is_here(tmp_path):
    name = "f_rnn_bach"
    gallery.main([name, "--out", str(tmp_path / "files"), "--page", str(tmp_path / "page.md")])
    files = gallery.files({"models": {name: INDEX["models"][name]}, "data": {}})
    for file in files:
        assert (tmp_path / "files" / file).read_bytes() == (gallery.OUT / file).read_bytes()
    assert {p.name for p in (tmp_path / "files").iterdir()} == files | {gallery.INDEX}
    assert gallery.section(name, HELD[name], INDEX["models"][name], "files") in (
        (tmp_path / "page.md").read_text()
    )
