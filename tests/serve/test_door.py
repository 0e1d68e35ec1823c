"""What the server does at the door: bodies refused at the header, bounded together, silent connections, shortage."""

from __future__ import annotations

import contextlib
import errno
import io
import resource
import socket
import struct
import sys
import time
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest
from waitress import buffers

from edgeailite.serve import connection, server
from edgeailite.serve.errors import shortage
from tests.serve.inside import Here, inside, until, zeros
from tests.serve.running import Answer, picture, received, serving, start_process, tiny_model, wait_ready
from tests.serve.test_faults import parsed

TOKEN = "correct horse"
HEAD = b"POST /predict?output=labels HTTP/1.1\r\nHost: localhost\r\n"
BODY = picture(height=900, width=1000)


def sized(count: int, more: bytes = b"") -> bytes:
    return HEAD + more + b"Content-Length: %d\r\n\r\n" % count


def opened(here: Here, *parts: bytes) -> socket.socket:
    """A connection that has sent these bytes and stays."""
    made = socket.create_connection(("127.0.0.1", here.port), timeout=10)
    for part in parts:
        made.sendall(part)
    return made


def one_answer(made: socket.socket) -> Answer:
    """The next answer on a connection that stays open."""
    response = HTTPResponse(made)
    response.begin()
    return Answer(response.status, response.read(), {k.lower(): v for k, v in response.getheaders()})


def answer_of(made: socket.socket) -> Answer:
    with made:
        return parsed(received(made))


# --- at the header

REFUSED = {
    "length": (sized(1_000_000), "unauthorized"),
    "wrong token": (sized(1_000_000, b"Authorization: Bearer correct house\r\n"), "unauthorized"),
    "chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", "unauthorized"),
    "asks whether to send": (sized(1_000_000, b"Expect: 100-continue\r\n"), "unauthorized"),
    "chunks, asks": (HEAD + b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n", "unauthorized"),
    "another route": (b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n", "unauthorized"),
    "no route": (b"PUT /x HTTP/1.0\r\nContent-Length: 10\r\n\r\n", "unauthorized"),
    "name": (sized(1_000_000).replace(b"localhost", b"evil.com"), "wrong_host"),
    "address": (sized(10).replace(b" /predict", b" http://evil.com/predict"), "wrong_host"),
    "page": (sized(1_000_000, b"Origin: http://evil.com\r\n"), "cross_site"),
    "two lengths": (HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", "bad_request"),
    "chunks of HTTP/1.0": (HEAD.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n", "bad_request"),
}


@pytest.fixture(scope="module")
def locked():
    with inside(token=TOKEN) as here:
        yield here


@pytest.mark.parametrize("sent, code", REFUSED.values(), ids=REFUSED)
def test_refused_before_the_body_comes(locked, sent, code):
    """The answer is there although not one byte of the body was sent, and nobody was asked to send it."""
    before = locked.counted("edgeailite_problems_total", code)
    made = opened(locked, sent)
    answer = one_answer(made)
    assert answer.error == code
    assert answer.headers["connection"] == "close"
    assert ("www-authenticate" in answer.headers) == (code == "unauthorized")
    assert locked.counted("edgeailite_problems_total", code) == before + 1
    made.sendall(bytes(100_000))  # is read and dropped, so that the answer is not lost
    assert locked.server.bodies.used == 0
    made.close()


def test_with_the_token_a_body_is_taken(locked):
    made = opened(locked, sized(len(BODY), b"Expect: 100-continue\r\nAuthorization: Bearer correct horse\r\n"))
    assert made.recv(100).startswith(b"HTTP/1.1 100")
    made.sendall(BODY[:1000])
    assert until(lambda: locked.server.bodies.used == 1000)
    made.sendall(BODY[1000:])
    assert one_answer(made).status == 200
    made.close()


def test_a_listed_page_may_read_why(locked):
    with inside(token=TOKEN, origins=("https://good.org",)) as here:
        answer = answer_of(opened(here, sized(9, b"Origin: https://good.org\r\n")))
        assert (answer.error, answer.headers["access-control-allow-origin"]) == ("unauthorized", "https://good.org")
        answer = answer_of(opened(here, sized(9, b"Origin: https://evil.com\r\n")))
        assert (answer.error, answer.headers["cross-origin-resource-policy"]) == ("cross_site", "same-origin")


def test_forwarded_names_are_not_read(locked):
    with inside() as here:
        names = {"X-Forwarded-Host": "evil.com", "Forwarded": "host=evil.com", "X-Forwarded-For": "1.2.3.4"}
        assert here.ask("GET", "/model", headers=names).status == 200
        names = {"Host": "evil.com", "X-Forwarded-Host": "localhost", "Forwarded": "host=localhost"}
        assert here.ask("GET", "/model", headers=names).error == "wrong_host"
        assert here.ask("GET", "/healthz", headers=names).status == 200  # a probe asks by any name


CHUNKS = {
    "a length without end": b"1" * 10_000,
    "an extension without end": b"1;a=" + b"b" * 10_000,
    "a trailer without end": b"0\r\n" + b"X: a\r\n" * 10_000,
    "a byte each": b"1\r\na\r\n" * 30_000,
}


@pytest.mark.parametrize("sent", CHUNKS.values(), ids=CHUNKS)
def test_chunks_that_keep_the_reader_busy(sent):
    with inside() as here:
        assert parsed(here.raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", sent)).error == "bad_request"


# --- all bodies together


def test_bodies_together_are_bounded_and_the_oldest_stalled_one_gives_way():
    with inside(max_total=2_500_000) as here:
        stalled = []
        for count in (1_000_000, 1_200_000):
            stalled.append(opened(here, sized(1_900_000), bytes(count)))
            assert until(lambda: here.server.bodies.used == sum((1_000_000, 1_200_000)[: len(stalled)]))
            time.sleep(0.3)
        assert here.predict(BODY).status == 200
        first = answer_of(stalled[0])
        assert (first.error, first.status, first.headers["retry-after"]) == ("busy", 503, "1")
        assert here.server.bodies.used == 1_200_000
        newest = opened(here, sized(1_900_000), bytes(1_900_000))
        assert one_answer(newest).error == "unsupported"  # all of it was there in no time
        assert answer_of(stalled[1]).error == "busy"
        newest.close()


def test_a_crowd_of_uploads_never_holds_more():
    with inside(max_total=3_000_000) as here:
        crowd = [opened(here, sized(1_000_000), bytes(400_000)) for _ in range(20)]
        assert here.server.bodies.used <= 3_000_000
        answers = [answer_of(each) for each in crowd[:12]]
        assert {answer.error for answer in answers} <= {"busy", "request_timeout"}
        for each in crowd[12:]:
            each.close()


def test_clients_that_leave_give_everything_back():
    with inside() as here:
        for cut in (0, 10, len(BODY) // 2, len(BODY)):
            for sent in (sized(len(BODY)) + BODY[:cut], (sized(len(BODY)) + BODY) * 2 + sized(9) + b"x" * cut):
                made = opened(here, sent)
                made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                made.close()
        assert until(lambda: here.server.bodies.used == 0 and not here.server.active_channels)


def test_answers_that_nobody_takes_are_bounded(monkeypatch):
    """The one that holds most for longest is closed."""
    monkeypatch.setattr(connection, "SEND", 4096)
    with inside() as here:
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        made.connect(("127.0.0.1", here.port))
        wide = picture(".bmp", height=800, width=800)
        made.sendall(HEAD.replace(b"labels", b"npy") * 0 + sized(len(wide)).replace(b"labels", b"npy") + wide)
        channel = lambda: next(iter(here.server.active_channels.values()))  # noqa: E731
        assert until(lambda: here.server.active_channels and channel().answers == 1)
        here.server.largest_answers = 0
        if channel().total_outbufs_len:  # the system may have taken all of it
            assert here.predict(picture()).status == 200
            assert until(lambda: here.counted("edgeailite_connections_closed_total", "answer_not_taken") == 1)
        made.close()


# --- connections


def test_silent_connections_are_closed_soon(monkeypatch):
    monkeypatch.setattr(connection, "FIRST_BYTE", 0.5)
    with inside(client_timeout=30) as here:
        began = time.monotonic()
        quiet = [opened(here), opened(here, b"\r\n\r\n")]
        asked = HTTPConnection("127.0.0.1", here.port)
        asked.request("GET", "/healthz")
        assert asked.getresponse().read()
        assert [received(each) for each in quiet] == [b""] * 2
        assert time.monotonic() - began < 4
        asked.request("GET", "/healthz")  # one that has asked may wait longer
        assert asked.getresponse().status == 200
        asked.close()
        for each in quiet:
            each.close()
        assert here.counted("edgeailite_connections_closed_total", "silent") == 2


CROWDS = {
    "silent": b"",
    "half a header": b"POST /predict HTTP/1.1\r\nHost: ",
    "a body that stalls": sized(1000) + b"x",
    "blank lines": b"\r\n\r\n",
}


@pytest.mark.parametrize("sent", CROWDS.values(), ids=CROWDS)
def test_a_full_house_is_no_closed_one(sent):
    """Many more connections than there is room for, each of them young: the next one is served at once."""
    with inside(client_timeout=30) as here:
        here.server.most = 24
        crowd = [opened(here, sent) for _ in range(90)]
        for _ in range(5):
            began = time.monotonic()
            assert here.ask("GET", "/healthz").status == 200
            assert here.predict(picture()).status == 200
            assert time.monotonic() - began < 1
        assert len(here.server.active_channels) <= 24
        for each in crowd:
            each.close()


def test_who_is_worked_for_is_not_closed():
    def slow(image):
        time.sleep(0.5)
        return zeros(image)

    with inside(labels=slow) as here:
        here.server.most = 8
        asked = [opened(here, sized(len(picture())) + picture()) for _ in range(4)]
        assert until(lambda: sum(bool(c.requests) for c in list(here.server.active_channels.values())) == 4)
        crowd = [opened(here) for _ in range(30)]
        assert here.ask("GET", "/healthz").status == 200
        for each in asked:
            assert one_answer(each).status == 200
            each.close()
        for each in crowd:
            each.close()


def test_descriptors_bound_the_connections():
    assert server.most_connections(None) == server.CONNECTIONS
    assert server.most_connections(1024) == server.CONNECTIONS
    assert server.most_connections(64) == 16
    assert server.most_connections(20) == 8


class Exhausted:
    """A listening socket that has no descriptor for the next few connections."""

    def __init__(self, real: socket.socket, failures: int) -> None:
        self.real, self.failures = real, failures

    def __getattr__(self, name: str) -> object:
        return getattr(self.real, name)

    def accept(self):
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return self.real.accept()


def test_out_of_descriptors_closes_who_says_nothing_and_says_so_once(caplog):
    with inside() as here:
        crowd = [opened(here) for _ in range(20)]
        assert until(lambda: len(here.server.active_channels) == 20)
        here.server.socket = Exhausted(here.server.socket, failures=3)
        assert here.ask("GET", "/healthz").status == 200
        assert received(crowd[0]) == b""
        assert here.counted("edgeailite_connections_closed_total", "crowded") == 3
        here.server.socket.failures = 30  # more than there are to close
        assert here.ask("GET", "/healthz").status == 200
        for each in crowd:
            each.close()
    lines = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert lines == ["no connection can be taken (Too many open files): closed 1 that were idle"]


def test_few_descriptors_are_enough(tmp_path):
    """A process that may open 64 files, 100 silent connections, and uploads that need a file each."""
    command = f"ulimit -n 64; exec {sys.executable} -m tests.serve.light 0 0 30"
    running = start_process(["bash", "-c", command], tmp_path)
    try:
        wait_ready(running)
        with contextlib.ExitStack() as crowd:
            for _ in range(100):
                crowd.enter_context(socket.create_connection(("127.0.0.1", running.port)))
            for _ in range(30):
                upload = crowd.enter_context(socket.create_connection(("127.0.0.1", running.port)))
                with contextlib.suppress(ConnectionError):  # the server may close the oldest ones to make room
                    upload.sendall(sized(900_000) + bytes(700_000))
            for _ in range(10):
                began = time.monotonic()
                assert running.ask("GET", "/healthz").status == 200
                assert time.monotonic() - began < 1
        assert running.predict(picture()).status == 200
        assert running.stop() == 0
        assert "Traceback" not in running.log.read_text()
    finally:
        running.process.kill()
        running.process.wait()


# --- shortage


class Full(io.BytesIO):
    """A file on a full disk: `room` bytes fit."""

    room = 0

    def write(self, data):
        if self.tell() + len(data) > self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)

    def close(self):
        super().close()
        if self.room:
            raise OSError(errno.ENOSPC, "No space left on device")  # what was buffered cannot be written either


@pytest.mark.parametrize("room", [0, 600_000])
def test_a_full_disk_refuses_what_is_large_and_says_so_once(monkeypatch, caplog, room):
    monkeypatch.setattr(buffers.TempfileBasedBuffer, "newfile", lambda self: Full())
    monkeypatch.setattr(Full, "room", room)
    large = bytes(1_500_000)
    with inside() as here:
        for number in (1, 2):
            answer = answer_of(opened(here, sized(len(large)), large[:1_000_000]))
            assert (answer.status, answer.error, answer.headers["retry-after"]) == (507, "out_of_space", "5")
            assert here.counted("edgeailite_problems_total", "out_of_space") == number
            assert here.predict(picture()).status == 200  # what is small needs no disk
        form = b'--f\r\nContent-Disposition: form-data; name="i"; filename="a"\r\n\r\n' + picture() + b"\r\n--f--\r\n"
        assert here.predict(form, headers={"Content-Type": "multipart/form-data; boundary=f"}).status == 200
    lines = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(lines) == 2 and not any(record.exc_info for record in lines)
    assert "$TMPDIR" in lines[0].getMessage()


def test_no_descriptor_for_a_body(monkeypatch):
    def none_left(self):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(buffers.TempfileBasedBuffer, "newfile", none_left)
    with inside() as here:
        answer = answer_of(opened(here, sized(1_500_000), bytes(1_000_000)))
        assert (answer.status, answer.error) == (503, "busy")


def test_a_large_answer_needs_no_disk(monkeypatch):
    monkeypatch.setattr(buffers.TempfileBasedBuffer, "newfile", lambda self: Full())
    with inside() as here:
        answer = here.predict(picture(".jpg", height=1500, width=1500), "?output=npy")
        assert (answer.status, len(answer.body)) == (200, 128 + 1500 * 1500)


class Fault(Exception):
    pass


SHORTAGES = {
    "memory": (MemoryError(), "out_of_memory"),
    "onnxruntime": (Fault("[ONNXRuntimeError] : 6 : Failed to allocate memory for requested buffer"), "out_of_memory"),
    "OpenCV": (Fault("OpenCV(5.0) alloc.cpp:73: error: (-4:Insufficient memory) Failed to"), "out_of_memory"),
    "torch": (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "out_of_memory"),
    "C++": (RuntimeError("std::bad_alloc"), "out_of_memory"),
    "system": (OSError(errno.ENOMEM, "Cannot allocate memory"), "out_of_memory"),
    "disk": (OSError(errno.ENOSPC, "No space left on device"), "out_of_space"),
    "quota": (OSError(errno.EDQUOT, "Disk quota exceeded"), "out_of_space"),
    "file size": (OSError(errno.EFBIG, "File too large"), "out_of_space"),
    "descriptors": (OSError(errno.EMFILE, "Too many open files"), "busy"),
}


@pytest.mark.parametrize("error, code", SHORTAGES.values(), ids=SHORTAGES)
def test_what_runs_out_at_work_is_said_in_one_line(error, code, caplog):
    def failing(image):
        raise error

    with inside(labels=failing) as here:
        answer = here.predict(picture())
        assert (answer.error, answer.status) == (code, 507 if code == "out_of_space" else 503)
        assert int(answer.headers["retry-after"]) >= 1
        assert here.counted("edgeailite_problems_total", code) == 1
    lines = [record for record in caplog.records if record.levelname == "ERROR"]
    assert [(record.getMessage(), record.exc_info) for record in lines] == [(f"{code} while answering /predict", None)]


def test_out_of_memory_is_no_bad_picture(monkeypatch):
    def decode(path, data):
        raise MemoryError

    monkeypatch.setattr("edgeailite.serve.responses.decode_image", decode)
    with inside() as here:
        assert here.predict(picture()).error == "out_of_memory"


def test_out_of_memory_outside_of_the_application(monkeypatch, caplog):
    """While a request is read, while its answer is begun, and while a connection is taken."""
    with inside() as here:
        with monkeypatch.context() as patch:
            patch.setattr(connection.Task, "get_environment", lambda self: bytes(-1 & (1 << 62)))
            assert here.ask("GET", "/healthz").error == "out_of_memory"
        with monkeypatch.context() as patch:
            patch.setattr("waitress.receiver.FixedStreamReceiver.received", lambda self, data: bytes(1 << 62))
            assert here.predict(picture()).error == "out_of_memory"
        with monkeypatch.context() as patch:
            patch.setattr(connection.Channel, "received", lambda self, data: bytes(1 << 62))
            assert here.raw(b"GET / HTTP/1.1\r\n\r\n") == b""
        with monkeypatch.context() as patch:
            patch.setattr(server.Server, "channel_class", lambda *words, **more: bytes(1 << 62))
            assert here.raw(b"GET / HTTP/1.1\r\n\r\n") == b""
        assert here.ask("GET", "/healthz").status == 200
    assert not any(record.exc_info for record in caplog.records)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_really_out_of_memory(tmp_path, suffix):
    """A process that may have less than a large picture needs says so, answers others, and recovers."""
    large = picture(suffix, height=3900, width=4000)
    with serving(tmp_path, tiny_model(tmp_path / "tiny.onnx"), "--workers", 1) as running:
        right = running.predict(large, "?output=labels").body
        pages = int(Path(f"/proc/{running.process.pid}/statm").read_text().split()[0])
        held = pages * resource.getpagesize()
        before = len(running.log.read_text().splitlines())
        resource.prlimit(running.process.pid, resource.RLIMIT_AS, (held - 100_000_000, resource.RLIM_INFINITY))
        for output in ("labels", "overlay", "npy", "json"):
            assert running.predict(large, f"?output={output}").error == "out_of_memory"
            assert running.ask("GET", "/healthz").status == 200
        resource.prlimit(running.process.pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert running.predict(large, "?output=labels").body == right
        assert running.log.read_text().splitlines()[before:] == ["out_of_memory while answering /predict"] * 4
        assert running.metric('edgeailite_problems_total{error="out_of_memory"}') == 4


def test_other_errors_are_no_shortage():
    assert shortage(ValueError("x")) is None
    assert shortage(FileNotFoundError(errno.ENOENT, "gone")) is None
    outer = ValueError("cannot be labelled")
    outer.__context__ = MemoryError()
    problem = shortage(outer)
    assert problem is not None and problem.error == "out_of_memory"


# --- what is logged


def test_a_log_has_no_lines_of_a_client(caplog):
    def failing(image):
        raise RuntimeError("bug")

    with inside(labels=failing) as here:
        assert here.ask("GET", "/a%0aERROR%1b[2J").status == 404
        assert here.predict(picture()).status == 500
    assert all(record.getMessage().isprintable() for record in caplog.records)
