"""What small hostile files of every kind cost: `python -m tests.hostile` lists them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_every_small_file_ends_in_ten_seconds_and_a_gigabyte():
    # A fresh process, from which others are forked: TensorFlow has not begun in it.
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile"],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
