"""`srnn-tf sample`: a sample in a file that can be heard or seen."""

from __future__ import annotations

from pathlib import Path

import click

from srnn_tf import plots, zoo
from srnn_tf.command import options
from srnn_tf.core import checks, packages
from srnn_tf.core.files import check_output
from srnn_tf.serving import inputs

PICTURES = (".png", ".svg", ".pdf")


@click.command()
@options.model
@click.option(
    "--out",
    required=True,
    type=options.FILE,
    help="The file to write: .mid of music, .wav of speech, what a modality of your own writes, or "
    "a picture (.png, .svg, .pdf).",
)
@click.option(
    "--steps",
    type=int,
    help="The frames to draw; by default 128 of music, 80 (one second) of speech, 500 of "
    "handwriting, of a modality of your own what it says.",
)
@click.option("--seed", default=0, show_default=True, help="The seed of the draws.")
@click.option(
    "--temperature",
    default=1.0,
    show_default=True,
    help="The temperature of the draws; below 1 they are likelier and vary less.",
)
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
    """Draw from a model, to a file that can be heard or seen.

    MODEL is a published name, one of those of `srnn-tf list`, a .keras file, the folder of a run or
    an exported folder.

    Example: srnn-tf sample delta_rnn_random_bach --seed 1 --out chorale.mid
    """
    published = zoo.open(name)
    card, name = published.card, published.name
    of = inputs.modality_of(card)
    written = of.written if of.writer is not None else ()
    ending = out.suffix.lower()
    if ending not in (*written, *PICTURES):
        raise ValueError(f"--out={out}: {name} draws {', '.join((*written, *PICTURES))}")
    needed = of.packages.get(ending, ()) if ending in written else ("matplotlib",)
    packages.require(f"--out={out}", *needed)
    check_output("--out", out)
    if ending in written:
        published.check_standardization(f"--out={out}")
    steps = of.sample_steps if steps is None else steps
    checks.sizes(steps=steps)
    if server is not None:
        if temperature != 1.0:
            raise ValueError(f"--temperature={temperature}: a server draws at 1 only")
        answers = inputs.backend(published, server, timeout)
        drawn = answers.sample(steps, seed=seed)[0]
    else:
        drawn = published.load().sample(1, steps, seed, temperature=temperature)[0].numpy()
    scale = published.standardization
    if of.writer is not None and ending in written:
        of.writer(drawn, out, scale, card["sample_rate"])
    else:
        plots.draw(of.name, drawn, out, scale, card["sample_rate"], f"{name}, seed {seed}")
    print(f"wrote {out}")
