"""`srnn-tf score`."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import click

from srnn_tf import zoo
from srnn_tf.command import fit, options
from srnn_tf.core.files import check_output, replacing
from srnn_tf.core.progress import track
from srnn_tf.serving import inputs


@click.command()
@options.model
@click.argument("files", nargs=-1, required=True, type=options.FILE)
@options.server
@options.timeout
@options.batch_size
@click.option("--output", type=options.FILE, help="The file to write; printed by default.")
@click.option(
    "--format",
    "layout",
    type=click.Choice(["csv", "jsonl"]),
    default="csv",
    show_default=True,
    help="The format of the rows: comma-separated values, or a JSON object a line.",
)
@click.option(
    "--per-step", is_flag=True, help="Add the log likelihood of each step; with --format jsonl."
)
@options.steps_per_quarter
def score(
    name: str,
    files: tuple[Path, ...],
    server: str | None,
    timeout: float,
    batch_size: int,
    output: Path | None,
    layout: str,
    per_step: bool,
    steps_per_quarter: int,
) -> None:
    """Print the log likelihood of each sequence of FILES, in nats.

    MODEL is a published name, one of those of `srnn-tf list`, a .keras file, the folder of a run or
    an exported folder. FILES are those of its kind of data
    (WAV, FLAC and MP3 of speech, MIDI of music, UNIPEN and IAM files of handwriting), or .npz and
    .npy arrays. Audio is resampled to 16 kHz and scored in nats of its samples in [-1, 1]; arrays
    of frames are scored as they are, so they must be standardized if the model's data are. With
    latents a score is an ELBO. Music that a model makes less of than notes that are independent of
    everything is told on stderr.

    Example: srnn-tf score f_rnn_bach chorale.mid
    """
    if per_step and layout != "jsonl":
        raise ValueError("--per-step needs --format jsonl; received csv")
    if output is not None:
        check_output("--output", output, files)
    published = zoo.open(name)
    card, name = published.card, published.name
    bound = inputs.bound_of(card)
    sequences = [
        s
        for path in track(files, "reading")
        for s in inputs.read(path, published, steps_per_quarter)
    ]
    for sequence in sequences:
        inputs.check(sequence, card)
    inputs.one_kind(sequences)
    answers = inputs.backend(published, server, timeout, batch_size)
    rows = []
    size = batch_size * 8
    chunks = [sequences[i : i + size] for i in range(0, len(sequences), size)]
    for chunk in track(chunks, "scoring"):
        scores = inputs.score(answers, chunk)
        fit.warn(name, card, chunk, scores.log_likelihood)
        for i, sequence in enumerate(chunk):
            rows.append(_row(sequence, scores, i, bound, per_step))
    text = _csv(rows) if layout == "csv" else "".join(json.dumps(row) + "\n" for row in rows)
    if output is None:
        sys.stdout.write(text)
        return
    with replacing(output) as temporary:
        temporary.write_text(text)


def _row(
    sequence: inputs.Sequence, scores: Any, i: int, bound: str, per_step: bool
) -> dict[str, Any]:
    steps = scores.log_likelihood_per_step[i]
    total = float(scores.log_likelihood[i])
    row: dict[str, Any] = {"file": sequence.file, "sequence": sequence.index, "steps": len(steps)}
    row |= {"log_likelihood": total, "per_step": total / len(steps), "unit": "nats", "bound": bound}
    if scores.kl is not None:
        row["kl"] = float(scores.kl[i])
    if per_step:
        row["log_likelihood_per_step"] = [float(value) for value in steps]
    return row


def _csv(rows: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
