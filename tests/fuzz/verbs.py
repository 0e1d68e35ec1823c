"""Command lines that read a model, a run folder or a data set: every verb that a wrong file may be handed to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.case import World
from tests.fuzz.seeds import HEIGHT, QUIET, TRAIN, WIDTH

Words = list[object]
ONE = ("--threads", 1)


def picture(world: World) -> Path:
    """An honest picture."""
    return world.seeds / "data/images/val/p4.png"


def data(world: World) -> Words:
    """The options that name the honest data set."""
    return ["--dataset_name", "folder", "--data_path", world.seeds / "data"]


def of_file(world: World, file: Path, contract: Path | None = None) -> list[tuple[Words, bool]]:
    """Command lines that take an ONNX file, each with whether it serves."""
    where = ["--data_path", world.seeds / "data"]
    lines: list[Words] = [
        ["infer", file, picture(world), *ONE, "--save_path", "out"],
        ["verify", file, contract or world.seeds / "files/contract.json", "--skip_hash", "True", *ONE],
        ["validate", file, *data(world), *QUIET],
        ["infer", file, world.seeds / "data/images/val", *ONE, "--json", "True", "--save_path", "out"],
        ["complexity", file],
        ["report", file, *where, "--output", "report.html", *ONE],
        ["compare", file, world.seeds / "files/model.onnx", *data(world), *QUIET],
        ["bench", file, "--rounds", 1, "--warmup", 0, *ONE],
        ["verify", file, contract or world.seeds / "files/contract_int8.json", "--skip_hash", "True", "--json", "True"],
        ["bench", file, "--rounds", 1, "--operators", 3, "--device", "tda4vm", *ONE],
        ["complexity", file, "--json", "True", "--layers", "all", "--size", 64, 96],
        ["verify", file, "--trace", "ort:DISABLED", "ort:ALL", "--trace_pictures", picture(world), *ONE],
        ["card", file, "--like", world.seeds / "files/model.onnx", "--save_path", "new.onnx"],
        [
            "card",
            file,
            "--classes",
            "road",
            "sky",
            "car",
            "--mean",
            0,
            0,
            0,
            "--scale",
            1,
            1,
            1,
            "--img_resize",
            32,
            48,
        ],
        ["calibrate", file, "--pictures", world.seeds / "data/images/val", "--save_path", "new", *QUIET],
        ["quantize", file, *where, "--save_path", "new", "--dry_run", "True", *QUIET],
    ]
    return [*((line, False) for line in lines), (["serve", file, "--port", 0], True)]


def of_run(world: World, run: Path) -> list[tuple[Words, bool]]:
    """Command lines that take a run folder or a checkpoint, each with whether it serves."""
    where = ["--data_path", world.seeds / "data"]
    lines: list[Words] = [
        ["infer", run, picture(world), *ONE, "--save_path", "out"],
        ["validate", run, *where, *QUIET],
        ["report", run, *where, "--forms", "none", *ONE],
        ["complexity", run],
        ["calibrate", run, *where, "--save_path", "new", "--images", 2, *QUIET],
        ["compare", run, world.seeds / "files/model.onnx", *data(world), *QUIET],
        ["quantize", run, *where, "--save_path", "new", "--dry_run", "True", *QUIET],
        ["verify", run, *where, "--images", 1, *ONE],
        ["bench", run, "--rounds", 1, "--warmup", 0, "--runtimes", "torch", *ONE],
        ["train", *data(world), "--save_path", "new", *TRAIN, "--dry_run", "True", "--pretrained", run / "last.pt"],
        ["export", run],
        ["analyze", run, *where, "--images", 1, "--calibration_images", 1, *QUIET],
        ["train", "--resume", run, "--workers", 0],
    ]
    return [*((line, False) for line in lines), (["serve", run, "--port", 0], True)]


def of_data(root: Path, name: str = "folder", *, train: bool = True) -> list[Words]:
    """Command lines that read a data set."""
    where = ["--dataset_name", name, "--data_path", root]
    lines: list[Words] = [
        ["data check", *where, "--workers", 0],
        ["data stats", *where, "--workers", 0],
        ["train", *where, "--save_path", "new", *TRAIN, "--dry_run", "True"],
        ["data check", *where, "--workers", 0, "--json", "True", "--html", "page.html"],
        ["data show", *where, "--output", "sheet.png", "--images", 2],
        ["data check", *where, "--workers", 0, "--fix", "list", "--output", "lists"],
        ["data cache", *where, "--cache", "cache", "--img_resize", HEIGHT, WIDTH],
    ]
    return [split(line) for line in lines if train or line[0] != "train"]


def split(words: Sequence[object]) -> Words:
    """`data check` is two words."""
    return [
        part
        for word in words
        for part in (word.split() if isinstance(word, str) and word.startswith("data ") else [word])
    ]
