"""Rewords findings of single masks once all masks are known: a value or colour in one mask alone is probably a slip."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Set
from dataclasses import replace
from pathlib import Path

from edgeailite.data.check.findings import Finding, Findings
from edgeailite.data.source import DataSource

OF_NUMBERS = ("label-out-of-range", "unmapped-ignore", "off-by-one", "size-mismatch")  # errors of masks that are read


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


def _again(finding: Finding, count: int, total: int) -> Finding:
    verb = "is" if count == 1 else "are"
    fix = f"{count} of {total} masks {verb} in colours: save it again as class numbers like the others"
    return replace(finding, message=f"{finding.problem}; {fix}")
