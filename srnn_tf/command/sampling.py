"""`srnn-tf sample`: write a sample as a sound file, a MIDI file or a plot."""

from __future__ import annotations

from pathlib import Path

import click

from srnn_tf import data, plots, zoo
from srnn_tf.command import options
from srnn_tf.core import checks
from srnn_tf.serving import inputs

# Frames that make a picture: 16 bars of music, a second of speech, a line of writing.
STEPS = {"pianoroll": 128, "speech": 80, "handwriting": 500}
HEARD = {"pianoroll": (".mid",), "speech": (".wav",), "handwriting": ()}
PICTURES = (".png", ".svg", ".pdf")


@click.command()
@options.name
@click.option(
    "--out", required=True, type=options.FILE, help="x.wav, x.mid, or a plot: .png, .svg, .pdf."
)
@click.option("--steps", type=int, help="Frames to draw; enough for a plot by default.")
@click.option("--seed", default=0, show_default=True)
@click.option("--temperature", default=1.0, show_default=True, help="Below 1: likelier samples.")
@options.server
@options.timeout
def sample(
    name: str,
    out: Path,
    steps: int | None,
    seed: int,
    temperature: float,
    server: str | None,
    timeout: float,
) -> None:
    """Sample from a model, to a sound file, a MIDI file or a plot.

    Example: srnn-tf sample delta_rnn_random_bach --seed 1 --out chorale.mid
    """
    card = zoo.card(name)
    kind = inputs.kind_of(card)
    if out.suffix not in (*HEARD[kind], *PICTURES):
        raise ValueError(f"--out={out}: {name} draws {', '.join((*HEARD[kind], *PICTURES))}")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"--out={out}: the folder {out.parent} does not exist")
    steps = STEPS[kind] if steps is None else steps
    checks.sizes(steps=steps)
    if server is not None:
        if temperature != 1.0:
            raise ValueError(f"--temperature={temperature}: a server draws at 1 only")
        answers = inputs.backend(name, server, timeout)
        drawn = answers.sample(steps, seed=seed)[0]
    else:
        drawn = zoo.load(name).sample(1, steps, seed, temperature=temperature)[0].numpy()
    scale = zoo.standardization(name)
    if kind == "handwriting":
        data.draw_strokes(drawn, out, scale)
    elif out.suffix == ".mid":
        data.write_midi(drawn.astype("uint8"), out)
    elif out.suffix == ".wav":
        data.write_wav(drawn, out, scale, card["sample_rate"])
    elif kind == "pianoroll":
        data.plot_pianoroll({f"{name}, seed {seed}": drawn.astype("uint8")}, out)
    else:
        plots.waveform(scale.undo(drawn) if scale else drawn, out, card["sample_rate"])
    print(f"wrote {out}")
