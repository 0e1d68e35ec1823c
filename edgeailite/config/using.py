"""Options of the verbs that use a trained network: infer, serve."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from edgeailite.config.checks import Computing, Engine, Weights, check, check_engine, check_least, check_machine, group
from edgeailite.errors import option

Written = Literal["labels", "colors", "overlay", "side_by_side", "shares", "manifest"]
HOST_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


@dataclass(frozen=True)
class InferConfig(Computing, Engine):
    """Label pictures and videos: label PNG, colour map, overlay, class shares, video."""

    model: Path | None = None
    """Run folder, checkpoint, .onnx or .tflite file, float or int8."""
    input: tuple[Path, ...] = ()
    """Pictures, folders (any depth), 'patterns*', videos, camera:0, or - for a list of paths on stdin; tar shards and
    Parquet files of pictures, s3://bucket/folder, gs://..."""
    save_path: Path = Path("predictions")
    """Folder to write to; results keep the names and sub-folders of the inputs."""
    write: tuple[Written, ...] = ("labels", "colors", "overlay", "shares")
    """labels: PNG of classes, or 16-bit PNG of depth; colors; overlay; side_by_side; shares: of classes, CSV and
    JSON; manifest: a line of hashes for each picture."""
    alpha: float = 0.5
    """Weight of the colours in the overlay: 0 shows the picture alone, 1 the colours alone."""
    weights: Weights = "best"
    """Of a run folder: best.pt, of its best validation score, or last.pt, of its last epoch. A file is taken as it
    is."""
    resume: bool = False
    """Skip what an earlier run with the same model and options has finished."""
    json: bool = False
    """Print one JSON object instead of a table."""

    group("pictures")
    original_ids: bool = False
    """Write the data set's own label values, not class numbers 0, 1, ..."""
    data_path: Path | None = None
    """With --original_ids: folder of the data set, which holds these values; default as in training."""
    root: Path | None = None
    """Folder below which sub-folders are kept; default the folder that all inputs share, for - the current one."""
    beside: tuple[Path, ...] = ()
    """For networks with several inputs: for each further input a folder with pictures of the same names (flow, ...)."""
    camera_input: int = -1
    """With --beside: which input of the network takes the pictures themselves, from 0; -1 is the last, as published."""

    group("videos and cameras")
    video: Literal["overlay", "colors", "side_by_side"] = "overlay"
    """What the written video shows."""
    video_format: Literal["mp4", "webm", "avi"] = "mp4"
    """mp4 (MPEG-4), webm (VP9, which browsers play; slower) or avi (MJPEG)."""
    frames: bool = False
    """Also write the pictures of --write for each frame."""
    max_frames: int = 0
    """Stop after this many frames (0 = at the end; cameras: at Ctrl-C)."""
    fps: float | None = None
    """Frames per second of the written video; default the source's."""
    smooth: float = 0.0
    """Average predictions over frames, 0 (none) to below 1; flicker is printed with and without."""

    group("beyond one machine")
    shard: str | None = None
    """I/N: label only part I (0 to N-1) of N, by the pictures' names. auto or auto/N takes I (and N) from a Kubernetes
    Indexed Job, a Slurm array or torchrun. Tables are kept apart for --merge; implies a manifest."""
    merge: Path | None = None
    """Join the tables of all parts below this folder, the save_path of the parts; no model and input are needed."""
    check: Path | None = None
    """Recompute a sample of this manifest.jsonl here and compare; model and inputs are the job's, unless given."""
    sample: float = 0.001
    """With --check: share of the pictures to recompute, above 0 to 1; at least one picture."""
    seed: int = 0
    """With --check: another seed takes other pictures."""
    save_format: Literal["files", "tar", "parquet"] = "files"
    """files: PNG files; tar: WebDataset shards; parquet: rows with label PNGs, class shares and hashes."""
    column: str = ""
    """Extension of the pictures in tar shards (jpg), or their column in Parquet files; default all pictures."""
    batch: int = 64
    """Pictures that a worker labels and writes at a time."""
    tables: Path = Path("predictions")
    """With a save_path such as s3://bucket/labels: local folder of the tables, which are copied there at the end."""
    metrics: Path | None = None
    """Also write done, failed, rate and time left to this file, as Prometheus text."""

    group("machine")
    runtime: Literal["onnxruntime", "openvino"] = "onnxruntime"
    """What computes .onnx files (LiteRT computes .tflite files)."""

    needed: ClassVar = ("model", "input")
    needless: ClassVar = ("merge", "check")  # beside one of these, what is needed may be left out

    def __post_init__(self) -> None:
        check_machine(self.threads, seed=self.seed)
        check_engine(self)
        check(1 <= self.batch <= 65536, "batch", self.batch, "1 to 65536")
        alone = self.merge is not None or self.check is not None
        check(alone or bool(self.input), "input", self.input, "at least one picture, folder, video or camera")
        check(bool(self.write), "write", self.write, "at least one of labels colors overlay side_by_side shares")
        check(self.merge is None or self.check is None, "check", self.check, f"no {option('merge')} beside it")
        check(0 < self.sample <= 1, "sample", self.sample, "above 0, at most 1")
        check(0 <= self.alpha <= 1, "alpha", self.alpha, "0 to 1")
        check(0 <= self.smooth < 1, "smooth", self.smooth, "from 0 to below 1")
        check_least(self, 0, "max_frames")
        check(self.fps is None or 0 < self.fps <= 1000, "fps", self.fps, "above 0, at most 1000")
        check(self.camera_input >= -1, "camera_input", self.camera_input, "-1 or the number of an input")
        check(
            self.data_path is None or self.original_ids,
            "data_path",
            self.data_path,
            f"{option('original_ids')} True beside it",
        )


@dataclass(frozen=True)
class ServeConfig:
    """Label pictures over HTTP, with a web page: POST /predict, GET /model, /metrics, /openapi.json."""

    models: tuple[str, ...]
    """ONNX or .tflite files, or run folders; NAME=PATH gives a name other than the file's. The first is the default."""
    host: str = "127.0.0.1"
    """Address to listen on. 0.0.0.0 lets other machines in: then set a token."""
    port: int = 8080
    """Port; 0 takes a free one."""
    alpha: float = 0.5
    """Weight of the colours in the overlay, for requests that give none."""

    group("machine")
    workers: int | None = None
    """Pictures labelled at the same time; default the number of cores."""
    threads: int = 1
    """CPU threads of each worker: 1 gives most pictures per second, more give each picture sooner."""

    group("waiting and time limits")
    queue: int = 16
    """Pictures that may wait for a worker; the next one is refused with 503 and Retry-After."""
    queue_timeout: float = 10.0
    """Seconds a picture may wait for a worker."""
    client_timeout: float = 30.0
    """Seconds a client has to send its request, and to take its answer."""
    drain_timeout: float = 30.0
    """Seconds to finish accepted requests after SIGTERM."""

    group("largest requests")
    max_megabytes: float = 16.0
    """Largest body of a request."""
    max_total_megabytes: float | None = None
    """Bodies of all connections together, in $TMPDIR and memory, and as much again of answers; default 16 times the
    largest body."""
    max_megapixels: float = 16.0
    """Largest picture, by its header, before it is decoded."""

    group("who may ask")
    token: str | None = None
    """Ask for `Authorization: Bearer TOKEN`. Other users of the machine can see it in the list of processes; they
    cannot see $EDGEAILITE_TOKEN or the file."""
    token_file: Path | None = None
    """File whose only line is the token, such as a secret that an orchestrator mounts."""
    hosts: tuple[str, ...] = ()
    """Names by which the service is called, such as example.org behind a proxy. Addresses, localhost and the name given
    as --host are always allowed."""
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
        check(enough, "max_total_megabytes", total, f"at least {option('max_megabytes')}")
        check(self.token is None or len(self.token) >= 8, "token", "...", "at least 8 characters")
        for host in self.hosts:
            named = HOST_NAME.fullmatch(host) is not None
            check(named, "hosts", host, "a name such as example.org, without scheme and port")
        for origin in self.origins:
            plain = origin.startswith(("http://", "https://")) and not origin.endswith("/")
            check(plain, "origins", origin, "a site such as https://example.org, without a path")
