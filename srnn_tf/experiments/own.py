"""Which recipe a training command means: a registered one, a model part, or a model to fine-tune.

srnn-tf train rnn_hier_mlp --data prepared/mine --out runs/mine
srnn-tf train --from rnn_hier_mlp_music --data prepared/mine --out runs/mine
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from srnn_tf import recipes, zoo
from srnn_tf.core.registry import unknown
from srnn_tf.data import modality
from srnn_tf.data.corpora import folders
from srnn_tf.data.prepared import info
from srnn_tf.experiments import provenance, runs
from srnn_tf.model import SequenceModel
from srnn_tf.serving import inputs
from srnn_tf.zoo import artifacts

_TUNED = "_tuned"  # what the model part of such a run ends in
FINE_TUNED = 0.1  # of the recipe's learning rate, as `zoo.load` compiles a model


def recipe_for(name: str, path: str | None) -> recipes.Recipe:
    """The recipe of a name, or of a model part on prepared data.

    Args:
        name: a recipe, or a model part such as "rnn_hier_mlp".
        path: the prepared folder, which a model part needs.

    Raises:
        ValueError: the name is unknown, or no recipe of the data's modality has the model part; the
            folder is not prepared data, or a recipe's name goes with another data set.
    """
    parts = recipes.models()
    if name in recipes.RECIPES:
        recipe = recipes.get(name)
        dataset = _dataset(path)
        if dataset not in (None, recipe.dataset) and recipe.dataset != "music":
            raise ValueError(
                f"--data={path} holds {dataset}, and {name} is trained on {recipe.dataset}; to "
                f"train the same model on other data, name its model part: srnn-tf train "
                f"{recipe.model} --data {path}"
            )
        return recipe
    if name not in parts:
        raise unknown("recipe or model part", name, {**recipes.RECIPES, **parts})
    if path is None:
        raise ValueError(
            f"{name} is a model part, which is trained on data of your own: add --data, a folder "
            f"that `srnn-tf data prepare` made; or name a recipe, such as {parts[name].name}"
        )
    described = prepared(path)
    known = ("name", "kind", "frame_size")
    return recipes.own_data(name, *(described[key] for key in known))


def prepared(path: str) -> dict[str, Any]:
    """The description of a prepared folder.

    Raises:
        ValueError: the folder is none; where it holds files that can be prepared, the error has the
            command.
        FileNotFoundError: it does not exist.
    """
    folder = Path(path)
    if not folder.exists():
        raise FileNotFoundError(f"--data={path} does not exist")
    if not (folder / info.FILE).is_file():
        raise ValueError(
            f"--data={path} is not a folder that `srnn-tf data prepare` made (it holds no "
            f"{info.FILE}){_advice(folder)}"
        )
    return info.read(folder)


def _advice(folder: Path) -> str:
    """How to prepare what is in a folder, where its files tell it."""
    if not folder.is_dir():
        return ""
    endings = {p.suffix.lower() for p in folder.rglob("*")}
    for corpus, of in folders.CORPORA.items():
        if endings & set(modality.get(of.kind).endings):
            return (
                f"; make one with: srnn-tf data prepare {corpus} --source {folder} --out "
                f"prepared/{folder.resolve().name}"
            )
    return ""


def _dataset(path: str | None) -> str | None:
    """The data set of a prepared folder; None for other folders and files."""
    if path is None or not (Path(path) / info.FILE).is_file():
        return None
    return info.read(Path(path))["name"]


@dataclasses.dataclass(frozen=True)
class Source:
    """A model to fine-tune.

    Args:
        published: the model, as `zoo.open` returns it.
        model: the same, loaded.
        recipe: the recipe of the run that fine-tunes it.
    """

    published: zoo.Published
    model: SequenceModel
    recipe: recipes.Recipe

    @property
    def digest(self) -> str:
        """The SHA-256 of its weights, which identifies the run that begins with them."""
        digest = hashlib.sha256()
        # Not their names: Keras numbers the layers that a process has made.
        for variable in artifacts.weights(self.model).values():
            value = np.ascontiguousarray(variable, np.float32)
            digest.update(f"{value.shape}\n".encode() + value.tobytes())
        return digest.hexdigest()

    def begin(self, run: runs.Run, model: SequenceModel) -> None:
        """Give a fresh model the weights, and save where they are from."""
        values = artifacts.weights(self.model).values()
        for variable, value in zip(artifacts.weights(model).values(), values, strict=True):
            variable.assign(value)
        card = self.published.card
        training = card.get("training") or {}
        if self.published.source == "run":
            of = runs.Run.open(str(self.published.folder), add_checksums=False)
            training = provenance.training(of)
        told = {"from": self.published.name, "trained_on": card.get("trained_on")}
        run.write_json(provenance.BEGUN, {**training, **told})


def source(handle: str, name: str | None, path: str | None) -> Source:
    """Open a model to fine-tune, and the recipe of the run.

    The architecture is the model's own. Updates, batches and schedules are those of its recipe, or
    of the recipe of its modality; the learning rate is a tenth, and the KL weight is full from the
    first update.

    Args:
        handle: what `zoo.open` takes.
        name: the model part or the recipe that it must be; None for any.
        path: the prepared folder.

    Raises:
        ValueError, OSError: as in `zoo.open` and `prepared`; or the model is of another modality,
            frame size or sample rate than the data.
    """
    published = zoo.open(handle)
    base = _base(published)
    if name not in (None, published.name, base and base.name, base and base.model):
        what = f"{base.model}" if base else "of no recipe"
        raise ValueError(f"--from={handle} is {what}, not {name}: leave {name} out")
    if path is None:
        raise ValueError(f"--from={handle} needs --data, a folder that `srnn-tf data prepare` made")
    data, card = prepared(path), published.card
    kind = inputs.kind_of(card)
    received = {"modality": data["kind"], "frame size": data["frame_size"]}
    wanted = {"modality": kind, "frame size": card["event_size"]}
    if card["sample_rate"]:
        received["sample rate"], wanted["sample rate"] = data["sample_rate"], card["sample_rate"]
    for what, value in wanted.items():
        if received[what] != value:
            flag = f" (--{what.replace(' ', '-')} {value} of `data prepare`)"
            raise ValueError(
                f"--data={path} has {what} {received[what]}; --from={handle} needs {value}"
                + (flag if what != "modality" else "")
            )
    model = published.load()
    part = "own" if base is None else base.model.removesuffix(_TUNED)
    base = base or next(iter(recipes.models(kind).values()), None)
    if base is None:
        raise ValueError(f"no recipe is of the modality {kind!r}; register one first")
    tuned = base.model.endswith(_TUNED)
    config = json.loads(json.dumps(model.get_config()))
    recipe = dataclasses.replace(
        base,
        name=f"{part}{_TUNED}_{data['name']}",
        dataset=data["name"],
        structure=_lasting(config["structure"]),
        emission=_lasting(config["emission"]),
        event_size=model.event_size,
        window=model.window if base.window is None else model.window or base.window,
        learning_rate=base.learning_rate * (1.0 if tuned else FINE_TUNED),
        unit=data["unit"].removeprefix("nats per "),
        candidates={},
        reported=None,
    )
    return Source(published, model, recipe)


def _lasting(config: dict[str, Any]) -> dict[str, Any]:
    """A config without what Keras adds, which differs from process to process."""
    return {k: v for k, v in config.items() if k not in ("name", "trainable", "dtype")}


def _base(published: zoo.Published) -> recipes.Recipe | None:
    """The recipe that a model was trained by, where it is known."""
    definition = published.card.get("definition")
    if definition:
        return runs.defined(definition)
    for name in (published.card.get("recipe"), published.details.get("recipe"), published.name):
        if name in recipes.RECIPES:
            return recipes.get(name)
    return None
