"""Making data sets wrong: each function damages one file, or one pair, of a data set in CamVid's layout.

`(root, split, stem) -> (file that must be named, code that must be found)`; `images/SPLIT/STEM.jpg` and
`labels/SPLIT/STEM.png` are there and whole before. Formats that OpenCV does not write are written by hand.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

Found = tuple[Path, str]
Corrupt = Callable[[Path, str, str], Found]

PNG = b"\x89PNG\r\n\x1a\n"
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)
EXIF_6 = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_head(width: int, height: int, *, bits: int = 8, colour: int = 2) -> bytes:
    return PNG + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))


def smooth(height: int, width: int, seed: int = 1) -> np.ndarray:
    """A picture (H,W,3) that looks like no other seed's."""
    noise = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def encoded(suffix: str, image: np.ndarray, *options: int) -> bytes:
    return cv2.imencode(suffix, image, options)[1].tobytes()


def decoded(path: Path) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    assert image is not None
    return image


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def with_exif(jpeg: bytes) -> bytes:
    return jpeg[:2] + segment(0xE1, EXIF_6) + jpeg[2:]


def cmyk_jpeg(width: int, height: int) -> bytes:
    """Four components of one value: every block is a difference of zero and an end of block, one bit each."""
    parts = bytes(b for number in range(1, 5) for b in (number, 0x11, 0))
    frame = struct.pack(">BHHB", 8, height, width, 4) + parts
    tables = b"".join(bytes([kind, 1]) + bytes(15) + b"\0" for kind in (0x00, 0x10))
    scan = bytes([4]) + bytes(b for number in range(1, 5) for b in (number, 0)) + b"\0\x3f\0"
    blocks = -(-width // 8) * -(-height // 8) * 4
    head = b"\xff\xd8" + segment(0xDB, b"\0" + b"\x01" * 64) + segment(0xC0, frame) + segment(0xC4, tables)
    return head + segment(0xDA, scan) + bytes(-(-blocks * 2 // 8)) + b"\xff\xd9"


def animation(suffix: str, image: np.ndarray) -> bytes:
    """Two frames."""
    frames = cv2.Animation()
    frames.frames, frames.durations = [image, 255 - image], [100, 100]
    return cv2.imencodeanimation(suffix, frames)[1].tobytes()


def png(pixels: np.ndarray, colour: int, *, bits: int = 8, extra: bytes = b"") -> bytes:
    """(H,W) or (H,W,channels) numbers as PNG of a colour type."""
    height, width = pixels.shape[:2]
    rows = pixels.reshape(height, -1).astype(np.uint8)
    if bits < 8:
        rows = np.packbits(np.unpackbits(rows[..., None], axis=2)[..., 8 - bits :].reshape(height, -1), axis=1)
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    body = extra + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return png_head(width, height, bits=bits, colour=colour) + body


def palette() -> bytes:
    return chunk(b"PLTE", np.random.default_rng(2).integers(0, 256, 768, np.uint8).tobytes())


def png_bomb(data: bytes) -> bytes:
    """Some 20 KB that would become 1 GB."""
    lines = zlib.compressobj(9)
    body = b"".join(lines.compress(bytes(1 << 20)) for _ in range(20)) + lines.flush()
    return png_head(18000, 18000) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def tiff_bomb(data: bytes) -> bytes:
    rows = [(256, 4, 1, 90000), (257, 4, 1, 90000), (258, 3, 1, 8), (262, 3, 1, 1)]
    return b"II*\0" + struct.pack("<IH", 8, 4) + b"".join(struct.pack("<HHII", *row) for row in rows) + bytes(4)


def webp_bomb(data: bytes) -> bytes:
    packed = (16383) | (16383 << 14)
    body = b"WEBPVP8L" + struct.pack("<I", 9) + b"\x2f" + struct.pack("<I", packed) + bytes(4) + b"\0"
    return b"RIFF" + struct.pack("<I", len(body)) + body


def gif_bomb(data: bytes) -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b"\x3b"


def with_profile(data: bytes) -> bytes:
    return data[:2] + segment(0xE2, b"ICC_PROFILE\0\x01\x01" + bytes(128)) + data[2:]


def picture(root: Path, split: str, stem: str, suffix: str = ".jpg") -> Path:
    return root / "images" / split / f"{stem}{suffix}"


def mask(root: Path, split: str, stem: str) -> Path:
    return root / "labels" / split / f"{stem}.png"


def change_picture(code: str, change: Callable[[bytes], bytes], *, suffix: str = ".jpg") -> Corrupt:
    """The bytes of the picture become others; `suffix` is its new one."""

    def corrupt(root: Path, split: str, stem: str) -> Found:
        old, new = picture(root, split, stem), picture(root, split, stem, suffix)
        data = change(old.read_bytes())
        old.unlink()
        new.write_bytes(data)
        return new, code

    return corrupt


def redraw(
    code: str, change: Callable[[np.ndarray], np.ndarray], encode: str = ".png", suffix: str = ".jpg"
) -> Corrupt:
    """The picture becomes another, written in the format `encode` and under the suffix `suffix`."""

    def corrupt(data: bytes) -> bytes:
        return encoded(encode, change(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)))

    return change_picture(code, corrupt, suffix=suffix)


def change_mask(code: str, change: Callable[[bytes], bytes]) -> Corrupt:
    def corrupt(root: Path, split: str, stem: str) -> Found:
        path = mask(root, split, stem)
        path.write_bytes(change(path.read_bytes()))
        return path, code

    return corrupt


def relabel(code: str, change: Callable[[np.ndarray], np.ndarray], encode: str = ".png") -> Corrupt:
    """The mask's numbers become others."""

    def corrupt(root: Path, split: str, stem: str) -> Found:
        path = mask(root, split, stem)
        path.write_bytes(encoded(encode, change(decoded(path))))
        return path, code

    return corrupt


def dotted(value: int, *, dtype: type = np.uint8) -> Callable[[np.ndarray], np.ndarray]:
    """A few pixels get a value."""

    def change(label: np.ndarray) -> np.ndarray:
        label = label.astype(dtype)
        label[2:4, 3:6] = value
        return label

    return change


def altered(data: bytes) -> bytes:
    """One bit in the middle is another."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0x10]) + data[middle + 1 :]


def wide_header(data: bytes) -> bytes:
    """A JPEG whose header says 65535x65535."""
    at = next(data.index(marker) for marker in (b"\xff\xc0", b"\xff\xc2") if marker in data)
    return data[: at + 5] + b"\xff\xff\xff\xff" + data[at + 9 :]


def colour_mask(label: np.ndarray) -> np.ndarray:
    return np.stack([label * 20, 255 - label * 9, label * 3], -1)


def one_up(label: np.ndarray) -> np.ndarray:
    """Every label one too high, the highest value of the data set (11, void) among them."""
    label = label.copy()
    label[:2] = 11
    return label + 1


def transparent(image: np.ndarray) -> np.ndarray:
    alpha = np.full(image.shape[:2], 255, np.uint8)
    alpha[:5] = 0
    return np.dstack([image, alpha])


def without_mask(root: Path, split: str, stem: str) -> Found:
    mask(root, split, stem).unlink()
    return picture(root, split, stem), "missing-mask"


def without_picture(root: Path, split: str, stem: str) -> Found:
    picture(root, split, stem).unlink()
    return mask(root, split, stem), "mask-without-picture"


def twice_named(root: Path, split: str, stem: str) -> Found:
    """A second picture of the same name and another suffix; either of the two may be named."""
    picture(root, split, stem, ".bmp").write_bytes(encoded(".bmp", smooth(360, 480, 99)))
    return picture(root, split, stem, ".*"), "duplicate-stem"


def dangling(root: Path, split: str, stem: str) -> Found:
    picture(root, split, stem).unlink()
    picture(root, split, stem).symlink_to(root / "gone.jpg")
    return picture(root, split, stem), "dangling-link"


def looped(root: Path, split: str, stem: str) -> Found:
    picture(root, split, stem).unlink()
    picture(root, split, stem).symlink_to(picture(root, split, stem))
    return picture(root, split, stem), "link-loop"


def other(split: str) -> str:
    return "val" if split == "train" else "train"


def leaked(root: Path, split: str, stem: str) -> Found:
    """The picture is in another split as well, saved without loss: other bytes, the same pixels."""
    copy = picture(root, other(split), f"copy of {stem} x", ".png")
    copy.write_bytes(encoded(".png", decoded(picture(root, split, stem))))
    mask(root, other(split), copy.stem).write_bytes(mask(root, split, stem).read_bytes())
    return root / "images" / "val" / (copy.name if split == "train" else f"{stem}.jpg"), "leak"


def nearly_leaked(root: Path, split: str, stem: str) -> Found:
    """The picture is in another split as well, brighter, noisy, and compressed more."""
    image = decoded(picture(root, split, stem)).astype(np.float64)
    image = np.clip(image * 1.1 + 8 + np.random.default_rng(5).normal(0, 4, image.shape), 0, 255).astype(np.uint8)
    copy = picture(root, other(split), f"near {stem} x")
    copy.write_bytes(encoded(".jpg", image, cv2.IMWRITE_JPEG_QUALITY, 60))
    mask(root, other(split), copy.stem).write_bytes(mask(root, split, stem).read_bytes())
    return root / "images" / "val" / (copy.name if split == "train" else f"{stem}.jpg"), "near-duplicate"


def repeated(root: Path, split: str, stem: str) -> Found:
    copy = picture(root, split, f"{stem} again x")
    copy.write_bytes(picture(root, split, stem).read_bytes())
    mask(root, split, copy.stem).write_bytes(mask(root, split, stem).read_bytes())
    return copy, "repeated-picture"


def listed(code: str, write: Callable[[list[str]], bytes], name: str) -> Corrupt:
    """A list of the splits, with a trap in it."""

    def corrupt(root: Path, split: str, stem: str) -> Found:
        stems = sorted(path.stem for path in (root / "images" / split).iterdir())
        path = root / "splits" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(write(stems))
        return path, code

    return corrupt


# Group A: pictures. B: masks. C: data set and files.
WAYS: dict[str, Corrupt] = {
    "A empty picture": change_picture("empty-file", lambda data: b""),
    "A picture cut at 10 %": change_picture("truncated", lambda data: data[: len(data) // 10]),
    "A picture cut at 50 %": change_picture("truncated", lambda data: data[: len(data) // 2]),
    "A picture cut at 99 %": change_picture("truncated", lambda data: data[: len(data) * 99 // 100]),
    "A text called jpg": change_picture("not-a-picture", lambda data: b"<!DOCTYPE html><title>Sign in</title>" * 9),
    "A header of 65535x65535": change_picture("too-large", wide_header),
    "A 1x1": redraw("tiny", lambda image: image[:1, :1], ".jpg"),
    "A 1x4000": redraw("extreme-aspect", lambda image: cv2.resize(image, (4000, 1)), ".jpg"),
    "A EXIF orientation 6": change_picture("exif-rotated", with_exif),
    "A CMYK": change_picture("cmyk", lambda data: cmyk_jpeg(480, 360)),
    "A 16 bits": redraw("deep", lambda image: image.astype(np.uint16) * 257, ".png", ".png"),
    "A transparent": redraw("transparent", transparent, ".png", ".png"),
    "A animated": change_picture("animated", lambda data: animation(".png", smooth(360, 480)), suffix=".png"),
    "A HEIC": change_picture("unsupported", lambda data: HEIC),
    "A PNG called jpg": redraw("wrong-suffix", lambda image: image, ".png"),
    "A one colour": redraw("blank", lambda image: image * 0 + 77, ".jpg"),
    "B mask cut in half": change_mask("truncated", lambda data: data[: len(data) // 2]),
    "B bit of the mask flipped": change_mask("damaged", altered),
    "B colours": relabel("colour-mask", colour_mask),
    "B JPEG mask": relabel("lossy-mask", lambda label: label * 20, ".jpg"),
    "B mask of another size": relabel("size-mismatch", lambda label: label[:-8]),
    "B label 34": relabel("label-out-of-range", dotted(34)),
    "B 255 for ignore": relabel("unmapped-ignore", dotted(255)),
    "B one too high": relabel("off-by-one", one_up),
    "B nothing labelled": relabel("all-ignore", lambda label: label * 0 + 11),
    "C missing mask": without_mask,
    "C mask alone": without_picture,
    "C one picture in two splits": leaked,
    "C nearly one picture in two splits": nearly_leaked,
    "C dangling link": dangling,
}  # fmt: skip
