"""Options of `edgeailite serve`."""

from __future__ import annotations

from dataclasses import dataclass

from edgeailite.config.checks import check, check_machine


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
    max_megapixels: float = 16.0
    """Largest picture, by its header, before it is decoded."""
    alpha: float = 0.5
    """Weight of the colours in the overlay where a request gives none."""
    token: str | None = None
    """Ask for `Authorization: Bearer TOKEN`; default $EDGEAILITE_TOKEN, which other users of the machine cannot see."""
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
        check(self.token is None or len(self.token) >= 8, "token", "...", "at least 8 characters")
        for origin in self.origins:
            plain = origin.startswith(("http://", "https://")) and not origin.endswith("/")
            check(plain, "origins", origin, "a site such as https://example.org, without a path")
