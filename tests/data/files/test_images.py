"""Reading: every format means what it says, and every damaged file is refused by name, before it can do harm."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeailite.data.files.images import MAX_PIXELS, header_size, read_image, read_label, write_png
from edgeailite.errors import DataError

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
RNG = np.random.default_rng(1)
SMOOTH = cv2.resize(RNG.integers(0, 256, (6, 8, 3), np.uint8), (80, 60))


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(pixels: np.ndarray, colour_type: int, *, depth: int = 8, extra: bytes = b"") -> bytes:
    """A PNG written by hand from (H,W) or (H,W,channels) numbers."""
    height, width = pixels.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    rows = pixels.reshape(height, -1)
    if depth == 16:
        packed = rows.astype(">u2").view(np.uint8).reshape(height, -1)
    elif depth == 8:
        packed = rows.astype(np.uint8)
    else:
        bits = np.unpackbits(rows.astype(np.uint8)[..., None], axis=2)[..., 8 - depth :]
        packed = np.packbits(bits.reshape(height, -1), axis=1)
    lines = b"".join(b"\0" + row.tobytes() for row in packed)
    parts = [chunk(b"IHDR", header), extra, chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def palette(*, transparent: bool = False) -> bytes:
    """A palette of 256 random colours (equal ones among them), with or without transparency."""
    colours = np.random.default_rng(2).integers(0, 3, 768, np.uint8) * 100
    return chunk(b"PLTE", colours.tobytes()) + (chunk(b"tRNS", bytes([0, 128])) if transparent else b"")


def saved(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def encoded(suffix: str, image: np.ndarray = SMOOTH, *options: int) -> bytes:
    """A file of an RGB picture."""
    return cv2.imencode(suffix, image[..., ::-1], options)[1].tobytes()


# --- pictures


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".ppm", ".tiff", ".PNG"])
def test_lossless_pictures_are_rgb(tmp_path, suffix):
    assert np.array_equal(read_image(saved(tmp_path, f"a{suffix}", encoded(suffix.lower()))), SMOOTH)


@pytest.mark.parametrize("options", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)], ids=["baseline", "progressive"])
def test_jpeg_is_near_the_picture(tmp_path, options):
    image = read_image(saved(tmp_path, "a.jpg", encoded(".jpg", SMOOTH, *options)))
    assert np.abs(image.astype(int) - SMOOTH).mean() < 5


@pytest.mark.parametrize(
    "kind",
    [(GREY, 8), (GREY, 16), (GREY, 1), (RGB, 8), (RGB, 16), (PALETTE, 8), (GREY_ALPHA, 8), (RGBA, 8), (RGBA, 16)],
    ids=lambda kind: f"type{kind[0]}-{kind[1]}bit",
)
@pytest.mark.parametrize("shape", [(1, 1), (1, 4000), (9, 7)])
def test_every_kind_of_png_becomes_8_bit_rgb(tmp_path, kind, shape):
    colour_type, depth = kind
    pixels = RNG.integers(0, 2**depth, (*shape, CHANNELS[colour_type]))
    extra = palette() if colour_type == PALETTE else b""
    image = read_image(saved(tmp_path, "a.png", png(pixels, colour_type, depth=depth, extra=extra)))
    assert image.shape == (*shape, 3)
    assert image.dtype == np.uint8
    if colour_type in (RGB, RGBA):
        assert np.abs(image - pixels[..., :3] * 255 / (2**depth - 1)).max() <= 1
    if colour_type in (GREY, GREY_ALPHA):
        assert np.abs(image - pixels[..., :1] * 255 / (2**depth - 1)).max() <= 1


def test_orientation_of_exif_is_not_applied(tmp_path):
    jpeg = encoded(".jpg")
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # orientation 6
    exif = b"Exif\0\0" + tiff
    turned = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]
    assert np.array_equal(read_image(saved(tmp_path, "a.jpg", turned)), read_image(saved(tmp_path, "b.jpg", jpeg)))


@pytest.mark.parametrize("name", ["spaces in name.png", "straße_東京.png", "x" * 240 + ".png"])
def test_names_of_any_kind(tmp_path, name):
    write_png(tmp_path / name, SMOOTH)
    assert np.array_equal(read_image(tmp_path / name), SMOOTH)


# --- damage


def cut(data: bytes, share: float) -> bytes:
    return data[: int(len(data) * share)]


def altered(data: bytes) -> bytes:
    """One bit in the middle is another."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0x10]) + data[middle + 1 :]


def with_thumbnail(jpeg: bytes) -> bytes:
    """A JPEG that holds a whole smaller JPEG in its header, as cameras write it."""
    thumbnail = encoded(".jpg", SMOOTH[::4, ::4])
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail + jpeg[2:]


BOMB = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 40000, 40000, 8, 2, 0, 0, 0))
WIDE = encoded(".jpg").replace(struct.pack(">HH", 60, 80), struct.pack(">HH", 65535, 65535))
DAMAGED = {
    "empty.jpg": (b"", "empty file"),
    "empty.png": (b"", "empty file"),
    "ten_percent.jpg": (cut(encoded(".jpg"), 0.1), "truncated picture"),
    "half.jpg": (cut(encoded(".jpg"), 0.5), "truncated picture"),
    "nearly.jpg": (cut(encoded(".jpg"), 0.99), "truncated picture"),
    "thumbnail.jpg": (cut(with_thumbnail(encoded(".jpg")), 0.9), "truncated picture"),
    "ten_percent.png": (cut(encoded(".png"), 0.1), "truncated picture"),
    "half.png": (cut(encoded(".png"), 0.5), "truncated picture"),
    "nearly.png": (cut(encoded(".png"), 0.99), "truncated picture"),
    "altered.png": (altered(encoded(".png")), "damaged picture"),
    "text.jpg": (b"this is no picture\n" * 20, "not a readable picture"),
    "page.png": (b"<!DOCTYPE html><title>Sign in</title>", "not a readable picture"),
    "nothing.png": (png(np.zeros((1, 1), np.uint8), GREY)[:8], "truncated picture"),
    "bomb.png": (BOMB, "header says 40000x40000"),
    "bomb.jpg": (WIDE, "header says 65535x65535"),
}


@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.parametrize("read", [read_image, read_label])
def test_damaged_file_is_named_with_the_reason(tmp_path, capfd, name, read):
    data, reason = DAMAGED[name]
    if read is read_label and name.endswith(".jpg") and reason not in ("empty file", "not a readable picture"):
        reason = "header says|truncated|JPEG blurs"
    path = saved(tmp_path, name, data)
    with pytest.raises(DataError, match=reason) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""  # OpenCV and libpng say nothing of their own


def test_bomb_is_refused_without_decoding(tmp_path, monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    lines = zlib.compress(bytes(40_000_000), 9)  # 40 KB that would become 4.8 GB
    for name, data in {"a.png": BOMB + chunk(b"IDAT", lines) + chunk(b"IEND", b""), "a.jpg": WIDE}.items():
        with pytest.raises(DataError, match=f"refused; the limit is {MAX_PIXELS}"):
            read_image(saved(tmp_path, name, data))


def test_missing_and_unreadable_files(tmp_path):
    with pytest.raises(DataError, match=r"gone\.png: cannot be read \(No such file"):
        read_image(tmp_path / "gone.png")
    (tmp_path / "dangling.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(DataError, match=r"dangling\.png: cannot be read"):
        read_label(tmp_path / "dangling.png")
    with pytest.raises(DataError, match=r"cannot be read \(a folder, not a file"):
        read_image(tmp_path)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_whole_pictures_with_more_after_them_are_read(tmp_path, suffix):
    path = saved(tmp_path, f"a{suffix}", encoded(suffix) + b"appended by a camera" * 300)
    assert read_image(path).shape == SMOOTH.shape
    if suffix == ".jpg":
        assert read_image(saved(tmp_path, "b.jpg", with_thumbnail(encoded(suffix)))).shape == SMOOTH.shape


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_header_size(suffix):
    assert header_size(encoded(suffix)) == (60, 80)
    assert header_size(with_thumbnail(encoded(".jpg"))) == (60, 80)
    assert header_size(b"text") is None


# --- masks

INDICES = np.arange(12, dtype=np.uint8).reshape(3, 4)


@pytest.mark.parametrize("depth", [4, 8])
@pytest.mark.parametrize("transparent", [False, True])
def test_palette_mask_keeps_its_indices(tmp_path, depth, transparent):
    data = png(INDICES, PALETTE, depth=depth, extra=palette(transparent=transparent))
    assert np.array_equal(read_label(saved(tmp_path, "a.png", data)), INDICES)


@pytest.mark.parametrize("colour_type", [GREY, PALETTE])
@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_mask_of_few_bits_keeps_its_indices(tmp_path, colour_type, depth):
    indices = RNG.integers(0, 2**depth, (5, 11), np.uint8)
    data = png(indices, colour_type, depth=depth, extra=palette() if colour_type == PALETTE else b"")
    assert np.array_equal(read_label(saved(tmp_path, "a.png", data)), indices)


def test_mask_of_16_bits_keeps_its_numbers(tmp_path):
    numbers = np.array([[0, 7, 300, 65535]])
    assert read_label(saved(tmp_path, "a.png", png(numbers, GREY, depth=16))).tolist() == numbers.tolist()


@pytest.mark.parametrize("colour_type", [RGB, GREY_ALPHA, RGBA])
def test_mask_of_equal_channels_is_an_index_mask(tmp_path, colour_type):
    pixels = np.repeat(INDICES[..., None], CHANNELS[colour_type], axis=2)
    if colour_type in (GREY_ALPHA, RGBA):
        pixels[..., -1] = 255
    assert np.array_equal(read_label(saved(tmp_path, "a.png", png(pixels, colour_type))), INDICES)


@pytest.mark.parametrize("colour_type", [RGB, RGBA])
def test_colour_mask_is_named_with_its_number_of_colours(tmp_path, colour_type):
    pixels = np.full((4, 4, CHANNELS[colour_type]), 255)
    pixels[0, 0, :3], pixels[1, :, :3] = (128, 64, 128), (70, 70, 71)
    path = saved(tmp_path, "colours.png", png(pixels, colour_type))
    with pytest.raises(DataError, match=r"colours\.png: colour mask \(3 colours\).*convert it to an index PNG"):
        read_label(path)


@pytest.mark.parametrize("name", ["mask.jpg", "mask.JPEG", "renamed.png"])
def test_jpeg_mask_is_refused(tmp_path, name):
    with pytest.raises(DataError, match="JPEG blurs label values; store masks as PNG"):
        read_label(saved(tmp_path, name, encoded(".jpg")))


# --- writing


@pytest.mark.parametrize("image", [SMOOTH, SMOOTH[..., 0]], ids=["rgb", "index"])
def test_written_pictures_read_back(tmp_path, image):
    write_png(tmp_path / "new" / "a.png", image)
    read = read_image if image.ndim == 3 else read_label
    assert np.array_equal(read(tmp_path / "new" / "a.png"), image)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.png"]
