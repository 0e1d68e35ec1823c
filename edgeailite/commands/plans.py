"""Plan files: which parts of a network get other bits than their scheme's. `analyze` writes them, or a person does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeailite.checkpoint import Checkpoint
from edgeailite.commands.writing import write_result
from edgeailite.errors import DataError, UsageError
from edgeailite.quantization import Plan

FORMAT = 1
PARTS = ("weights", "activations")


def write_plan(path: Path, plan: Plan, *, scheme: str, about: Mapping[str, Any]) -> None:
    """Write {format, scheme, weights, activations} and what else is known `about` it. DataError if it cannot be."""
    values = {"format": FORMAT, "scheme": scheme, **about, **as_dict(plan)}
    write_result(path, json.dumps(values, indent=1) + "\n", "plan")


def read_plan(path: Path | None, *, scheme: str) -> Plan:
    """The plan of a file; no file, nothing departs from the scheme.

    Raises DataError for a missing or foreign file, UsageError for another scheme's or bits that no file holds. Names
    are checked by `prepare`.
    """
    if path is None:
        return Plan()
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"--plan {path}: cannot be read as plan ({error}); write it with `edgeailite analyze`"
        ) from None
    if not isinstance(values, dict) or values.get("format") != FORMAT or "scheme" not in values:
        raise DataError(f"--plan {path}: not a plan of format {FORMAT}; write it with `edgeailite analyze`")
    if values["scheme"] != scheme:
        raise UsageError(f"--plan {path}: is for scheme {values['scheme']}, not {scheme}; add --scheme or another plan")
    bits = {name: values.get(name, {}) for name in PARTS}
    for name, given in bits.items():
        if not isinstance(given, dict) or not all(type(count) is int for count in given.values()):
            raise DataError(f"--plan {path}: {name} must be names with whole numbers of bits, found {given!r:.80}")
    return Plan(**bits)


def plan_of(checkpoint: Checkpoint) -> Plan:
    """The plan that a quantized run was made with."""
    return Plan(**(checkpoint.quantization or {}).get("plan", {}))


def as_dict(plan: Plan) -> dict[str, dict[str, int]]:
    """Plain values, as checkpoints keep them."""
    return {name: dict(getattr(plan, name)) for name in PARTS}


def recorded(plan: Plan) -> dict[str, Any]:
    """What a checkpoint's `quantization` says of a plan: nothing where there is none."""
    values = as_dict(plan)
    return {"plan": values} if any(values.values()) else {}
