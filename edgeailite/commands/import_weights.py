"""`edgeailite import`: a file of weights from elsewhere to a run folder, which every verb opens."""

from __future__ import annotations

from edgeailite.config import ImportConfig
from edgeailite.console import print_result
from edgeailite.errors import option
from edgeailite.runs.dataset import PICTURES
from edgeailite.runs.importing import import_run


def run(config: ImportConfig) -> int:
    """Write the run folder and print what the file was recognised as, and what of it was used."""
    imported = import_run(config)
    card, report, rules = imported.card, imported.report, imported.card.preprocessing
    total = len(report.loaded) + len(report.missing) + len(report.mismatched)
    values: dict[str, object] = {
        "run": str(imported.folder),
        "recognised": report.kind,
        "network": card.model_name,
        "tensors": f"{len(report.loaded)} of {total} from the file",
    }
    values |= {"note" if number == 1 else f"note {number}": note for number, note in enumerate(report.notes, 1)}
    values |= {
        "outputs": ", ".join(f"{name} ({channels})" for name, channels in card.outputs.items()),
        "input": f"{rules.channel_order} {rules.height}x{rules.width}",
        "mean": " ".join(f"{value:g}" for value in rules.mean),
        "scale": " ".join(f"{value:g}" for value in rules.scale),
    }
    pictures = f" {option('pictures')} FOLDER" if card.dataset_name == PICTURES else ""
    if imported.has_ranges:
        pictures = f" {option('scheme')} tidl_pow2 {option('pretrained')} {config.checkpoint[0]}{pictures}"
    print_result("import", {**values, "next": f"edgeailite calibrate {imported.folder}{pictures}"})
    return 0
