"""One way to fetch a published file: `download(url)` gives a path in the cache, whole and checked, or says what to do.

The cache is `$EDGEAILITE_HOME`, else `$XDG_CACHE_HOME/edgeailite`, else `~/.cache/edgeailite`; a file lies there under
`<host>-<digest of the URL>/<name>`, so that two URLs with the same last part never meet. What is not yet whole is
`<name>.part` with its server's validator in `<name>.part.json`: a cut download goes on where it stopped, unless the
file on the server has changed. A second process waits for the first. Only http and https, redirects included.
"""

from __future__ import annotations

import contextlib
import email.message
import fcntl
import http.client
import json
import os
import re
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from edgeailite.errors import DataError
from edgeailite.files import read_regular, sha256_of, unwritable, write_atomic
from edgeailite.untrusted import json_value, printable

CHUNK = 1 << 18
CHECKSUM_HOSTS = ("download.pytorch.org",)  # elsewhere such digits are a date, a commit, anything
NAMED_CHECKSUM = re.compile(r"-([0-9a-f]{8})\.(?:pth|pt)$")  # mobilenet_v2-b0353104.pth
MAX_NAME = 120
RETRIES = 4
TIMEOUT = 30.0  # seconds without a byte
Advance = Callable[[int, int | None], None]  # bytes so far, bytes in all


class _Cut(Exception):
    """The connection ended early, or the server asks to try again."""


@dataclass(frozen=True)
class _Job:
    """A download: its address, destination and the checks of the result."""

    url: str
    target: Path
    part: Path
    notes: Path
    sha256: str | None
    size: int | None
    tolerance: int
    timeout: float
    pause: float
    retries: int
    advice: str


def cache_folder() -> Path:
    """Return the folder of downloads; the variable `EDGEAILITE_HOME` moves it."""
    if own := os.environ.get("EDGEAILITE_HOME"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgeailite"


def cached_path(url: str, folder: Path | None = None) -> Path:
    """Return the path that `download(url)` would write, existing or not.

    Raises DataError for anything but an http(s) URL.
    """
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.hostname and not re.search(r"[\x00-\x20\x7f]", url)
    except ValueError:
        known = False
    if not known:
        raise DataError(f"{url!r}: only http:// and https:// addresses can be downloaded; fetch it and give the file")
    digest = sha256_of(url.partition("#")[0].encode())[:8]
    name = re.sub(r"[^A-Za-z0-9._-]", "_", parts.path.rsplit("/", 1)[-1]).lstrip(".")[-MAX_NAME:] or "file"
    host = re.sub(r"[^A-Za-z0-9.-]", "_", parts.hostname or "").strip(".") or "host"
    return (folder or cache_folder()) / f"{host}-{digest}" / name


def download(
    url: str,
    *,
    sha256: str | None = None,
    size: int | None = None,
    tolerance: int = 0,
    folder: Path | None = None,
    timeout: float = TIMEOUT,
    pause: float = 0.25,
    retries: int = RETRIES,
    advice: str = "",
) -> Path:
    """Return the path of a file by its URL, taken from the cache or downloaded into it.

    `sha256` is the checksum or the first 8 or more digits of it; without one, the 8 digits in the names on
    PyTorch's server count. `size` is in bytes, right to `tolerance`. `timeout` is the seconds without a byte that
    count as a cut, `retries` the number of tries in a row without a byte, `pause` the seconds after the first of them,
    doubled each time. `advice` ends the message when the network cannot be reached: what else the user can do. Raises
    DataError that says which file to place where.
    """
    target = cached_path(url, folder)
    checksum = (sha256 or checksum_in_name(url) or "").lower() or None
    if checksum is not None and not re.fullmatch(r"[0-9a-f]{8,64}", checksum):
        raise DataError(f"sha256 {sha256!r}: 8 to 64 hexadecimal digits are needed")
    part, notes = Path(f"{target}.part"), Path(f"{target}.part.json")
    job = _Job(url, target, part, notes, checksum, size, tolerance, timeout, pause, retries, advice)
    if _cached(job):
        return job.target
    try:
        job.target.parent.mkdir(parents=True, exist_ok=True)
        with _held(job) as file:
            if file is None:  # another process finished it
                return job.target
            _fetch(job, file)
            _finish(job, file)
    except OSError as error:
        hint = "free disk space, or set EDGEAILITE_HOME to a folder that can be written"
        raise unwritable(error.filename or job.part, error, fix=hint) from None
    return job.target


def reachable(url: str, *, seconds: float) -> bool:
    """Tell if a server answers within `seconds`, whatever it answers. Looking up its name counts as well."""
    answers: list[bool] = []

    def ask() -> None:
        request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": "edgeailite"})
        try:
            urllib.request.build_opener(_Redirects).open(request, timeout=seconds).close()
        except urllib.error.HTTPError as error:
            error.close()
        except (OSError, http.client.HTTPException, DataError):
            return
        answers.append(True)

    asking = threading.Thread(target=ask, daemon=True)  # the look-up of a name has no timeout of its own
    asking.start()
    asking.join(seconds)
    return bool(answers)


def checksum_in_name(url: str) -> str | None:
    """Return the first 8 digits of the SHA-256 that PyTorch's own server has in file names; None on other servers."""
    parts = urlsplit(url)
    found = NAMED_CHECKSUM.search(parts.path) if parts.hostname in CHECKSUM_HOSTS else None
    return None if found is None else found.group(1)


# --- the file in the cache


def _cached(job: _Job) -> bool:
    """Tell if the whole, correct file is in the cache. A wrong one is removed, with a note."""
    if not job.target.is_file():
        return False
    fault = _fault(job, job.target)
    if fault is None:
        return True
    _say(f"{job.target}: {fault}; removed")
    try:
        job.target.unlink()
    except OSError as error:
        raise DataError(
            f"{job.target}: {fault}; it cannot be removed ({error.strerror}): remove it", code="damaged"
        ) from None
    return False


def _fault(job: _Job, path: Path) -> str | None:
    """Why a file is not the wanted one; None if it is."""
    size = path.stat().st_size
    if job.size is not None and abs(size - job.size) > job.tolerance:
        return f"{size} bytes instead of {job.size}"
    if job.sha256 is None:
        return None
    found = sha256_of(path)
    return None if found.startswith(job.sha256) else f"sha256 {found} instead of {job.sha256}"


@contextlib.contextmanager
def _held(job: _Job) -> Iterator[IO[bytes] | None]:
    """The `.part` file, for this process alone; None if another one finished the download meanwhile."""
    waiting = False
    while True:
        with job.part.open("a+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not waiting:
                    _say(f"{job.url}: another process is downloading it; waiting")
                waiting = True
                time.sleep(0.1)
                continue
            same = False
            with contextlib.suppress(FileNotFoundError):
                same = os.path.samestat(os.fstat(file.fileno()), job.part.stat())
            if not same:
                continue  # the other process has moved it to its place, or removed it
            if job.target.is_file() and _fault(job, job.target) is None:
                job.part.unlink(missing_ok=True)
                yield None
            else:
                yield file
            return


def _finish(job: _Job, file: IO[bytes]) -> None:
    """Check the whole file and move it to its place; a wrong one is removed."""
    file.flush()
    os.fsync(file.fileno())
    fault = _fault(job, job.part)
    if fault is not None:
        job.part.unlink()
        job.notes.unlink(missing_ok=True)
        raise DataError(
            f"{job.url}: {fault}; the file was removed: try again, or take it from another place", code="damaged"
        )
    job.part.replace(job.target)
    job.notes.unlink(missing_ok=True)


# --- from the net


def _fetch(job: _Job, file: IO[bytes]) -> None:
    """Fill `file`, going on after cuts; every retry without a new byte counts, and there are few."""
    failures, furthest = 0, 0
    with _progress(job) as advance:
        while True:
            try:
                _transfer(job, file, advance)
                return
            except _Cut as cut:
                have = _end(file)
                failures = 0 if have > furthest else failures + 1
                furthest = max(have, furthest)
                if failures >= job.retries:
                    raise DataError(_offline(job, str(cut)), code="offline") from None
                time.sleep(job.pause * 2**failures)


def _transfer(job: _Job, file: IO[bytes], advance: Advance) -> None:
    """Send one request. Raises _Cut if trying again may help, else DataError."""
    have, validator = _end(file), _validator(job)
    headers = {"User-Agent": "edgeailite", "Accept-Encoding": "identity"}
    if have and validator:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    request = urllib.request.Request(job.url, headers=headers)
    try:
        answer = urllib.request.build_opener(_Redirects).open(request, timeout=job.timeout)
    except urllib.error.HTTPError as error:
        error.close()
        _refused(job, file, error)
        return
    except urllib.error.URLError as error:
        raise _Cut(str(getattr(error.reason, "strerror", None) or error.reason)) from None
    except (http.client.HTTPException, OSError) as error:
        raise _Cut(str(error) or type(error).__name__) from None
    with answer:
        start = _begin(job, file, answer.headers, have if answer.status == 206 else 0)
        length = answer.headers.get("Content-Length")
        total = start + int(length) if length and length.isdigit() else None
        if total is not None and job.size is not None and abs(total - job.size) > job.tolerance:
            raise DataError(
                f"{job.url}: the server's file has {total} bytes instead of {job.size}; it has changed", code="damaged"
            )
        _copy(answer, file, start, total, advance)


def _refused(job: _Job, file: IO[bytes], error: urllib.error.HTTPError) -> None:
    """Handle an error status of the server; returns only if the file turns out to be complete already."""
    if error.code == 416:
        whole = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range", ""))
        if whole and int(whole.group(1)) == _end(file):
            return
        _restart(job, file)
        raise _Cut("the server has another file than before")
    reason = f"HTTP {error.code} {error.reason}"
    if error.code in (408, 425, 429) or error.code >= 500:
        raise _Cut(reason)
    raise DataError(_offline(job, reason), code="offline")


def _begin(job: _Job, file: IO[bytes], headers: email.message.Message, have: int) -> int:
    """The position at which the answer's bytes belong; the file is emptied where they are the whole of it."""
    if headers.get_content_type() == "text/html" and not job.target.name.endswith((".html", ".htm")):
        raise DataError(
            _offline(job, "the server sent a web page instead of the file; a sign-in page?"), code="offline"
        )
    etag = headers.get("ETag", "")
    validator = headers.get("Last-Modified") if etag.startswith("W/") or not etag else etag  # weak ones cannot be used
    if have:
        start = re.match(r"bytes (\d+)-", headers.get("Content-Range", ""))
        if start and int(start.group(1)) == have and validator in (None, _validator(job)):
            return have
        _restart(job, file)
        raise _Cut("the server sent another part than asked for")
    _restart(job, file)
    if validator:
        write_atomic(job.notes, json.dumps({"url": job.url, "validator": validator}))
    return 0


def _copy(answer: Any, file: IO[bytes], have: int, total: int | None, advance: Advance) -> None:
    while True:
        advance(have, total)
        try:
            data = answer.read(CHUNK)
        except http.client.IncompleteRead as error:
            file.write(error.partial)
            raise _Cut("the connection was cut") from None
        except (http.client.HTTPException, OSError) as error:
            raise _Cut(f"the connection was cut: {error}") from None
        if not data:
            break
        file.write(data)
        have += len(data)
    if total is not None and have < total:
        raise _Cut(f"the connection was cut after {have} of {total} bytes")


def _restart(job: _Job, file: IO[bytes]) -> None:
    file.truncate(0)
    job.notes.unlink(missing_ok=True)


def _end(file: IO[bytes]) -> int:
    return file.seek(0, os.SEEK_END)


def _validator(job: _Job) -> str | None:
    """Return the server's validator of the unfinished file; None if unknown, and then it is fetched from the start."""
    try:
        notes = json_value(read_regular(job.notes, limit=1 << 16), where=str(job.notes))
        return str(notes["validator"]) if notes["url"] == job.url else None
    except (OSError, DataError, KeyError, TypeError):
        return None


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Redirects to http and https only."""

    def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: str) -> Any:
        if urlsplit(newurl).scheme not in ("http", "https"):
            raise DataError(f"{req.full_url}: redirects to {newurl}, which is not http or https; refused")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _offline(job: _Job, reason: str) -> str:
    about = f", {job.size / 1e6:.1f} MB" if job.size is not None else ""
    fix = f"fetch it elsewhere and place it as {job.target}{job.advice}"
    return f"{job.url}: cannot be downloaded ({reason}{about}); {fix}"


def _say(message: str) -> None:
    print(printable(message), file=sys.stderr, flush=True)


@contextlib.contextmanager
def _progress(job: _Job) -> Iterator[Advance]:
    """A bar where stderr is a terminal, else one line."""
    if not sys.stderr.isatty():
        _say(f"downloading {job.url} to {job.target}")
        yield lambda have, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(job.target.name, total=job.size)
        yield lambda have, total: bar.update(task, completed=have, total=total or job.size)
