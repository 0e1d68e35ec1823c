"""`edgeailite infer`: label pictures and videos with a run, a checkpoint or an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeailite.config import InferConfig
from edgeailite.console import print_result
from edgeailite.inference import label_inputs
from edgeailite.untrusted import printable


def run(config: InferConfig) -> int:
    """Label every input and print where; 1 if some were skipped."""
    labelled = label_inputs(config)
    seconds = round(labelled.seconds, 2)
    values = {"model": str(config.model), **labelled.counts, "seconds": seconds, "folder": str(labelled.folder)}
    if config.json:
        print_result("infer", {**values, "videos": labelled.videos}, as_json=True)
    else:
        print_result("infer", {**values, **_lines(labelled.videos)})
    return 1 if labelled.skipped else 0


def _lines(videos: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rows of the result table that describe videos."""
    lines: dict[str, Any] = {}
    for source, found in videos.items():
        name = printable(Path(source).name)
        lines[name] = f"{found['frames']} frames, {found['frames_per_second']:.1f} labelled per second"
        for key, share in found["flicker"].items():
            smoothed = found.get("flicker_smoothed", {}).get(key)
            with_it = "" if smoothed is None else f", smoothed {100 * smoothed:.3f} %"
            lines[f"{name} {key} flicker"] = f"{100 * share:.3f} % of pixels per frame{with_it}"
    return lines
