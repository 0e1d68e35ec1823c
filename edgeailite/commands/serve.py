"""`edgeailite serve`: models behind HTTP, labelling as `edgeailite infer` does."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from edgeailite import __version__
from edgeailite.commands.infer import label_picture
from edgeailite.config import ServeConfig
from edgeailite.console import log
from edgeailite.device import select_device, set_threads
from edgeailite.environment import usable_cores
from edgeailite.errors import UsageError
from edgeailite.files import read_regular, sha256_of
from edgeailite.inference.writing import png
from edgeailite.modelcard import ModelCard
from edgeailite.runs.checkpoint import find_checkpoint
from edgeailite.runs.open import OpenModel, open_model
from edgeailite.serve.admission import Gate
from edgeailite.serve.served import Served
from edgeailite.untrusted import is_printable, printable

TOKEN = "EDGEAILITE_TOKEN"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MEGA = 1_000_000
SWITCH = 0.0005  # seconds until a thread that computes lets the one in that serves connections; Python's own is 0.005
LONGEST_TOKEN = 4096  # bytes of its file
NEW_COLOR = (128, 128, 128)  # of a class that the card has no colour for


def run(config: ServeConfig) -> int:
    """Serve until a signal; prints where. Raises UsageError where flask and waitress are not installed."""
    try:
        from edgeailite.serve.app import Service
        from edgeailite.serve.server import listen, serve
    except ModuleNotFoundError as error:
        raise UsageError(f"serve needs {error.name}; pip install flask waitress") from None
    paths = named(config.models)
    set_threads(config.threads)
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

    def load() -> dict[str, Served]:
        return {name: served(name, path, threads=config.threads) for name, path in paths.items()}

    code = serve(server, load, drain_timeout=config.drain_timeout, on_ready=lambda: log("ready"), on_stopped=log)
    if service.gate.running:  # a decoder under way cannot be stopped, and the interpreter aborts if it ends under it
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def named(models: tuple[str, ...]) -> dict[str, Path]:
    """NAME=PATH or PATH, where the name is that of the file or folder. Raises UsageError for a name given twice."""
    paths: dict[str, Path] = {}
    for word in models:
        name, equals, rest = word.partition("=")
        path = Path(rest if equals else word)
        name = name if equals else path.resolve().stem if path.suffix else path.resolve().name
        if not NAME.fullmatch(name):
            hint = f"{name!r} is no name for a model (letters, digits, . _ -); NAME={path}"
            raise UsageError(printable(f"--models {word}: {hint}"))
        if name in paths:
            raise UsageError(f"--models {word}: {name} is the name of {paths[name]} already; write OTHER={path}")
        paths[name] = path
    return paths


def token(given: str | None, variables: Mapping[str, str], file: Path | None = None) -> str | None:
    """The token asked for, if any: from the command line, a file or the environment. Raises UsageError."""
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
        raise UsageError(f"--token_file {file}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise UsageError(f"--token_file {file}: expected text in UTF-8") from None
    return text.removesuffix("\n").removesuffix("\r")


def served(name: str, path: Path, *, threads: int) -> Served:
    """Open a model and label one picture with it, so that the first request is as fast as the next."""
    opened = open_model(path, device=select_device("cpu"), threads=threads)
    _check_takes_pictures(opened.card, path)
    output = opened.card.classified[0]
    model = Served(
        name, classes(opened.card, output), lambda image: label_picture(opened, image), facts(opened, path), png
    )
    pre = opened.card.preprocessing
    model.labels(np.zeros((pre.height, pre.width, 3), np.uint8))
    return model


def classes(card: ModelCard, output: str) -> tuple[tuple[str, tuple[int, int, int]], ...]:
    """Name and colour of every class of an output; numbers and grey for those that the card does not name."""
    return tuple(
        (
            card.classes[index] if index < len(card.classes) else f"class {index}",
            card.palette[index] if index < len(card.palette) else NEW_COLOR,
        )
        for index in range(card.outputs[output])
    )


def facts(opened: OpenModel, path: Path) -> dict[str, object]:
    """What `GET /model` says beside classes; no path of this machine."""
    pre = opened.card.preprocessing
    file = path if path.suffix == ".onnx" else find_checkpoint(path)
    return {
        "network": opened.card.model_name,
        "data": opened.card.dataset_name,
        "arithmetic": opened.arithmetic,
        "form": opened.kind,
        "sha256": sha256_of(file),
        "input": {
            "height": pre.height,
            "width": pre.width,
            "mean": list(pre.mean),
            "scale": list(pre.scale),
            "channel_order": pre.channel_order,
            "interpolation": pre.interpolation,
        },
        "version": __version__,
    }


def _check_takes_pictures(card: ModelCard, source: Path) -> None:
    """Raises UsageError for networks whose result cannot be drawn, or that want more than a picture."""
    if len(card.inputs) > 1:
        raise UsageError(f"serve {source}: the network takes {len(card.inputs)} pictures at a time, a request has one")
    if not card.classified:
        raise UsageError(f"serve {source}: the network has no output with classes, only {', '.join(card.outputs)}")


def _address(host: str) -> str:
    return f"[{host}]" if ":" in host else host
