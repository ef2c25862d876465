"""Over REST a timeout is a deadline of the whole request, and connections are of one process."""

import contextlib
import http.server
import itertools
import json
import os
import signal
import socket
import threading
import time

import numpy as np
import pytest

from srnn_tf import serving

TIMEOUT, LATE = 0.6, 3.0  # seconds: a deadline, and what the test's machine may add


@contextlib.contextmanager
def server(talk):
    """An address whose connections are each given to `talk`, until the end."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection = listening.accept()[0]
                    threading.Thread(target=alone, args=[connection], daemon=True).start()

        def alone(connection):
            with connection, contextlib.suppress(OSError):
                talk(connection, stop)

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            stop.set()
            listening.shutdown(socket.SHUT_RDWR)


def drip(connection, stop, head, pieces):
    """Send the head at once, and then a piece each twentieth of a second, without end."""
    connection.recv(1 << 16)
    connection.sendall(head)
    for piece in itertools.cycle(pieces):
        if stop.wait(0.05):
            return
        connection.sendall(piece)


OK = b"HTTP/1.1 200 OK\r\n"
SLOW = {
    "a body, a byte at a time": (OK + b"Content-Length: 100000\r\n\r\n", [b" "]),
    "a body of no length": (OK + b"\r\n", [b" "]),
    "chunks": (OK + b"Transfer-Encoding: chunked\r\n\r\n", [b"1\r\n \r\n"]),
    "the size of a chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\n", [b"0"]),
    "headers": (OK, [b"A: b\r\n"]),
    "a header, a byte at a time": (OK + b"A: ", [b"b"]),
    "the status": (b"HTTP/1.1 2", [b"0"]),
    "status 100 again and again": (b"", [b"HTTP/1.1 100 Continue\r\n\r\n"]),
    "a busy server's reason": (
        b"HTTP/1.1 503 Busy\r\nContent-Length: 100000\r\n\r\n",
        [b" "],
    ),
}


def late(where, inputs=None, **kwargs):
    """How a request fails that takes too long, and after how many seconds."""
    with serving.Client(where, "m", timeout=TIMEOUT, **kwargs) as client:
        begun = time.monotonic()
        with pytest.raises(serving.ServingError) as error:
            client.ask("score", inputs or {})
    return error.value.code, time.monotonic() - begun


@pytest.mark.parametrize("name", SLOW)
def test_a_server_that_goes_on_slowly_is_late(name):
    head, pieces = SLOW[name]
    with server(lambda *both: drip(*both, head, pieces)) as where:
        code, seconds = late(where)
    assert code == "DEADLINE_EXCEEDED" and TIMEOUT - 0.1 <= seconds < LATE


def test_a_server_that_reads_slowly_or_not_is_late():
    def sip(connection, stop):
        while not stop.wait(0.05):
            connection.recv(1000)

    inputs = {"frames": np.zeros([1 << 21], np.float32)}  # 10 MB, more than sockets hold
    for talk in (sip, lambda connection, stop: stop.wait(10.0)):
        with server(talk) as where:
            code, seconds = late(where, inputs)
        assert code == "DEADLINE_EXCEEDED" and seconds < LATE


def test_a_server_that_shakes_no_hands_is_late():
    """TLS; the server says nothing, or begins a record that never ends."""
    for head in (b"", b"\x16\x03\x03\x40\x00"):
        with server(lambda *both, head=head: drip(*both, head, [head[:1] or b""])) as where:
            code, seconds = late(where.replace("http://", "https://"))
        assert code == "DEADLINE_EXCEEDED" and seconds < LATE


def test_a_server_that_accepts_nothing_is_late():
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(8):  # fill what the system accepts by itself
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(listening.getsockname())
        code, seconds = late(f"http://127.0.0.1:{listening.getsockname()[1]}")
    assert code == "DEADLINE_EXCEEDED" and seconds < LATE


def test_tries_share_the_deadline():
    """A server that is always busy, after a while each time."""

    def busy(connection, stop):
        connection.recv(1 << 16)
        stop.wait(0.2)
        connection.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    with server(busy) as where:
        code, seconds = late(where, retries=100)
    assert code in ("UNAVAILABLE", "DEADLINE_EXCEEDED") and seconds < LATE


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers with the number that it was sent."""

    wbufsize = 1 << 16  # or each answer waits for a delayed acknowledgement

    protocol_version = "HTTP/1.1"

    def log_message(self, *words):
        pass

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        number = asked["inputs"]["frames"]
        time.sleep(0.001)
        content = json.dumps({"outputs": {"log_likelihood": number}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def echo():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo) as held:
        held.daemon_threads = True
        threading.Thread(target=held.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{held.server_address[1]}"
        held.shutdown()


def wrong(client, begin, count):
    """How many of some requests got another's answer, or none."""
    found = 0
    for number in range(begin, begin + count):
        try:
            answer = client.ask("score", {"frames": np.float32(number)})["log_likelihood"]
            found += float(answer) != number
        except serving.ServingError:
            found += 1
    return found


def forked(function):
    """What a forked process returns, at most 255; where it does not end, it is killed."""
    process = os.fork()
    if not process:
        try:
            signal.alarm(60)
            os._exit(min(function(), 255))
        finally:
            os._exit(254)
    return process


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_client_shared_over_fork_mixes_nothing_up(echo):
    """40 forks of a client that has been used; parent and child go on at once."""
    mixed = 0
    with serving.Client(echo, "m", timeout=20.0) as client:
        assert wrong(client, 0, 3) == 0
        for trial in range(40):
            process = forked(lambda trial=trial: wrong(client, 1000 * trial + 500, 20))
            mixed += wrong(client, 1000 * trial, 20)
            mixed += os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert mixed == 0


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_client_shared_over_fork_and_threads(echo):
    """The parent's threads are in the middle of requests; a child has threads too."""
    with serving.Client(echo, "m", timeout=20.0) as client:

        def threads(begin):
            found = []
            work = [
                threading.Thread(
                    target=lambda i=i: found.append(wrong(client, begin + 100 * i, 20))
                )
                for i in range(4)
            ]
            for one in work:
                one.start()
            return work, found

        work, found = threads(0)
        processes = [forked(lambda i=i: together(*threads(10_000 * i))) for i in range(1, 5)]
        assert together(work, found) == 0
        for process in processes:
            assert os.waitpid(process, 0)[1] == 0


def together(work, found):
    for one in work:
        one.join()
    return sum(found) + len(work) - len(found)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_over_grpc_a_forked_client_is_refused():
    with serving.Client("127.0.0.1:9", "m") as client:

        def refused():
            try:
                client.ask("score", {})
            except serving.ServingError as error:
                client.close()
                return int("do not survive a fork" not in str(error))
            return 1

        assert os.waitpid(forked(refused), 0)[1] == 0


def test_a_closed_client_is_closed(echo):
    local = serving.Local("f_rnn_bach")
    for answers in (serving.Client(echo, "m"), serving.Client("127.0.0.1:9", "m"), local):
        with answers as held:
            assert held is answers
        answers.close()  # again: nothing happens
        for ask in (lambda a: a.ask("score", {}), lambda a: a.score(np.zeros([3, 88]))):
            with pytest.raises(serving.ServingError, match="is closed"):
                ask(answers)
