"""Links out of `docs/`: files of the repository are pages of the site, or addresses.

Pages link to files as GitHub does, `../benchmarks/README.md`. Some of these files are pages here:
they are copied to `repository/`. A model's page is that of its card. All others become addresses in
the repository that pyproject.toml names.
"""

import json
import posixpath
import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent
# From a file of the repository to the page that is made of it.
PAGES = {
    "CHANGELOG.md": "repository/changelog",
    "CONTRIBUTING.md": "repository/contributing",
    "benchmarks/README.md": "repository/benchmarks",
    "zoo/RESULTS.md": "repository/results",
}
MODEL = re.compile(r"saved_models/([a-z0-9_]+)(?:/README\.md)?$")
LINK = re.compile(r"(!?\[[^\]]*\])\(([^)\s]+)\)")
FENCE = re.compile(r"^( *)(`{3,}|:{3,}).*?^\1\2`*$", re.MULTILINE | re.DOTALL)


def target(link: str, source: str, page: str, address: str) -> str:
    """Where a link of a page leads.

    Args:
        link: as it is written.
        source: the file that it is written in, relative to the repository.
        page: the name of the page, relative to `docs/`.
        address: of the repository.
    """
    path, mark, anchor = link.partition("#")
    if not path or "://" in link or path.startswith("mailto:"):
        return link
    file = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    here = posixpath.dirname(page)
    if file in PAGES:
        file = f"docs/{PAGES[file]}.md"
    elif (model := MODEL.match(file)) and (DOCS / f"models/{model[1]}.md").is_file():
        file = f"docs/models/{model[1]}.md"
    if file.startswith("docs/"):
        return posixpath.relpath(file.removeprefix("docs/"), here or ".") + mark + anchor
    if not (ROOT / file).exists():
        return link  # which is a warning
    return f"{address}/{'tree' if (ROOT / file).is_dir() else 'blob'}/main/{file}{mark}{anchor}"


def rewritten(text: str, source: str, page: str, address: str) -> str:
    """The text of a page whose links lead somewhere, also outside of the repository."""

    def link(match: re.Match) -> str:
        return f"{match[1]}({target(match[2], source, page, address)})"

    pieces, end = [], 0
    for fence in FENCE.finditer(text):
        is_code = fence[2].startswith("`") and not fence[0].lstrip().startswith("```{")
        if is_code:
            pieces += [LINK.sub(link, text[end : fence.start()]), fence[0]]
            end = fence.end()
    return "".join([*pieces, LINK.sub(link, text[end:])])


def read(app, page, content):
    source = {place: file for file, place in PAGES.items()}.get(page, f"docs/{page}.md")
    suffix, address = Path(app.env.doc2path(page)).suffix, app.config.repository_address
    if suffix == ".md":
        content[0] = rewritten(content[0], source, page, address)
    elif suffix == ".ipynb":
        notebook = json.loads(content[0])
        for cell in notebook["cells"]:
            if cell["cell_type"] == "markdown":
                cell["source"] = rewritten("".join(cell["source"]), source, page, address)
        content[0] = json.dumps(notebook)


def copy(app):
    for file, page in PAGES.items():
        write(f"{page}.md", (ROOT / file).read_text("utf-8"))


def write(name: str, text: str) -> None:
    """A page that is made by the build; it keeps its time if nothing changes."""
    path = DOCS / name
    path.parent.mkdir(exist_ok=True)
    if not path.is_file() or path.read_text("utf-8") != text:
        path.write_text(text, "utf-8")


def setup(app):
    app.add_config_value("repository_address", "", "env")
    app.connect("builder-inited", copy)
    app.connect("source-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
