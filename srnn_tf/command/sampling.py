"""`srnn-tf sample`: samples in files that can be heard or seen."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from srnn_tf import plots, zoo
from srnn_tf.command import options
from srnn_tf.core import checks, packages
from srnn_tf.core.files import check_output
from srnn_tf.data.formats import midi, synthesis
from srnn_tf.serving import drawing, inputs

PICTURES = (".png", ".svg", ".pdf")
MOST_FILES = 10_000


@click.command()
@options.model
@click.option(
    "--out",
    required=True,
    type=options.FILE,
    help="The file to write: .mid or .wav of music, .wav of speech, what a modality of your own "
    "writes, or a picture (.png, .svg, .pdf).",
)
@click.option(
    "--count",
    default=1,
    type=click.IntRange(1, MOST_FILES),
    show_default=True,
    help="The number of samples. Of several each has a file, with its number before the ending: "
    "x-1.mid, x-2.mid, ... of --out x.mid; its seed is that of the one before plus 1.",
)
@click.option(
    "--steps",
    type=int,
    help="The frames to draw; by default 128 of music, 80 (one second) of speech, 500 of "
    "handwriting, of a modality of your own what it says.",
)
@click.option(
    "--primer",
    type=options.FILE,
    help="A file to continue, one that `score` reads, such as .mid, .wav or .xml; what is written "
    "begins with it.",
)
@options.steps_per_quarter
@click.option("--seed", default=0, show_default=True, help="The seed of the draws of the first.")
@click.option(
    "--temperature",
    default=1.0,
    show_default=True,
    help="The temperature of the draws; below 1 they are likelier and vary less.",
)
@click.option(
    "--bpm",
    type=float,
    help="The tempo of music, quarter notes per minute; by default that of the primer, or 100.",
)
@click.option(
    "--program",
    type=int,
    help="The General MIDI instrument of music, 0 to 127: 0 a grand piano (the default), 19 a "
    "church organ. A .wav file has it with --soundfont only.",
)
@click.option(
    "--soundfont",
    type=options.FILE,
    help="A soundfont (.sf2, .sf3) to play the .wav file of music with, by FluidSynth; without, "
    "notes are plain tones.",
)
@options.server
@options.timeout
def sample(
    name: str,
    out: Path,
    count: int,
    steps: int | None,
    primer: Path | None,
    steps_per_quarter: int,
    seed: int,
    temperature: float,
    bpm: float | None,
    program: int | None,
    soundfont: Path | None,
    server: str | None,
    timeout: float,
) -> None:
    """Draw from a model, to files that can be heard or seen.

    MODEL is a published name, one of those of `srnn-tf list`, a .keras file, the folder of a run or
    an exported folder. The same call writes the same bytes.

    Example: srnn-tf sample delta_rnn_random_bach --seed 1 --out chorale.mid

    srnn-tf sample delta_rnn_random_bach --primer tune.mid --count 3 --bpm 80 --out chorale.wav
    """
    published = zoo.open(name)
    card, name = published.card, published.name
    of = inputs.modality_of(card)
    written = of.written if of.writer is not None else ()
    ending = out.suffix.lower()
    if ending not in (*written, *PICTURES):
        raise ValueError(f"--out={out}: {name} draws {', '.join((*written, *PICTURES))}")
    writes = ending in written
    needed = of.packages.get(ending, ()) if writes else ("matplotlib",)
    packages.require(f"--out={out}", *needed)
    asked = {"bpm": bpm, "program": program, "soundfont": soundfont}
    given: dict[str, Any] = {key: value for key, value in asked.items() if value is not None}
    _check_options(given, of.writer_options if writes else (), out)
    files = _numbered(out, count)
    for file in files:
        check_output("--out", file, [path for path in (primer, soundfont) if path is not None])
    if writes:
        published.check_standardization(f"--out={out}")
    steps = of.sample_steps if steps is None else steps
    checks.sizes(steps=steps)
    checks.sizes(minimum=0, seed=seed)
    checks.temperature(temperature)
    prefix = None
    if primer is not None:
        if server is not None:
            raise ValueError("--primer: a server does not continue files; leave out --server")
        prefix = inputs.primer(primer, published, steps_per_quarter)
        if "bpm" in of.writer_options and writes and bpm is None:
            told = drawing.tempo(primer)
            given |= {} if told is None else {"bpm": told}
    if "steps_per_quarter" in of.writer_options:
        midi.check_steps(steps_per_quarter)
        given["steps_per_quarter"] = steps_per_quarter
    if of.name == "pianoroll" and ending == ".wav":
        length = steps + (0 if prefix is None else len(prefix))
        synthesis.check_length(length, steps_per_quarter, given.get("bpm", 100))
    seeds = range(seed, seed + count)
    drawn = drawing.draw(published, steps, seeds, prefix, temperature, server, timeout)
    scale = published.standardization
    for number, (file, frames) in enumerate(zip(files, drawn, strict=True)):
        if of.writer is not None and writes:
            of.writer(frames, file, scale, card["sample_rate"], **given)
        else:
            title = f"{name}, seed {seed + number}"
            how = {"steps_per_quarter": steps_per_quarter} if of.name == "pianoroll" else {}
            plots.draw(of.name, frames, file, scale, card["sample_rate"], title, **how)
        print(f"wrote {file}")
        if of.name == "pianoroll" and not frames[0 if prefix is None else len(prefix) :].any():
            what = "is silent" if prefix is None else "is silent after the primer"
            other = "another --seed" + (
                "" if server else f" or a --temperature above {temperature:g}"
            )
            print(f"warning: {file} {what}: {other} may give notes", file=sys.stderr)


def _check_options(given: Mapping[str, Any], accepted: tuple[str, ...], out: Path) -> None:
    """Check what a file is to be played with, before anything is drawn."""
    for key, value in given.items():
        if key not in accepted:
            raise ValueError(f"--{key}={value} is for files of music; --out={out} is not one")
    if "bpm" in accepted:
        midi.check_music(2, given.get("bpm", 100), given.get("program", 0))
    sounds = out.suffix.lower() == ".wav"
    if "soundfont" in given:
        if not sounds:
            raise ValueError(f"--soundfont={given['soundfont']} is for .wav files; --out={out}")
        synthesis.check_soundfont(given["soundfont"])
    elif "program" in given and sounds:
        raise ValueError(
            f"--program={given['program']} is an instrument of a soundfont; give --soundfont too"
        )


def _numbered(out: Path, count: int) -> list[Path]:
    """The files of `count` samples: numbers of one width, so that they sort."""
    if count == 1:
        return [out]
    width = len(str(count))
    return [out.with_name(f"{out.stem}-{i:0{width}}{out.suffix}") for i in range(1, count + 1)]
