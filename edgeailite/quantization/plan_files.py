"""Plan files: which parts of a network get other bits than their scheme's. `analyze` writes them, or a person does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeailite.errors import DataError, UsageError, option
from edgeailite.files import read_regular, write_result
from edgeailite.quantization import Plan
from edgeailite.untrusted import Fields, json_value, shown

FORMAT = 1
LARGEST = 16 << 20  # bytes of a plan
WRITE_IT = "write it with `edgeailite analyze`"
PARTS = ("weights", "activations")


def write_plan(path: Path, plan: Plan, *, scheme: str, about: Mapping[str, Any]) -> None:
    """Write a plan as {format, scheme, weights, activations}, with further entries `about` it.

    DataError if that fails.
    """
    values = {"format": FORMAT, "scheme": scheme, **about, **as_dict(plan)}
    write_result(path, json.dumps(values, indent=1) + "\n", "plan")


def read_plan(path: Path | None, *, scheme: str) -> Plan:
    """Read a plan file; without a file, return the plan that changes nothing.

    Raises DataError for a missing or foreign file, UsageError for another scheme's or bits that no file holds. Names
    are checked by `prepare`.
    """
    if path is None:
        return Plan()
    where = f"{option('plan')} {path}"
    try:
        text = read_regular(path, limit=LARGEST)
    except OSError as error:
        raise DataError(
            f"cannot be read as plan ({error.strerror})",
            path=where,
            fix=WRITE_IT,
            code="missing-file" if isinstance(error, FileNotFoundError) else "unreadable",
        ) from None
    values = json_value(text, where=f"{where}: cannot be read as plan; {WRITE_IT}")
    if not isinstance(values, dict) or values.get("format") != FORMAT or "scheme" not in values:
        raise DataError(f"not a plan of format {FORMAT}", path=where, fix=WRITE_IT, code="unexpected-value")
    fields = Fields.of(values, where=where)
    named = fields.text("scheme")
    if named != scheme:
        raise UsageError(
            f"is for scheme {named}, not {scheme}",
            path=where,
            fix=f"add {option('scheme')} or another plan",
            code="no-fit",
        )
    return plan_from(fields)


def plan_from(fields: Fields) -> Plan:
    """Read the plan from a file's or checkpoint's fields.

    Raises DataError for invalid fields, UsageError for unsupported bits.
    """
    bits = {name: fields.values.get(name, {}) for name in PARTS}
    for name, given in bits.items():
        if not isinstance(given, dict) or not all(
            isinstance(layer, str) and type(count) is int for layer, count in given.items()
        ):
            raise DataError(
                f"{name} must be names with whole numbers of bits, found {shown(given)}",
                path=fields.where,
                code="unexpected-value",
            )
    try:
        return Plan(**bits)
    except UsageError as error:
        raise UsageError(str(error), path=fields.where) from None


def saved_plan(fields: Fields) -> Plan:
    """Read the plan in a checkpoint. Raises DataError also for impossible bits, since no option names the file."""
    try:
        return plan_from(fields)
    except UsageError as error:
        raise DataError(str(error)) from None


def plan_of(quantization: Mapping[str, Any] | None) -> Plan:
    """Return the plan that a quantized run was made with, from its checkpoint's `quantization`."""
    return saved_plan(Fields.of((quantization or {}).get("plan", {}), where="the checkpoint's plan"))


def as_dict(plan: Plan) -> dict[str, dict[str, int]]:
    """Plain values, as checkpoints keep them."""
    return {name: dict(getattr(plan, name)) for name in PARTS}


def recorded(plan: Plan) -> dict[str, Any]:
    """Return the entries about a plan for a checkpoint's `quantization`; empty without a plan."""
    values = as_dict(plan)
    return {"plan": values} if any(values.values()) else {}
