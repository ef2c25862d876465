"""`srnn-tf publish`."""

from __future__ import annotations

from pathlib import Path

import click

from srnn_tf.experiments import cards, checkout, keep
from srnn_tf.experiments import publish as publishing


@click.command()
@click.argument("run", metavar="[RUN_DIR|NAME]", required=False)
@click.option(
    "--root", type=click.Path(path_type=Path), help="Of published models; a checkout's by default."
)
@click.option("--version", type=int, help="The next by default.")
@click.option("--again", is_flag=True, help="Of a published NAME: its graph as it is made today.")
@click.option("--seeds", multiple=True, metavar="RUN_DIR", help="Further runs; repeatable.")
@click.option("--substitute", nargs=2, metavar="NAME FOR", help="Make NAME an alias of FOR.")
@click.option("--tables", is_flag=True, help="Make pages and tables again from the cards.")
@click.option("--keep", "kept", metavar="RUN_DIR", help="Keep weights that are not finished.")
@click.option("--restore", metavar="NAME", help="Make the folder --out of what was kept.")
@click.option("--out", metavar="RUN_DIR", help="The folder that --restore makes.")
def publish(
    run: str | None,
    root: Path | None,
    version: int | None,
    again: bool,
    seeds: tuple[str, ...],
    substitute: tuple[str, str] | None,
    tables: bool,
    kept: str | None,
    restore: str | None,
    out: str | None,
) -> None:
    """Publish an evaluated run: a SavedModel, its card and page, a row of the results.

    With a published NAME, --seeds puts the scores of further runs on its card.

    Example: srnn-tf publish runs/f_rnn_bach --root my_models
    """
    if sum(map(bool, (run, substitute or tables, kept, restore))) != 1:
        raise ValueError("give one of RUN_DIR or NAME, --substitute or --tables, --keep, --restore")
    if run is None and (version is not None or again or seeds):
        raise ValueError("--version, --again and --seeds go with RUN_DIR or NAME")
    if bool(restore) != bool(out):
        raise ValueError("--restore NAME and --out RUN_DIR go together")
    if kept:
        print(f"wrote {keep.keep(kept)}")
        return
    if restore and out:
        print(f"wrote {keep.restore(restore, out)}")
        return
    root = root or checkout.root()
    if substitute:
        cards.write_substitute(*substitute, root)
    if not run:
        cards.write_tables(root)
        print(f"wrote the pages of {root}")
        return
    print(f"wrote {publishing.publish(run, root, version, seeds, again)}")
