"""Sample from a published model, to a file that can be heard or seen.

    python -m zoo.draw NAME --out FILE [--steps N] [--seed S] [--temperature T]

Piano rolls become .mid or a picture, speech .wav or a picture of the waveform, pen strokes a
picture (.png, .svg, .pdf).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from srnn_tf import data, plots, zoo
from zoo import pages, runs

# Frames that make a picture: 16 bars of music, a second of speech, a line of writing.
STEPS = {"pianoroll": 128, "speech": 80, "handwriting": 500}


def draw(
    name: str, path: Path, steps: int | None = None, seed: int = 0, temperature: float = 1.0
) -> None:
    """Write one sample; the file's ending says as what.

    Raises:
        ValueError: an ending that the model's kind of data does not have.
    """
    card = zoo.card(name)
    kind = pages.kind_of(card)
    endings = {"pianoroll": [".mid"], "speech": [".wav"], "handwriting": []}[kind]
    if path.suffix not in (*endings, ".png", ".svg", ".pdf"):
        raise ValueError(
            f"--out={path}: {name} draws {', '.join([*endings, '.png', '.svg', '.pdf'])}"
        )
    model, scale = zoo.load(name), zoo.standardization(name)
    drawn = model.sample(1, steps or STEPS[kind], seed, temperature=temperature)[0].numpy()
    if kind == "pianoroll":
        roll = drawn.astype("uint8")
        if path.suffix == ".mid":
            data.write_midi(roll, path)
        else:
            data.plot_pianoroll({f"{name}, seed {seed}": roll}, path)
    elif kind == "handwriting":
        data.draw_strokes(drawn, path, scale)
    elif path.suffix == ".wav":
        data.write_wav(drawn, path, scale, card["sample_rate"])
    else:
        plots.waveform(scale.undo(drawn), path, card["sample_rate"])


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("name", help="for instance rnn_hier_mlp_nottingham")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--steps", type=int, help="frames; enough for a picture by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--temperature", type=float, default=1.0)
    args = parser.parse_args(argv)
    with runs.clear_errors():
        draw(args.name, args.out, args.steps, args.seed, args.temperature)
        print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
