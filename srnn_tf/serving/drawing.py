"""Samples of a model, also those that continue a file: here, or from a server."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from srnn_tf import zoo
from srnn_tf.data.formats import midi
from srnn_tf.serving import inputs

_TEMPOS = (4.0, 1000.0)  # quarter notes per minute that can be written


def draw(
    published: zoo.Published,
    steps: int,
    seeds: Iterable[int],
    primer: np.ndarray | None = None,
    temperature: float = 1.0,
    server: str | None = None,
    timeout: float = 60.0,
) -> list[np.ndarray]:
    """Draw a sample (T, D) of each seed, with the primer before it.

    Args:
        published: the model.
        steps: the frames to draw, without the primer.
        seeds: the seed of each sample.
        primer: frames (T, D) to continue, as `inputs.primer` returns them; None for none.
        temperature: of the draws; a server draws at 1 only.
        server: the address of a server, which does not continue; None for this process.
        timeout: seconds to wait for the server.

    Raises:
        ValueError: a server is to draw at another temperature, or to continue.
        ServingError: a request failed.

    Example:
        draw(srnn_tf.zoo.open("f_rnn_bach"), 64, [0])[0].shape  # (64, 88)
    """
    if server is not None:
        if primer is not None:
            raise ValueError("a server does not continue files")
        if temperature != 1.0:
            raise ValueError(f"--temperature={temperature}: a server draws at 1 only")
        answers = inputs.backend(published, server, timeout)
        return [answers.sample(steps, seed=seed)[0] for seed in seeds]
    model = published.load()
    rows = None if primer is None else np.asarray(primer, np.float32)[None]
    drawn = [
        model.sample(1, steps, seed, prefix=rows, temperature=temperature)[0].numpy()
        for seed in seeds
    ]
    return drawn if rows is None else [np.concatenate([rows[0], frames]) for frames in drawn]


def tempo(path: Path) -> float | None:
    """The tempo that a MIDI file tells, in quarter notes per minute, or the nearest that can be
    written; None of other files, and of one that tells none.

    Raises:
        ValueError: a MIDI file is damaged.
    """
    bpm = midi.read_tempo(path) if path.suffix.lower() in midi.SUFFIXES else None
    return None if bpm is None else min(max(bpm, _TEMPOS[0]), _TEMPOS[1])
