"""`srnn-tf publish`."""

from __future__ import annotations

from pathlib import Path

import click

from srnn_tf.experiments import cards, checkout, keep
from srnn_tf.experiments import publish as publishing


@click.command()
@click.argument("run", metavar="[RUN_DIR|NAME]", required=False)
@click.option(
    "--root", type=click.Path(path_type=Path), help="The folder of models; a checkout's by default."
)
@click.option("--version", type=int, help="The version; the next one by default.")
@click.option("--again", is_flag=True, help="Write a published NAME again, with today's graph.")
@click.option("--seeds", multiple=True, metavar="RUN_DIR", help="Further runs; repeatable.")
@click.option("--substitute", nargs=2, metavar="NAME FOR", help="Make NAME an alias of FOR.")
@click.option("--tables", is_flag=True, help="Regenerate pages and tables from the cards.")
@click.option("--keep", "kept", metavar="RUN_DIR", help="Keep the weights of an unfinished run.")
@click.option("--restore", metavar="NAME", help="Create the folder --out from kept weights.")
@click.option("--out", metavar="RUN_DIR", help="The folder for --restore to create.")
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
    """Publish an evaluated run: a SavedModel, its card and page, a row in the results.

    With a published NAME, --seeds adds the scores of further runs to its card.

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
