"""The pages of `docs/` and the code in them, for tests."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
MADE = ("_build", "_ext", "models", "repository")  # by the build, or no pages


def read(path):
    """The text of a page; of a notebook its prose, and its command lines as blocks."""
    text = path.read_text("utf-8")
    if path.suffix == ".md":
        return text
    parts = []
    for cell in json.loads(text)["cells"]:
        source = "".join(cell["source"])
        if source.startswith("!"):
            parts.append(re.sub("^!?", "    ", source, flags=re.MULTILINE))
        elif cell["cell_type"] == "markdown":
            parts.append(source)
    return "\n\n".join(parts)


PAGES = {
    path.relative_to(ROOT).as_posix(): read(path)
    for path in sorted([*DOCS.rglob("*.md"), *DOCS.glob("*/*.ipynb")])
    if path.relative_to(DOCS).parts[0] not in MADE
}
FENCE = re.compile(r"^( *)(`{3,})(.*?)\n(.*?)^\1\2`*$", re.MULTILINE | re.DOTALL)


def fences(text):
    """The language and the text of each block of code between fences."""
    return [(match[3].strip(), match[4]) for match in FENCE.finditer(text)]


def python(text):
    """The blocks that are Python."""
    return [code for language, code in fences(text) if language == "python"]


def indented(text):
    """The lines of blocks that are indented by four spaces, after a blank line."""
    lines, inside, before = [], False, ""
    for line in FENCE.sub("", text).splitlines():
        is_code = line.startswith("    ")
        inside = is_code and (inside or not before.strip())
        if inside:
            lines.append(line.strip())
        before = line
    return lines


def commands(text):
    """The command lines of `srnn-tf` that are shown: continued lines joined, without comment."""
    text = "\n".join(indented(text)).replace("\\\n", " ")
    found = re.findall(r"(?:^|\s)srnn-tf ([a-z-].*)", text)
    return [re.split(r"\s+#|\s+[|>;]\s?|;", line)[0].strip().rstrip(")\"'") for line in found]
