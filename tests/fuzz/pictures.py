"""Pictures, masks and lists of them: damaged bytes, headers that lie, special files, names of every kind."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from tests.data.corruption import chunk, cmyk_jpeg, gif_bomb, png, png_bomb, png_head, tiff_bomb, webp_bomb
from tests.fuzz.case import Call, Group, World
from tests.fuzz.mutate import ESCAPES, bomb, damage, damage_text
from tests.fuzz.seeds import CLASSES, scene
from tests.fuzz.verbs import ONE, of_data

SUFFIXES = (".png", ".jpg", ".bmp", ".webp", ".tiff", ".ppm", ".gif")
Words = list[object]


def encoded(suffix: str, *, number: int = 1, size: int = 1) -> bytes:
    """An honest picture in a format."""
    image = np.tile(scene(number)[0], (size, size, 1))
    return cv2.imencode(suffix, image)[1].tobytes()


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


# --- headers


def _idat(
    data: bytes, *, width: int = 10, height: int = 10, bits: int = 8, colour: int = 2, extra: bytes = b""
) -> bytes:
    return png_head(width, height, bits=bits, colour=colour) + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def _field(whole: bytes, at: int, value: bytes) -> bytes:
    """A PNG whose first chunk says something else, with the right checksum."""
    changed = bytearray(whole)
    changed[at : at + len(value)] = value
    changed[29:33] = struct.pack(">I", zlib.crc32(bytes(changed[12:29])))
    return bytes(changed)


def _bmp(width: int, height: int, *, bits: int = 24, offset: int = 54, kind: int = 0, colours: int = 0) -> bytes:
    head = struct.pack("<2sIHHI", b"BM", 54 + 300, 0, 0, offset)
    return head + struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, kind, 0, 0, 0, colours, 0) + bytes(300)


def _tiff(*rows: tuple[int, int, int, int], following: int = 0) -> bytes:
    body = b"".join(struct.pack("<HHII", *row) for row in rows)
    return b"II*\0" + struct.pack("<IH", 8, len(rows)) + body + struct.pack("<I", following) + bytes(64)


def _sides(width: int, height: int, *more: tuple[int, int, int, int], following: int = 0) -> bytes:
    rows = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8)]
    return _tiff(
        *rows, (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, width * height & 0xFFFFFFFF), *more, following=following
    )


def _many_scans(world: World) -> bytes:
    """A progressive JPEG whose last scan comes two thousand times."""
    whole = cv2.imencode(".jpg", scene(1)[0], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    last = whole.rfind(b"\xff\xda")
    return whole[:last] + whole[last:-2] * 2000 + b"\xff\xd9"


def _segment(marker: int, length: int, content: bytes) -> Callable[[World], bytes]:
    return lambda world: b"\xff\xd8" + struct.pack(">BBH", 0xFF, marker, length) + content + encoded(".jpg")[2:]


HEADERS: dict[str, tuple[str, Callable[[World], bytes]]] = {
    "PNG that inflates beyond its rows": (".png", lambda world: _idat(bomb(4000))),
    "PNG that inflates beyond its rows, small": (".png", lambda world: _idat(bomb(200))),
    "PNG of 18000x18000": (".png", lambda world: png_bomb(b"")),
    "PNG text bomb": (".png", lambda world: _idat(zlib.compress(bytes(310)), extra=chunk(b"zTXt", b"a\0\0" + bomb(2000)))),
    "PNG profile bomb": (".png", lambda world: _idat(zlib.compress(bytes(310)), extra=chunk(b"iCCP", b"a\0\0" + bomb(2000)))),
    "PNG 16 bits with alpha": (".png", lambda world: _idat(bomb(480), width=7900, height=7900, bits=16, colour=6)),
    "PNG palette out of range": (".png", lambda world: _idat(zlib.compress(b"\0" + b"\xff" * 10) * 10, colour=3)),
    "PNG without palette": (".png", lambda world: png(np.zeros((9, 9)), 3)),
    "PNG palette of one": (".png", lambda world: png(np.full((9, 9), 200), 3, extra=chunk(b"PLTE", b"abc"))),
    "PNG bad palette": (".png", lambda world: png(np.zeros((9, 9)), 3, extra=chunk(b"PLTE", b"abcd"))),
    "PNG of bits 3": (".png", lambda world: _field(encoded(".png"), 24, b"\3")),
    "PNG of colour type 5": (".png", lambda world: _field(encoded(".png"), 25, b"\5")),
    "PNG of filter 9": (".png", lambda world: _field(encoded(".png"), 27, b"\x09")),
    "PNG of interlace 7": (".png", lambda world: _field(encoded(".png"), 28, b"\7")),
    "PNG interlaced in name": (".png", lambda world: _field(encoded(".png"), 28, b"\1")),
    "PNG wider than its rows": (".png", lambda world: _field(encoded(".png"), 16, struct.pack(">I", 4000))),
    "PNG of no width": (".png", lambda world: _field(encoded(".png"), 16, bytes(4))),
    "PNG of negative height": (".png", lambda world: _field(encoded(".png"), 20, b"\xff" * 4)),
    "PNG row filter 99": (".png", lambda world: _idat(zlib.compress((b"\x63" + bytes(30)) * 10))),
    "PNG without pixels": (".png", lambda world: png_head(9, 9) + chunk(b"IEND", b"")),
    "PNG of many chunks": (".png", lambda world: _idat(zlib.compress(bytes(310)), extra=chunk(b"tEXt", b"a\0b") * 200_000)),
    "PNG two headers": (".png", lambda world: png_head(9, 9) + encoded(".png")[8:]),
    "PNG bad checksum of text": (".png", lambda world: _idat(zlib.compress(bytes(310)), extra=chunk(b"tEXt", b"a\0b")[:-1] + b"x")),
    "PNG animated": (".png", lambda world: _idat(zlib.compress(bytes(310)), extra=chunk(b"acTL", struct.pack(">II", 10**9, 0)))),
    "PNG orientation 99": (".png", lambda world: _idat(zlib.compress(bytes(310)), extra=chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x63\0\0"))),
    "JPEG of many scans": (".jpg", _many_scans),
    "JPEG of 65500x65500": (".jpg", lambda world: cmyk_jpeg(65_500, 8)[:20] + cmyk_jpeg(65_500, 65_500)[20:400]),
    "JPEG of four colours": (".jpg", lambda world: cmyk_jpeg(40, 30)),
    "JPEG segment of length 0": (".jpg", _segment(0xE1, 0, b"")),
    "JPEG segment of length 1": (".jpg", _segment(0xE1, 1, b"")),
    "JPEG segment beyond the end": (".jpg", _segment(0xE1, 65_535, b"Exif\0\0")),
    "JPEG orientation beyond": (".jpg", _segment(0xE1, 30, b"Exif\0\0MM\0*\xff\xff\xff\xff" + bytes(14))),
    "JPEG no tables": (".jpg", lambda world: encoded(".jpg").replace(b"\xff\xdb", b"\xff\xfe").replace(b"\xff\xc4", b"\xff\xfe")),
    "JPEG of 12 bits": (".jpg", lambda world: encoded(".jpg").replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c")),
    "JPEG lossless": (".jpg", lambda world: encoded(".jpg").replace(b"\xff\xc0", b"\xff\xc3")),
    "JPEG arithmetic": (".jpg", lambda world: encoded(".jpg").replace(b"\xff\xc0", b"\xff\xc9")),
    "TIFF of 90000x90000": (".tiff", lambda world: tiff_bomb(b"")),
    "TIFF of no rows": (".tiff", lambda world: _sides(0, 0)),
    "TIFF without pixels": (".tiff", lambda world: _sides(4000, 4000)),
    "TIFF directory that follows itself": (".tiff", lambda world: _sides(8, 1, following=8)),
    "TIFF of 60,000 directories": (".tiff", lambda world: _tiff(*[(256, 4, 1, 8)] * 60_000)),
    "TIFF of 64 bits": (".tiff", lambda world: _tiff((256, 4, 1, 8), (257, 4, 1, 8), (258, 3, 1, 64), (339, 3, 1, 3))),
    "TIFF of 9 samples": (".tiff", lambda world: _sides(8, 8, (338, 3, 9, 0))),
    "TIFF deflated beyond": (".tiff", lambda world: _tiff((256, 4, 1, 8), (257, 4, 1, 8), (259, 3, 1, 8), (273, 4, 1, 2**31), (279, 4, 1, 2**31))),
    "TIFF tiles huge": (".tiff", lambda world: _sides(8, 8, (322, 4, 1, 2**31 - 16), (323, 4, 1, 2**31 - 16), (324, 4, 1, 8))),
    "BigTIFF": (".tiff", lambda world: b"II+\0\x08\0\0\0" + b"\xff" * 8 + bytes(40)),
    "BMP of 40000x40000": (".bmp", lambda world: _bmp(40_000, 40_000)),
    "BMP of negative height": (".bmp", lambda world: _bmp(5, -(2**31))),
    "BMP of negative width": (".bmp", lambda world: _bmp(-5, 5)),
    "BMP of 3 bits": (".bmp", lambda world: _bmp(5, 5, bits=3)),
    "BMP runs": (".bmp", lambda world: _bmp(5, 5, bits=8, kind=1)),
    "BMP offset beyond": (".bmp", lambda world: _bmp(5, 5, offset=2**32 - 1)),
    "BMP of many colours": (".bmp", lambda world: _bmp(5, 5, bits=8, colours=2**31)),
    "WebP of 16384x16384": (".webp", lambda world: webp_bomb(b"")),
    "WebP length lies": (".webp", lambda world: b"RIFF\xff\xff\xff\xff" + encoded(".webp")[8:]),
    "WebP unknown chunk": (".webp", lambda world: encoded(".webp").replace(b"VP8", b"VPX")),
    "GIF of 65535x65535": (".gif", lambda world: gif_bomb(b"")),
    "PNM of huge sides": (".ppm", lambda world: b"P6 999999999 999999999 255\n" + bytes(50)),
    "PNM of negative sides": (".ppm", lambda world: b"P6 -5 -5 255\n" + bytes(50)),
    "PNM of endless number": (".ppm", lambda world: b"P6 " + b"9" * 6000 + b" 5 255\n"),
    "PNM of maximum 0": (".ppm", lambda world: b"P6 5 5 0\n" + bytes(75)),
    "PNM of comments": (".ppm", lambda world: b"P6\n" + b"# x\n" * 300_000 + b"5 5 255\n" + bytes(75)),
    "PNM as text": (".ppm", lambda world: b"P3 5 5 255\n" + b"1 2 " * 20),
    "PNM short": (".ppm", lambda world: b"P6 50 50 255\n" + bytes(75)),
    "HEIC": (".jpg", lambda world: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)),
    "AVIF": (".png", lambda world: b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + bytes(200)),
    "OpenEXR": (".tiff", lambda world: b"v/1\x01\2\0\0\0channels\0chlist\0" + b"\xff" * 200),
    "HDR": (".png", lambda world: b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 90000 +X 90000\n" + bytes(100)),
    "JPEG 2000": (".jpg", lambda world: b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100)),
    "PAM": (".ppm", lambda world: b"P7\nWIDTH 90000\nHEIGHT 90000\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n" + bytes(90)),
    "PFM": (".ppm", lambda world: b"PF\n90000 90000\n-1.0\n" + bytes(90)),
    "Sun raster": (".png", lambda world: b"\x59\xa6\x6a\x95" + struct.pack(">7I", 90_000, 90_000, 24, 0, 1, 0, 0) + bytes(90)),
}  # fmt: skip


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
        "of noise": lambda: cv2.imencode(".png", np.frombuffer(world.rng.randbytes(mask.size), np.uint8).reshape(mask.shape))[1].tobytes(),
        "as JPEG": lambda: cv2.imencode(".jpg", mask)[1].tobytes(),
        "palette": lambda: png(mask, 3, extra=chunk(b"PLTE", bytes(range(9)))),
        "of 1 bit": lambda: png(mask & 1, 0, bits=1),
        "with alpha": lambda: png(np.stack([mask, mask], -1), 4),
        "several pages": lambda: cv2.imencodemulti(".tiff", [mask, mask])[1].tobytes(),
        "that inflates beyond": lambda: _idat(bomb(300), width=mask.shape[1], height=mask.shape[0], colour=0),
        "damaged": lambda: damage(cv2.imencode(".png", mask)[1].tobytes(), world.rng)[0],
    }  # fmt: skip
    return ways[kind]()


MASKS = (
    "damaged", "of floats", "of NaN", "of 16 bits", "of colours", "damaged", "of another size", "of one pixel", "all 255", "all 0",
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
    content, about = _list(world, rows)
    (root / "training.odgt").write_bytes(content)
    return Call(f"odgt: {about}", world.rng.choice(of_data(Path("data"), "ade20k_segmentation")[:3]))


def _list(world: World, honest: str) -> tuple[bytes, str]:
    if world.rng.random() < 0.6:
        return damage_text(honest, world.rng)
    line = world.rng.choice(
        ("../../canary/victim", "/etc/passwd", "C:\\data\\p0.png", "p0.png", "images/p0.png", "p0 p0", "p0,p1", "#", "p0\0", ESCAPES,
         "\ud800", "x" * 5000, ".", "..", "/", "~", "*", "p0\r", '{"fpath_img": 5, "fpath_segm": null}', "[1]", "null", "5", '"p0"',
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
