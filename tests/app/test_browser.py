"""The page in a browser: it plays, takes files, tells errors in words, and asks nobody else.

It needs the extras `app` and `browser`, and Chromium of the system (`apt-get install chromium`).
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import srnn_tf
from srnn_tf import data
from srnn_tf.app import limits

pytest.importorskip("gradio", reason="no gradio: pip install 'srnn-tf[app]'")
playwright = pytest.importorskip(
    "playwright.sync_api", reason="no playwright: pip install 'srnn-tf[browser]'"
)
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium"),
]
ROOT = Path(srnn_tf.__file__).parents[1]
CODE = "from srnn_tf import command; command.main(['app'])"
SECONDS = 120_000  # milliseconds that an answer may take on a busy machine
HUGE = 100 << 20


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    for name, low in (("low.mid", 10), ("high.mid", 50)):
        roll = np.zeros([48, 88], np.uint8)
        roll[np.arange(48), low + rng.integers(0, 12, 48)] = 1
        data.write_midi(roll, folder / name, bpm=90)
    (folder / "text.mid").write_text("this is no music\n" * 20)
    data.write_wav(np.zeros(16000), folder / "silent.wav")
    with (folder / "huge.mid").open("wb") as file:
        file.truncate(HUGE)
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of the page, and the folder of its temporary files."""
    folder = tmp_path_factory.mktemp("temporary")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TF_")}
    environment |= {"TMPDIR": str(folder), "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.Popen(
        [sys.executable, "-c", CODE],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    line = process.stdout.readline()
    found = re.fullmatch(r"listening on (http://127\.0\.0\.1:\d+), until Ctrl-C\n", line)
    if not found:
        process.kill()
        pytest.fail(f"{line}{process.communicate()[1]}")
    yield found[1], folder
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, out, errors.strip()) == (130, "", "error: interrupted")
    assert not list(folder.iterdir())  # its folder went with it


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"],
        )
        yield launched
        launched.close()


@contextlib.contextmanager
def opened(browser, address, width=1200):
    """A user: the page in a session of its own; what it asks of others and what fails is told."""
    context = browser.new_context(viewport={"width": width, "height": 900})
    page, wrong = context.new_page(), []
    page.set_default_timeout(SECONDS)
    page.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("response", lambda r: wrong.append(f"{r.status} {r.url}") if r.status > 399 else None)
    ours = (f"{address}/", "data:", f"blob:{address}/")
    page.on("request", lambda r: None if r.url.startswith(ours) else wrong.append(r.url[:200]))
    page.goto(f"{address}/")
    page.wait_for_selector("#draw")
    page.wrong = wrong
    yield page
    assert wrong == []
    context.close()


def drop(page, path):
    page.get_by_role("tab", name="A file of yours").click()
    page.set_input_files("#drop input[type=file]", path)


def text(page, place, contains):
    """The text of an answer, once it contains some."""
    page.wait_for_function(
        "([place, text]) => document.querySelector(place)?.innerText.includes(text)",
        arg=[place, contains],
    )
    return page.inner_text(place)


def test_a_sample_is_drawn_seen_and_heard(browser, server):
    with opened(browser, server[0]) as page:
        page.fill("#seed input", "3")
        page.click("#draw")
        page.wait_for_selector("#sample audio")
        assert "seed 3, temperature 1" in page.inner_text("#sample h3")
        assert page.evaluate("document.querySelector('#sample img').naturalWidth") > 600
        page.evaluate("document.querySelector('#sample audio').play()")
        page.wait_for_function("document.querySelector('#sample audio').currentTime > 0.3")
        with page.expect_download() as download:
            page.click("#sample a[download]")
        roll = data.read_midi(download.value.path().rename(server[1].parent / "sample.mid"))
        assert 1 < len(roll) <= 64


def test_a_file_is_scored_continued_and_compared(browser, server, files):
    with opened(browser, server[0]) as page:
        drop(page, files / "low.mid")
        told = text(page, "#scored", "The most surprising moments")
        assert "low.mid, as f_rnn_bach sees it" in told and "does not fit it" in told
        row = r"f_rnn_bach\s+-\d+\.\d{4} nats\s+-\d+\.\d{4} nats\s+48\s+-\s+full\s+exact"
        assert re.search(row, told)
        assert page.evaluate("document.querySelector('#scored img').naturalHeight") > 350
        assert page.locator("#scored audio").count() == 3
        page.evaluate("document.querySelector('#scored audio').play()")
        page.wait_for_function("document.querySelector('#scored audio').currentTime > 0.1")
        page.fill("#length input[type=number]", "2")
        page.click("#go_on")
        assert "low.mid, continued by 2 bars" in text(page, "#continued", "continued by")
        with page.expect_download() as download:
            page.click("#continued a[download]")
        assert download.value.suggested_filename == "low-continued.mid"
        longer = data.read_midi(download.value.path().rename(server[1].parent / "longer.mid"))
        np.testing.assert_array_equal(longer[:48], data.read_midi(files / "low.mid"))
        assert 48 < len(longer) <= 48 + 16
        page.click("#compare")
        told = text(page, "#compared", "nats more than")
        assert "delta_rnn_random_bach" in told and told.count("full\texact") == 2


def test_what_cannot_be_scored_is_told_in_words(browser, server, files):
    with opened(browser, server[0]) as page:
        drop(page, files / "text.mid")
        assert "text.mid: is not readable as MIDI" in text(page, "#scored", "text.mid")
        drop(page, files / "silent.wav")
        told = text(page, "#scored", "silent.wav")
        assert "is a file of speech; f_rnn_bach is a model of music" in told
        page.click("#model input")
        page.get_by_role("option", name="rnn_hier_speech_commands (speech, exact)").first.click()
        text(page, "#length", "tenths of a second")
        page.click("#score")
        assert "silent.wav is silent" in text(page, "#scored", "is silent")


def test_a_file_that_is_too_large_is_not_sent(browser, server, files):
    sent = []
    with opened(browser, server[0]) as page:
        page.on("request", lambda request: sent.append(request.method))
        drop(page, files / "huge.mid")
        told = f"exceed the maximum allowed size of {limits.MOST_BYTES >> 20}.0 Mb"
        page.get_by_text(told).wait_for()
        page.wait_for_timeout(1000)  # Gradio asks how far a sending is that it has not begun
        page.wrong[:] = [w for w in page.wrong if "404" not in w and w != "Response"]
    assert "POST" not in sent


def test_users_do_not_see_each_other_s_files(browser, server, files):
    address, folder = server
    with opened(browser, address) as one, opened(browser, address) as two:
        drop(one, files / "low.mid")
        drop(two, files / "high.mid")
        first = text(one, "#scored", "The most surprising moments")
        second = text(two, "#scored", "The most surprising moments")
        assert "low.mid" in first and "high.mid" not in one.content()
        assert "high.mid" in second and "low.mid" not in two.content()
        one.click("#go_on")
        assert "low.mid, continued" in text(one, "#continued", "continued by")
        with opened(browser, address) as three:
            three.get_by_role("tab", name="A file of yours").click()
            three.click("#score")
            assert "drop a file first" in text(three, "#scored", "first")
            assert ".mid" not in three.inner_text("#note")
    left = [path for path in folder.rglob("*") if path.is_file()]
    assert left == []  # what was sent is not kept


def test_on_a_phone_nothing_is_wider_than_the_screen(browser, server, files):
    with opened(browser, server[0], width=390) as page:
        drop(page, files / "low.mid")
        text(page, "#scored", "The most surprising moments")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
