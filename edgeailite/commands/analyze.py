"""`edgeailite analyze` (`quantize --analyze`): what quantizing each layer costs, and plans of mixed precision."""

from __future__ import annotations

from edgeailite.config import AnalyzeConfig
from edgeailite.console import print_json, print_result, print_table
from edgeailite.quantization import Plan
from edgeailite.quantization.schemes import DEFAULT_SCHEME
from edgeailite.runs.ranking import cells, head
from edgeailite.training.analysis import Analysis, PlanFile, analyze_run

SHOWN = ("sections", "layers")


def run(config: AnalyzeConfig) -> int:
    """Print the ranking as soon as it is known, and under a budget the plan."""
    found = analyze_run(config, on_ranking=lambda analysis: _show(config, analysis))
    if found.plan is not None:
        _show_plan(config, found.plan)
    return 0


def _show(config: AnalyzeConfig, found: Analysis) -> None:
    from rich.table import Table

    page = found.page
    if config.json:
        short = {kind: [{k: v for k, v in row.items() if k != "tensors"} for row in page[kind]] for kind in SHOWN}
        print_json({**page, **short})
        return
    order = "most noise first (SQNR: signal to noise)"
    title = f"{config.run}, {page['scheme']}, {page['data']}, {page['pictures']} pictures; {order}"
    table = Table(*head(page), title=title)
    for row in [*page["sections"], *page["layers"][: config.rows]]:
        table.add_row(*cells(row))
    print_table(table)
    values: dict[str, object] = {"all layers": str(found.file), "bars": str(found.picture)}
    values["seconds"] = page["runs"]["seconds"]
    if config.max_drop is None and config.bits_macs_budget is None:
        values["for a plan"] = f"edgeailite analyze {config.run} --max_drop 0.5"
    print_result("analysis", values)


def _show_plan(config: AnalyzeConfig, written: PlanFile) -> None:
    if not written.plan.weights and not written.plan.activations:
        found = "every layer can be int8: no plan is needed"
        print_result("plan", {"found": found, **{k: v for k, v in written.about.items() if v is not None}})
        return
    values = {"plan": str(written.path), **written.about, **_counts(written.plan)}
    scheme = "" if config.scheme == DEFAULT_SCHEME else f" --scheme {config.scheme}"
    values["next"] = f"edgeailite calibrate {config.run} --plan {written.path}{scheme}"
    print_result("plan", {key: value for key, value in values.items() if value is not None})


def _counts(plan: Plan) -> dict[str, str]:
    def count(bits: dict[str, int]) -> str:
        return ", ".join(f"{list(bits.values()).count(n)} of {n} bits" for n in sorted(set(bits.values()))) or "none"

    return {"weights that depart": count(dict(plan.weights)), "activations that depart": count(dict(plan.activations))}
