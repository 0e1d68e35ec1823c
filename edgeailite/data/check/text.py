"""Counts of a data set as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def describe(split: str, values: Mapping[str, Any]) -> str:
    """Describe a split in words and a table of its classes."""
    sizes = ", ".join(f"{size['width']}x{size['height']} ({size['pictures']})" for size in values["sizes"])
    more = f" and {values['other_sizes']} more sizes" if values["other_sizes"] else ""
    colours = " ".join(
        f"{name} {mean:.1f}±{std:.1f}"
        for name, mean, std in zip("RGB", values["mean_rgb"], values["std_rgb"], strict=True)
    )
    ignored = values["ignored_pixels"]
    share = ignored / max(ignored + values["labelled_pixels"], 1)
    lines = [f"split {split}: {values['pictures']} pictures, {sizes or 'none readable'}{more}; {colours}"]
    if values["classes"]:
        lines[0] += f"; {100 * share:.2f} % ignored"
        rows = [
            [
                row["name"],
                str(row["pixels"]),
                f"{100 * row['share']:.3f}",
                str(row["pictures"]),
                f"{row['weight_median_frequency']:.3f}",
                f"{row['weight_enet']:.3f}",
            ]
            for row in values["classes"]
        ]
        lines.append(table(["class", "pixels", "%", "pictures", "median freq. weight", "ENet weight"], rows))
    return "\n".join(lines)


def table(head: list[str], rows: list[list[str]], indent: str = "  ") -> str:
    """Align columns of text, the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    pad: list[Callable[[str, int], str]] = [str.ljust, *[str.rjust] * (len(head) - 1)]
    lines = ["  ".join(f(cell, w) for f, cell, w in zip(pad, row, widths, strict=True)) for row in [head, *rows]]
    return "\n".join(indent + line.rstrip() for line in lines)
