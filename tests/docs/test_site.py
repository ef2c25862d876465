"""The built site in a browser: it needs the extras `docs` and `browser`, and Chromium.

Everything is served from this machine; nothing may be loaded from elsewhere.
"""

import contextlib
import functools
import html.parser
import http.server
import os
import re
import runpy
import shutil
import subprocess
import sys
import threading
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest

import srnn_tf
from tests import pages

BUILD = runpy.run_path(str(pages.DOCS / "build.py"))
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
ABORTED = "net::ERR_ABORTED"
MOST = 1_500_000  # bytes of a page, without its sound
SOUND = (".ogg", ".mp3", ".wav")


def modules(*names):
    for name in names:
        pytest.importorskip(name, reason=f"pip install -e '.[docs,browser]': {name} is missing")


@pytest.fixture(scope="module")
def site():
    """The folder of the built site of this version."""
    modules("sphinx", "myst_nb", "furo", "sphinx_design", "latex2mathml", "ziamath")
    done = subprocess.run(
        [sys.executable, "docs/build.py", "-q"], cwd=pages.ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return pages.DOCS / "_build" / "html" / srnn_tf.__version__


@pytest.fixture(scope="module")
def address(site):
    """The address of the site, on loopback."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format, *args):
            pass

    handler = functools.partial(Handler, directory=str(site.parent))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/{site.name}/"
    server.shutdown()


@pytest.fixture(scope="module")
def browser():
    modules("playwright")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium; on Debian: apt install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = ["--autoplay-policy=no-user-gesture-required"]
        arguments += ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)


@contextlib.contextmanager
def page(browser, size=DESK):
    """A page, and a list of what its console and its requests complain about."""
    context = browser.new_context(viewport=size)
    shown, errors = context.new_page(), []
    shown.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    shown.on("pageerror", lambda error: errors.append(str(error)))
    # The icon of a page that is left at once is not loaded to its end.
    shown.on("requestfailed", lambda r: r.failure == ABORTED or errors.append(f"failed: {r.url}"))
    try:
        yield shown, errors
    finally:
        context.close()


def names(site):
    return [p.relative_to(site).as_posix() for p in sorted(site.rglob("*.html"))]


@pytest.fixture(scope="module")
def seen(site, address, browser):
    """What a visit to each page at the width of a phone tells, by its name."""
    found = {}
    with page(browser, PHONE) as (shown, errors):
        weight, foreign = [], []

        def record(response):
            if not response.url.startswith(address.rsplit("/", 2)[0]):
                foreign.append(response.url)
            elif not response.url.endswith(SOUND):
                weight.append(int(response.headers.get("content-length", 0)))

        shown.on("response", record)
        for name in names(site):
            errors.clear(), weight.clear(), foreign.clear()
            shown.goto(address + name, wait_until="load")
            found[name] = {
                "errors": [*errors],
                "foreign": [*foreign],
                "weight": sum(weight),
                "width": shown.evaluate("document.documentElement.scrollWidth"),
                "levels": shown.eval_on_selector_all(
                    "h1, h2, h3, h4, h5, h6", "all => all.map(x => Number(x.tagName[1]))"
                ),
                "unnamed": shown.eval_on_selector_all(
                    "img", "all => all.filter(x => !x.alt.trim()).map(x => x.src)"
                ),
            }
    return found


def wrong(seen, key, is_right):
    return {name: visit[key] for name, visit in seen.items() if not is_right(visit[key])}


@pytest.mark.slow
def test_no_page_complains_or_loads_anything_from_elsewhere(seen):
    assert len(seen) > 40
    assert wrong(seen, "errors", lambda errors: not errors) == {}
    assert wrong(seen, "foreign", lambda foreign: not foreign) == {}


@pytest.mark.slow
def test_nothing_is_wider_than_a_phone(seen):
    assert wrong(seen, "width", lambda width: width <= PHONE["width"]) == {}


@pytest.mark.slow
def test_pages_are_light(seen):
    assert wrong(seen, "weight", lambda weight: 1000 < weight < MOST) == {}


@pytest.mark.slow
def test_headings_are_in_order_and_pictures_have_a_text(seen):
    def in_order(levels):
        steps = zip(levels, levels[1:], strict=False)
        return levels[:1] == [1] and levels.count(1) == 1 and all(b <= a + 1 for a, b in steps)

    assert wrong(seen, "levels", in_order) == {}
    assert wrong(seen, "unnamed", lambda pictures: not pictures) == {}


class Links(html.parser.HTMLParser):
    """The links of a page, and the places in it that links can lead to."""

    def __init__(self, text):
        super().__init__()
        self.links, self.places = set(), {""}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.places |= {given[k] for k in ("id", "name") if given.get(k)}
        self.links |= {given[k] for k in ("href", "src") if given.get(k)}


@pytest.mark.slow
def test_all_internal_links_answer(site):
    read = {name: Links((site / name).read_text("utf-8")) for name in names(site)}
    dead = []
    for name, links in read.items():
        for link in links.links:
            if urlsplit(link).scheme or link.startswith("//"):
                continue
            path, place = urldefrag(urljoin(f"/site/{name}", link))
            file = (site / unquote(urlsplit(path).path).removeprefix("/site/")).resolve()
            if path.endswith("/"):
                continue  # of the folder of versions, which a script completes
            if urlsplit(path).path.startswith("/site/") and path.endswith(".html"):
                target = read.get(file.relative_to(site.resolve()).as_posix())
                if target is None or unquote(place) not in target.places:
                    dead.append(f"{name}: {link}")
            elif link != "../versions.js" and not file.is_file() and "versions.js" not in link:
                dead.append(f"{name}: {link}")
    assert dead == []


@pytest.mark.slow
def test_search_finds_a_word(address, browser):
    with page(browser) as (shown, errors):
        shown.goto(address)
        shown.fill("input[name=q]", "FIVO")
        shown.press("input[name=q]", "Enter")
        shown.wait_for_selector("#search-results li a")
        results = shown.eval_on_selector_all(
            "#search-results li", "all => all.map(x => x.innerText)"
        )
        assert sum("FIVO" in text for text in results) > 3
        assert any("Objectives and bounds" in text for text in results)
        assert not errors


@pytest.mark.slow
def test_the_sound_of_the_first_page_plays_and_its_line_moves(address, browser):
    with page(browser) as (shown, errors):
        shown.goto(address)
        assert shown.eval_on_selector("figure.player .head", "x => x.style.left") in ("", "0px")
        shown.evaluate("document.querySelector('audio').play()")
        shown.wait_for_function("document.querySelector('audio').currentTime > 0.3")
        left = shown.eval_on_selector("figure.player .head", "x => parseFloat(x.style.left)")
        assert 4 < left < 100 and not errors


@pytest.mark.slow
def test_the_gallery_plays(site, address, browser):
    if not (site / "gallery.html").is_file():
        pytest.skip("there is no gallery")
    with page(browser) as (shown, errors):
        shown.goto(f"{address}gallery.html")
        count = shown.eval_on_selector_all("audio", "all => all.length")
        assert count > 3
        shown.evaluate("document.querySelector('audio').play()")
        shown.wait_for_function("document.querySelector('audio').currentTime > 0.3")
        assert not errors


@pytest.mark.slow
def test_versions_are_listed_and_the_newest_is_found(site, address, browser):
    with page(browser) as (shown, errors):
        shown.goto(address.rsplit("/", 2)[0] + "/index.html")
        shown.wait_for_url(f"**/{srnn_tf.__version__}/index.html", wait_until="load")
        assert srnn_tf.__version__ in shown.eval_on_selector_all(
            "#versions option", "all => all.map(x => x.value)"
        )
        assert srnn_tf.__version__ in shown.title() and not errors


@pytest.mark.slow
def test_equations_are_maths(address, browser):
    with page(browser) as (shown, errors):
        for name in ("concepts", "objectives", "protocols", "likelihoods", "proposition-1"):
            shown.goto(f"{address}{name}.html")
            sizes = shown.eval_on_selector_all("math", "all => all.map(x => x.clientHeight || 1)")
            assert len(sizes) > 3, name
            assert not re.search(r"\\[a-z]+\{|\$\$", shown.inner_text("article")), name
        assert shown.evaluate("document.fonts.check('16px \"srnn_tf maths\"')") and not errors


WRONG = {
    "a link": ("[text](nothing.md)", "nothing.md"),
    "an anchor": ("[text](#nowhere)", "nowhere"),
    "a name": ("{py:class}`srnn_tf.structures.Nothing`", "srnn_tf.structures.Nothing"),
    "an equation": (r"$\nothing x$", "not known to latex2mathml"),
    "a picture": ("![text](nothing.png)", "nothing.png"),
    "a page": ("```{toctree}\nnothing\n```", "nothing"),
}


@pytest.mark.slow
def test_what_is_broken_fails_the_build(tmp_path):
    modules("sphinx", "myst_nb", "furo", "sphinx_design", "latex2mathml")
    text = "\n\n".join(["# Title", *(text for text, _ in WRONG.values())])
    (tmp_path / "index.md").write_text(text, "utf-8")
    options = ["-W", "--keep-going", "-n", "-q", "-c", str(pages.DOCS)]
    options += ["-D", "html_static_path=", "-D", "html_logo=", "-D", "html_favicon="]
    build = [sys.executable, "-m", "sphinx", *options, str(tmp_path), str(tmp_path / "out")]
    done = subprocess.run(build, cwd=pages.ROOT, capture_output=True, text=True)
    warnings = [line for line in done.stderr.splitlines() if "WARNING" in line]
    assert done.returncode == 1
    for kind, (_, said) in WRONG.items():
        assert any(said in line for line in warnings), (kind, warnings)


def test_what_is_loaded_from_elsewhere_is_found(tmp_path):
    ours = '<a href="https://a.org"></a><img src="a.png"><link rel="stylesheet" href="b.css">'
    (tmp_path / "fine.html").write_text(ours)
    (tmp_path / "b.css").write_text("@import url(c.css); a { background: url('d.png') }")
    assert BUILD["foreign"](tmp_path) == []
    for i, text in enumerate(('<script src="https://a.org/x.js">', '<img src="//a.org/x.png">')):
        (tmp_path / f"{i}.html").write_text(text)
    (tmp_path / "font.css").write_text("@font-face { src: url(https://a.org/x.woff2) }")
    assert BUILD["foreign"](tmp_path) == [
        "0.html: https://a.org/x.js",
        "1.html: //a.org/x.png",
        "font.css: https://a.org/x.woff2",
    ]


def test_versions_are_in_order(tmp_path):
    for name in ("0.9.0", "0.10.0", "0.2.0"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "searchindex.js").touch()
    BUILD["write_versions"](tmp_path)
    assert '["0.10.0", "0.9.0", "0.2.0"]' in (tmp_path / "versions.js").read_text()
    assert "url=0.10.0/index.html" in (tmp_path / "index.html").read_text()


def test_links_to_files_of_the_repository_become_pages_or_addresses(monkeypatch):
    monkeypatch.syspath_prepend(str(pages.DOCS / "_ext"))
    links = runpy.run_path(str(pages.DOCS / "_ext" / "repository.py"))["target"]
    at = "https://a.org/b"
    for link, source, here, wanted in (
        (
            "../benchmarks/README.md#training",
            "docs/performance.md",
            "performance",
            "repository/benchmarks.md#training",
        ),
        ("../zoo/RESULTS.md", "docs/tutorials/index.md", "tutorials/index", None),
        (
            "../../zoo/RESULTS.md",
            "docs/tutorials/index.md",
            "tutorials/index",
            "../repository/results.md",
        ),
        ("docs/data.md", "CONTRIBUTING.md", "repository/contributing", "../data.md"),
        ("../LICENSE", "docs/citing.md", "citing", f"{at}/blob/main/LICENSE"),
        ("../tests", "docs/citing.md", "citing", f"{at}/tree/main/tests"),
        ("https://c.org", "docs/citing.md", "citing", "https://c.org"),
        ("../nothing.md", "docs/citing.md", "citing", "../nothing.md"),
    ):
        assert links(link, source, here, at) == (wanted or link)
