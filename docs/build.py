"""Build the site: `python docs/build.py`, which `make docs` calls.

It is written to `docs/_build/html/VERSION/`. Beside it are `versions.js`, the list of the versions
that are there, and `index.html`, which leads to the newest one. A folder of an earlier version
stays as it is.
"""

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

DOCS = Path(__file__).resolve().parent
OUT = DOCS / "_build" / "html"
# Elements that a browser loads by themselves, with the attribute that says from where.
LOADED = {
    "audio": "src",
    "embed": "src",
    "iframe": "src",
    "img": "src",
    "link": "href",
    "script": "src",
    "source": "src",
    "video": "src",
}
LATEST = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>srnn_tf</title>
<link rel="icon" href="{0}/_static/logo.svg">
<meta http-equiv="refresh" content="0; url={0}/index.html">
<a href="{0}/index.html">srnn_tf {0}</a>
</html>
"""


class Resources(HTMLParser):
    """The addresses of what a page loads from elsewhere."""

    def __init__(self, page: str):
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        address = dict(attrs).get(LOADED.get(tag, "")) or ""
        if re.match(r"(https?:)?//", address):
            self.found.append(address)


def foreign(folder: Path) -> list[str]:
    """What pages or style sheets of a folder load from elsewhere: 'FILE: ADDRESS'."""
    found = []
    for path in sorted(folder.rglob("*.html")):
        found += [f"{path.relative_to(folder)}: {a}" for a in Resources(path.read_text()).found]
    for path in sorted(folder.rglob("*.css")):
        for address in re.findall(
            r"(?:@import|url\()\s*['\"]?((?:https?:)?//[^'\")\s]+)", path.read_text()
        ):
            found.append(f"{path.relative_to(folder)}: {address}")
    return found


def versions(out: Path) -> list[str]:
    """The versions that are there, the newest first."""

    def numbers(name: str) -> list[int]:
        return [int(n) for n in re.findall(r"\d+", name)]

    names = [p.parent.name for p in out.glob("*/searchindex.js")]
    return sorted(names, key=numbers, reverse=True)


def write_versions(out: Path) -> None:
    """Write the list of versions, and the page that leads to the newest."""
    names = versions(out)
    text = f"window.SRNN_TF_VERSIONS = {json.dumps(names)};\n"
    (out / "versions.js").write_text(text, "utf-8")
    (out / "index.html").write_text(LATEST.format(names[0]), "utf-8")


def main(arguments: list[str]) -> int:
    """Build the pages of this version; a warning or something foreign is an error."""
    from sphinx.cmd import build

    sys.path.insert(0, str(DOCS))
    import conf

    target = OUT / conf.version
    trees = str(DOCS / "_build" / "doctrees")
    options = ["-W", "--keep-going", "-n", "-E", "-b", "html", "-d", trees]
    status = build.main([*options, *arguments, str(DOCS), str(target)])
    if status:
        return status
    write_versions(OUT)
    for line in (elsewhere := foreign(target)):
        print(f"error: loaded from elsewhere: {line}", file=sys.stderr)
    print(f"{target}/index.html")
    return int(bool(elsewhere))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
