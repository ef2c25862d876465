"""Folders of published models that are damaged, forged or made to hurt."""

import json
import random
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from srnn_tf import zoo
from srnn_tf.experiments import cards
from srnn_tf.model import SequenceModel
from srnn_tf.zoo import artifacts, store
from tests import hostile, publishing
from tests.publishing import NAME, change

# Fixtures.
small = publishing.small
copy = publishing.copy
only_here = publishing.only_here


def card_of(root):
    return root / NAME / "1" / "assets.extra" / artifacts.CARD


def flips(path, count, seed=0):
    """Flip one bit of a file at a time, `count` times; it is put back in the end."""
    content, draw = path.read_bytes(), random.Random(seed)
    for _ in range(count):
        flipped = bytearray(content)
        flipped[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        path.write_bytes(flipped)
        yield
    path.write_bytes(content)


def test_every_flip_of_a_card_is_noticed(copy):
    path = card_of(copy)
    assert zoo.card(NAME, root=copy)
    for _ in flips(path, 100):
        with pytest.raises(ValueError, match=r"card.json|card.sha256"):
            zoo.card(NAME, root=copy)
    for _ in flips(path.with_name(artifacts.CARD_SHA256), 40):
        with pytest.raises(ValueError, match=r"card.sha256"):
            zoo.card(NAME, root=copy)
    assert zoo.card(NAME, root=copy)["name"] == NAME


def test_the_card_of_a_substitute_is_checked_too(copy):
    card = {"format": 1, "name": "f_srnn_muse", "alias_of": NAME, "stand_in": True}
    (copy / "f_srnn_muse").mkdir()
    path = copy / "f_srnn_muse" / artifacts.CARD
    artifacts.write_card(path, {**card, "statement": "of jsb"})
    assert zoo.card("f_srnn_muse", root=copy)["statement"] == "of jsb"
    for _ in flips(path, 60):
        with pytest.raises(ValueError, match=r"card.json|card.sha256"):
            zoo.card("f_srnn_muse", root=copy)


def test_our_own_cards_are_those_that_were_published(copy, monkeypatch):
    path = card_of(copy)
    known = {NAME: {"versions": {"1": artifacts.sha256(path)}}}
    monkeypatch.setattr(store, "published", lambda: known)
    monkeypatch.setattr(store, "_own", lambda: [copy])
    assert zoo.card(NAME, root=copy)
    path.with_name(artifacts.CARD_SHA256).unlink()  # as all were published, once
    assert zoo.card(NAME, root=copy)
    for _ in flips(path, 60):
        with pytest.raises(ValueError, match=r"card.json"):
            zoo.card(NAME, root=copy)
    change(path, parameters=7)  # sound, but another one, even with a checksum of its own
    artifacts.write_card(path, json.loads(path.read_text()))
    with pytest.raises(ValueError, match="SHA-256 is not that of the published model's card"):
        zoo.load(NAME, root=copy)
    # A user may publish under the same name, in a folder of theirs.
    monkeypatch.setattr(store, "_own", lambda: [copy / "elsewhere"])
    assert zoo.card(NAME, root=copy)["parameters"] == 7


def test_a_folder_without_the_checksum_of_its_card_loads(copy):
    card_of(copy).with_name(artifacts.CARD_SHA256).unlink()
    assert zoo.load(NAME, root=copy) is not None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "f_rnn_bach"}, "must be that of name 'f_srnn_jsb', .*; its name is 'f_rnn_bach'"),
        ({"name": None}, "its name is None"),
        ({"version": 2}, "must be that of version 1, .*; its version is 2"),
        ({"version": True}, "its version is True"),
        ({"version": 1.0}, "its version is 1.0"),
        ({"stand_in": True}, "`stand_in` must be false"),
        ({"format": True}, "is of format True"),
    ],
)
def test_a_card_must_be_that_of_its_folder(values, message, copy):
    change(card_of(copy), **values)
    with pytest.raises(ValueError, match=message):
        zoo.load(NAME, root=copy)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"files": {}}, "received for 'files' {}"),
        ({"files": {"../../x": "0"}}, "received for 'files'"),
        ({"version": 9}, "received for 'version' 9"),
        ({"test": {}}, "received for 'test' {}"),
        ({"name": "f_rnn_bach"}, "must be that of name 'f_srnn_muse'"),
        ({"stand_in": False}, "received for 'stand_in' False"),
        ({"statement": 3}, "received for 'statement' 3"),
        ({"alias_of": "../f_srnn_jsb"}, "must name a model under `alias_of`"),
        ({"alias_of": ["a"]}, "must name a model under `alias_of`"),
        ({"alias_of": "f_rnn_bach"}, "'f_rnn_bach', which is not published in .*root"),
    ],
)
def test_a_substitute_changes_nothing_but_its_name(values, message, copy, monkeypatch):
    card = {"format": 1, "name": "f_srnn_muse", "alias_of": NAME, "stand_in": True, "statement": ""}
    (copy / "f_srnn_muse").mkdir()
    (copy / "f_srnn_muse" / artifacts.CARD).write_text(json.dumps({**card, **values}))
    monkeypatch.setenv("SRNN_TF_ZOO", str(copy))  # f_rnn_bach is in the checkout
    for root in (copy, None):
        with pytest.raises(ValueError, match=message):
            zoo.load("f_srnn_muse", root=root)


@pytest.mark.parametrize("what", hostile.SIZES)
def test_sizes_are_compared_with_the_weights(what, copy):
    folder = copy / NAME / "1"
    with pytest.raises(ValueError, match="config.json describes no model of this version"):
        hostile.resized(folder, what)


def test_a_keras_file_is_read_with_the_same_checks(copy, tmp_path):
    model = zoo.read(copy / NAME / "1")
    model.save(tmp_path / "model.keras")
    again = zoo.read(tmp_path / "model.keras")
    assert isinstance(again, SequenceModel) and not again.compiled
    np.testing.assert_array_equal(again.weights[1], model.weights[1])
    model.compile()
    model.fit(np.zeros([2, 5, 88]), epochs=1, verbose=0)
    model.save(tmp_path / "trained.keras")  # with an optimizer's slots
    assert int(zoo.read(tmp_path / "trained.keras").step) == int(model.step)
    keras.Sequential([keras.layers.Dense(2)]).save(tmp_path / "other.keras")
    with pytest.raises(ValueError, match="holds a 'Sequential'; a SequenceModel is needed"):
        zoo.read(tmp_path / "other.keras")
    (tmp_path / "text.keras").write_text("no")
    with pytest.raises(ValueError, match="text.keras: Keras cannot load it: File is not a zip"):
        zoo.read(tmp_path / "text.keras")


@pytest.mark.parametrize("what", ["units", "num_layers", "event_size"])
def test_a_keras_file_that_asks_for_more_than_it_holds(what, copy):
    with pytest.raises(ValueError, match=r"model.keras: .* accepted are up to"):
        hostile.resized_keras(copy / NAME / "1", what)


@pytest.mark.parametrize("what", hostile.BOMBS[2:])
def test_a_keras_file_whose_arrays_are_no_arrays(what, copy):
    with pytest.raises(ValueError, match=r"model.keras: .*(arrays need|in another file)"):
        hostile.keras_bomb(copy / NAME / "1", what)


VALUES = (
    *(None, True, 0, -1, 1, 7, 10**9, 10**400, 1.5, -0.0, 1e300, "", "x", "../x", "\ud800", [], {}),
    *([None], [[]], {"a": 1}, {"class": "rnn"}, {"class": []}, {"class_name": "Lambda"}, [1] * 99),
)


def paths(value, path=()):
    """The way to each value within JSON."""
    inner = value.items() if isinstance(value, dict) else ()
    inner = enumerate(value) if isinstance(value, list) else inner
    yield from ((*path, key) for key, _ in inner)
    for key, v in value.items() if isinstance(value, dict) else ():
        yield from paths(v, (*path, key))


def put(value, path, new):
    for key in path[:-1]:
        value = value[key]
    value[path[-1]] = new


def trials(root, count, seed):
    """Damage a root in a way at a time: each key of card and config, bytes of each file."""
    folder, draw = root / NAME / "1", random.Random(seed)
    card_of(root).with_name(artifacts.CARD_SHA256).unlink(missing_ok=True)
    for i in range(count):
        whole = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        path = draw.choice([p for p in whole if p.suffix == ".json"])
        if i % 3 < 2:  # a value of a card or config
            held = json.loads(whole[path])
            where = draw.choice(list(paths(held)))
            new = draw.choice(VALUES)
            put(held, where, new)
            path.write_text(json.dumps(held))
            told = f"{path.name} {where}: {new!r:.40}"
        else:
            path = draw.choice(list(whole))
            content = bytearray(whole[path])
            at = draw.randrange(len(content))
            if i % 2:
                content[at] ^= 1 << draw.randrange(8)
            path.write_bytes(content if i % 2 else content[:at])
            told = f"{path.name}, byte {at}, {'flipped' if i % 2 else 'cut'}"
        yield told
        for path, content in whole.items():
            path.write_bytes(content)


def outcome(root, monkeypatch, told):
    """What escapes of what is done with a root: errors that are not documented."""
    escaped = []
    calls = {
        "read": lambda: zoo.read(root / NAME / "1"),
        "card": lambda: zoo.card(NAME, root=root),
        "standardization": lambda: zoo.standardization(NAME, root=root),
        "load": lambda: zoo.load(NAME, root=root),
    }
    for name, call in calls.items():
        with monkeypatch.context() as patch:
            # Forged files have the checksums of what they hold.
            patch.setattr(artifacts.Artifact, "verify", lambda self: None)
            try:
                call()
            except (ValueError, OSError) as error:
                if str(root) not in str(error):
                    escaped.append(f"{name}, {told}: names no file: {error}")
            except Exception as error:
                escaped.append(f"{name}, {told}: {type(error).__name__}: {error}")
    return escaped


@pytest.mark.parametrize(
    ("seed", "count"), [(0, 25), *(pytest.param(s, 100, marks=pytest.mark.slow) for s in (1, 2, 3))]
)
def test_only_documented_errors_escape(seed, count, copy, monkeypatch):
    escaped = [e for told in trials(copy, count, seed) for e in outcome(copy, monkeypatch, told)]
    assert not escaped, "\n".join(escaped)


def test_every_card_of_the_checkout_has_its_checksum():
    root = Path(store.__file__).parents[2] / "saved_models"
    for name, card in cards.newest(root).items():
        assert card["name"] == name
    found = [*root.glob("*/*/assets.extra/card.json"), *root.glob("*/card.json")]
    assert found
    for path in found:
        sums = path.with_name(artifacts.CARD_SHA256).read_text()
        assert sums == f"{artifacts.sha256(path)}  card.json\n", path


def test_a_copy_of_the_checkout_has_no_unnoticed_flip(tmp_path):
    root = Path(store.__file__).parents[2] / "saved_models"
    shutil.copytree(root / "f_rnn_jsb", tmp_path / "f_rnn_jsb")
    (path,) = (tmp_path / "f_rnn_jsb").glob("*/assets.extra/card.json")
    for _ in flips(path, 60, seed=1):
        with pytest.raises(ValueError, match=r"card.json|card.sha256"):
            zoo.card("f_rnn_jsb", root=tmp_path)
