"""Downloads against a server in a thread that cuts, ignores ranges, changes its file and lies."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from edgeailite.download import cache_folder, cached_path, checksum_in_name, download
from edgeailite.errors import DataError

ROOT = Path(__file__).resolve().parents[1]
CONTENT = bytes(range(256)) * 8000  # 2 MB
SHA = hashlib.sha256(CONTENT).hexdigest()


class Server:
    """What the server does, set by a test, and what it was asked."""

    def __init__(self) -> None:
        self.content, self.etag, self.cuts = CONTENT, '"one"', []
        self.ranges, self.length, self.type, self.status = True, True, "application/octet-stream", []
        self.modified, self.redirect, self.delay = None, None, 0.0
        self.asked: list[str | None] = []
        self.url = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("Range")
        self.asked.append(wanted)
        if self.status:
            handler.send_error(self.status.pop(0))
        elif self.redirect is not None:
            handler.send_response(302)
            handler.send_header("Location", self.redirect)
            handler.end_headers()
        else:
            self.send(handler, wanted)

    def send(self, handler: BaseHTTPRequestHandler, wanted: str | None) -> None:
        start = 0
        if wanted and self.ranges and handler.headers.get("If-Range") in (self.etag, self.modified):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(self.content) > 0:
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(self.content)}")
            handler.end_headers()
            return
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        for name, value in (("ETag", self.etag), ("Last-Modified", self.modified), ("Content-Type", self.type)):
            if value:
                handler.send_header(name, value)
        if self.length:
            handler.send_header("Content-Length", str(len(self.content) - start))
        handler.end_headers()
        body = self.content[start:]
        if self.cuts:
            body = body[: self.cuts.pop(0)]
        time.sleep(self.delay)
        handler.wfile.write(body)


@contextmanager
def serving():
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):  # the name that http.server asks for
            server.answer(self)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        server.url = f"http://127.0.0.1:{http.server_address[1]}"
        yield server
        http.shutdown()
        thread.join()


@pytest.fixture
def server():
    with serving() as server:
        yield server


def fetch(server: Server, folder: Path, name: str = "/model/w.pth", **options) -> Path:
    return download(server.url + name, folder=folder, timeout=5, pause=0, **options)


def leftovers(path: Path) -> list[str]:
    return sorted(p.name for p in path.parent.iterdir() if p != path)


def test_file_is_whole_and_fetched_once(server, tmp_path, capfd):
    path = fetch(server, tmp_path, sha256=SHA, size=len(CONTENT))
    assert path.read_bytes() == CONTENT
    assert path.name == "w.pth"
    assert leftovers(path) == []
    assert capfd.readouterr().err == f"downloading {server.url}/model/w.pth to {path}\n"
    assert fetch(server, tmp_path, sha256=SHA) == path
    assert len(server.asked) == 1


@pytest.mark.parametrize("validator", ["etag", "modified"])
def test_cut_download_goes_on_where_it_stopped(server, tmp_path, validator):
    server.cuts = [100_000, 700_000]
    if validator == "modified":
        server.etag, server.modified = 'W/"weak"', "Wed, 21 Oct 2015 07:28:00 GMT"
    assert fetch(server, tmp_path, sha256=SHA).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=100000-", "bytes=800000-"]


def test_next_process_goes_on_too(server, tmp_path):
    server.cuts, server.ranges = [100_000, *[0] * 4], True
    with pytest.raises(DataError, match=r"cannot be downloaded \(the connection was cut after 100000 of 2048000 bytes"):
        fetch(server, tmp_path)
    server.asked.clear()
    assert fetch(server, tmp_path, sha256=SHA).read_bytes() == CONTENT
    assert server.asked == ["bytes=100000-"]


def test_server_without_ranges_starts_over(server, tmp_path):
    server.cuts, server.ranges = [100_000, 300_000], False
    assert fetch(server, tmp_path, sha256=SHA).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=100000-", "bytes=300000-"]


def test_without_validator_nothing_is_glued_together(server, tmp_path):
    server.cuts, server.etag = [100_000], None
    assert fetch(server, tmp_path, sha256=SHA).read_bytes() == CONTENT
    assert server.asked == [None, None]


def test_changed_file_on_the_server_starts_over(server, tmp_path):
    server.cuts = [100_000, *[0] * 4]
    with pytest.raises(DataError):
        fetch(server, tmp_path)
    server.content, server.etag = CONTENT[::-1], '"two"'
    assert fetch(server, tmp_path).read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("excess", [0, 1000])
def test_range_beyond_the_end(server, tmp_path, excess):
    """416: the part is the whole file already, or more than it."""
    part = cached_path(server.url + "/model/w.pth", tmp_path).with_name("w.pth.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT + bytes(excess))
    part.with_name("w.pth.part.json").write_text(f'{{"url": "{server.url}/model/w.pth", "validator": "\\"one\\""}}')
    assert fetch(server, tmp_path, sha256=SHA).read_bytes() == CONTENT
    assert len(server.asked) == (2 if excess else 1)


def test_wrong_checksum_names_both_and_removes_the_file(server, tmp_path):
    wrong = "0" * 64
    with pytest.raises(DataError, match=f"sha256 {SHA} instead of {wrong}; the file was removed"):
        fetch(server, tmp_path, sha256=wrong)
    assert list(tmp_path.rglob("w.pth*")) == []


def test_checksum_in_the_name_counts_on_the_server_that_writes_it(server, tmp_path, monkeypatch):
    assert fetch(server, tmp_path, "/resnet-deadbeef.pth").read_bytes() == CONTENT
    monkeypatch.setattr("edgeailite.download.CHECKSUM_HOSTS", ("127.0.0.1",))
    assert fetch(server, tmp_path, f"/resnet-{SHA[:8]}.pth").exists()
    with pytest.raises(DataError, match=f"sha256 {SHA} instead of deadbeef"):
        fetch(server, tmp_path, "/other-deadbeef.pth")


NAMES = {
    "https://download.pytorch.org/models/vgg13-19584684.pth": "19584684",
    "https://download.pytorch.org/models/resnet50-0676ba61.pth?v=2": "0676ba61",
    "https://download.pytorch.org/models/vgg13.pth": None,
    "https://example.org/resnet50-0676ba61.pth": None,
    "https://example.org/net-20210405.pth": None,
    "https://example.org/download.pytorch.org/resnet50-0676ba61.pth": None,
    "https://example.org//download.pytorch.org/resnet50-0676ba61.pth": None,
    "https://download.pytorch.org.example.org/resnet50-0676ba61.pth": None,
}


@pytest.mark.parametrize("url", NAMES)
def test_checksum_in_the_name(url):
    assert checksum_in_name(url) == NAMES[url]


def test_wrong_size_and_wrong_checksum_argument(server, tmp_path):
    with pytest.raises(DataError, match="the server's file has 2048000 bytes instead of 5; it has changed"):
        fetch(server, tmp_path, size=5)
    server.length = False
    with pytest.raises(DataError, match="2048000 bytes instead of 5; the file was removed"):
        fetch(server, tmp_path, size=5)
    assert fetch(server, tmp_path, size=len(CONTENT) + 3, tolerance=4).exists()
    with pytest.raises(DataError, match="8 to 64 hexadecimal digits"):
        fetch(server, tmp_path, sha256="abc")


def test_damaged_file_in_the_cache_is_fetched_again(server, tmp_path, capfd):
    path = cached_path(server.url + "/model/w.pth", tmp_path)
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT[:-1])
    assert fetch(server, tmp_path, sha256=SHA).read_bytes() == CONTENT
    assert "instead of" in capfd.readouterr().err


def test_file_placed_by_hand_is_used(tmp_path):
    url = "https://example.invalid/model/w.pth"
    path = cached_path(url, tmp_path)
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert download(url, folder=tmp_path, sha256=SHA[:8]) == path


def test_missing_on_the_server_fails_at_once(server, tmp_path):
    server.status = [404]
    with pytest.raises(DataError, match=r"cannot be downloaded \(HTTP 404 Not Found"):
        fetch(server, tmp_path)
    assert len(server.asked) == 1


def test_busy_server_is_asked_again(server, tmp_path):
    server.status = [503, 429]
    assert fetch(server, tmp_path, sha256=SHA).exists()


def test_broken_server_is_not_asked_forever(server, tmp_path):
    server.status = [500] * 50
    with pytest.raises(DataError, match=r"HTTP 500 Internal Server Error"):
        fetch(server, tmp_path)
    assert len(server.asked) < 10


def test_offline_says_which_file_to_place_where(tmp_path):
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/model/w.pth"
    with pytest.raises(DataError) as caught:
        download(url, folder=tmp_path, size=14_212_972, pause=0, timeout=1, advice=", or ask a friend")
    message = str(caught.value)
    assert message.startswith(f"{url}: cannot be downloaded (Connection refused, 14.2 MB); ")
    assert f"place it as {cached_path(url, tmp_path)}" in message
    assert message.endswith(", or ask a friend")
    assert "\n" not in message


def test_silent_server_times_out(server, tmp_path):
    server.delay = 1.0
    with pytest.raises(DataError, match="timed out"):
        download(server.url + "/w.pth", folder=tmp_path, timeout=0.05, pause=0)


def test_sign_in_page_is_not_kept(server, tmp_path):
    server.type = "text/html; charset=utf-8"
    with pytest.raises(DataError, match="sent a web page instead of the file"):
        fetch(server, tmp_path)
    assert not cached_path(server.url + "/model/w.pth", tmp_path).exists()


def test_redirects_go_to_http_only(server, tmp_path):
    with serving() as other:
        server.redirect = other.url + "/elsewhere"
        assert fetch(server, tmp_path, sha256=SHA).name == "w.pth"
    server.redirect = f"file://{ROOT}/README.md"
    with pytest.raises(DataError, match=r"cannot be downloaded|not http or https"):
        fetch(server, tmp_path, "/other.pth")


@pytest.mark.parametrize("url", ["ftp://host/w.pth", "file:///etc/passwd", "http://", "http://[bad/w", "http://h/a b"])
def test_only_web_addresses(url, tmp_path):
    with pytest.raises(DataError, match="only http"):
        download(url, folder=tmp_path)


@pytest.mark.parametrize(
    "path", ["/a/../../../etc/passwd", "/..", "/%2e%2e%2fescape", "/x?y=/../../z", "/", "/.hidden", "/" + "n" * 500]
)
def test_no_name_leaves_the_folder(path, tmp_path):
    target = cached_path(f"http://host.org{path}", tmp_path)
    assert target.resolve().parent.parent == tmp_path.resolve()
    assert len(target.name) <= 120
    assert not target.name.startswith(".")
    assert "?" not in target.name


def test_same_last_part_does_not_collide(tmp_path):
    names = [f"http://host.org/{folder}/encoder_epoch_20.pth" for folder in ("a", "b")]
    names += ["http://host.org/a/encoder_epoch_20.pth?v=2", "http://other.org/a/encoder_epoch_20.pth"]
    assert len({cached_path(name, tmp_path) for name in names}) == 4
    assert {cached_path(name, tmp_path).name for name in names} == {"encoder_epoch_20.pth"}


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGEAILITE_HOME", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("EDGEAILITE_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "edgeailite"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "edgeailite"


def test_cache_that_cannot_be_written(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot be written \(.*set EDGEAILITE_HOME"):
        fetch(server, tmp_path / "file" / "cache")


def test_full_disk_is_said(server, tmp_path):
    """A limit on file sizes stands for the full disk; in a process of its own."""
    code = (
        "import resource, signal, sys; from pathlib import Path; from edgeailite.download import download\n"
        "from edgeailite.errors import DataError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))\n"
        "try: download(sys.argv[1], folder=Path(sys.argv[2]), pause=0)\n"
        "except DataError as error: print(error)\n"
    )
    words = [sys.executable, "-c", code, server.url + "/w.pth", str(tmp_path)]
    out = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "cannot be written (File too large); free disk space" in out
    assert not cached_path(server.url + "/w.pth", tmp_path).exists()


def test_two_processes_at_once(server, tmp_path):
    server.delay = 0.5
    code = "import sys; from pathlib import Path; from edgeailite.download import download\n"
    code += "print(download(sys.argv[1], folder=Path(sys.argv[2]), sha256=sys.argv[3]))"
    words = [sys.executable, "-c", code, server.url + "/w.pth", str(tmp_path), SHA]
    both = [subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ) for _ in range(3)]
    paths = {process.communicate(timeout=60)[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0, 0]
    (path,) = paths
    assert Path(path).read_bytes() == CONTENT
    assert leftovers(Path(path)) == []
    assert len(server.asked) == 1
