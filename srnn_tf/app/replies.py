"""What the page answers to each button, as HTML: samples, scores, continuations, comparisons."""

from __future__ import annotations

import functools
import logging
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from srnn_tf import plots
from srnn_tf.app import limits, markup, models, surprise, uploads
from srnn_tf.serving import ServingError, drawing, inputs

_BPM = 100.0  # of music that tells no tempo
_QUARTER = 2  # frames in a quarter note, of all published models
_log = logging.getLogger(__name__)


def in_words(answer: Callable[..., str]) -> Callable[..., str]:
    """An answer that, where it fails, says so on the page."""

    @functools.wraps(answer)
    def worded(*args: Any) -> str:
        try:
            return answer(*args)
        except Exception as error:
            return markup.notice(words(error))

    return worded


def words(error: Exception) -> str:
    """What to say of an error; of one that nobody foresaw the terminal has the rest."""
    tf: Any = sys.modules.get("tensorflow")
    if isinstance(error, MemoryError) or (
        tf is not None and isinstance(error, tf.errors.ResourceExhaustedError)
    ):
        return "There is not enough memory for this; take less of it."
    if isinstance(error, (ValueError, ImportError, OSError, ServingError)) and str(error):
        text = " ".join(str(error).split())
        return text if text.endswith(".") else f"{text}."
    _log.error("an answer failed", exc_info=error)
    return f"This failed, and should not have ({type(error).__name__}); the terminal says more."


@in_words
def sample(name: Any, seed: Any, temperature: Any, length: Any) -> str:
    """Draw a sequence: its picture, its player, its file."""
    choice = models.chosen(name)
    count = _steps(length, choice.kind)
    seed, temperature = _draws(seed, temperature)
    opened = models.opened(choice.name)
    (frames,) = drawing.draw(opened.published, count, [seed], None, temperature)
    title = f"A sample of {choice.name}, seed {seed}, temperature {temperature:g}"
    return markup.block(
        markup.heading(title),
        _shown(frames, opened, title),
        _file(frames, opened, f"{choice.name}-{seed}", _BPM),
    )


@in_words
def score(name: Any, upload: Any) -> str:
    """Score a file: its picture, the surprise of its steps, and the most surprising moments."""
    opened = models.opened(models.chosen(name).name)
    read = uploads.read(upload, opened)
    scored = surprise.score(read, opened)
    width = limits.length_of(opened.kind).excerpt
    moments = surprise.moments(scored.per_step, width)
    title = f"{upload.name}, as {scored.model} sees it"
    figure = _panels(
        read.frames,
        opened,
        curves={scored.model: scored.per_step},
        spans=[(moment.start, moment.stop) for moment in moments],
        ylabel=surprise.label({scored.bound}),
    )
    alt = f"{title}: its picture, and the surprise of each of {len(scored.per_step)} steps below"
    return markup.block(
        markup.heading(title),
        markup.picture(figure, alt),
        _totals([scored], opened),
        *([markup.paragraph(scored.misfit, "srnn-misfit")] if scored.misfit else []),
        markup.heading("The most surprising moments"),
        markup.listed(_moment(moment, scored, read, opened) for moment in moments),
    )


@in_words
def go_on(name: Any, upload: Any, length: Any, seed: Any, temperature: Any) -> str:
    """Continue a file: what it was, and what the model adds."""
    choice = models.chosen(name)
    count = _steps(length, choice.kind)
    seed, temperature = _draws(seed, temperature)
    opened = models.opened(choice.name)
    read = uploads.read(upload, opened)
    (frames,) = drawing.draw(opened.published, count, [seed], read.primer, temperature)
    begin = len(frames) - count
    bpm = read.bpm or _BPM
    length_of = limits.length_of(opened.kind)
    title = f"{upload.name}, continued by {count // length_of.steps} {length_of.unit}"
    mark = "what is red is new" if opened.kind == "handwriting" else "it begins at the line"
    how = f"by {choice.name}, seed {seed}, temperature {temperature:g}; {mark}"
    # Of a long file its end is enough: what follows would be too small to be seen.
    first = max(0, begin - max(count, 8 * length_of.excerpt))
    lead = max(first, begin - 2 * length_of.excerpt)
    parts = [markup.heading(title), markup.paragraph(how)]
    parts.append(
        _shown(frames[first:], opened, f"{title}, {how}", bpm, begin - first, lead - first)
    )
    if first:
        parts.append(markup.paragraph(f"The picture begins at step {first}.", "srnn-small"))
    if lead and opened.kind in plots.SOUNDS:
        parts.append(markup.paragraph("The player begins shortly before the line.", "srnn-small"))
    stem = Path(upload.name).stem
    parts.append(_file(frames, opened, f"{stem}-continued", bpm))
    return markup.block(*parts)


@in_words
def compare(name: Any, other: Any, upload: Any) -> str:
    """Score a file with two models: their curves together, their totals side by side."""
    first, second = models.chosen(name), models.chosen(other)
    if first.name == second.name:
        raise ValueError(f"{first.name} is chosen twice; choose another one to compare it with")
    if first.kind != second.kind:
        raise ValueError(
            f"{first.name} is a model of {models.word(first.kind)}, {second.name} of "
            f"{models.word(second.kind)}; only models of one kind can be compared"
        )
    pair = [models.opened(choice.name) for choice in (first, second)]
    reads = [uploads.read(upload, opened) for opened in pair]
    if len({len(read.frames) for read in reads}) != 1:
        raise ValueError(f"{first.name} and {second.name} have frames of other sizes")
    scored = [surprise.score(read, opened) for read, opened in zip(reads, pair, strict=True)]
    title = f"{upload.name}, as {first.name} and {second.name} see it"
    figure = _panels(
        reads[0].frames,
        pair[0],
        curves={one.model: one.per_step for one in scored},
        ylabel=surprise.label({one.bound for one in scored}),
    )
    alt = f"{title}: its picture, and the surprise of each step to both models below"
    higher, lower = sorted(scored, key=lambda one: -one.total)
    sentence = (
        f"{higher.model} gives it {higher.total - lower.total:.2f} nats more than {lower.model}."
    )
    if lower.bound != "exact":
        sentence += f" {lower.model} scores by a lower bound ({lower.bound}), so it may give more."
    return markup.block(
        markup.heading(title),
        markup.picture(figure, alt),
        _totals(scored, pair[0]),
        markup.paragraph(sentence),
        *(markup.paragraph(one.misfit, "srnn-misfit") for one in scored if one.misfit),
    )


def received(upload: uploads.Upload) -> str:
    """What the page says of a file that it has."""
    size = len(upload.content)
    told = f"{size / 2**20:.1f} MB" if size >= 2**19 else f"{max(size / 2**10, 0.1):.1f} KB"
    return f"{upload.name}, {told}: no other page sees it, and it is not stored"


def _steps(length: Any, kind: str) -> int:
    of = limits.length_of(kind)
    return of.steps * limits.whole(f"the length in {of.unit}", length, 1, of.most)


def _draws(seed: Any, temperature: Any) -> tuple[int, float]:
    return (
        limits.whole("the seed", seed, 0, limits.LARGEST_SEED),
        limits.temperature(temperature),
    )


def _panels(frames: np.ndarray, opened: models.Opened, **how: Any) -> Any:
    rate = opened.published.card["sample_rate"]
    return plots.panels(opened.kind, frames, sample_rate=rate, steps_per_quarter=_QUARTER, **how)


def _shown(
    frames: np.ndarray,
    opened: models.Opened,
    title: str,
    bpm: float = _BPM,
    after: int | None = None,
    heard_from: int = 0,
) -> str:
    """The picture and the player of standardized frames."""
    scale = opened.published.standardization
    shown = frames if scale is None else scale.undo(frames)
    image = markup.picture(_panels(shown, opened, after=after), title)
    return image + _player(shown[heard_from:], opened, title, bpm)


def _player(frames: np.ndarray, opened: models.Opened, label: str, bpm: float) -> str:
    """The player of frames that are not standardized; nothing of what cannot be heard."""
    sound = plots.SOUNDS.get(opened.kind)
    if sound is None or not len(frames):
        return ""
    music = {"bpm": bpm, "steps_per_quarter": _QUARTER} if opened.kind == "pianoroll" else {}
    samples, rate = sound(frames, None, opened.published.card["sample_rate"], **music)
    return markup.player(samples, rate, label)


def _file(frames: np.ndarray, opened: models.Opened, stem: str, bpm: float) -> str:
    """A link that saves frames as a file of their modality; nothing where it has none."""
    of = inputs.modality_of(opened.published.card)
    if of.writer is None or not of.written:
        return ""
    music = {"bpm": bpm, "steps_per_quarter": _QUARTER}
    options = {key: value for key, value in music.items() if key in of.writer_options}
    scale, rate = opened.published.standardization, opened.published.card["sample_rate"]
    with tempfile.TemporaryDirectory(prefix="srnn_tf-") as folder:
        path = Path(folder) / f"sample{of.written[0]}"
        of.writer(frames, path, scale, rate, **options)
        content = path.read_bytes()
    return markup.download(content, f"{stem}{of.written[0]}")


def _totals(scored: list[surprise.Surprise], opened: models.Opened) -> str:
    """The scores, with what they are of."""
    rows = [
        [
            one.model,
            f"{one.total:.4f} nats",
            f"{one.total / len(one.per_step):.4f} nats",
            str(len(one.per_step)),
            "-" if one.kl is None else f"{one.kl:.4f} nats",
            surprise.PROTOCOL,
            one.bound,
        ]
        for one in scored
    ]
    head = ["model", "log likelihood, total", "per step", "steps", "KL", "protocol", "bound"]
    table = markup.table(head, rows)
    of = inputs.modality_of(opened.published.card)
    if not of.standardized:
        return table
    what = "samples in [-1, 1]" if of.is_signal else "standardized values"
    return table + markup.paragraph(
        f"It is the log of a density, of {what}: above 0 where values are near what was expected, "
        "so that surprise may be below 0.",
        "srnn-small",
    )


def _moment(
    moment: surprise.Moment, scored: surprise.Surprise, read: uploads.Read, opened: models.Opened
) -> str:
    """A surprising moment: when, how surprising, and its player."""
    bpm, card = read.bpm or _BPM, opened.published.card
    seconds = {
        "pianoroll": 60.0 / (bpm * _QUARTER),
        "speech": card["event_size"] / (card["sample_rate"] or 16000),
    }.get(opened.kind)
    when = f"step {moment.step}"
    if seconds is not None:
        when += f", {moment.step * seconds:.2f} s"
    text = f"{when}: {scored.per_step[moment.step]:.2f} nats"
    excerpt = read.frames[moment.start : moment.stop]
    return f"<span>{text}</span>{_player(excerpt, opened, text, bpm)}"
