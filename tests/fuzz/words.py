"""Words of the command line: verbs, flags and values of every wrong kind."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

from edgeailite import config
from edgeailite.verbs import VERBS
from tests.fuzz.case import Call, Group, World
from tests.fuzz.mutate import ESCAPES
from tests.fuzz.seeds import QUIET, TRAIN
from tests.fuzz.verbs import ONE, data, picture

Words = list[object]
NUMBERS = (
    "-1",
    "0",
    "",
    "x",
    "1.5",
    "nan",
    "inf",
    "-inf",
    "1e-320",
    "1e308",
    "٣",
    "0x10",
    "1_0",
    " 1",
    "--",
    "None",
    "True",
    "0 0",
    "-1 5",
    "1 2 3 4 5",
)
HUGE = ("9" * 30, "9" * 5000, "1000000000 1000000000", "100000 100000")
TEXTS = ("", " ", "x" * 5000, ESCAPES, "a\nerror: b", "../../canary/victim.txt", "/dev/null", "/dev/full", "/", ".",
"~", "*", "a,b", "%s", "{0}",
         "[bold]", "\udcff\udcfe", "é", "None", "True", "-", "@file", "http://127.0.0.1:1/x.pth", "file:///etc/passwd",
         "a=b", "=")  # fmt: skip
COUNTS = ("rounds", "warmup", "epochs", "images", "draws", "adaround", "workers", "calibration_images",
"quantize_epochs", "threads",
          "batch_size", "accumulate", "train_images", "val_images", "operators", "rows", "queue", "max_frames",
          "save_every", "evaluate_every")  # fmt: skip
NOT_ASKED = ("demo", "data get", "preset", "doctor", "devices fit")  # minutes, the network, or what only tells


def _lines(world: World) -> dict[str, Words]:
    """An honest command line of each verb."""
    model, run = world.seeds / "files/model.onnx", Path("run")
    where: Words = ["--data_path", world.seeds / "data"]
    return {
        "models": ["fpn_mobilenetv2*", "--size", 64, 96],
        "choose": ["--max_gmacs", 1, "--size", 64, 96],
        "complexity": [model],
        "data check": [*data(world), "--workers", 0],
        "data stats": [*data(world), "--workers", 0],
        "data show": [*data(world), "--images", 2],
        "data cache": data(world),
        "train": [*data(world), "--save_path", "new", *TRAIN, "--dry_run", "True"],
        "validate": [model, *data(world), *QUIET],
        "compare": [model, world.seeds / "files/model_int8.onnx", *data(world), *QUIET, "--draws", 100],
        "calibrate": [run, *where, "--save_path", "new", "--images", 1, *QUIET],
        "analyze": [run, *where, "--images", 1, "--calibration_images", 1, *QUIET],
        "quantize": [run, *where, "--save_path", "new", "--dry_run", "True", *QUIET],
        "export": [run, "--output", "model.onnx"],
        "verify": [model, world.seeds / "files/contract.json"],
        "infer": [model, picture(world), "--save_path", "out", *ONE],
        "serve": [model, "--port", 0],
        "report": [model, *where, "--output", "report.html", *ONE],
        "bench": [model, "--rounds", 1, "--warmup", 0, *ONE],
        "devices list": ["tda4vm"],
        "presets": [],
    }


def _values(world: World, field: dataclasses.Field[Any]) -> list[str]:
    """Words for an option; more than one where the word has blanks between numbers."""
    kind = str(field.type)
    if "Path" in kind or "str" in kind or "Literal" in kind:
        return [world.rng.choice(TEXTS)]
    numbers = NUMBERS if field.name in COUNTS else (*NUMBERS, *HUGE)
    return world.rng.choice(numbers).split(" ") if "tuple" in kind else [world.rng.choice((*numbers, *TEXTS[:4]))]


def _options(world: World) -> Call:
    """One or two options with values that cannot be."""
    world.seeds.copy("bare", world.box / "run")
    lines = _lines(world)
    verb = world.pick(list(lines))
    fields = dataclasses.fields(getattr(config, VERBS[verb].config))
    words: Words = [*verb.split(), *lines[verb]]
    if world.number < len(lines):
        return Call(
            f"{verb}: honest", words, honest=verb not in ("export", "analyze"), serves=verb == "serve", patience=3.0
        )
    said = []
    for _ in range(world.rng.choice((1, 1, 1, 2))):
        options = [field for field in fields if field.name not in ("host", "port", "data_path", "input")]
        field = world.rng.choice(options or fields or [None])
        if field is None:
            words.append(world.rng.choice(TEXTS))
            continue
        values = _values(world, field)
        words += [f"--{field.name}", *values]
        said.append(f"--{field.name} {' '.join(values)!r:.30}")
    return Call(f"{verb}: {', '.join(said)}", words, serves=verb == "serve", patience=3.0, greedy=True)


def _shapes(world: World) -> Call:
    """Words in places where they do not belong."""
    world.seeds.copy("bare", world.box / "run")
    lines = _lines(world)
    verb = world.rng.choice([verb for verb in lines if verb not in ("export", "serve", "analyze")])
    words: Words = [*verb.split(), *lines[verb]]
    flags = [at for at, word in enumerate(words) if str(word).startswith("--")]
    way = world.pick(
        (
            "verb",
            "flag",
            "twice",
            "cut",
            "equals",
            "extra",
            "mixed",
            "no value",
            "only",
            "path",
            "config",
            "group",
            "bytes",
        )
    )
    if way == "verb":
        words[0] = world.rng.choice(
            (*TEXTS, "trian", "data", "devices", "--help", "-h", "help", "--version", "preset", "data x")
        )
    elif way == "flag":
        words.append(f"--{world.rng.choice((*TEXTS, 'epoch', 'thread', 'Threads', 'no-json', 'help=5'))}")
    elif way == "twice":
        words += words[len(verb.split()) :]
    elif way == "cut":
        words = words[: world.rng.randrange(len(words) + 1)]
    elif way == "equals" and flags:
        at = world.rng.choice(flags)
        words[at : at + 2] = [f"{words[at]}={'='.join(map(str, words[at + 1 : at + 2]))}"]
    elif way == "extra":
        words.insert(world.rng.randrange(1, len(words) + 1), world.rng.choice(TEXTS))
    elif way == "mixed":
        world.rng.shuffle(words)
    elif way == "no value" and flags:
        del words[world.rng.choice(flags) + 1 :]
    elif way == "only":
        words = [verb.split()[0], world.rng.choice(TEXTS)]
    elif way == "path":
        words = [world.rng.choice(_path(world, str(word)) if isinstance(word, Path) else [word]) for word in words]
    elif way == "config":
        words += world.rng.choice(
            (["--config"], ["--config", "gone"], ["--config", "/dev/zero"], ["--config="], ["--config", "."])
        )
    elif way == "bytes":
        words.append("--json=" + os.fsdecode(world.rng.randbytes(20).replace(b"\0", b"")))
    return Call(f"{verb}: {way}", [str(word).replace("\0", "") for word in words], patience=3.0)


def _path(world: World, honest: str) -> list[object]:
    """What may stand where a path is expected."""
    if not (world.box / "pipe").exists():
        os.mkfifo(world.box / "pipe")
    return [
        honest + "/",
        honest + "x",
        f"{honest}/x",
        Path(honest).parent,
        "/dev/zero",
        "/dev/full",
        "/proc/self/mem",
        "pipe",
        "x" * 300,
        ESCAPES,
        "",
    ]


GROUPS = (
    Group("words-options", 14, _options, ("data", "files", "bare")),
    Group("words-shapes", 12, _shapes, ("data", "files", "bare")),
)
