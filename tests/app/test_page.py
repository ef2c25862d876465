"""The page as Gradio serves it: on loopback alone, quiet, bounded, and without fonts of others."""

import json
import os
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

import srnn_tf
from srnn_tf import command
from srnn_tf.app import limits, page
from srnn_tf.core import packages

ROOT = Path(srnn_tf.__file__).parents[1]


def test_help_waits_neither_for_tensorflow_nor_for_gradio():
    code = (
        "import sys, contextlib\nfrom srnn_tf import command\n"
        "with contextlib.suppress(SystemExit): command.main(['app', '--help'])\n"
        "print([m for m in ('tensorflow', 'gradio', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "--port" in done.stdout and done.stdout.splitlines()[-1] == "[]", done.stderr


def test_without_gradio_the_error_names_the_extra(capsys, monkeypatch):
    find = packages.importlib.util.find_spec
    monkeypatch.setattr(
        packages.importlib.util, "find_spec", lambda name: None if name == "gradio" else find(name)
    )
    with pytest.raises(SystemExit) as ended:
        command.main(["app"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "error: srnn-tf app needs gradio: pip install 'srnn-tf[app]'\n"
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The address of the page in this process, and its `Blocks`."""
    pytest.importorskip("gradio", reason="no gradio: pip install 'srnn-tf[app]'")
    folder = tmp_path_factory.mktemp("gradio")
    with pytest.MonkeyPatch.context() as patch:
        for key, value in {**page._QUIET, "GRADIO_TEMP_DIR": str(folder)}.items():
            patch.setenv(key, value)
        blocks = page.build()
        _, address, _ = blocks.launch(**page.options())
        yield address, blocks
        blocks.close(verbose=False)


@pytest.mark.slow
def test_the_page_is_of_this_machine_and_asks_nobody(served):
    address, blocks = served
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address) and blocks.share is False
    assert blocks.analytics_enabled is False and blocks.run_history is False
    with urllib.request.urlopen(address) as answer:
        text = answer.read().decode()
    loaded = re.findall(r'<(?:script|link|iframe|img)[^>]*(?:src|href)="(\w+:)?//', text)
    assert not loaded and "fonts.googleapis" not in text
    assert blocks.max_file_size == limits.MOST_BYTES
    assert blocks._queue.max_size == limits.MOST_WAITING
    limited = [fn for fn in blocks.fns.values() if fn.queue and fn.fn is not None]
    assert {(fn.concurrency_id, fn.concurrency_limit) for fn in limited} == {("model", 1)}


@pytest.mark.slow
def test_a_port_that_is_taken_is_one_line(tmp_path):
    pytest.importorskip("gradio", reason="no gradio: pip install 'srnn-tf[app]'")
    with socket.socket() as taken:
        taken.bind((page.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        code = f"from srnn_tf import command; command.main(['app', '--port', '{port}'])"
        environment = {**os.environ, "TMPDIR": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
        )
    message = f"error: port {port} is not free; choose another with --port\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", message)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_client_draws_a_sample(served):
    from gradio_client import Client

    client = Client(served[0], verbose=False)
    html = client.predict("f_rnn_bach", 1, 1.0, 1, api_name="/sample")
    assert "A sample of f_rnn_bach, seed 1" in html


@pytest.mark.slow
def test_a_path_that_was_not_sent_is_neither_read_nor_removed(served, tmp_path):
    path = tmp_path / "private.mid"
    path.write_bytes(b"MThd")
    file = {"path": str(path), "meta": {"_type": "gradio.FileData"}}
    request = urllib.request.Request(
        f"{served[0]}gradio_api/run/receive",
        json.dumps({"data": [file]}).encode(),
        {"Content-Type": "application/json"},
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    assert refused.value.code == 500 and path.read_bytes() == b"MThd"
