"""`srnn-tf publish`."""

from __future__ import annotations

from pathlib import Path

import click

from srnn_tf.command import options
from srnn_tf.core import packages


@click.command()
@click.argument("run", metavar="[RUN_DIR|NAME]", required=False)
@click.option(
    "--root",
    type=options.FILE,
    help="The folder of published models, made if need be; saved_models of a checkout by default.",
)
@click.option("--version", type=int, help="The version of the run's model; the next by default.")
@click.option(
    "--again",
    is_flag=True,
    help="Write the newest version of a published NAME as the next one, its weights in the graph "
    "that this package makes today.",
)
@click.option(
    "--seeds",
    multiple=True,
    metavar="RUN_DIR",
    help="Put the scores of a further run, evaluated, on the card; repeatable.",
)
@click.option(
    "--substitute",
    nargs=2,
    metavar="NAME FOR",
    help="Publish NAME as an alias of FOR, the same model of other data.",
)
@click.option("--tables", is_flag=True, help="Make pages and tables again from the cards.")
@click.option(
    "--keep",
    "kept",
    metavar="RUN_DIR",
    help="Keep the weights of a run that is not finished.",
)
@click.option(
    "--restore",
    metavar="NAME",
    help="Make the folder --out of the weights that --keep kept.",
)
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
    """Publish an evaluated run: a SavedModel, its card and page.

    RUN_DIR is a folder that `srnn-tf train` and `srnn-tf evaluate` wrote; what is published is
    ROOT/NAME/VERSION, NAME being that of its recipe. A published NAME in place of RUN_DIR needs
    --seeds or --again. --substitute, --tables, --keep and --restore go without either.

    Models in ROOT are found by all commands where the environment variable SRNN_TF_ZOO names it.

    Example: srnn-tf publish runs/f_rnn_bach --root my_models
    """
    if sum(map(bool, (run, substitute or tables, kept, restore))) != 1:
        raise ValueError("give one of RUN_DIR or NAME, --substitute or --tables, --keep, --restore")
    if run is None and (version is not None or again or seeds):
        raise ValueError("--version, --again and --seeds go with RUN_DIR or NAME")
    if bool(restore) != bool(out):
        raise ValueError("--restore NAME and --out RUN_DIR go together")
    if run is not None:
        packages.require(f"publish {run}", "tensorflow_serving")
    from srnn_tf.experiments import cards, checkout, keep
    from srnn_tf.experiments import publish as publishing

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
