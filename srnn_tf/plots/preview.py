"""Sequences as notebooks show them: a picture, and a player where they can be heard."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable
from typing import Any

import numpy as np

from srnn_tf.data.formats.standardization import Standardization
from srnn_tf.data.formats.synthesis import synthesize
from srnn_tf.data.formats.wav import wav_bytes
from srnn_tf.plots import figures, samples

SECONDS = 30  # of a player: a notebook keeps the bytes of all that it shows
MOST_FRAMES = 2000  # of a picture
_DPI = 80
_RATE = 22050  # Hz of music: half the bytes, and all partials of its notes but the highest


def _music(frames, standardization, sample_rate, steps_per_quarter=2, bpm=100, **instrument):
    count = round(SECONDS * bpm * steps_per_quarter / 60)
    roll = np.asarray(frames)[:count].astype(np.uint8)
    return synthesize(roll, steps_per_quarter, bpm, _RATE, **instrument), _RATE


def _speech(frames, standardization, sample_rate):
    rate = sample_rate or 16000
    count = max(1, SECONDS * rate // np.shape(frames)[1])
    first = np.asarray(frames)[:count]
    return (first if standardization is None else standardization.undo(first)).reshape(-1), rate


# By the name of a modality: from frames, standardization, sample rate and options of `Preview` to
# samples in [-1, 1] and their rate in Hz, of at most `SECONDS`.
SOUNDS: dict[str, Callable[..., tuple[np.ndarray, int]]] = {
    "pianoroll": _music,
    "speech": _speech,
}


class Preview:
    """A sequence that a notebook shows as a picture with a player.

    The HTML contains picture and sound, at most the first 30 seconds and the first 2,000 frames, so
    that it is below 4 MB and needs no other file.

    Args:
        frames: (T, D), a sequence of data or a sample of a model.
        kind: the name of its modality, `splits.kind`.
        standardization: the standardization to undo, `splits.standardization`.
        sample_rate: the sample rate of speech, in Hz.
        title: the title of the picture, where it has one.
        options: of music `bpm`, `steps_per_quarter`, `soundfont` and `program`, as in
            `data.synthesize`.

    Raises:
        ValueError: the frames are not (T, D), or there are options for another kind.

    Example:
        >>> Preview(np.eye(88), bpm=120)
        <Preview: pianoroll, 88 frames of 88 values>
    """

    def __init__(
        self,
        frames: Any,
        kind: str = "pianoroll",
        standardization: Standardization | None = None,
        sample_rate: int | None = None,
        title: str = "",
        **options: Any,
    ):
        shape = np.shape(frames)
        if len(shape) != 2 or not all(shape):
            raise ValueError(f"`frames` must be (T, D), at least one; received shape {shape}")
        known = ("bpm", "steps_per_quarter", "soundfont", "program") if kind == "pianoroll" else ()
        strange = sorted(set(options) - set(known))
        if strange:
            accepted = ", ".join(known) or "none"
            raise ValueError(f"{kind} has no option {strange[0]!r}; accepted are: {accepted}")
        self.frames, self.kind, self.title = frames, kind, title
        self.standardization, self.sample_rate = standardization, sample_rate
        self.options = options

    def __repr__(self) -> str:
        count, width = np.shape(self.frames)
        return f"<Preview: {self.kind}, {count} frames of {width} values>"

    def _repr_html_(self) -> str:
        """The picture and the player, as HTML that needs no other file.

        Raises:
            ImportError: matplotlib is not installed.
            ValueError: the frames are not of the modality.
        """
        count = len(self.frames)
        first = np.asarray(self.frames[:MOST_FRAMES])
        quarter = {k: v for k, v in self.options.items() if k == "steps_per_quarter"}
        figure = samples.draw(
            self.kind, first, None, self.standardization, self.sample_rate, self.title, **quarter
        )
        picture = _url("image/png", figures.png(figure, dpi=_DPI))
        parts = [f'<img alt="{html.escape(repr(self))}" src="{picture}" style="max-width:100%"/>']
        if self.kind in SOUNDS:
            sound, rate = SOUNDS[self.kind](
                first, self.standardization, self.sample_rate, **self.options
            )
            data = _url("audio/wav", wav_bytes(sound[: SECONDS * rate], sample_rate=rate))
            parts.append(f'<audio controls src="{data}"></audio>')
        if count > len(first):
            parts.append(f"<small>the first {len(first)} of {count} frames</small>")
        return f"<div>{'<br/>'.join(parts)}</div>"


def _url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
