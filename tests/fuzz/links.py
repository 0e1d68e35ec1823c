"""Links where a verb is about to write: what they lead to must stay as it is, whoever put them there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.case import Call, Group, World
from tests.fuzz.seeds import HEIGHT, QUIET, WIDTH
from tests.fuzz.verbs import ONE, Words, data, picture


@dataclass(frozen=True)
class Writer:
    """A command line, what it writes into folders that a stranger may have filled, and what its user names."""

    words: Callable[[World], Words]
    inside: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    seed: str = "bare"


def _where(world: World) -> Words:
    return ["--data_path", world.seeds / "data"]


RESULTS = ("p4_label.png", "p4_color.png", "p4_overlay.png", "shares.csv", "shares.json", "infer.json", "skipped.csv")
WRITERS: dict[str, Writer] = {
    "infer": Writer(
        lambda world: ["infer", world.seeds / "files/model.onnx", picture(world), "--save_path", "out", *ONE],
        tuple(f"out/{name}" for name in RESULTS),
    ),
    "report": Writer(
        lambda world: ["report", "run", *_where(world), "--forms", "none", *ONE],
        ("run/report.html", "run/contract.json"),
    ),
    "calibrate": Writer(
        lambda world: ["calibrate", "run", *_where(world), "--save_path", "new", "--images", 1, *QUIET],
        ("new/last.pt", "new/best.pt", "new/config.yaml", "new/env.json"),
    ),
    "resume": Writer(
        lambda world: ["train", "--resume", "run"],
        ("run/metrics.csv", "run/last.pt", "run/last.previous.pt", "run/curves.png"),
        seed="trained",
    ),
    "analyze": Writer(
        lambda world: ["analyze", "run", *_where(world), "--images", 1, "--calibration_images", 1, *QUIET],
        ("run/sensitivity.json", "run/sensitivity.png", "run/plan.json"),
    ),
    "verify": Writer(
        lambda world: ["verify", "run", "--images", 1, "--sizes", 96, 160, *ONE], ("run/contract.json",),
        seed="exported/trained",
    ),
    "export": Writer(lambda world: ["export", "run"], ("run/model.onnx",)),
    "data show": Writer(
        lambda world: ["data", "show", *data(world), "--images", 2, "--output", "sheet.png"], named=("sheet.png",)
    ),
    "data check": Writer(
        lambda world: ["data", "check", *data(world), "--workers", 0, "--html", "page.html"], named=("page.html",)
    ),
    "data lists": Writer(
        lambda world: ["data", "check", *data(world), "--workers", 0, "--fix", "list", "--output", "lists"],
        ("lists/train.txt", "lists/val.txt"),
    ),
    "data cache": Writer(
        lambda world: ["data", "cache", *data(world), "--cache", "cache", "--img_resize", HEIGHT, WIDTH],
        (f"cache/folder_train_{HEIGHT}x{WIDTH}_linear_exact",),
    ),
    "complexity": Writer(
        lambda world: ["complexity", world.seeds / "files/model.onnx", "--csv", "c.csv", "--html", "c.html"],
        named=("c.csv", "c.html"),
    ),
    "validate": Writer(
        lambda world: ["validate", world.seeds / "files/model.onnx", *data(world), *QUIET, "--confusion", "c.csv"],
        named=("c.csv",),
    ),
}  # fmt: skip
SLOW = ("verify", "export", "analyze", "resume")  # seconds, or a seed that takes long


def _links(world: World, names: list[str]) -> Call:
    name = world.pick(names)
    writer = WRITERS[name]
    words = writer.words(world)
    if "run" in words:
        world.seeds.copy(writer.seed, world.box / "run")
    if name == "resume":  # a row too many is taken out again
        with (world.box / "run/metrics.csv").open("a") as file:
            file.write("2,0,0,0,0,0\n")
    way = world.rng.choice((".partial", ".partial", "itself")) if writer.inside else ".partial"
    for place in (*writer.inside, *writer.named):
        path = world.box / (place + (".partial" if way == ".partial" else ""))
        path.parent.mkdir(parents=True, exist_ok=True)
        if way == "itself" and path.exists():
            continue
        target = world.canary / "victim.txt" if world.rng.random() < 0.8 else world.canary
        path.symlink_to(Path(target))
    return Call(f"{name}: links {way}", words, patience=4.0)


def _quick(world: World) -> Call:
    return _links(world, [name for name in WRITERS if name not in SLOW])


def _slow(world: World) -> Call:
    return _links(world, list(SLOW))


GROUPS = (
    Group("links", 4, _quick, ("data", "files", "bare")),
    Group("links-slow", 2, _slow, ("data", "files", "bare", "exported")),
)
