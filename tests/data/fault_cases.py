"""The table of bad inputs A (pictures), B (masks) and C (data set and files): how each is made, what is said of it.

Every row is a small data set in CamVid's layout with one fault. `edgeailite data check` must name the file with the
code and the message, and end with the documented exit code; reading the data set as training does must be refused as
well, or work where a row says so. Rows without a message are things that must not be called faults.
"""

import os
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edgeailite.data.files.images import write_png
from tests.data.corruption import (
    HEIC,
    WAYS,
    Corrupt,
    Found,
    altered,
    animation,
    change_mask,
    change_picture,
    cmyk_jpeg,
    colour_mask,
    decoded,
    dotted,
    encoded,
    gif_bomb,
    listed,
    looped,
    mask,
    one_up,
    palette,
    picture,
    png,
    png_bomb,
    png_head,
    redraw,
    relabel,
    repeated,
    smooth,
    tiff_bomb,
    twice_named,
    webp_bomb,
    with_exif,
    with_profile,
    without_mask,
)

OK, WARNING, ERROR = 0, 1, 3
H, W = 48, 64
STEM = "a picture x"


@dataclass(frozen=True)
class Case:
    """`message`: of the finding; `refused`: whether reading says the same; `exit`: of data check."""

    make: Corrupt
    message: str
    exit: int = ERROR
    refused: bool = True


def case(make: Corrupt, message: str) -> Case:
    """An error, also when reading."""
    return Case(make, message)


def warned(make: Corrupt, message: str) -> Case:
    """A warning; reading works."""
    return Case(make, message, WARNING, refused=False)


def noted(make: Corrupt, message: str) -> Case:
    """A note; reading works."""
    return Case(make, message, OK, refused=False)


def fine(make: Corrupt) -> Case:
    """Nothing to say."""
    return Case(make, "", OK, refused=False)


# --- files that OpenCV does not write


def bmp_bomb(data: bytes) -> bytes:
    bmp = bytearray(encoded(".bmp", smooth(H, W)))
    bmp[18:26] = struct.pack("<ii", 40000, -40000)
    return bytes(bmp)


def lossy_webp(data: bytes) -> bytes:
    return encoded(".webp", smooth(H, W), cv2.IMWRITE_WEBP_QUALITY, 80)


def photo(suffix: str, *options: int) -> Callable[[bytes], bytes]:
    """The usual picture in another format."""
    return lambda data: encoded(suffix, smooth(H, W, 7), *options)


def grey_alpha(data: bytes) -> bytes:
    return png(np.dstack([smooth(H, W, 7)[..., 0], np.full((H, W), 255)]), 4)


def cut(suffix: str, end: int) -> Corrupt:
    """The usual picture in another format, without its end."""
    return change_picture("truncated", lambda data: photo(suffix)(data)[:end], suffix=suffix)


def opaque(image: np.ndarray) -> np.ndarray:
    return np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])


# --- files and folders


def renamed(name: str) -> Corrupt:
    """Picture and mask of another name."""

    def make(root: Path, split: str, stem: str) -> Found:
        new = picture(root, split, "x").with_name(name)
        picture(root, split, stem).rename(new)
        mask(root, split, stem).rename(mask(root, split, new.stem))
        return new, ""

    return make


def turned_with_mask(root: Path, split: str, stem: str) -> Found:
    """The picture is turned by EXIF, the mask is drawn on what viewers show."""
    picture(root, split, stem).write_bytes(with_exif(picture(root, split, stem).read_bytes()))
    path = mask(root, split, stem)
    path.write_bytes(encoded(".png", np.ascontiguousarray(decoded(path).T)))
    return path, "size-mismatch"


def emptied(root: Path, split: str, stem: str) -> Found:
    for path in [*(root / "images" / "val").iterdir(), *(root / "labels" / "val").iterdir()]:
        path.unlink()
    return Path(), "empty-split"


def dangling_mask(root: Path, split: str, stem: str) -> Found:
    mask(root, split, stem).unlink()
    mask(root, split, stem).symlink_to(root / "gone.png")
    return mask(root, split, stem), "dangling-link"


def folder_in_itself(root: Path, split: str, stem: str) -> Found:
    (root / "images" / split / "again").symlink_to(root / "images")
    return root / "images" / split / "again", "link-loop"


def folder_for_a_mask(root: Path, split: str, stem: str) -> Found:
    mask(root, split, stem).unlink()
    mask(root, split, stem).mkdir()
    return picture(root, split, stem), "missing-mask"


def class_only_in(where: str, code: str) -> Corrupt:
    """Label 10 (Bicyclist) becomes 0 in the other split."""

    def make(root: Path, split: str, stem: str) -> Found:
        for path in (root / "labels" / ("val" if where == "train" else "train")).iterdir():
            label = decoded(path)
            path.write_bytes(encoded(".png", np.where(label == 10, 0, label).astype(np.uint8)))
        return Path(f"split {'val' if where == 'train' else 'train'}"), code

    return make


def neighbours(root: Path, split: str, stem: str) -> Found:
    """One video of eight frames, six in train and two in val."""
    for number in range(8):
        place = "train" if number < 6 else "val"
        picture(root, place, f"seq_{30 * number:05d}").write_bytes(encoded(".jpg", smooth(H, W, 500 + number)))
        shutil.copyfile(mask(root, split, stem), mask(root, place, f"seq_{30 * number:05d}"))
    return picture(root, "val", "seq_00180"), "sequence-split"


def lines(ends: str, *, start: str = "", each: str = "{}", twice: bool = False) -> Callable[[list[str]], bytes]:
    def write(stems: list[str]) -> bytes:
        names = [*stems, stems[0]] if twice else stems
        return (start + "".join(each.format(name) + ends for name in names)).encode()

    return write


CASES: dict[str, Case] = {
    # A: cut, damaged, no pictures
    "A empty": case(WAYS["A empty picture"], r"empty file \(0 bytes\); replace it"),
    "A JPEG 10 %": case(WAYS["A picture cut at 10 %"], r"truncated picture \(\d+ bytes\); replace it"),
    "A JPEG 50 %": case(WAYS["A picture cut at 50 %"], "truncated picture"),
    "A JPEG 99 %": case(WAYS["A picture cut at 99 %"], "truncated picture"),
    "A PNG cut": case(cut(".png", 900), "truncated picture"),
    "A PNG 99 %": case(cut(".png", -9), "truncated picture"),
    "A BMP cut": case(cut(".bmp", -99), "truncated picture"),
    "A PPM cut": case(cut(".ppm", -99), "truncated picture"),
    "A TIFF cut": case(cut(".tif", -9), "truncated picture"),
    "A WebP cut": case(cut(".webp", -9), "truncated picture"),
    "A PNG altered": case(
        change_picture("damaged", lambda d: altered(photo(".png")(d)), suffix=".png"), "wrong checksum"
    ),
    "A text called jpg": case(WAYS["A text called jpg"], r"not a readable picture .*supported: \.jpg"),
    "A array called png": case(
        change_picture("not-a-picture", lambda d: b"\x93NUMPY\x01\0" + bytes(200), suffix=".png"), "not a readable"
    ),
    "A HEIC": case(change_picture("unsupported", lambda d: HEIC), "HEIC is not supported; convert it to PNG or JPEG"),
    "A JPEG XL": case(change_picture("unsupported", lambda d: b"\xff\x0a" + bytes(99)), "JPEG XL is not supported"),
    "A GIF frames": case(
        change_picture("animated", lambda d: animation(".gif", smooth(H, W))), "GIF with several frames"
    ),
    "A APNG": case(
        change_picture("animated", lambda d: animation(".png", smooth(H, W)), suffix=".png"), "PNG with several frames"
    ),
    "A WebP frames": case(
        change_picture("animated", lambda d: animation(".webp", smooth(H, W)), suffix=".webp"), "save the frame"
    ),
    # A: bombs
    "A JPEG bomb": case(
        WAYS["A header of 65535x65535"], "header says 65535x65535 pixels, refused; the limit is 64000000"
    ),
    "A PNG bomb": case(change_picture("too-large", png_bomb, suffix=".png"), "header says 18000x18000"),
    "A PNG head": case(
        change_picture("too-large", lambda d: png_head(65535, 65535), suffix=".png"), "header says 65535x65535"
    ),
    "A BMP bomb": case(change_picture("too-large", bmp_bomb, suffix=".bmp"), "header says 40000x40000"),
    "A TIFF bomb": case(change_picture("too-large", tiff_bomb, suffix=".tif"), "header says 90000x90000"),
    "A WebP bomb": case(change_picture("too-large", webp_bomb, suffix=".webp"), "header says 16384x16384"),
    "A GIF bomb": case(change_picture("too-large", gif_bomb), "header says 65535x65535"),
    "A PPM bomb": case(
        change_picture("too-large", lambda d: b"P6\n# x\n99999 99999\n255\n", suffix=".ppm"), "99999x99999"
    ),
    # A: read, but look
    "A 1x1": Case(WAYS["A 1x1"], r"1x1 pixels, expected at least 32 on each side", ERROR),
    "A 1x4000": Case(WAYS["A 1x4000"], r"4000x1 pixels, longer than 1:8", ERROR),
    "A 16 bits": warned(WAYS["A 16 bits"], "16 bits, of which the upper 8 are used"),
    "A 1 bit": noted(
        change_picture("grey", lambda d: png(smooth(H, W)[..., 0] > 99, 0, bits=1), suffix=".png"), "grey of 1 bits"
    ),
    "A grey JPEG": noted(redraw("grey", lambda image: image[..., 0], ".jpg"), "grey of 8 bits, repeated"),
    "A grey and alpha": noted(change_picture("alpha", grey_alpha, suffix=".png"), "alpha channel, which is not used"),
    "A opaque": noted(redraw("alpha", opaque, ".png", ".png"), "alpha channel, which is not used"),
    "A transparent": warned(WAYS["A transparent"], "transparent pixels, whose colours are shown"),
    "A CMYK": warned(change_picture("cmyk", lambda d: cmyk_jpeg(W, H)), "CMYK, converted to RGB without its profile"),
    "A profile": noted(change_picture("colour-profile", with_profile), "ICC profile is not applied"),
    "A EXIF 6": warned(WAYS["A EXIF orientation 6"], r"orientation 6 is not applied, .* as stored \(64x48\)"),
    "A EXIF 6, mask turned": case(turned_with_mask, "mask is 48x64 but .* is 64x48"),
    "A PNG called jpg": warned(WAYS["A PNG called jpg"], r"holds PNG data; rename it to \.png"),
    "A one colour": warned(WAYS["A one colour"], r"every pixel is \(77, 77, 77\)"),
    # A: nothing to say
    "A palette": fine(change_picture("", lambda d: png(smooth(H, W)[..., 0], 3, extra=palette()), suffix=".png")),
    "A progressive": fine(change_picture("", photo(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1))),
    "A more after the end": fine(change_picture("", lambda data: data + b"appended by a camera" * 9)),
    "A upper case": fine(renamed("UPPER x.JPG")),
    "A unicode": fine(renamed("straße 東京 x.jpg")),
    "A long name": fine(renamed("n" * 250 + "x.jpg")),
    "A name that is no text": fine(renamed(os.fsdecode(b"caf\xe9 x.jpg"))),
    "A quotes": fine(renamed("a'b\"c <script> & x.jpg")),
    # B: masks
    "B empty": case(change_mask("empty-file", lambda data: b""), "empty file"),
    "B cut": case(WAYS["B mask cut in half"], "truncated picture"),
    "B altered": case(WAYS["B bit of the mask flipped"], "wrong checksum"),
    "B colours": case(relabel("colour-mask", colour_mask), r"colour mask \(11 colours\), expected class indices"),
    "B JPEG": case(WAYS["B JPEG mask"], "JPEG blurs label values; store masks as PNG"),
    "B lossy WebP": case(change_mask("lossy-mask", lossy_webp), "lossy WebP blurs label values"),
    "B other size": case(WAYS["B mask of another size"], r"mask is 64x40 but .* is 64x48; they must have one size"),
    "B label 34": case(
        relabel("label-out-of-range", dotted(34)), r"label 34 \(6 pixels, first at x=3 y=2\) but .* 11 classes"
    ),
    "B label 300": case(relabel("label-out-of-range", dotted(300, dtype=np.uint16)), r"label 300 \(6 pixels"),
    "B 255": Case(WAYS["B 255 for ignore"], r'label 255 .*looks like "ignore" of another tool; map 255 to 255'),
    "B -1": Case(relabel("unmapped-ignore", dotted(65535, dtype=np.uint16)), r'label 65535 .*looks like "ignore"'),
    "B one too high": Case(relabel("off-by-one", one_up), r"label 12 .*one too high, 0 does not occur; subtract 1"),
    "B nothing labelled": warned(WAYS["B nothing labelled"], r"no labelled pixel, only label 11 \(ignore\)"),
    "B one class": noted(relabel("one-class", lambda label: label * 0 + 3), r"every pixel is Road \(label 3\)"),
    "B class only in train": noted(class_only_in("train", "class-absent"), "no pixel of Bicyclist; mIoU leaves out"),
    "B class only in val": warned(class_only_in("val", "class-untrained"), "no pixel of Bicyclist, which other splits"),
    "B missing": case(without_mask, r"no label file .*a picture x\.png.*; add it or remove the picture"),
    "B folder": case(folder_for_a_mask, "no label file"),
    "B alone": case(WAYS["C mask alone"], "label file without a picture"),
    "B twice": case(twice_named, "two files of one name"),
    "B 16 bits": fine(relabel("", lambda label: label.astype(np.uint16))),
    "B 32 bits": fine(relabel("", lambda label: label.astype(np.int32), ".tiff")),
    "B 4 bits": fine(change_mask("", lambda d: png(np.arange(W)[None].repeat(H, 0) // 6, 0, bits=4))),
    "B palette": fine(change_mask("", lambda d: png(np.arange(W)[None].repeat(H, 0) // 6, 3, extra=palette()))),
    "B equal channels": fine(relabel("", lambda label: np.dstack([label] * 3))),
    # C: files
    "C empty split": case(emptied, "no pictures"),
    "C link to nothing": case(WAYS["C dangling link"], r"link to .*gone\.jpg"),
    "C mask is a link to nothing": case(dangling_mask, r"link to .*gone\.png"),
    "C link to itself": case(looped, "link to "),
    "C folder in itself": case(folder_in_itself, "link to "),
    # C: splits
    "C one picture in two splits": Case(
        WAYS["C one picture in two splits"], "same pixels as .* of split train", ERROR, False
    ),
    "C nearly": noted(WAYS["C nearly one picture in two splits"], r"nearly the picture .* \(\d+ of 256 bits differ\)"),
    "C twice in a split": warned(repeated, "the same pixels as .* of the same split"),
    "C neighbours": noted(neighbours, "30 frames apart"),
    # C: lists
    "C CRLF": noted(listed("list-line-ends", lines("\r\n"), "train.txt"), "3 line ends of Windows"),
    "C mark": noted(listed("list-byte-order-mark", lines("\n", start="\ufeff"), "train.txt"), "byte-order mark"),
    "C Windows path": warned(
        listed("list-absolute-path", lines("\n", each="D:\\data\\{}"), "train.txt"), r"line 1: D:\\data\\.* one machine"
    ),
    "C absolute path": warned(listed("list-absolute-path", lines("\n", each="/mnt/{}"), "val.txt"), "line 1: /mnt/"),
    "C twice in a list": warned(
        listed("list-repeated", lines("\n", twice=True), "train.txt"), "line 4: .* as in line 1"
    ),
}  # fmt: skip


def write_clean(root: Path) -> Path:
    """Three training and two validation pictures with masks of eleven classes."""
    label = np.arange(W, dtype=np.uint8)[None].repeat(H, 0) // 6
    for split, stems in (("train", (STEM, "b x", "c x")), ("val", ("d x", "e x"))):
        for seed, stem in enumerate(stems, 10 * len(split)):
            write_png(mask(root, split, stem), label)
            path = picture(root, split, stem)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(".jpg", smooth(H, W, seed)))
    return root
