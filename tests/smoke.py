"""Try the wheels as a user has them: in fresh environments, outside the checkout, without network.

    python -m tests.smoke [--python EXECUTABLE ...] [--keep FOLDER]

It builds the wheel of the package and that of the music models, and checks both with twine. Then,
for every supported Python that is there, it installs them into a fresh environment and plays a
new user: `list`, `info`, `sample`, `score`, all music names, own MIDI files prepared and trained
on, a training killed and gone on with, an export, and TensorFlow alone that reads it.

Commands run in a network namespace of their own (`unshare -rn`) where the system allows it.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import functools
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
VERSIONS = ("3.11", "3.12", "3.13")
MODELS = "srnn-tf-models-music", "srnn-tf-models-nottingham"  # the first requires the second
UPDATES = 20
# The export of a run, read by TensorFlow without this package.
SERVED = """
import sys
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
drawn = model.signatures["sample"](
    batch_size=tf.constant(2), num_steps=tf.constant(16), seed=tf.constant([1, 2]))
scored = model.signatures["serving_default"](
    frames=drawn["frames"], length=tf.constant([16, 16]))
assert scored["log_likelihood"].shape == (2,) and "srnn_tf" not in sys.modules
print(scored["log_likelihood"].numpy().tolist())
"""
NAMES = """
import numpy as np
import srnn_tf
from srnn_tf.zoo import store
cards = {name: srnn_tf.zoo.card(name) for name in srnn_tf.zoo.names(published=True)}
music = ("srnn-tf-models-music", "srnn-tf-models-nottingham")
names = [n for n, card in cards.items() if store.distribution(card) in music]
assert len(names) >= 25, names
for name in names:
    model = srnn_tf.zoo.load(name)
    roll = model.sample(batch_size=1, num_steps=8, seed=0)
    assert roll.shape == (1, 8, 88) and np.isfinite(model.log_prob(roll).numpy()).all(), name
print(len(names), "names of music")
"""


class User:
    """Someone who has the wheels and an empty folder.

    Args:
        environment: the folder of the virtual environment.
        folder: the working folder; the caches are below it.
    """

    def __init__(self, environment: Path, folder: Path):
        self.binaries, self.folder = environment / "bin", folder
        self.variables = {
            "PATH": os.pathsep.join([str(self.binaries), os.defpath]),
            "HOME": str(folder),
            "LANG": "C.UTF-8",
        }

    def start(self, *words: object) -> subprocess.Popen:
        command = [*offline(), str(self.binaries / str(words[0])), *map(str, words[1:])]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: object, quiet: bool = True) -> str:
        """What a command prints; it must succeed, and if `quiet` say nothing on stderr."""
        began = time.monotonic()
        process = self.start(*words)
        told, errors = process.communicate(timeout=600)
        shown = " ".join(str(w) if len(str(w)) < 40 else "..." for w in words)
        if process.returncode or (quiet and errors):
            raise SystemExit(f"FAILED: {shown}: status {process.returncode}\n{told}{errors}")
        print(f"    {time.monotonic() - began:5.1f} s  {shown}", flush=True)
        return told

    def tool(self, words: str) -> str:
        return self.run("srnn-tf", *words.split())

    def script(self, code: str, *words: object) -> str:
        # TensorFlow itself prints lines; with the package's own commands nothing is.
        return self.run("python", "-c", code, *words, quiet=False)


@functools.cache
def offline() -> tuple[str, ...]:
    """The words before a command that take the network from it; none where that is refused."""
    words = ("unshare", "-rn")
    if (
        shutil.which(words[0])
        and not subprocess.run([*words, "true"], capture_output=True).returncode
    ):
        return words
    print("note: `unshare -rn` is not allowed here: the network is not taken away", flush=True)
    return ()


def pythons() -> list[str]:
    """An interpreter of each supported version that is there: on the path, or of pyenv."""
    of_pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv", "versions")
    chosen = []
    for version in VERSIONS:
        places = [shutil.which(f"python{version}"), sys.executable]
        places += sorted(of_pyenv.glob(f"{version}.*/bin/python"), reverse=True)
        says = "import sys; print('{}.{}'.format(*sys.version_info))"
        for place in filter(None, places):
            asked = subprocess.run([place, "-c", says], capture_output=True, text=True)
            if asked.returncode == 0 and asked.stdout.strip() == version:
                chosen.append(str(place))
                break
        else:
            print(f"note: Python {version} is not here", flush=True)
    return chosen


def build(folder: Path) -> list[Path]:
    """The wheels of the package and of the music models, checked by twine."""
    # By way of the source distribution: `build/` of the checkout may hold files of before.
    checked([sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT])
    checked([sys.executable, "-m", "zoo.wheels", MODELS[0], "--out", folder])
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 3:
        raise SystemExit(f"FAILED: built are {[w.name for w in wheels]}; expected are 3 wheels")
    checked([sys.executable, "-m", "twine", "check", "--strict", *wheels])
    for wheel in wheels:
        check_links(wheel)
        print(f"  {wheel.name}, {wheel.stat().st_size / 1e6:.1f} MB", flush=True)
    return wheels


def check_links(wheel: Path) -> None:
    """A page elsewhere has no files of the repository beside it: links must be absolute."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
        text = archive.read(name).decode()
    if relative := re.findall(r"\]\((?!https://|#)[^)]*\)", text):
        raise SystemExit(f"FAILED: {wheel.name} has links that are relative: {relative[:3]}")


def checked(command: list) -> None:
    done = subprocess.run([str(c) for c in command], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"FAILED: {command}\n{done.stdout}{done.stderr}")


def install(python: str, wheels: list[Path], environment: Path) -> None:
    checked([python, "-m", "venv", environment])
    (package,) = (wheel for wheel in wheels if "_models_" not in wheel.name)
    pip = [environment / "bin" / "python", "-m", "pip", "install", "--quiet"]
    pip += ["--disable-pip-version-check"]
    checked([*pip, f"{package}[music,plot,serving]", *(w for w in wheels if w != package)])


def play(user: User) -> None:
    """What a new user does with music."""
    assert user.tool("--version").strip()
    assert "f_rnn_bach" in user.tool("list") and "exact" in user.tool("info f_rnn_bach")
    user.tool("sample rnn_hier_mlp_bach --steps 32 --out drawn.mid")
    user.tool("sample f_rnn_bach --steps 32 --out drawn.png")
    rows = list(csv.DictReader(io.StringIO(user.tool("score rnn_hier_mlp_bach drawn.mid"))))
    assert len(rows) == 1 and rows[0]["unit"] == "nats", rows
    assert float(rows[0]["log_likelihood"]) < 0 and rows[0]["bound"] == "exact", rows
    user.script(NAMES)

    (user.folder / "own").mkdir()
    user.tool("sample f_rnn_bach --steps 64 --count 6 --out own/tune.mid")
    user.tool("data prepare pianoroll --source own --out prepared")
    words = f"train f_rnn --data prepared --steps {UPDATES} --validate-every 5 --out"
    user.tool(f"{words} runs/whole")
    kill(user, f"{words} runs/killed", user.folder / "runs" / "killed" / "checkpoint.weights.h5")
    user.tool(f"{words} runs/killed")
    best = [(user.folder / "runs" / name / "best.json").read_text() for name in ("whole", "killed")]
    assert best[0] == best[1], best
    user.tool("export runs/killed served")
    user.script(SERVED, "served/killed/1")
    # After 20 updates it fits no tune, and `score` warns of that.
    user.run("srnn-tf", "score", "served/killed", "own/tune-1.mid", quiet=False)


def kill(user: User, words: str, checkpoint: Path) -> None:
    """Begin a command, and kill it after its first checkpoint."""
    process = user.start("srnn-tf", *words.split())
    while not checkpoint.exists() and process.poll() is None:
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    print(f"           killed after {checkpoint.name}: {process.returncode}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", action="append", help="An interpreter; all by default.")
    parser.add_argument("--keep", help="The folder to work in, which stays; else a temporary one.")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = arguments.keep or stack.enter_context(tempfile.TemporaryDirectory())
        folder = Path(folder).resolve()
        (folder / "wheels").mkdir(parents=True)
        print("building", flush=True)
        wheels = build(folder / "wheels")
        for python in arguments.python or pythons():
            print(f"{python}: installing", flush=True)
            place = Path(tempfile.mkdtemp(dir=folder))
            install(python, wheels, place / "environment")
            (place / "work").mkdir()
            play(User(place / "environment", place / "work"))
            if not arguments.keep:
                shutil.rmtree(place)
    print("all that was tried works")


if __name__ == "__main__":
    main()
