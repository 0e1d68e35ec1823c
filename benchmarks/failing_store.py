"""An object store on loopback, moto's server in its own process, and a proxy that fails requests: for `fleet.py`."""

from __future__ import annotations

import http.client
import http.server
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def object_store(port: int, bucket: str) -> Iterator[Any]:
    """Start a store with an empty bucket; yield a client of boto3. The environment gets credentials for it."""
    import boto3

    server = subprocess.Popen([sys.executable, "-m", "moto.server", "-p", str(port)], stderr=subprocess.DEVNULL)
    try:
        wait_for(port)
        os.environ.update(AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x", AWS_REGION="us-east-1")
        store = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1")
        store.create_bucket(Bucket=bucket)
        yield store
    finally:
        server.terminate()
        server.wait()


class Proxy(http.server.ThreadingHTTPServer):
    """Hands requests on to an object store; each `every`-th is answered with 503."""

    store, every, requests, failed = 0, 10, 0, 0
    lock = threading.Lock()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that has left, as a worker that ends."""


class Forward(http.server.BaseHTTPRequestHandler):
    """A request on its way."""

    protocol_version = "HTTP/1.1"
    server: Proxy

    def forward(self) -> None:
        """Answer with what the store says, or 503."""
        body = self.body()
        with self.server.lock:
            self.server.requests += 1
            fails = self.server.requests % self.server.every == 0
            self.server.failed += fails
        if fails:
            status, headers, data = 503, [], b"<Error><Code>SlowDown</Code></Error>"
        else:
            store = http.client.HTTPConnection("127.0.0.1", self.server.store)
            kept = {
                name: value
                for name, value in self.headers.items()
                if name.lower() not in ("transfer-encoding", "expect")
            }
            store.request(self.command, self.path, body, kept | {"Content-Length": str(len(body))})
            answer = store.getresponse()
            status, headers, data = answer.status, answer.getheaders(), answer.read()
        self.send_response(status)
        own = {"content-length", "transfer-encoding", "connection", "date", "server"}
        for name, value in headers:
            if name.lower() not in own or (self.command == "HEAD" and name.lower() == "content-length"):
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(data)))
        elif fails:
            self.send_header("Content-Length", "0")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def body(self) -> bytes:
        """Return the body of the request, of which the client states the length at once or a part at a time."""
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():  # trailers
            continue
        return b"".join(parts)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = forward

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def failing_proxy(port: int, store: int, *, every: int) -> Proxy:
    """Start the proxy in a thread."""
    proxy = Proxy(("127.0.0.1", port), Forward)
    proxy.store, proxy.every = store, every
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    return proxy


def wait_for(port: int) -> None:
    """Wait until somebody listens."""
    for _ in range(600):
        try:
            http.client.HTTPConnection("127.0.0.1", port, timeout=1).request("GET", "/")
            return
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"nobody listens on port {port}")
