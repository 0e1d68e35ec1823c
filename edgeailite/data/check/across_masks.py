"""Rewords findings of single masks once all masks are known: a value or colour in one mask alone is probably a slip."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Set
from dataclasses import replace
from pathlib import Path

from edgeailite.data.check.findings import Finding, Findings
from edgeailite.data.files.colors import rows_of_colours
from edgeailite.data.sets.folder_settings import FILE
from edgeailite.data.source import DataSource

OF_NUMBERS = ("label-out-of-range", "unmapped-ignore", "off-by-one", "size-mismatch")  # errors of masks that are read
MOST_COLOURS = 256  # named in advice; a photograph among the masks has more


def masks_of(source: DataSource) -> Iterator[str]:
    """Yield the mask files of a split."""
    return (str(label) for item in source.items for label in item.labels.values() if isinstance(label, Path))


def reword(findings: Findings, masks: Set[str]) -> None:
    """Change the advice of the kept findings to fit the whole data set, whose masks are `masks`."""
    often = Counter(value for finding in findings.kept for value in finding.values)
    findings.kept = [
        replace(finding, message=finding.if_often)
        if finding.values and max(often[value] for value in finding.values) > 1
        else finding
        for finding in findings.kept
    ]
    colours = {finding.file for finding in findings.kept if finding.code == "colour-mask"}
    wrong = {f.file for f in findings.kept if f.level == "error" and f.code not in OF_NUMBERS}
    if 0 < len(colours) < len(masks - wrong):
        findings.kept = [
            _again(finding, len(colours), len(masks | colours)) if finding.code == "colour-mask" else finding
            for finding in findings.kept
        ]
    else:
        findings.kept = _colours_once(findings.kept)


def _colours_once(found: list[Finding]) -> list[Finding]:
    """Name the colours of all masks in the first finding of a mask in colours; the others refer to it."""
    masks = [finding for finding in found if finding.colours]
    if len(masks) < 2:
        return found
    union = [colour for colour, _ in Counter(colour for one in masks for colour in one.colours).most_common()]
    more = f" and {len(union) - MOST_COLOURS} more" if len(union) > MOST_COLOURS else ""
    problem = f"{masks[0].problem}; {len(masks)} masks have {len(union)} colours together"
    rows = f"colors: {{{rows_of_colours(union[:MOST_COLOURS])}}}{more}"
    first = f"{problem}: say in {FILE} which is which class (or ignore): {rows}"
    messages = {masks[0].file: first} | {
        one.file: f"{one.problem}; among those named for {Path(masks[0].file).name}" for one in masks[1:]
    }
    return [replace(one, message=messages[one.file]) if one.colours else one for one in found]


def _again(finding: Finding, count: int, total: int) -> Finding:
    verb = "is" if count == 1 else "are"
    fix = f"{count} of {total} masks {verb} in colours: save it again as class numbers like the others"
    return replace(finding, message=f"{finding.problem}; {fix}")
