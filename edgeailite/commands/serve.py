"""`edgeailite serve`: labels pictures over HTTP, as `edgeailite infer` does."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from edgeailite.config import ServeConfig
from edgeailite.console import log
from edgeailite.environment import usable_cores
from edgeailite.errors import UsageError
from edgeailite.files import read_regular
from edgeailite.serve.admission import Gate
from edgeailite.serve.models import named, served
from edgeailite.serve.served_model import ServedModel
from edgeailite.untrusted import is_printable

TOKEN = "EDGEAILITE_TOKEN"
MEGA = 1_000_000
SWITCH = 0.0005  # seconds until a thread that computes lets the one in that serves connections; Python's own is 0.005
LONGEST_TOKEN = 4096  # bytes of its file


def run(config: ServeConfig) -> int:
    """Serve until a signal; prints where. Raises UsageError where flask and waitress are not installed."""
    try:
        from edgeailite.serve.app import Service
        from edgeailite.serve.server import listen, serve
    except ModuleNotFoundError as error:
        raise UsageError(f"serve needs {error.name}; pip install flask waitress", code="not-installed") from None
    paths = named(config.models)
    sys.setswitchinterval(SWITCH)
    service = Service(
        tuple(paths),
        Gate(config.workers or usable_cores(), queue=config.queue, patience=config.queue_timeout),
        max_body=int(config.max_megabytes * MEGA),
        max_pixels=int(config.max_megapixels * MEGA),
        alpha=config.alpha,
        token=token(config.token, os.environ, config.token_file),
        origins=config.origins,
        hosts=(*config.hosts, config.host),
        max_total=int(config.max_total_megabytes * MEGA) if config.max_total_megabytes else None,
    )
    server = listen(service, host=config.host, port=config.port, client_timeout=config.client_timeout)
    log(f"listening on http://{_address(server.effective_host)}:{server.effective_port}, loading {', '.join(paths)}")

    def load() -> dict[str, ServedModel]:
        return {name: served(name, path, threads=config.threads) for name, path in paths.items()}

    code = serve(server, load, drain_timeout=config.drain_timeout, on_ready=lambda: log("ready"), on_stopped=log)
    if service.gate.running:  # a decoder under way cannot be stopped, and the interpreter aborts if it ends under it
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def token(given: str | None, variables: Mapping[str, str], file: Path | None = None) -> str | None:
    """Return the token asked for, if any: from the command line, a file or the environment. Raises UsageError."""
    if given is not None and file is not None:
        raise UsageError("--token and --token_file are both given, expected one")
    if given is not None:
        log(f"note: other users of this machine can see --token (ps); they cannot see ${TOKEN} or --token_file")
    where, found = ("--token", given) if given is not None else (f"${TOKEN}", variables.get(TOKEN) or None)
    if file is not None:
        where, found = f"--token_file {file}", _first_line(file)
    if found is None:
        return None
    if len(found) < 8:
        raise UsageError(f"{where}: expected at least 8 characters")
    if found != found.strip() or not is_printable(found):
        raise UsageError(f"{where}: expected no space at the ends and no control characters, which no header can have")
    return found


def _first_line(file: Path) -> str:
    try:
        text = read_regular(file, limit=LONGEST_TOKEN).decode()
    except OSError as error:
        raise UsageError(f"--token_file {file}: cannot be read ({error.strerror})", code="unreadable") from None
    except UnicodeDecodeError:
        raise UsageError(f"--token_file {file}: expected text in UTF-8") from None
    return text.removesuffix("\n").removesuffix("\r")


def _address(host: str) -> str:
    return f"[{host}]" if ":" in host else host
