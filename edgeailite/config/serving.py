"""Options of `edgeailite serve`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edgeailite.config.checks import check, check_machine

HOST_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


@dataclass(frozen=True)
class ServeConfig:
    """Label pictures over HTTP, with a web page: POST /predict, GET /model, /metrics, /openapi.json."""

    models: tuple[str, ...]
    """ONNX files or run folders; NAME=PATH gives a name other than the file's. The first one is the default."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 lets other machines in, then think of --token."""
    port: int = 8080
    """Port; 0 takes a free one."""
    workers: int | None = None
    """Pictures labelled at the same time; default the number of cores."""
    threads: int = 1
    """CPU threads of each worker: 1 gives most pictures per second, more give each picture sooner."""
    queue: int = 16
    """Pictures that may wait for a worker; the next one is refused with 503 and Retry-After."""
    queue_timeout: float = 10.0
    """Seconds a picture may wait for a worker."""
    client_timeout: float = 30.0
    """Seconds a client has to send its request, and to take its answer."""
    drain_timeout: float = 30.0
    """Seconds to finish accepted requests after SIGTERM."""
    max_megabytes: float = 16.0
    """Largest body."""
    max_total_megabytes: float | None = None
    """Bodies of all connections together, in $TMPDIR and memory, and as much again of answers; default 16 times the
    largest body."""
    max_megapixels: float = 16.0
    """Largest picture, by its header, before it is decoded."""
    alpha: float = 0.5
    """Weight of the colours in the overlay where a request gives none."""
    token: str | None = None
    """Ask for `Authorization: Bearer TOKEN`. Other users of the machine can see it in the list of processes, but not
    $EDGEAILITE_TOKEN or the file."""
    token_file: Path | None = None
    """File whose only line is the token, such as a secret that an orchestrator mounts."""
    hosts: tuple[str, ...] = ()
    """Names by which the service is called, such as example.org behind a proxy; addresses, localhost and the name given
    as --host always are."""
    origins: tuple[str, ...] = ()
    """Other web sites that may read answers (CORS), such as https://example.org; default none."""

    def __post_init__(self) -> None:
        check_machine(self.threads)
        check(len(self.models) >= 1, "models", self.models, "at least one")
        check(0 <= self.port <= 65535, "port", self.port, "0 to 65535")
        check(self.workers is None or 1 <= self.workers <= 256, "workers", self.workers, "1 to 256")
        check(0 <= self.queue <= 256, "queue", self.queue, "0 to 256")
        for name in ("queue_timeout", "client_timeout", "drain_timeout", "max_megabytes"):
            value = getattr(self, name)
            check(0 < value <= 10_000, name, value, "above 0, at most 10000")
        check(0 < self.max_megapixels <= 64, "max_megapixels", self.max_megapixels, "above 0, at most 64")
        check(0 <= self.alpha <= 1, "alpha", self.alpha, "0 to 1")
        total = self.max_total_megabytes
        enough = total is None or self.max_megabytes <= total <= 1_000_000
        check(enough, "max_total_megabytes", total, "at least --max_megabytes")
        check(self.token is None or len(self.token) >= 8, "token", "...", "at least 8 characters")
        for host in self.hosts:
            named = HOST_NAME.fullmatch(host) is not None
            check(named, "hosts", host, "a name such as example.org, without scheme and port")
        for origin in self.origins:
            plain = origin.startswith(("http://", "https://")) and not origin.endswith("/")
            check(plain, "origins", origin, "a site such as https://example.org, without a path")
