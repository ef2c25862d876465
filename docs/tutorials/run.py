"""Run the tutorials again and store their outputs: `python docs/tutorials/run.py [NAME ...]`.

`make notebooks` calls it. Each runs in a folder of its own, which is removed. Stored is what a
reader sees, and nothing of the machine: no times, no paths, no versions.
"""

import os
import re
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
SECONDS = 600  # for a cell, on a busy machine
CHECK = "check"  # the tag of cells that are not stored
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "pygments_lexer": "ipython3"},  # knows `!` and `%%`
}


def checked(cells):
    """The cells, each command followed by a check: IPython goes on where a command fails."""
    from nbformat.v4 import new_code_cell

    for cell in cells:
        yield cell
        if cell.cell_type == "code" and cell.source.startswith("!"):
            yield new_code_cell("assert not _exit_code, _exit_code", metadata={"tags": [CHECK]})


def executed(notebook, folder):
    """Run the cells in `folder`; an error in one, or in a command, is an error here.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    from nbclient import NotebookClient

    notebook.cells = list(checked(notebook.cells))
    tools = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    environment = {
        "PATH": os.pathsep.join(tools),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "COLUMNS": "88",
        "NO_COLOR": "1",
    }
    client = NotebookClient(
        notebook,
        timeout=SECONDS,
        kernel_name="python3",
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        client.execute()
    finally:
        os.environ.clear()
        os.environ.update(before)
    return notebook


def plain(text):
    """Text of a terminal as it stands in the end: no colours, bars of progress or times."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r\n", "\n")
    text = re.sub(r"[^\n]*[\r\b](?!\n)", "", text)
    text = re.sub(r"^ *\d+/\d+ .*/step - ", "", text, flags=re.MULTILINE)
    lines = [line.rstrip() for line in text.splitlines() if "\u2501" not in line]
    return "\n".join(lines) + "\n"


def stored(notebook):
    """What is kept: the outputs that a reader sees, cells with their number as a name."""
    notebook.metadata = METADATA
    notebook.cells = [c for c in notebook.cells if CHECK not in c.metadata.get("tags", [])]
    code = [c for c in notebook.cells if c.cell_type == "code"]
    for count, cell in enumerate(code, 1):
        cell.execution_count = count
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = count
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        cell.metadata = {k: v for k, v in cell.metadata.items() if k in ("mystnb", "tags")}
        if cell.cell_type != "code":
            continue
        shown = [o for o in cell.outputs if o.get("name") != "stderr"]
        for output in shown:
            if "text" in output:
                output.text = plain(output.text)
            output.get("metadata", {}).clear()
        cell.outputs = shown
    return notebook


def run(path, write=True):
    """Run one notebook, and store it."""
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        notebook = stored(executed(notebook, folder))
    if write:
        nbformat.write(notebook, path)
    return notebook


def main(names):
    """Run those that are named, without their ending, or all."""
    paths = sorted(FOLDER.glob("*.ipynb"))
    unknown = set(names) - {p.stem for p in paths}
    if unknown:
        known = ", ".join(p.stem for p in paths)
        strange = ", ".join(sorted(unknown))
        print(f"error: no notebook {strange}; there are {known}", file=sys.stderr)
        return 2
    for path in paths:
        if not names or path.stem in names:
            print(path.name, flush=True)
            run(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
