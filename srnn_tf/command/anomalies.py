"""`srnn-tf anomalies`: the steps of a recording that a model finds unlikely."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from srnn_tf import plots, serving, zoo
from srnn_tf.command import fit, options
from srnn_tf.command.sampling import PICTURES
from srnn_tf.core import packages
from srnn_tf.core.files import check_output
from srnn_tf.serving import inputs

DRAWN = 8  # sequences of the model's own, where no reference is given


@click.command()
@options.model
@click.argument("file", type=options.FILE)
@click.option(
    "--reference",
    multiple=True,
    type=options.FILE,
    help="A file of usual sequences; repeatable. Samples of the model by default.",
)
@click.option(
    "--quantile",
    default=0.01,
    show_default=True,
    help="The share of the reference's steps that are below the mark.",
)
@click.option("--out", type=options.FILE, help="Draw the scores to a .png, .svg or .pdf file.")
@click.option(
    "--top",
    default=10,
    type=click.IntRange(min=1),
    show_default=True,
    help="The most steps to print.",
)
@options.server
@options.timeout
@options.batch_size
@options.steps_per_quarter
def anomalies(
    name: str,
    file: Path,
    reference: tuple[Path, ...],
    quantile: float,
    out: Path | None,
    top: int,
    server: str | None,
    timeout: float,
    batch_size: int,
    steps_per_quarter: int,
) -> None:
    """Find the steps of FILE that a model finds unlikely.

    MODEL is a published name, one of those of `srnn-tf list`, a .keras file, the folder of a run or
    an exported folder. FILE is one that `srnn-tf score`
    reads. A step is marked where its log likelihood given the steps before it, in nats, is below a
    quantile of that of the reference.

    Example: srnn-tf anomalies f_rnn_bach chorale.mid --out chorale.png
    """
    if not 0.0 < quantile < 1.0:
        raise ValueError(f"--quantile must be between 0 and 1; received {quantile}")
    if out is not None and (out.suffix.lower() not in PICTURES or not out.parent.is_dir()):
        raise ValueError(f"--out={out} must end in {', '.join(PICTURES)}, in a folder that exists")
    if out is not None:
        packages.require(f"--out={out}", "matplotlib")
        check_output("--out", out, [file, *reference])
    published = zoo.open(name)
    name, card = published.name, published.card
    sequences = list(inputs.read(file, published, steps_per_quarter))
    usual = [s for path in reference for s in inputs.read(path, published, steps_per_quarter)]
    if not usual and any(s.is_waveform for s in sequences):
        raise ValueError("recordings need --reference: files of what is usual")
    for sequence in sequences + usual:
        inputs.check(sequence, card)
    inputs.one_kind(sequences + usual)
    answers = inputs.backend(published, server, timeout, batch_size)
    scores = inputs.score(answers, sequences)
    fit.warn(name, card, sequences, scores.log_likelihood)
    per_step = scores.log_likelihood_per_step
    reference_scores = _reference(answers, usual, sequences)
    mark = float(np.quantile(reference_scores, quantile))
    seconds = _seconds(card)
    table = Table("sequence", "step", *(["seconds"] if seconds else []), "nats", box=None)
    marked = [
        (v, i, t) for i, steps in enumerate(per_step) for t, v in enumerate(steps) if v < mark
    ]
    for value, i, t in sorted(marked)[:top]:
        time = [f"{t * seconds:.3f}"] if seconds else []
        table.add_row(str(i), str(t), *time, f"{value:.4f}")
    total = sum(len(steps) for steps in per_step)
    what = f"{len(usual)} reference sequences" if usual else f"{DRAWN} samples of the model"
    console = Console(highlight=False, soft_wrap=True)
    console.print(
        f"{len(marked)} of {total} steps below {mark:.4f} nats, the {quantile:g} quantile of "
        f"{len(reference_scores)} steps of {what}"
    )
    if marked:
        console.print(table)
    if out is not None:
        plots.step_scores(np.concatenate(per_step), out, mark, f"{quantile:g} quantile of {what}")
        print(f"wrote {out}")


def _reference(answers: serving.Answers, usual: list, sequences: list) -> np.ndarray:
    """Log likelihoods of usual steps."""
    if usual:
        return np.concatenate(inputs.score(answers, usual).log_likelihood_per_step)
    steps = int(np.clip(np.mean([len(s.values) for s in sequences]), 50, 500))
    return np.concatenate(answers.score(answers.sample(steps, DRAWN)).log_likelihood_per_step)


def _seconds(card) -> float | None:
    """How long a step is."""
    return card["event_size"] / card["sample_rate"] if card["sample_rate"] else None
