"""Fail where a tracked file outside of saved_models is above 4 MB: history keeps every version."""

import subprocess
import sys
from pathlib import Path

MOST = 4_000_000  # bytes
ROOT = Path(__file__).parents[1]


def large_files(root: Path = ROOT) -> list[str]:
    """Tracked or staged files that are too large, each with its size in bytes."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", ".", ":!saved_models"],
        cwd=root, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    files = [root / name for name in listed.split("\0") if name]
    sizes = {file: file.stat().st_size for file in files if file.is_file()}
    return [f"{f.relative_to(root)}: {size}" for f, size in sizes.items() if size > MOST]


if __name__ == "__main__":
    sys.exit("\n".join(large_files()) or None)
