"""`edgeailite infer`: label pictures and videos with a run, a checkpoint or an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeailite.config import InferConfig
from edgeailite.console import log, print_result
from edgeailite.fleet.job import is_job, label_job
from edgeailite.fleet.merging import merge_at
from edgeailite.fleet.sample import in_shards
from edgeailite.fleet.stores import address_of
from edgeailite.inference import label_inputs
from edgeailite.inference.manifest import Summary
from edgeailite.inference.merge import MISSING, merge
from edgeailite.inference.recompute import recompute
from edgeailite.inference.whole_pictures import CSV as CLASSES
from edgeailite.untrusted import printable

TOLD = 20  # names of each kind that are told
CHECKED = {  # rows of a check, by the names that they have in JSON
    "other_labels": "other labels here",
    "other_input": "pictures that were changed",
    "unread": "not read",
    "made_in": "made with",
    "here": "this machine",
}


def run(config: InferConfig) -> int:
    """Label every input and print where; 1 if some were skipped. Or merge the parts of a job, or check a manifest."""
    if config.merge is not None:
        return _merge(config, config.merge)
    if config.check is not None:
        return _check(config, config.check)
    labelled = label_job(config) if is_job(config) else label_inputs(config)
    seconds = round(labelled.seconds, 2)
    values = {"model": str(config.model), **labelled.counts, "seconds": seconds, "folder": str(labelled.folder)}
    if labelled.manifest is not None:
        values |= _manifest(labelled.manifest)
    if labelled.answers:
        values["classes"] = str(labelled.folder / CLASSES)
    if config.json:
        answers = {"answers": labelled.answers} if labelled.answers else {}
        print_result("infer", {**values, "videos": labelled.videos, **answers}, as_json=True)
    else:
        print_result("infer", {**values, **_lines(labelled.videos)})
        for name, *answer in labelled.answers:
            pairs = zip(answer[::2], answer[1::2], strict=True)
            print(printable(f"{name}: " + ", ".join(f"{label} {score}" for label, score in pairs)))
    doubled = labelled.manifest is not None and labelled.manifest.doubled
    return 1 if labelled.skipped or doubled else 0


def _merge(config: InferConfig, folder: Path) -> int:
    """Merge and print; 1 if a picture is missing, failed or has several lines."""
    address = address_of(folder)
    merged = merge(folder) if address is None else merge_at(address)
    values = {"folder": address or str(folder), "parts": merged.shards, **_manifest(merged.summary)}
    if merged.missing is None:
        log("pictures that may be missing were not looked for: inputs are not there, lie in shards or came from a list")
    else:
        values["missing"] = merged.missing
    print_result("infer merge", values, as_json=config.json)
    if merged.missing:
        log(f"missing pictures: {address or folder}/{MISSING}")
    return 0 if merged.complete else 1


def _check(config: InferConfig, manifest: Path) -> int:
    """Recompute a sample and print; 4 if labels differ, 1 if something could not be compared."""
    found = recompute(config, elsewhere=in_shards)
    counts = {"equal": found.equal, "other_labels": len(found.other_labels), "other_input": len(found.other_input)}
    words = "; ".join(found.arithmetics)
    values = {"manifest": str(manifest), "checked": found.checked, **counts, "unread": len(found.unread)}
    values |= {"made_in": words, "here": found.arithmetic}
    shown = values if config.json else {CHECKED.get(key, key): value for key, value in values.items()}
    print_result("infer check", shown, as_json=config.json)
    for what, names in (
        ("other labels here", found.other_labels),
        ("the picture was changed", found.other_input),
        ("not read", found.unread),
    ):
        for name in names[:TOLD]:
            log(f"{what}: {name}")
    return found.exit_code


def _manifest(summary: Summary) -> dict[str, Any]:
    """Return the rows of a result table that describe a manifest; its doubled pictures are told."""
    for name in summary.doubled[:TOLD]:
        log(f"doubled: {name} has several lines; two pictures of one name, or one that was changed meanwhile")
    values: dict[str, Any] = {"pictures": summary.pictures, "failed": summary.failed}
    if summary.repeated:
        values["repeated"] = summary.repeated
    if summary.doubled:
        values["doubled"] = len(summary.doubled)
    return values | {"manifest_sha256": summary.sha256}


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
