"""Build the distributions that have the weights of the published models, from `saved_models`.

    python -m zoo.wheels --out dist [NAME ...]

A NAME is that of a distribution, such as `srnn-tf-models-music`; by default all are built. They
have data alone: a package that is a folder of published models, which `srnn_tf.zoo` finds by its
entry point. Each has the newest version of its models, and is below 100 MB, the most that the
package index takes; one may require others. It needs `build`, `twine` and `setuptools`, of the
extra `dev`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from srnn_tf import __version__
from srnn_tf.core import files
from srnn_tf.core.registry import unknown
from srnn_tf.experiments import cards, checkout
from srnn_tf.zoo import artifacts, store

MOST = 100 * 10**6  # bytes of a wheel
# Distributions that others bring along.
REQUIRED = {"srnn-tf-models-music": ("srnn-tf-models-nottingham",)}
# Wheels are zip archives, whose times would differ from build to build. This is 1980-01-01.
EPOCH = "315532800"
_CARD_FILES = (f"assets.extra/{artifacts.CARD}", f"assets.extra/{artifacts.CARD_SHA256}")

_PROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "{distribution}"
version = "{version}"
description = "Published models of srnn-tf: {what}"
readme = "README.md"
license = "Apache-2.0"
license-files = ["LICENSE"]
requires-python = ">=3.11"
dependencies = {dependencies}
keywords = ["keras", "tensorflow", "stochastic recurrent networks", "pretrained models"]
classifiers = [
    "Development Status :: 4 - Beta",
    "Intended Audience :: Science/Research",
    "Topic :: Scientific/Engineering :: Artificial Intelligence",
]

[project.entry-points."{group}"]
{short} = "{package}"

# To setuptools all folders within a package are packages, but for those with a dot in their name.
[tool.setuptools.packages.find]
include = ["{package}*"]

[tool.setuptools.package-data]
"*" = ["*", "assets.extra/*"]
"""
_README = """\
# {distribution}

Weights of published models of the package `srnn-tf`: {what}. There is no code in it.
Install it beside the package, in the same environment:

    pip install srnn-tf {distribution}

```python
import srnn_tf

model = srnn_tf.zoo.load("{example}")
```

Every file is compared with its SHA-256 before use.

## Models

Scores are on the test part, protocol full; higher is better.

| name | version | parameters | score | bound |
|---|---|---|---|---|
{rows}

## What they were trained on

{statements}

The weights are published under the licence of `srnn-tf`, Apache-2.0. The terms of the data are
those above; the data are not part of this distribution.
"""


def plan(root: Path = checkout.ROOT) -> dict[str, dict[str, dict[str, Any]]]:
    """The distributions: of each the cards of its models, by name."""
    plan: dict[str, dict[str, dict[str, Any]]] = {}
    for name, card in cards.newest(root).items():
        if not card.get("alias_of"):  # which the package itself has
            plan.setdefault(store.distribution(card), {})[name] = card
    return plan


def lay_out(distribution: str, models: dict[str, dict[str, Any]], folder: Path, root: Path) -> None:
    """Write the project of a distribution.

    Args:
        distribution: its name.
        models: the cards of its models.
        folder: an empty one, to write to.
        root: the folder of published models.

    Raises:
        ValueError: a model is damaged.
    """
    package = distribution.replace("-", "_")
    for name, card in models.items():
        source = root / name / str(card["version"])
        artifacts.Artifact.open(source, name, card["version"]).verify()
        for file in (*artifacts.FILES, *_CARD_FILES):
            target = folder / package / name / source.name / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / file, target)
    what = f"{len(models)} models of {distribution.removeprefix('srnn-tf-models-')}"
    if len(models) == 1:
        what = f"the model {next(iter(models))}"
    (folder / package / "__init__.py").write_text(f'"""Published models of srnn-tf: {what}."""\n')
    shutil.copyfile(checkout.FOLDER / "LICENSE", folder / "LICENSE")
    values = {
        "distribution": distribution,
        "version": __version__,
        "dependencies": json.dumps([f"{d}=={__version__}" for d in REQUIRED.get(distribution, ())]),
        "what": what,
        "group": store.GROUP,
        "short": package.removeprefix("srnn_tf_models_"),
        "package": package,
    }
    (folder / "pyproject.toml").write_text(_PROJECT.format(**values))
    (folder / "README.md").write_text(
        _README.format(
            **values,
            example=next(iter(models)),
            rows="\n".join(_row(card) for card in models.values()),
            statements="\n".join(_statements(models)),
        )
    )


def _row(card: dict[str, Any]) -> str:
    bound, score = next(iter(card["test"]["full"].items()))
    return (
        f"| `{card['name']}` | {card['version']} | {card['parameters']:,} | "
        f"{score['value']:.4f} {card['unit']} | {bound} |"
    )


def _statements(models: dict[str, dict[str, Any]]) -> list[str]:
    """Of each data set what the cards say: what it is, and under which terms."""
    said: dict[tuple[str, str], list[str]] = {}
    for name, card in models.items():
        key = (card["trained_on"], card["data"]["terms"].removesuffix("."))
        said.setdefault(key, []).append(f"`{name}`")
    return [
        f"- {', '.join(names)}: {trained_on}. Terms of the data: {terms}."
        for (trained_on, terms), names in said.items()
    ]


def build(
    names: Sequence[str] = (), out: str | os.PathLike = "dist", root: Path = checkout.ROOT
) -> list[Path]:
    """Build distributions, and return their wheels.

    Args:
        names: of the distributions, which bring those that they require; all by default.
        out: the folder of the wheels, made if need be.
        root: the folder of published models.

    Raises:
        ValueError: there is no such distribution, a model is damaged, or a wheel is too large.
        ImportError: a package to build with is missing.

    Example:
        build(["srnn-tf-models-music"], "dist")
    """
    try:
        import build as builder
        from twine.commands import check
    except ImportError as error:
        raise ImportError("zoo.wheels needs build and twine: pip install 'srnn-tf[dev]'") from error
    plans = plan(root)
    if missing := sorted(set(names) - set(plans)):
        raise unknown("distribution", missing[0], plans)
    made = []
    with files.made(out):
        for name in required(names) or plans:
            with tempfile.TemporaryDirectory() as place:
                project = Path(place, "project")
                project.mkdir()
                lay_out(name, plans[name], project, root)
                maker = builder.ProjectBuilder(project, runner=_run)
                wheel = Path(maker.build("wheel", str(Path(place, "wheel"))))
                if (size := wheel.stat().st_size) >= MOST:
                    raise ValueError(f"{name} has {size:,} bytes; accepted are less than {MOST:,}")
                with contextlib.redirect_stdout(said := io.StringIO()):
                    refused = check.check([str(wheel)], strict=True)
                if refused:
                    raise ValueError(f"{name}: `twine check` refuses it: {said.getvalue()}")
                with files.replacing(Path(out, wheel.name)) as temporary:
                    shutil.copyfile(wheel, temporary)
                made.append(Path(out, wheel.name))
    return made


def required(names: Sequence[str]) -> list[str]:
    """Distributions, and those that they require."""
    return list(dict.fromkeys(d for name in names for d in (name, *REQUIRED.get(name, ()))))


def _run(
    cmd: Sequence[str], cwd: str | None = None, extra_environ: Mapping[str, str] | None = None
) -> None:
    """Run a step of a build; what it says is told only where it fails."""
    environment = {**os.environ, **(extra_environ or {}), "SOURCE_DATE_EPOCH": EPOCH}
    done = subprocess.run(cmd, cwd=cwd, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"a build failed: {(done.stderr or done.stdout).strip()}")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m zoo.wheels", description="Build the distributions of published models."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="All by default.")
    parser.add_argument("--out", default="dist", help="The folder of the wheels.")
    arguments = parser.parse_args(argv)
    try:
        for wheel in build(arguments.names, arguments.out):
            print(f"wrote {wheel}, {wheel.stat().st_size / 1e6:.1f} MB")
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
