"""The header of a TIFF or BigTIFF file, for `headers`: its first page, and how many pages there are.

Tags are read as libtiff reads them: the first of two equal ones counts. A damaged file raises one of
`header.UNREADABLE` here, which `headers` turns into an answer.
"""

from __future__ import annotations

import struct

from edgeailite.data.files.header import UNREADABLE, Header, Sample

TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
TIFF_TYPES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q", 17: "q"}  # the whole numbers
SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES = 254, 256, 257, 258, 259, 262, 277
TILE_WIDTH, TILE_HEIGHT, EXTRA_SAMPLES, SAMPLE_FORMAT = 322, 323, 338, 339
OFFSETS_AND_COUNTS = ((273, 279), (324, 325))  # of strips, of tiles
ORIENTATION, ICC_PROFILE = 0x0112, 0x8773
READ = frozenset(
    (SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, TILE_WIDTH, TILE_HEIGHT, EXTRA_SAMPLES)
    + (SAMPLE_FORMAT, ORIENTATION, *OFFSETS_AND_COUNTS[0], *OFFSETS_AND_COUNTS[1])
)
MAX_VALUES = 65_536  # of one tag: more strips than that say nothing new
MOST_TAGS, MOST_PAGES = 4096, 1000
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
COLOURS = {WHITE_IS_ZERO: "grey", BLACK_IS_ZERO: "grey", PALETTE: "palette", CMYK: "cmyk"}
COLOUR_BANDS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, PALETTE: 1, CMYK: 4}  # of all others three
FORMATS: dict[int, Sample] = {1: "unsigned", 2: "signed", 3: "float", 4: "unsigned", 5: "complex", 6: "complex"}
ALPHA = (1, 2)  # ExtraSamples: associated, unassociated; 0 is a band without a stated meaning
JPEG_COMPRESSIONS = (6, 7)
REDUCED, MASK = 1, 4  # bits of NewSubfileType
COMPRESSIONS = {
    1: "none", 2: "CCITT", 3: "CCITT", 4: "CCITT", 5: "LZW", 7: "JPEG", 8: "deflate", 32773: "PackBits",
    32946: "deflate",
}  # fmt: skip
OTHER_COMPRESSIONS = {
    6: "old JPEG", 34712: "JPEG 2000", 34887: "LERC", 34925: "LZMA", 50000: "Zstandard", 50001: "WebP",
}  # fmt: skip


def tiff(data: bytes) -> Header:
    """Read the header of the first page of a file, and count the pages of its size."""
    start = _first(data)
    tags, following = _directory(data, start)
    one = {tag: values[0] for tag, values in tags.items()}
    photometric, samples = one.get(PHOTOMETRIC, RGB), one.get(SAMPLES, 1)
    width, height, bits = one[WIDTH], one[HEIGHT], max(tags.get(BITS, (1,)))
    further = samples - COLOUR_BANDS.get(photometric, 3)  # than the colour has
    extra = tags.get(EXTRA_SAMPLES, ())
    alpha = further == 1 and extra[:1] != () and extra[0] in ALPHA
    across, down = _rounded(width, one.get(TILE_WIDTH, 0)), _rounded(height, one.get(TILE_HEIGHT, 0))
    return Header(
        "tiff",
        height,
        width,
        bits,
        COLOURS.get(photometric, "rgb"),
        alpha=alpha,
        orientation=exif_orientation(data) if ORIENTATION in tags else 1,
        profile=ICC_PROFILE in tags,
        lossy=one.get(COMPRESSION, 1) in JPEG_COMPRESSIONS,
        bands=samples,
        named=further <= 0 or alpha or (photometric == RGB and further == 1),
        sample=FORMATS.get(one.get(SAMPLE_FORMAT, 1), "complex"),
        inverted=photometric == WHITE_IS_ZERO,
        pages=1 + _more_pages(data, start, following, (height, width)),
        reduced=bool(one.get(SUBFILE, 0) & REDUCED),
        work=across * down * samples * max(bits, 8) // 8,
    )


def unread_compression(data: bytes) -> str | None:
    """Return the name of a TIFF compression that is not read; None for one that is."""
    code = _directory(data, _first(data))[0].get(COMPRESSION, (1,))[0]
    return None if code in COMPRESSIONS else OTHER_COMPRESSIONS.get(code, f"number {code}")


def tiff_cut_off(data: bytes) -> bool:
    """Tell if a file ends before its strips or tiles do."""
    tags = _directory(data, _first(data))[0]
    pairs = [pair for a, b in OFFSETS_AND_COUNTS for pair in zip(tags.get(a, ()), tags.get(b, ()))]
    return any(offset + count > len(data) for offset, count in pairs)


def exif_orientation(data: bytes) -> int:
    """Read EXIF orientation 1..8 from a TIFF structure; 1 if there is none."""
    try:
        value = _directory(data, _first(data))[0].get(ORIENTATION, (1,))[0]
    except UNREADABLE:
        return 1
    return value if 1 <= value <= 8 else 1


def _rounded(side: int, tile: int) -> int:
    """A side of the picture in whole tiles, which are decoded whole."""
    return -(-side // tile) * tile if tile > 0 else side


def _more_pages(data: bytes, first: int, start: int, size: tuple[int, int]) -> int:
    """Count further pages that are pictures of their own: neither small copies of the first nor masks of its pixels."""
    count, seen = 0, {first}
    while start and start not in seen and len(seen) <= MOST_PAGES:
        seen.add(start)
        try:
            tags, following = _directory(data, start)
        except UNREADABLE:
            break
        kind = tags.get(SUBFILE, (0,))[0]
        sides = tags.get(HEIGHT, (0,))[0], tags.get(WIDTH, (0,))[0]
        small = all(2 * side <= whole for side, whole in zip(sides, size, strict=True))
        count += not small and not kind & (REDUCED | MASK)
        start = following
    return count


def _first(data: bytes) -> int:
    """Return the position of the first directory."""
    if data[:4] not in TIFF_STARTS:
        raise ValueError("no TIFF")
    order, big = _form(data)
    return int(struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0])


def _form(data: bytes) -> tuple[str, bool]:
    return "<" if data[:2] == b"II" else ">", data[2:4] in (b"+\0", b"\0+")


def _directory(data: bytes, start: int) -> tuple[dict[int, tuple[int, ...]], int]:
    """The tags of a directory that are used here, and where the next directory starts (0: nowhere)."""
    order, big = _form(data)
    word = "Q" if big else "I"
    (entries,) = struct.unpack_from(order + ("Q" if big else "H"), data, start)
    first, length = start + (8 if big else 2), 20 if big else 12
    if entries > MOST_TAGS:
        raise ValueError("too many tags")
    tags: dict[int, tuple[int, ...]] = {}
    for index in range(entries):
        position = first + index * length
        tag, kind, count = struct.unpack_from(order + "HH" + word, data, position)
        if tag == ICC_PROFILE:
            tags[tag] = (1,)
        if tag not in READ or tag in tags or kind not in TIFF_TYPES or not 0 < count <= MAX_VALUES:
            continue
        field = position + (12 if big else 8)
        if count * struct.calcsize(TIFF_TYPES[kind]) > (8 if big else 4):
            (field,) = struct.unpack_from(order + word, data, field)
        tags[tag] = struct.unpack_from(f"{order}{count}{TIFF_TYPES[kind]}", data, field)
    try:
        (following,) = struct.unpack_from(order + word, data, first + entries * length)
    except UNREADABLE:
        following = 0
    return tags, int(following)
