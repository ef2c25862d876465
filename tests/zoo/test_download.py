"""Published models over HTTP: whole, interrupted, damaged, two at once."""

import http.server
import shutil
import threading

import pytest

from srnn_tf import zoo
from srnn_tf.zoo import artifacts, store
from tests import publishing
from tests.publishing import NAME

# Fixtures.
small = publishing.small
only_here = publishing.only_here


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, and breaks off in files whose names hold `cut`."""

    cut, sent, corrupt = "", [], ""

    def log_message(self, *args):
        pass

    def do_GET(self):
        self.sent.append(self.path)
        if self.corrupt and self.corrupt in self.path:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"something else")
            return
        if not self.cut or self.cut not in self.path:
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        self.wfile.write(b"x" * 10)


@pytest.fixture
def server(small, monkeypatch):
    """An address that serves the published root, known to the package, and its handler."""
    root = small[0]

    class Own(Handler):
        sent: list = []

        def __init__(self, *args):
            super().__init__(*args, directory=str(root))

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Own) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        card = root / NAME / "1" / "assets.extra" / "card.json"
        published = {NAME: {"versions": {"1": artifacts.sha256(card)}}}
        monkeypatch.setattr(store, "published", lambda: published)
        monkeypatch.setattr(
            store, "roots", lambda given=None: [p for p in [store.cache()] if p.is_dir()]
        )
        monkeypatch.setenv("SRNN_TF_ZOO_URL", f"http://127.0.0.1:{running.server_port}/")
        yield Own
        running.shutdown()


def test_download(server, small):
    assert NAME in zoo.names(published=True)
    model = zoo.load(NAME)
    assert int(model.step) == zoo.card(NAME)["training"]["best_update"]
    asked = len(server.sent)
    zoo.load(NAME)
    assert len(server.sent) == asked == len(artifacts.FILES) + 1  # the second from the cache
    held = {p.name for p in store.cache().iterdir()}
    assert NAME in held and not [name for name in held if name.endswith(".part")]


def test_an_interrupted_download_goes_on(server):
    server.cut = "variables.data"
    with pytest.raises(OSError, match="cannot fetch .*variables.data"):
        zoo.load(NAME)
    assert not (store.cache() / NAME).exists()
    asked, server.cut = len(server.sent), ""
    zoo.load(NAME)
    again = server.sent[asked:]
    assert not [path for path in again if "saved_model.pb" in path or "card" in path]
    assert [path for path in again if "variables.data" in path]


def test_what_is_sent_must_be_what_was_published(server):
    server.corrupt = "saved_model.pb"
    with pytest.raises(ValueError, match="saved_model.pb is not the file that was published"):
        zoo.load(NAME)
    server.corrupt = "card.json"
    shutil.rmtree(store.cache())
    with pytest.raises(ValueError, match="card.json is not the file that was published"):
        zoo.load(NAME)
    server.corrupt = ""
    assert zoo.load(NAME) is not None


def test_two_downloads_at_once_are_one(server):
    found, errors = [], []

    def fetch():
        try:
            found.append(store.download(NAME, 1, store.published()[NAME]["versions"]["1"]))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=fetch) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and len(set(found)) == 1 and len(found) == 3
    assert len(server.sent) == len(artifacts.FILES) + 1
    assert zoo.load(NAME) is not None


def test_no_address_no_server_and_no_cache(server, monkeypatch, tmp_path):
    monkeypatch.setenv("SRNN_TF_ZOO_URL", "http://127.0.0.1:9/")
    with pytest.raises(OSError, match="cannot fetch http://127.0.0.1:9/f_srnn_jsb/1/"):
        zoo.load(NAME)
    monkeypatch.delenv("SRNN_TF_ZOO_URL")
    with pytest.raises(OSError, match="is in none of .*set SRNN_TF_ZOO_URL"):
        zoo.load(NAME)
    monkeypatch.setenv("SRNN_TF_ZOO_URL", "http://127.0.0.1:9/")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SRNN_TF_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(OSError, match="cannot be written .*; set SRNN_TF_CACHE"):
        zoo.load(NAME)
