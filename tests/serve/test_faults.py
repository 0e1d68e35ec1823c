"""What clients do wrong, against a real server process: each gets its answer, and the next client notices nothing."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
import zlib

import cv2
import numpy as np
import pytest

from tests.serve.running import Answer, Running, picture, pixels, received, serving, tiny_model

MEGABYTE = 1_000_000
LIMITS = ("--max_megabytes", 2, "--max_megapixels", 4, "--client_timeout", 2, "--workers", 2, "--queue", 4)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    slow = tiny_model(folder / "slow.onnx", repeats=30)
    with serving(folder, tiny_model(folder / "tiny.onnx"), slow, *LIMITS) as running:
        yield running
        assert "Traceback" not in running.log.read_text(), running.log.read_text()


@pytest.fixture(autouse=True)
def as_before(server):
    """After every fault the server answers as if nothing had been."""
    yield
    assert server.predict(picture(), "?output=labels").status == 200
    assert server.ask("GET", "/healthz").status == 200


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, data: bytes = b"") -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")


def bomb() -> bytes:
    """A PNG of 30000 x 30000 pixels in a few kilobytes: 2.7 GB once decoded."""
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(90_001)) for _ in range(200)) + packer.flush()
    return png(30_000, 30_000, rows)


def black(height: int, width: int) -> bytes:
    return cv2.imencode(".png", np.zeros((height, width, 3), np.uint8))[1].tobytes()


def jpeg_header(width: int, height: int) -> bytes:
    start = picture(".jpg")
    at = start.index(b"\xff\xc0")
    return start[: at + 5] + struct.pack(">HH", height, width) + start[at + 9 :]


def jpeg_of_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan is repeated: each costs a pass over the whole picture."""
    image = pixels(picture(height=400, width=400))
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    at = data.rindex(b"\xff\xda")
    return data[:at] + data[at:-2] * count + data[-2:]


def multipart(*files: tuple[str, str, bytes], boundary: str = "frontier") -> tuple[bytes, dict[str, str]]:
    """A form: (field, file name or nothing, content)."""
    parts = b""
    for field, name, content in files:
        file_name = f'; filename="{name}"' if name else ""
        parts += f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"{file_name}\r\n\r\n'.encode()
        parts += content + b"\r\n"
    return parts + f"--{boundary}--\r\n".encode(), {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def parsed(answer: bytes) -> Answer:
    """The last answer in the bytes of a connection."""
    at = answer.rindex(b"HTTP/1.1 ") if b"HTTP/1.1 " in answer else answer.index(b"HTTP/1.0 ")
    head, _, body = answer[at:].partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
    return Answer(int(lines[0].split()[1]), body, headers)


# --- bodies that are no picture, or too much of one

BODIES: dict[str, tuple[bytes, int, str]] = {
    "empty body": (b"", 400, "bad_picture"),
    "text": (b"hello, this is no picture", 415, "unsupported"),
    "one byte": (b"\xff", 415, "unsupported"),
    "jpeg cut at 10 %": (picture(".jpg")[: len(picture(".jpg")) // 10], 400, "bad_picture"),
    "jpeg cut at 50 %": (picture(".jpg")[: len(picture(".jpg")) // 2], 400, "bad_picture"),
    "jpeg without its end": (picture(".jpg")[:-2], 400, "bad_picture"),
    "png cut at 50 %": (picture()[: len(picture()) // 2], 400, "bad_picture"),
    "png with a flipped bit": (picture()[:60] + bytes([picture()[60] ^ 1]) + picture()[61:], 400, "bad_picture"),
    "png of no pixels": (png(0, 0), 400, "bad_picture"),
    "png header alone": (png(64, 64), 400, "bad_picture"),
    "decompression bomb": (bomb(), 413, "too_large"),
    "png header of 2^31 pixels a side": (png(2**31 - 1, 2**31 - 1), 413, "too_large"),
    "jpeg header of 65535 x 65535": (jpeg_header(65_535, 65_535), 413, "too_large"),
    "picture just above the limit": (black(2001, 2000), 413, "too_large"),
    "jpeg of 150 scans": (jpeg_of_scans(150), 400, "bad_picture"),
    "heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", 415, "unsupported"),
    "svg with a script": (b"<svg><script>alert(1)</script></svg>", 415, "unsupported"),
    "pickle": (b"\x80\x04\x95cos\nsystem\n(S'true'\ntR.", 415, "unsupported"),
    "body above the limit": (bytes(2 * MEGABYTE + 1), 413, "too_large"),
    "body far above the limit": (bytes(20 * MEGABYTE), 413, "too_large"),
}  # fmt: skip


@pytest.mark.parametrize("body, status, code", BODIES.values(), ids=BODIES)
def test_bodies(server, body, status, code):
    if len(body) > 2 * MEGABYTE:  # the client of the standard library gives up before it reads why
        head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        answer = parsed(server.raw(head, body))
    else:
        answer = server.predict(body)
    assert (answer.status, answer.error) == (status, code)


def test_a_bomb_takes_no_memory(server):
    before = server.memory()
    for _ in range(5):
        assert server.predict(bomb()).status == 413
    assert server.memory() - before < 20 * MEGABYTE


def test_the_largest_body_and_picture_are_taken(server):
    body = black(2000, 2000)
    padded = body + bytes(2 * MEGABYTE - len(body))  # behind the end of a PNG may be anything
    assert server.predict(padded, "?output=labels").status == 200
    form, headers = multipart(("image", "a.png", body))
    assert server.predict(form, "?output=labels", headers).status == 200


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1)])
def test_narrow_pictures(server, size):
    answer = server.predict(picture(height=size[0], width=size[1]), "?output=labels")
    assert pixels(answer.body).shape == size


# --- chunked


def chunked(body: bytes, size: int = 10_000) -> bytes:
    parts = (body[at : at + size] for at in range(0, len(body), size))
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


HEAD = b"POST /predict?output=labels HTTP/1.1\r\nHost: localhost\r\n"


def test_chunked_picture(server):
    sent = HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(picture(), 100)
    assert parsed(server.raw(sent)).body == server.predict(picture(), "?output=labels").body


def test_chunked_body_above_the_limit(server):
    parts = chunked(bytes(5 * MEGABYTE))
    answer = parsed(server.raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", parts))
    assert (answer.status, answer.error) == (413, "too_large")


def test_endless_chunks_are_cut_off(server):
    before = server.memory()
    piece = b"%x\r\n%s\r\n" % (100_000, bytes(100_000))
    answer = parsed(server.raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[piece] * 200))
    assert answer.status == 413
    assert server.memory() - before < 30 * MEGABYTE


RAW: dict[str, tuple[bytes, int]] = {
    "chunk size that is no number": (HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\nabc\r\n", 400),
    "unknown transfer encoding": (HEAD + b"Transfer-Encoding: gzip\r\n\r\n", 501),
    "content length that is no number": (HEAD + b"Content-Length: many\r\n\r\n", 400),
    "negative content length": (HEAD + b"Content-Length: -5\r\n\r\n", 400),
    "two content lengths": (HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "headers of 100 KB": (HEAD + b"X-Long: " + b"a" * 100_000 + b"\r\n\r\n", 431),
    "5000 headers": (HEAD + b"".join(b"X-%d: 1\r\n" % n for n in range(5000)) + b"\r\n", 431),
    "header with a bare line feed": (HEAD + b"X-Bad: a\nb\r\n\r\n", 400),
    "asks to continue with too much": (
        HEAD + b"Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n", 413,
    ),
}  # fmt: skip


@pytest.mark.parametrize("sent, status", RAW.values(), ids=RAW)
def test_requests_that_are_no_valid_http(server, sent, status):
    answer = parsed(server.raw(sent))
    assert answer.status == status
    assert answer.error
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_who_asks_whether_to_send_is_told(server):
    body = picture()
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(
            HEAD + b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        connection.sendall(body)
        assert parsed(received(connection)).status == 200


# --- forms

FORMS: dict[str, tuple[tuple[tuple[str, str, bytes], ...], int, str]] = {
    "no file": ((("text", "", b"hello"),), 400, "bad_picture"),
    "two files": ((("image", "a.png", picture()), ("image", "b.png", picture())), 400, "bad_picture"),
    "10000 parts": (tuple((f"f{n}", "", b"x") for n in range(10_000)), 413, "too_large"),
    "10000 files": (tuple((f"f{n}", "a.png", b"x") for n in range(10_000)), 413, "too_large"),
    "a field of 1 MB": ((("text", "", bytes(MEGABYTE)), ("image", "a.png", picture())), 413, "too_large"),
    "empty file": ((("image", "a.png", b""),), 400, "bad_picture"),
}


@pytest.mark.parametrize("files, status, code", FORMS.values(), ids=FORMS)
def test_forms(server, files, status, code):
    body, headers = multipart(*files)
    answer = server.predict(body, headers=headers)
    assert (answer.status, answer.error) == (status, code)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "<script>alert(1)</script>.png", "a" * 255, "ü ☃.png"]
)
def test_file_names_are_never_used(server, name):
    body, headers = multipart(("image", name, picture()))
    answer = server.predict(body, "?output=json", headers)
    assert answer.status == 200
    assert name.encode() not in answer.body
    broken, headers = multipart(("image", name, picture()[:100]))
    answer = server.predict(broken, headers=headers)
    assert answer.error == "bad_picture"
    assert name not in answer.body.decode()


@pytest.mark.parametrize(
    "headers", [{"Content-Type": "multipart/form-data"}, {"Content-Type": "multipart/form-data; boundary=other"}]
)
def test_form_without_its_boundary(server, headers):
    body, _ = multipart(("image", "a.png", picture()))
    answer = server.predict(body, headers=headers)
    assert answer.status == 400
    assert answer.error in ("bad_picture", "bad_request")


@pytest.mark.parametrize("kind", ["application/json", "text/html", "application/xml", "video/mp4"])
def test_wrong_content_type(server, kind):
    answer = server.predict(picture(), headers={"Content-Type": kind})
    assert (answer.status, answer.error) == (415, "unsupported")


def test_json_nested_10000_deep_is_not_even_read(server):
    answer = server.predict(b"[" * 10_000 + b"]" * 10_000, headers={"Content-Type": "application/json"})
    assert answer.error == "unsupported"


# --- addresses

PARAMETERS = [
    "?size=100000x100000", "?output=gif", "?output=", "?output=labels&output=json", "?model=other", "?model=../tiny",
    "?alpha=NaN", "?alpha=inf", "?alpha=1e999", "?alpha=" + "9" * 5000, "?alpha=-1", "?alpha=half", "?alpha[]=1",
    "?output=%00", "?alpha={\"a\":[[[[]]]]}", "?model=%3Cscript%3Ealert(1)%3C/script%3E",
]  # fmt: skip


@pytest.mark.parametrize("query", PARAMETERS, ids=lambda query: query[:30])
def test_parameters(server, query):
    answer = server.predict(picture(), query.replace('"', "%22"))
    assert (answer.status, answer.error) == (400, "bad_parameter")
    assert len(answer.body) < 400
    assert answer.headers["content-type"] == "application/problem+json"


PATHS = [
    "/../../etc/passwd", "/page.css/../../app.py", "/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc%2fpasswd",
    "/static/page.js", "//etc/passwd", "/page.html", "/app.py", "/predict/../healthz%00", "/.git/config",
    "/" + "a" * 20_000,
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path[:30])
def test_paths_outside(server, path):
    answer = parsed(server.raw(b"GET " + path.encode() + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
    assert (answer.status, answer.error) == (404, "not_found")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "TRACE", "BREW"])
def test_methods(server, method):
    answer = server.ask(method, "/predict")
    assert (answer.status, answer.error) == (405, "method_not_allowed")
    assert "POST" in answer.headers["allow"]


# --- slow and absent clients


def seconds_until_closed(server: Running, send: bytes, every: float, first: bytes = b"") -> tuple[float, bytes]:
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), timeout=0.05) as connection:
        connection.sendall(first)
        answer = b""
        while time.monotonic() - began < 15:
            try:
                connection.sendall(send)
                part = connection.recv(10_000)
                if not part:
                    break
                answer += part
            except TimeoutError:
                pass
            except OSError:
                break
            time.sleep(every)
    return time.monotonic() - began, answer


def test_slow_header(server):
    """One byte now and then: waitress alone would wait for ever."""
    seconds, answer = seconds_until_closed(server, b"a", 0.1, b"POST /predict HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
    assert 1.5 < seconds < 10
    assert parsed(answer).error == "request_timeout"


def test_slow_body(server):
    seconds, answer = seconds_until_closed(server, b"a", 0.1, HEAD + b"Content-Length: 100000\r\n\r\n")
    assert 1.5 < seconds < 10
    assert parsed(answer).error == "request_timeout"


def test_silent_connections_are_closed_and_do_not_block(server):
    began = time.monotonic()
    silent = [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(50)]
    assert server.predict(picture()).status == 200
    assert time.monotonic() - began < 5
    assert [received(connection) for connection in silent] == [b""] * 50
    for connection in silent:
        connection.close()
    assert time.monotonic() - began < 15


def test_body_shorter_than_said(server):
    answer = parsed(server.raw(HEAD + b"Content-Length: 5000\r\n\r\n" + b"x" * 10))
    assert answer.error == "request_timeout"


def test_clients_that_leave(server):
    """In mid-request, and as soon as they have asked."""
    body = picture(height=900, width=1000)
    for cut in (30, len(body) // 2, len(body)):
        for _ in range(4):
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=10)
            connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body[:cut])
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()  # a reset, not a goodbye
    deadline = time.monotonic() + 10
    while server.metric("edgeailite_running") + server.metric("edgeailite_waiting") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert server.metric("edgeailite_running") == 0


def test_client_that_does_not_read_its_answer(server):
    """It is given up after its time; the worker was free as soon as the answer was made."""
    noise = np.random.default_rng(0).integers(0, 256, (2000, 2000, 3), np.uint8)
    body = cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_QUALITY, 20])[1].tobytes()
    whole = len(server.predict(body).body)
    assert whole > 6 * MEGABYTE  # more than the system takes for a connection
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(20)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(HEAD.replace(b"labels", b"overlay") + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        time.sleep(1)
        assert server.predict(picture()).status == 200
        time.sleep(6)
        assert len(received(connection)) < whole


# --- too many


def crowd(server: Running, count: int) -> list[Answer]:
    """The answers to so many requests at once to the slow model."""
    answers: list[Answer] = []
    query = "?output=labels&model=slow"
    threads = [threading.Thread(target=lambda: answers.append(server.predict(picture(), query))) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_a_crowd_gets_answers_or_is_told_to_come_back(server):
    [right] = crowd(server, 1)
    answers = crowd(server, 64)
    refused = [answer for answer in answers if answer.status == 503]
    served = [answer for answer in answers if answer.status == 200]
    assert len(answers) == len(refused) + len(served) == 64
    assert refused and len(served) >= 6  # two at work, four waiting
    assert all(answer.body == right.body for answer in served)
    assert all(answer.error == "busy" and int(answer.headers["retry-after"]) >= 1 for answer in refused)


def test_health_is_answered_while_all_workers_are_taken(server):
    others = threading.Thread(target=crowd, args=(server, 6))
    others.start()
    deadline = time.monotonic() + 10
    while server.metric("edgeailite_running") < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert server.ask("GET", "/healthz").status == 200
    assert server.metric("edgeailite_running") == 2
    others.join()


def test_many_requests_on_one_connection(server):
    one = HEAD + b"Content-Length: %d\r\n\r\n" % len(picture()) + picture()
    last = one.replace(b"Host: localhost", b"Host: localhost\r\nConnection: close")
    answers = server.raw(one * 5 + last)
    assert answers.count(b"HTTP/1.1 200") == 6


def test_problems_are_counted(server):
    before = server.metric('edgeailite_problems_total{error="unsupported"}')
    server.predict(b"no picture")
    assert server.metric('edgeailite_problems_total{error="unsupported"}') == before + 1
    assert json.loads(server.ask("GET", "/models").body)["max_bytes"] == 2 * MEGABYTE
