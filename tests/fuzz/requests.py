"""HTTP: requests to the application itself, and raw bytes to a server on loopback."""

from __future__ import annotations

import io
import json
import re
import socket
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from werkzeug.test import EnvironBuilder, run_wsgi_app

from edgeailite.serve.admission import Gate
from edgeailite.serve.app import Service, create_app
from edgeailite.serve.models import served
from tests.fuzz.case import Call, Fault, Group, World
from tests.fuzz.mutate import damage
from tests.fuzz.picture_headers import HEADERS, SUFFIXES, encoded

TOKEN = "a-secret-token"
STATUSES = (200, 204, 304, 400, 401, 403, 404, 405, 408, 411, 413, 414, 415, 417, 421, 431, 501, 503, 505, 507)
PROBLEM = {"error", "message", "status"}
METHODS = ("GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "TRACE", "PATCH", "EVIL", "get")
PATHS = ("/predict", "/model", "/models", "/healthz", "/readyz", "/metrics", "/openapi.json", "/", "/page.js",
"//predict", "/predict/", "/../etc/passwd",
         "/%2e%2e/x", "/%00", "/" + "a" * 5000, "/\xff", "/model?x", "/static/x", "/predict;x")  # fmt: skip
QUERIES = ("", "output=json", "output=labels", "output=npy", "output=overlay&alpha=0.3", "output=evil", "alpha=nan",
"alpha=1e999", "alpha=-1", "alpha=" + "9" * 5000,
           "model=../../x", "model=model", "output=json&output=json", "x=1", "%00", "output=%ff%fe", "a" * 20_000,
           "&" * 5000, "model=" + "%1b[2J", "output[]=json",
           "alpha=%D9%A3", "alpha=0x1", "alpha=1_0", "alpha= 1")  # fmt: skip
TYPES = ("", "image/png", "application/octet-stream", "text/html", "multipart/form-data",
"multipart/form-data; boundary=", "multipart/form-data; boundary=x",
         "application/x-www-form-urlencoded", "image/png; charset=\xff", "IMAGE/PNG", "a" * 5000, "image/", ";",
         "multipart/form-data; boundary=" + "b" * 3000)  # fmt: skip
HEADER_VALUES: dict[str, Sequence[str]] = {
    "Authorization": (f"Bearer {TOKEN}", "Bearer", "Bearer \xff", "Basic x", "bearer  " + TOKEN,
        "Bearer " + "x" * 9000, "", "\x1b[2J"),
    "Origin": ("http://evil.example", "null", "", "\xff", "http://127.0.0.1", "x" * 9000),
    "Sec-Fetch-Site": ("cross-site", "same-origin", "same-site", "none", "evil", ""),
    "Host": ("evil.example", "", "127.0.0.1:99999", "[::1", "a" * 9000, "localhost\x7f", "127.0.0.1"),
    "Accept-Encoding": ("gzip", "identity;q=0", "*;q=x"),
    "If-None-Match": ('"x"', "*", 'W/"' + "x" * 9000),
    "Range": ("bytes=0-5", "bytes=-1", "bytes=9-1", "x"),
    "Cookie": ("a=b", "=", "x" * 9000),
    "Access-Control-Request-Method": ("POST", "EVIL"),
    "X-Forwarded-For": ("1.2.3.4", "\xff"),
}  # fmt: skip


def _body(world: World) -> tuple[bytes, str]:
    way = world.rng.choice(("picture", "picture", "damaged", "header", "nothing", "noise", "form"))
    suffix = world.rng.choice(SUFFIXES)
    if way == "picture":
        return encoded(suffix), f"{suffix} picture"
    if way == "damaged":
        content, about = damage(encoded(suffix), world.rng)
        return content, f"{suffix} {about}"
    if way == "header":
        about = world.rng.choice(list(HEADERS))
        return HEADERS[about][1](world), about
    if way == "form":
        return _form(world), "form"
    return (b"" if way == "nothing" else world.rng.randbytes(3000)), way


def _form(world: World) -> bytes:
    """A form of one part or of many, whole or not, with the boundary x."""
    name = world.rng.choice(
        (
            'name="image"; filename="a.png"',
            'name="image"',
            "",
            'filename="../../x"',
            'name="a"; filename="' + "x" * 9000 + '"',
            "\xff",
        )
    )
    part = b"--x\r\nContent-Disposition: form-data; " + name.encode("latin-1") + b"\r\n\r\n" + encoded(".png") + b"\r\n"
    body = part * world.rng.choice((1, 1, 2, 3000)) + b"--x--\r\n"
    return damage(body, world.rng)[0] if world.rng.random() < 0.4 else body


@cache
def _application(model: Path, token: str | None) -> tuple[Any, Service]:
    service = Service(("model",), Gate(1, queue=2, patience=5), max_body=4_000_000, max_pixels=4_000_000, token=token)
    service.life.loaded({"model": served("model", model, threads=1)})
    return create_app(service), service


def _wsgi(world: World) -> Call:
    """A request as waitress would hand it over."""
    rng = world.rng
    predict = rng.random() < 0.6
    method, path = ("POST", "/predict") if predict else (rng.choice(METHODS), rng.choice(PATHS))
    body, about = _body(world)
    kind = rng.choice(("", "", "image/png", "multipart/form-data; boundary=x" if about == "form" else "", *TYPES))
    query = rng.choice(("", "output=json", *QUERIES))
    headers = {name: rng.choice(values) for name, values in HEADER_VALUES.items() if rng.random() < 0.12}
    token = rng.choice((None, None, TOKEN))
    model = world.seeds / "files/model.onnx"

    def act() -> None:
        app, _ = _application(model, token)
        environ = EnvironBuilder(method=method).get_environ()
        environ |= {
            "PATH_INFO": path, "QUERY_STRING": query, "CONTENT_LENGTH": str(len(body)), "CONTENT_TYPE": kind,
            "wsgi.input": io.BytesIO(body), "SERVER_PORT": "8080", "SCRIPT_NAME": "",
        }  # fmt: skip
        environ |= {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
        parts, status, got = run_wsgi_app(app, environ, buffered=True)
        check_answer(int(status.split()[0]), b"".join(parts), got.get("Content-Type", ""), method)

    return Call(f"{method} {path[:40]}?{query[:40]} {about} {kind[:30]} {list(headers)}", act=act)


def check_answer(status: int, body: bytes, kind: str, method: str) -> None:
    """Raise Fault for a status that is not documented, or a problem without its form."""
    if status not in STATUSES:
        raise Fault("status", f"status {status}: {body[:150]!r}")
    if status < 400 or method == "HEAD":
        return
    try:
        problem = json.loads(body)
    except ValueError:
        raise Fault("form of a problem", f"status {status}, {kind}: {body[:80]!r}") from None
    if set(problem) != PROBLEM or "problem+json" not in kind or problem["status"] != status:
        raise Fault("form of a problem", f"status {status}, {kind}: {body[:80]!r}")
    message = problem["message"]
    if "\n" in message or "Traceback" in message or re.search(r"[\x00-\x1f\x7f]|/tmp/|\.py\b", message):
        raise Fault("message of a problem", repr(message)[:150])


# --- raw bytes


def _head(*lines: bytes, host: bytes = b"127.0.0.1") -> bytes:
    return b"\r\n".join([lines[0], b"Host: " + host, *lines[1:], b"", b""])


def _raw(world: World) -> tuple[bytes, str]:
    body = encoded(".png")
    length = b"Content-Length: %d" % len(body)
    post, get = b"POST /predict?output=json HTTP/1.1", b"GET /healthz HTTP/1.1"
    kinds: dict[str, bytes] = {
        "honest": _head(post, length) + body,
        "honest get": _head(get),
        "nothing": b"",
        "blank lines": b"\r\n" * 500 + _head(get),
        "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
        "two hosts": _head(get, b"Host: evil.example"),
        "HTTP 0.9": b"GET /healthz\r\n\r\n",
        "HTTP 1.0": b"GET /healthz HTTP/1.0\r\n\r\n",
        "HTTP 2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "HTTP 9.9": _head(b"GET /healthz HTTP/9.9"),
        "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + world.rng.randbytes(500),
        "noise": world.rng.randbytes(4000) + b"\r\n\r\n",
        "long line": b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
        "many headers": _head(get, *[b"X-%d: y" % n for n in range(3000)]),
        "long header": _head(get, b"X: " + b"y" * 70_000),
        "header without colon": _head(get, b"nonsense"),
        "header with a blank": _head(get, b"Content-Length : 5"),
        "folded header": _head(get, b"X: a", b" b"),
        "zero byte": _head(get, b"X: a\0b"),
        "line feeds alone": b"GET /healthz HTTP/1.1\nHost: x\n\n",
        "bare CR": b"GET /healthz HTTP/1.1\rHost: x\r\r",
        "absolute": _head(b"GET http://evil.example/healthz HTTP/1.1"),
        "asterisk": _head(b"OPTIONS * HTTP/1.1"),
        "connect": _head(b"CONNECT evil.example:443 HTTP/1.1"),
        "length negative": _head(post, b"Content-Length: -5") + body,
        "length text": _head(post, b"Content-Length: x") + body,
        "length plus": _head(post, b"Content-Length: +5") + body,
        "length other digits": _head(post, "Content-Length: ٣".encode()) + body,
        "length huge": _head(post, b"Content-Length: " + b"9" * 30) + body,
        "length too large": _head(post, b"Content-Length: 99999999") + body,
        "length longer": _head(post, b"Content-Length: 5000") + body[:100],
        "length shorter": _head(post, b"Content-Length: 10") + body,
        "two lengths": _head(post, length, b"Content-Length: 5") + body,
        "length and chunks": _head(post, length, b"Transfer-Encoding: chunked") + b"0\r\n\r\n",
        "chunks": _head(post, b"Transfer-Encoding: chunked") + b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n",
        "chunk huge": _head(post, b"Transfer-Encoding: chunked") + b"ffffffffffffffff\r\n" + body,
        "chunk negative": _head(post, b"Transfer-Encoding: chunked") + b"-5\r\n" + body,
        "chunk no number": _head(post, b"Transfer-Encoding: chunked") + b"zz\r\n" + body,
        "chunk extension": _head(post, b"Transfer-Encoding: chunked") + b"1;" + b"a" * 50_000 + b"\r\nx\r\n0\r\n\r\n",
        "coding unknown": _head(post, b"Transfer-Encoding: evil") + body,
        "coding twice": _head(post, b"Transfer-Encoding: chunked, chunked") + b"0\r\n\r\n",
        "expect": _head(post, length, b"Expect: 100-continue") + body,
        "expect something": _head(post, length, b"Expect: evil") + body,
        "upgrade": _head(get, b"Connection: Upgrade", b"Upgrade: websocket"),
        "pipelined": _head(get) * 30,
        "pipelined with smuggling": _head(post, b"Content-Length: 5") + b"GET /" + _head(get),
        "rebinding": _head(get, host=b"evil.example"),
        "foreign origin": _head(post, length, b"Origin: http://evil.example") + body,
        "damaged": damage(_head(post, length) + body, world.rng)[0],
        "damaged again": damage(_head(post, length) + body, world.rng)[0],
    }
    about = world.pick(list(kinds))
    return kinds[about], about


def _loopback(world: World) -> Call:
    content, about = _raw(world)
    port = int((world.seeds / "server/port").read_text())

    def act() -> None:
        answer = ask(port, content)
        status = re.match(rb"HTTP/1\.[01] (\d{3})", answer)
        if answer and status is None and not answer.startswith((b'{"', b"<")):  # HTTP 0.9 has no head
            raise Fault("no HTTP", repr(answer[:100]))
        if status is not None and int(status[1]) not in (*STATUSES, 100):
            raise Fault("status", repr(answer[:200]))
        if about.startswith("honest") and (status is None or int(status[1]) != 200):
            raise Fault("honest input refused", repr(answer[:200]))
        if b"Traceback" in answer or b".py" in answer:
            raise Fault("traceback in an answer", repr(answer[:200]))
        if not ask(port, _head(b"GET /healthz HTTP/1.1", b"Connection: close")).startswith(b"HTTP/1.1 200"):
            raise Fault("server gone", "no answer of /healthz behind it")

    return Call(f"raw: {about}", act=act)


def ask(port: int, content: bytes, *, patience: float = 6.0) -> bytes:
    """What comes back for these bytes: until the server closes, or one whole answer is there and no more follows.

    Our side is not closed before: waitress takes a closed one for a client that is gone.
    """
    got = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=patience) as connection:
            connection.sendall(content)
            while part := connection.recv(65_536):
                got += part
                connection.settimeout(0.3 if _whole(got) else patience)
    except OSError:
        pass  # reset, or nothing more: what came is the answer
    return got


def _whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    return bool(end and length and len(body) >= int(length[1]))


GROUPS = (
    Group("http-wsgi", 22, _wsgi, ("data", "files")),
    Group("http-raw", 10, _loopback, ("files", "server")),
)
