"""The page of `edgeailite data check --html`: one file, no scripts, no remote assets, the worst files first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite import __version__
from edgeailite.data.check import CODES, Checkup, Finding
from edgeailite.data.check.findings import LEVELS
from edgeailite.data.check.masks import check_classes
from edgeailite.data.check.summary import summary
from edgeailite.data.check.survey import main_target
from edgeailite.data.files.images import read_image
from edgeailite.data.source import ClassTarget, DataSource, Item
from edgeailite.drawing.html import photo_uri, template
from edgeailite.drawing.plots import background, colorize, overlay, tint
from edgeailite.errors import DataError
from edgeailite.files import write_result

WORST = 24  # files with pictures
TOLD = 200  # findings of a kind in the tables
SIDE = 360  # pixels of the longer side of a picture
NO_CLASS = (255, 0, 255)  # where a label value has no class
ALPHA = 0.5


@dataclass
class BadFile:
    """A file with its findings, and views of the sample it belongs to."""

    name: str
    findings: list[Finding] = field(default_factory=list)
    views: list[tuple[str, str]] = field(default_factory=list)

    @property
    def rank(self) -> tuple[int, int, str]:
        """Sort key that puts the worst file first."""
        return min(LEVELS.index(finding.level) for finding in self.findings), -len(self.findings), self.name


def write_page(checkup: Checkup, path: Path) -> None:
    """Write the page to `path`. Raises DataError if that is not possible."""
    write_result(path, render(checkup).encode("utf-8", errors="replace"), "html")


def render(checkup: Checkup) -> str:
    """Return the whole HTML file."""
    found = checkup.findings
    ordered = found.ordered()
    kinds = [
        {
            "code": code,
            "level": CODES[code][0],
            "meaning": CODES[code][1],
            "count": found.counts[code],
            "findings": [finding for finding in ordered if finding.code == code][:TOLD],
        }
        for code in dict.fromkeys(finding.code for finding in ordered)
    ]
    return template("data_check.html").render(
        name=checkup.name,
        root=str(checkup.root),
        version=__version__,
        tiles=[(f"{level}s", found.count(level)) for level in LEVELS],
        pictures=sum(len(one.source.items) for one in checkup.surveys.values()),
        kinds=kinds,
        worst=_worst(checkup, ordered),
        splits=[_split(split, one) for split, one in checkup.surveys.items()],
    )


def _worst(checkup: Checkup, ordered: Sequence[Finding]) -> list[BadFile]:
    """Return the files with the worst findings, with pictures where there is something to see."""
    files: dict[str, BadFile] = {}
    for finding in ordered:
        if finding.level != "note":
            files.setdefault(finding.file, BadFile(finding.file)).findings.append(finding)
    worst = sorted(files.values(), key=lambda bad: bad.rank)[:WORST]
    wanted = {bad.name: bad for bad in worst}
    for one in checkup.surveys.values():
        for item in one.source.items:
            for file in (*item.images, *item.labels.values()):
                bad = wanted.get(checkup.real(str(file)))
                if bad is not None and not bad.views:
                    bad.views = _views(one.source, item)
    return worst


def _views(source: DataSource, item: Item) -> list[tuple[str, str]]:
    """Return (name, data URI) of the picture and of its mask, as far as they can be read."""
    views = []
    image: NDArray[np.uint8] | None = None
    try:
        image = read_image(item.image)
        views.append(("picture", photo_uri(image, SIDE)))
    except DataError:
        pass
    main = main_target(source)
    target = source.targets.get(main)
    if not isinstance(target, ClassTarget) or main not in item.labels:
        return views
    classes = check_classes(target, item.labels[main]).classes
    if classes is None:
        return views
    colours = colorize(classes, target.palette)
    lost = _without_class(target, item.labels[main])
    colours[lost] = NO_CLASS
    if image is not None and image.shape[:2] == classes.shape:
        plain = background(target.classes, target.palette)
        mixed = tint(image, classes, target.palette, alpha=ALPHA, plain=plain)
        mixed[lost] = overlay(image, colours, ALPHA)[lost]
        views.append(("mask over picture", photo_uri(mixed, SIDE)))
    else:
        views.append(("mask", photo_uri(colours, SIDE)))
    return views


def _without_class(target: ClassTarget, label: Any) -> NDArray[np.bool_]:
    return ~np.isin(target.read(label), list(target.label_map))


def _split(split: str, one: Any) -> dict[str, Any]:
    """Return a split's numbers, with the colour and the length of each class's bar."""
    values = summary(one)
    top = max((row["share"] for row in values["classes"]), default=0) or 1
    for row, colour in zip(values["classes"], one.source.palette if values["classes"] else (), strict=False):
        row |= {"color": "#{:02x}{:02x}{:02x}".format(*colour), "bar": round(100 * row["share"] / top, 2)}
    ignored = values["ignored_pixels"]
    share = ignored / max(ignored + values["labelled_pixels"], 1)
    return {"name": split, "ignored": round(100 * share, 2), **values}
