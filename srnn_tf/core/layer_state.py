"""What a layer is beyond its config: its weights, and which of them are trained.

Keras keeps `trainable` of a layer in its config, but neither that of the layers inside it nor that
of single weights. Here both are a dict of the exceptions: a layer or weight that is not listed has
the flag of the layer that holds it. Its keys are paths, "structure/cell/prior/out/kernel".
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import keras

Flags = dict[str, bool]


def trainable_flags(layers: Mapping[str, keras.layers.Layer], inherited: bool = True) -> Flags:
    """The `trainable` flags of layers, by name, and of all in them that differ from their holder's.

    Args:
        layers: the layers by name.
        inherited: the flag of what holds them.

    Example:
        >>> layer = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="dense")])
        >>> layer.layers[0].trainable = False
        >>> trainable_flags({"mlp": layer})
        {'mlp/dense': False}
    """
    flags: Flags = {}
    for name, part, holder in _parts(layers, inherited):
        if part.trainable != holder:
            flags[name] = part.trainable
    return flags


def set_trainable(layers: Mapping[str, keras.layers.Layer], flags: Flags) -> None:
    """Set the flags that `trainable_flags` returned.

    Raises:
        ValueError: there is no layer or weight of that name.
    """
    left = dict(flags)
    # Setting a layer's flag sets those of all in it, so that outer layers must come first.
    for name, part, _ in _parts(layers, True):
        if name in left:
            _set(part, left.pop(name))
    if left:
        raise ValueError(f"`trainable` names parts that the model does not have: {sorted(left)}")


def settle(layer: keras.layers.Layer) -> None:
    """Make the weights of a layer that was just built follow the flags from before it was built.

    Keras creates them trainable. It also lets the layers inside one that was constructed with
    `trainable=False` be trained; here they are not.
    """
    if not layer.trainable and all(part.trainable for part in layer._flatten_layers()[1:]):
        _set(layer, False)  # as it was constructed: the setter would have reached them
        return
    parts = _parts({"": layer}, True)
    flags = [(part, part.trainable) for _, part, _ in parts if isinstance(part, keras.layers.Layer)]
    if not all(flag for _, flag in flags):
        for part, flag in flags:  # outer layers first, as the setter reaches inner ones
            _set(part, flag)


def reduced(layer: keras.layers.Layer) -> tuple[Any, ...]:
    """The `__reduce__` of a layer: `copy.deepcopy` makes one of equal config, weights and flags.

    That of Keras writes a file, for which it must know the class; ours are in registries.
    """
    shape = (layer.get_build_config() or {}).get("input_shape") if layer.built else None
    weights = layer.get_weights() if layer.built else None
    flags = trainable_flags({"": layer})
    return _rebuilt, (type(layer), layer.get_config(), shape, weights, flags)


def _rebuilt(cls, config, shape, weights, flags):
    layer = cls.from_config(config)
    if weights is not None:
        layer.build(shape)
        layer.set_weights(weights)
    set_trainable({"": layer}, flags)
    return layer


def _set(part: Any, flag: bool) -> None:
    """Set a flag, in a layer also those of all in it; TensorFlow skips setting what is set."""
    part.trainable = not flag
    part.trainable = flag


def _parts(
    layers: Mapping[str, keras.layers.Layer], inherited: bool
) -> Iterator[tuple[str, Any, bool]]:
    """Name, layer or weight, and its holder's flag; holders before what they hold."""
    for name, layer in layers.items():
        yield name, layer, inherited
        flag = layer.trainable
        inside: dict[str, Any] = {}
        for part in layer._flatten_layers(include_self=False, recursive=False):
            inside[_free(part.name, inside)] = part
        own: dict[str, Any] = {}
        for variable in layer._trainable_variables:
            own[_free(variable.name, {**inside, **own})] = variable
        for short, variable in own.items():
            yield f"{name}/{short}", variable, flag
        yield from _parts({f"{name}/{short}": part for short, part in inside.items()}, flag)


def _free(name: str, taken: Mapping[str, Any]) -> str:
    """The name, with a number where a sibling has it already."""
    names = (name if number == 1 else f"{name}_{number}" for number in itertools.count(1))
    return next(n for n in names if n not in taken)
