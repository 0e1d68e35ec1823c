"""Pictures, masks and lists of them: damaged bytes, headers that lie, special files, names of every kind."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from tests.data.corruption import chunk, png
from tests.fuzz.case import Call, Group, World
from tests.fuzz.mutate import ESCAPES, bomb, damage, damage_text
from tests.fuzz.picture_headers import HEADERS, SUFFIXES, encoded, idat
from tests.fuzz.seeds import CLASSES, scene
from tests.fuzz.verbs import ONE, of_data

Words = list[object]


def _reading(world: World, name: str, content: bytes | None, about: str) -> Call:
    """A picture that is labelled, alone or beside a good one, or that is in a data set. None: it is there already."""
    way = world.rng.choice(("alone", "alone", "folder", "data", "list"))
    if way == "data":
        root = world.seeds.copy("data", world.box / "data")
        (root / "images/train/p1.png").unlink()
        path = root / f"images/train/p1{Path(name).suffix}"
        if content is None:
            (world.box / "in" / name).rename(path)
        else:
            path.write_bytes(content)
        return Call(about, world.rng.choice(of_data(Path("data"))))
    if content is not None:
        world.write(f"in/{name}", content)
    world.write("in/good.png", encoded(".png"))
    end: Words = ["--save_path", "out", *ONE, *world.rng.choice(([], ["--json", "True"], ["--write", "side_by_side"]))]
    if way == "list":
        stdin = os.fsencode(f"in/{name}\n") + b"in/good.png\n"
        return Call(about, ["infer", world.seeds / "files/model.onnx", "-", *end], stdin=stdin)
    what = f"in/{name}" if way == "alone" else "in"
    return Call(about, ["infer", world.seeds / "files/model.onnx", what, *end])


def _bytes(world: World) -> Call:
    suffix = world.pick(SUFFIXES)
    whole = encoded(suffix, size=world.rng.choice((1, 1, 6)))
    beside = encoded(world.rng.choice(SUFFIXES), number=2)
    content, about = damage(whole, world.rng, beside=beside)
    return _reading(world, f"bad{suffix}", content, f"{suffix}: {about}")


def _headers(world: World) -> Call:
    about = world.pick(list(HEADERS))
    suffix, make = HEADERS[about]
    return _reading(world, f"bad{suffix}", make(world), about)


# --- masks


def _mask(kind: str, world: World) -> bytes:
    mask = scene(1)[1]
    ways: dict[str, Callable[[], bytes]] = {
        "of floats": lambda: cv2.imencode(".tiff", mask.astype(np.float32))[1].tobytes(),
        "of NaN": lambda: cv2.imencode(".tiff", np.full_like(mask, np.nan, np.float32))[1].tobytes(),
        "of 16 bits": lambda: cv2.imencode(".png", mask.astype(np.uint16) * 1000)[1].tobytes(),
        "of colours": lambda: encoded(".png"),
        "of another size": lambda: cv2.imencode(".png", mask[1:])[1].tobytes(),
        "of one pixel": lambda: cv2.imencode(".png", mask[:1, :1])[1].tobytes(),
        "all 255": lambda: cv2.imencode(".png", np.full_like(mask, 255))[1].tobytes(),
        "all 0": lambda: cv2.imencode(".png", np.zeros_like(mask))[1].tobytes(),
        "of noise": lambda: cv2.imencode(".png",
            np.frombuffer(world.rng.randbytes(mask.size), np.uint8).reshape(mask.shape))[1].tobytes(),
        "as JPEG": lambda: cv2.imencode(".jpg", mask)[1].tobytes(),
        "palette": lambda: png(mask, 3, extra=chunk(b"PLTE", bytes(range(9)))),
        "of 1 bit": lambda: png(mask & 1, 0, bits=1),
        "with alpha": lambda: png(np.stack([mask, mask], -1), 4),
        "several pages": lambda: cv2.imencodemulti(".tiff", [mask, mask])[1].tobytes(),
        "that inflates beyond": lambda: idat(bomb(300), width=mask.shape[1], height=mask.shape[0], colour=0),
        "damaged": lambda: damage(cv2.imencode(".png", mask)[1].tobytes(), world.rng)[0],
    }  # fmt: skip
    return ways[kind]()


MASKS = (
    "damaged", "of floats", "of NaN", "of 16 bits", "of colours", "damaged", "of another size", "of one pixel",
    "all 255", "all 0",
    "of noise", "as JPEG", "palette", "of 1 bit", "damaged", "with alpha", "several pages", "that inflates beyond",
)  # fmt: skip


def _masks(world: World) -> Call:
    root = world.seeds.copy("data", world.box / "data")
    kind = world.pick(MASKS)
    suffix = ".tiff" if kind in ("of floats", "of NaN", "several pages") else ".png"
    many = world.rng.random() < 0.3
    for number in range(4) if many else (1,):
        (root / f"labels/train/p{number}.png").unlink()
        (root / f"labels/train/p{number}{suffix}").write_bytes(_mask(kind, world))
    if world.rng.random() < 0.5:
        (root / "dataset.yaml").unlink()
    return Call(f"mask {kind}{' (all)' if many else ''}", world.rng.choice(of_data(Path("data"))))


# --- files that are none, and names


def _special(world: World) -> Call:
    name = world.pick(
        ("pipe", "device", "endless", "socket", "loop", "dangling", "folder", "empty", "link", "names", "partial")
    )
    inside = world.box / "in"
    inside.mkdir()
    path = inside / "x.png"
    if name == "pipe":
        os.mkfifo(path)
    elif name in ("device", "endless"):
        path.symlink_to("/dev/zero" if name == "endless" else "/dev/full")
    elif name == "socket":
        os.mknod(path, 0o140600)
    elif name == "loop":
        path.symlink_to("x.png")
        (inside / "deep").symlink_to(".")
    elif name == "dangling":
        path.symlink_to("gone.png")
    elif name == "folder":
        path.mkdir()
    elif name == "empty":
        path.touch()
    elif name == "link":
        path.symlink_to(world.canary / "victim.txt")
    elif name == "names":
        for bad in (
            b"\xff\xfe.png",
            ESCAPES.encode() + b".png",
            b"a\nerror: b.png",
            b"[bold].png",
            b"x" * 250 + b".png",
        ):
            Path(os.fsdecode(os.fsencode(inside) + b"/" + bad)).write_bytes(
                encoded(".png") if world.rng.random() < 0.5 else b"no"
            )
        return _reading(world, "y.png", encoded(".png"), name)
    else:
        path.write_bytes(encoded(".png"))
        (world.box / "out").mkdir()
        for end in ("label.png", "color.png", "overlay.png"):
            (world.box / f"out/x_{end}.partial").symlink_to(world.canary / "victim.txt")
            (world.box / f"out/x_{end}").symlink_to(world.canary / "victim.txt")
        end = ["--save_path", "out", *ONE]
        return Call("results are links", ["infer", world.seeds / "files/model.onnx", "in/x.png", *end])
    return _reading(world, "x.png", None, name)


LISTS = "p0\np1\np2\np3\n"


def _lists(world: World) -> Call:
    """Lists of names in a data set, or of paths on stdin."""
    way = world.pick(("folder", "stdin", "ade20k"))
    if way == "stdin":
        text = "".join(
            f"{world.seeds}/data/images/val/p{n}.png\n".replace(str(world.seeds), str(world.seeds.root)) for n in (4, 5)
        )
        content, about = damage_text(text, world.rng)
        return Call(
            f"stdin: {about}",
            ["infer", world.seeds / "files/model.onnx", "-", "--save_path", "out", *ONE],
            stdin=content,
        )
    root = world.box / "data"
    if way == "folder":
        for kind in ("images", "labels"):
            world.seeds.copy(f"data/{kind}/train", root / kind)
        content, about = _list(world, LISTS)
        (root / "train.txt").write_bytes(content)
        (root / "val.txt").write_text("p0\n")
        (root / "classes.txt").write_text("\n".join(CLASSES) + "\n")
        return Call(f"list: {about}", world.rng.choice(of_data(Path("data"))[:3]))
    (root / "ADEChallengeData2016/images").mkdir(parents=True)
    world.seeds.copy("data/images/train", root / "ADEChallengeData2016/images/training")
    rows = "".join(
        f'{{"fpath_img": "ADEChallengeData2016/images/training/p{n}.png", "fpath_segm": '
        f'"ADEChallengeData2016/images/training/p{n}.png", "width": 48, "height": 32}}\n' for n in range(2)
    )  # fmt: skip
    world.seeds.copy("data/images/val", root / "ADEChallengeData2016/images/validation")
    (root / "validation.odgt").write_text(rows)
    content, about = _list(world, rows)
    (root / "training.odgt").write_bytes(content)
    return Call(f"odgt: {about}", world.rng.choice(of_data(Path("data"), "ade20k_segmentation")[:3]))


def _list(world: World, honest: str) -> tuple[bytes, str]:
    if world.rng.random() < 0.6:
        return damage_text(honest, world.rng)
    line = world.rng.choice(
        ("../../canary/victim", "/etc/passwd", "C:\\data\\p0.png", "p0.png", "images/p0.png", "p0 p0", "p0,p1", "#",
            "p0\0", ESCAPES,
         "\ud800", "x" * 5000, ".", "..", "/", "~", "*", "p0\r", '{"fpath_img": 5, "fpath_segm": null}', "[1]", "null",
             "5", '"p0"',
         '{"fpath_img": "a\\u0000", "fpath_segm": "b"}', '{"fpath_img": ["a"], "fpath_segm": {}}')
    )  # fmt: skip
    return (honest + line + "\n").encode("utf-8", "surrogatepass"), f"line {line[:20]!r}"


GROUPS = (
    Group("picture-bytes", 20, _bytes, ("data", "files")),
    Group("picture-headers", 20, _headers, ("data", "files")),
    Group("picture-masks", 10, _masks, ("data",)),
    Group("picture-special", 6, _special, ("data", "files")),
    Group("lists", 8, _lists, ("data", "files")),
)
