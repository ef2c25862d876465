"""Published models over HTTP: whole, interrupted, damaged, two at once."""

import base64
import http.server
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from srnn_tf import zoo
from srnn_tf.core import files
from srnn_tf.zoo import artifacts, fetching, store
from tests import publishing
from tests.publishing import NAME

# Fixtures.
small = publishing.small
only_here = publishing.only_here


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, and breaks off in files whose names hold `cut`."""

    cut, sent, corrupt, slow, giant, elsewhere = "", [], "", "", "", ""
    busy, code = "", 503
    authorized: list = []

    def log_message(self, *args):
        pass

    def drip(self):
        """Bytes of the header or of the body, one at a time."""
        try:
            if self.slow == "body":
                self.send_response(200)
                self.end_headers()
            elif self.slow == "header":
                self.wfile.write(b"HTTP/1.0 200 OK\r\nX-Slow: ")
            while True:
                if self.slow != "answer":
                    self.wfile.write(b"x")
                    self.wfile.flush()
                time.sleep(0.05)
        except OSError:
            pass

    def do_GET(self):
        self.sent.append(self.path)
        self.authorized.append(self.headers.get("Authorization"))
        if self.elsewhere:
            self.send_response(302)
            self.send_header("Location", self.elsewhere + self.path)
            self.end_headers()
            return
        if self.giant and self.giant in self.path:
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(bytes(1 << 16))
            except OSError:
                return
        if self.slow:
            self.drip()
            return
        if self.busy and self.busy in self.path:
            return self.send_error(self.code)
        if self.corrupt and self.corrupt in self.path:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"something else")
            return
        if not self.cut or self.cut not in self.path:
            return super().do_GET()
        self.send_response(200)
        size = os.path.getsize(self.translate_path(self.path))
        self.send_header("Content-Length", str(size))
        self.end_headers()
        self.wfile.write(b"x" * 10)


@pytest.fixture
def server(small, monkeypatch):
    """An address that serves the published root, known to the package, and its handler."""
    root = small[0]

    class Own(Handler):
        sent: list = []
        authorized: list = []

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
        monkeypatch.setattr(store, "RETRIES", 0)  # before which pooch waits
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


@pytest.mark.parametrize("fault", ["cut", "corrupt", "busy"])
def test_what_went_wrong_once_is_tried_again(fault, server, monkeypatch):
    """A connection that breaks, a file that comes damaged, a server that is busy; not a 404."""
    monkeypatch.setattr(store, "RETRIES", 2)
    monkeypatch.setattr(time, "sleep", lambda seconds: setattr(server, fault, ""))
    setattr(server, fault, "saved_model.pb")
    assert zoo.load(NAME) is not None
    assert len([path for path in server.sent if "saved_model.pb" in path]) == 2
    asked = len(server.sent)
    shutil.rmtree(store.cache())
    server.busy, server.code = "card.json", 404
    with pytest.raises(OSError, match="cannot fetch .*card.json: HTTP 404"):
        zoo.load(NAME)
    assert len(server.sent) == asked + 1


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


@pytest.mark.parametrize("slow", ["answer", "header", "body"])
def test_a_download_has_an_end_however_slowly_bytes_come(slow, server, monkeypatch):
    monkeypatch.setenv("SRNN_TF_ZOO_TIMEOUT", "0.6")
    server.slow = slow
    began = time.monotonic()
    with pytest.raises(OSError, match="cannot fetch .*card.json: it took too long"):
        zoo.load(NAME)
    assert time.monotonic() - began < 10.0
    server.slow = ""
    monkeypatch.delenv("SRNN_TF_ZOO_TIMEOUT")
    assert zoo.load(NAME) is not None


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "soon"])
def test_a_timeout_that_is_none(value, server, monkeypatch):
    monkeypatch.setenv("SRNN_TF_ZOO_TIMEOUT", value)
    with pytest.raises(ValueError, match=f"SRNN_TF_ZOO_TIMEOUT must be .*received '{value}'"):
        zoo.load(NAME)


@pytest.mark.parametrize("told", [False, True])
def test_no_more_is_read_than_a_file_can_have(told, server, monkeypatch):
    server.giant = "card.json"
    if told:

        def told_length(handler):
            if "card.json" not in handler.path:
                return http.server.SimpleHTTPRequestHandler.do_GET(handler)
            handler.send_response(200)
            handler.send_header("Content-Length", str(1 << 40))
            handler.end_headers()

        monkeypatch.setattr(server, "do_GET", told_length)
    with pytest.raises(ValueError, match="card.json is larger than 1048576 bytes"):
        zoo.load(NAME)
    assert not list(store.cache().rglob("tmp*"))


def test_a_known_size_is_compared_before_and_while_reading(server, small, tmp_path):
    base = os.environ["SRNN_TF_ZOO_URL"]
    address = fetching.Address.of(base).below(f"{NAME}/1/saved_model.pb")
    size = (small[0] / NAME / "1" / "saved_model.pb").stat().st_size
    fetching.fetch(address, tmp_path / "a", 1 << 30, time.monotonic() + 60, size)
    assert (tmp_path / "a").stat().st_size == size
    for other in (size - 1, size + 1):
        with pytest.raises(ValueError, match=f"has not {other} bytes"):
            fetching.fetch(address, tmp_path / "b", 1 << 30, time.monotonic() + 60, other)
    server.giant = "saved_model.pb"
    with pytest.raises(ValueError, match=f"has not {size} bytes"):
        fetching.fetch(address, tmp_path / "b", 1 << 30, time.monotonic() + 60, size)


@pytest.mark.parametrize(
    "secret", ["http://me:s3cret%2F@127.0.0.1:{}/", "http://127.0.0.1:{}/?token=s3cret%2F"]
)
def test_secrets_are_sent_and_not_told(secret, server, monkeypatch):
    port = os.environ["SRNN_TF_ZOO_URL"].rsplit(":", 1)[1].rstrip("/")
    monkeypatch.setenv("SRNN_TF_ZOO_URL", secret.format(port))
    server.cut = "variables.data"
    for change in (lambda: None, lambda: monkeypatch.setenv("SRNN_TF_ZOO_URL", secret.format(9))):
        change()
        with pytest.raises(OSError) as error:
            zoo.load(NAME)
        told = [str(error.value), str(error.value.__cause__), str(error.value.__context__)]
        assert "s3cret" not in "".join(told) and "cannot fetch http://127.0.0.1" in told[0]
    if "token" in secret:
        assert all("token=s3cret%2F" in path for path in server.sent)
    else:
        expected = "Basic " + base64.b64encode(b"me:s3cret/").decode()
        assert set(server.authorized) == {expected}
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as other:
            threading.Thread(target=other.serve_forever, daemon=True).start()
            monkeypatch.setattr(Handler, "authorized", [])
            monkeypatch.setattr(Handler, "sent", [])
            server.elsewhere = f"http://127.0.0.1:{other.server_port}"
            monkeypatch.setenv("SRNN_TF_ZOO_URL", secret.format(port))
            with pytest.raises(OSError, match="HTTP 404"):
                zoo.load(NAME)
            assert Handler.authorized == [None]  # the other host gets no password
            other.shutdown()


def test_a_folder_is_an_address_too(server, small, monkeypatch):
    root = small[0]
    monkeypatch.setenv("SRNN_TF_ZOO_URL", root.as_uri() + "/")
    assert zoo.load(NAME) is not None and not server.sent
    assert (store.cache() / NAME / "1" / "saved_model.pb").is_file()
    shutil.rmtree(store.cache())
    monkeypatch.setenv("SRNN_TF_ZOO_URL", root.as_uri() + "/nowhere")
    with pytest.raises(OSError, match="cannot fetch file:///.*nowhere/.*card.json: No such file"):
        zoo.load(NAME)


def test_what_is_no_regular_file_is_not_waited_for(server, tmp_path, monkeypatch):
    (tmp_path / "fifo" / NAME / "1" / "assets.extra").mkdir(parents=True)
    os.mkfifo(tmp_path / "fifo" / NAME / "1" / "assets.extra" / "card.json")
    monkeypatch.setenv("SRNN_TF_ZOO_URL", (tmp_path / "fifo").as_uri())
    with pytest.raises(OSError, match="cannot fetch .*card.json: .* is a named pipe"):
        zoo.load(NAME)


@pytest.fixture
def hub(server, monkeypatch):
    """A server that looks like the Hub: what it serves is below /ORG/REPO/resolve/REVISION."""
    constants = pytest.importorskip("huggingface_hub.constants")
    port = os.environ["SRNN_TF_ZOO_URL"].rsplit(":", 1)[1].rstrip("/")
    template = f"http://127.0.0.1:{port}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    translate = server.translate_path

    def within(handler, path):
        start, _, rest = path.partition("/resolve/")
        assert start == "/my-org/models"
        return translate(handler, "/" + rest.partition("/")[2])

    monkeypatch.setattr(server, "translate_path", within)
    monkeypatch.setenv("SRNN_TF_ZOO_URL", "hf://my-org/models")
    return server


def test_a_repository_of_the_hub(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_s3cret")
    hub.cut = "variables.data"
    with pytest.raises(OSError, match="cannot fetch http://127.0.0.1:.*/my-org/models") as error:
        zoo.load(NAME)
    assert "s3cret" not in str(error.value)
    hub.cut = ""
    monkeypatch.setenv("SRNN_TF_ZOO_URL", "hf://my-org/models@v1.0/")
    assert zoo.load(NAME) is not None
    assert set(hub.authorized) == {"Bearer hf_s3cret"}
    assert hub.sent[0] == f"/my-org/models/resolve/main/{NAME}/1/assets.extra/card.json"
    assert "/resolve/v1.0/" in hub.sent[-1]


def test_the_hub_is_an_extra_and_may_be_offline(hub, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(OSError, match="cannot fetch hf://my-org/models: HF_HUB_OFFLINE is set"):
        zoo.load(NAME)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"pip install 'srnn-tf\[hub\]'"):
        zoo.load(NAME)
    assert not hub.sent


def test_the_endpoint_of_the_hub_is_that_of_its_library(server):
    """In a process of its own: the library reads the variable once."""
    base = os.environ["SRNN_TF_ZOO_URL"].rstrip("/")
    script = "from srnn_tf.zoo import fetching as f; print(f.Address.of('hf://a/b').below('c'))"
    pytest.importorskip("huggingface_hub")
    light = "import sys, types; p = types.ModuleType('srnn_tf'); p.__path__ = ['srnn_tf']; "
    light += "sys.modules['srnn_tf'] = p; q = types.ModuleType('srnn_tf.zoo'); "
    light += "q.__path__ = ['srnn_tf/zoo']; sys.modules['srnn_tf.zoo'] = q; "
    done = subprocess.run(
        [sys.executable, "-c", light + script],
        capture_output=True,
        text=True,
        cwd=Path(store.__file__).parents[2],
        env={**os.environ, "HF_ENDPOINT": base},
    )
    assert done.stdout == f"{base}/a/b/resolve/main/c\n", done.stderr


@pytest.mark.parametrize("target", ["file:///etc", "ftp://127.0.0.1/x"])
def test_a_redirection_leads_to_no_other_kind_of_address(target, server):
    server.elsewhere = target
    with pytest.raises(OSError, match="cannot fetch .*(redirects to|[Rr]edirection to)"):
        zoo.load(NAME)


@pytest.mark.parametrize(
    "base",
    [
        *("/models", "host/models", "http://", "http://h:s3cret", "ftp://h/", "file://host/models"),
        *("file:models", "hf://", "hf://one", "hf://one/two/three", "hf://me:s3cret@one/two"),
    ],
)
def test_an_address_that_is_none(base, server, monkeypatch):
    monkeypatch.setenv("SRNN_TF_ZOO_URL", base)
    with pytest.raises(ValueError, match="SRNN_TF_ZOO_URL must be an address such as") as error:
        zoo.load(NAME)
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize(
    "link", [NAME, f"{NAME}/1", f".{NAME}.1.part", f".{NAME}.1.part/variables",
             f".{NAME}.1.part/saved_model.pb"]
)  # fmt: skip
@pytest.mark.parametrize("dangling", [False, True])
def test_no_link_leads_out_of_the_cache(link, dangling, server, tmp_path):
    outside = tmp_path / "outside"
    if not dangling:
        outside.mkdir()
    path = store.cache() / link
    path.parent.mkdir(parents=True)
    path.symlink_to(outside)
    with pytest.raises(ValueError, match="is a link; downloads are written to folders"):
        store.download(NAME, 1, store.published()[NAME]["versions"]["1"])
    assert not outside.exists() or not list(outside.iterdir())


def test_the_cache_itself_may_be_a_link(server, tmp_path, monkeypatch):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    monkeypatch.setenv("SRNN_TF_CACHE", str(tmp_path / "link"))
    assert zoo.load(NAME) is not None and (tmp_path / "disk" / NAME / "1").is_dir()


def test_waiting_for_another_download_has_an_end(server, monkeypatch):
    monkeypatch.setenv("SRNN_TF_ZOO_TIMEOUT", "0.3")
    store.cache().mkdir(parents=True)
    message = f"the download of {NAME} version 1 is in use by process {os.getpid()} .*waited 0.3 s"
    with files.locked(store.cache() / f".{NAME}.1.lock", "x"):
        with pytest.raises(OSError, match=message):
            zoo.load(NAME)
    monkeypatch.delenv("SRNN_TF_ZOO_TIMEOUT")
    assert zoo.load(NAME) is not None


def test_a_killed_download_is_gone_on_with(server, small):
    """The lock ends with the process, and what it had fetched is used."""
    script = f"""
        import sys
        from srnn_tf.zoo import fetching, store
        fetch = fetching.fetch
        def stuck(address, path, *rest):
            if "saved_model" in str(address):
                path.write_bytes(b"half")
                print("stuck", flush=True)
                sys.stdin.read()
            fetch(address, path, *rest)
        fetching.fetch = stuck
        store.download({NAME!r}, 1, {store.published()[NAME]["versions"]["1"]!r})
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert process.stdout.readline() == "stuck\n"
    process.kill()
    process.communicate()
    assert list(store.cache().rglob("tmp*"))
    asked = len(server.sent)
    assert zoo.load(NAME) is not None
    assert not [path for path in server.sent[asked:] if "card.json" in path]
    held = (p for p in store.cache().rglob("*") if p.is_file())
    folder = store.cache() / NAME / "1"
    assert {p.relative_to(folder).as_posix() for p in held} - {store._CARD} == {*artifacts.FILES}
