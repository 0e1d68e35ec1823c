"""Parts of a report beside accuracy: data, training, cost, proofs, files. Every part says what is missing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgeailite.config import ACCELERATORS, ComplexityConfig
from edgeailite.cost import Cost, int8_layers
from edgeailite.cost.devices import estimate, load_profile
from edgeailite.cost.ethos_u import estimate_model
from edgeailite.data import DataSource, open_dataset
from edgeailite.data.source import IGNORE, ClassTarget
from edgeailite.drawing.plots import panels_figure
from edgeailite.errors import DataError, EdgeailiteError, counted
from edgeailite.files import read_regular, sha256_of, unreadable
from edgeailite.modelcard import ModelCard
from edgeailite.report.record import Grid, Parity, Verdict
from edgeailite.runs.metric_columns import best_score, epoch_line, number, panels, score_text
from edgeailite.runtime import load_contract
from edgeailite.runtime.contract import PROVEN_LEVELS
from edgeailite.runtime.contract_file import but_for
from edgeailite.runtime.tflite_recheck import LEVELS
from edgeailite.untrusted import is_finite, json_value, shown, yaml_value

WEIGHT_FILES = ("*.pt", "*.onnx", "*.tflite")
CURVES_TEXT = "Curves over the epochs: losses, learning rate, validation scores of every output, seconds per epoch."
LARGEST = 1 << 20  # bytes of config.yaml and env.json
MOST_EPOCHS = 10**9
LEAST_EQUAL = 0.999  # share of pixels with equal class below which nothing is called proven

Rows = list[tuple[str, str]]


def data_rows(card: ModelCard, source: DataSource, config: Mapping[str, Any], path: Path | None) -> Rows:
    """Return rows about the data set, its splits and preprocessing."""
    pre = card.preprocessing
    rows = [("data set", source.name)]
    if path is not None or card.data_path is not None:
        rows.append(("folder", str(path or card.data_path)))
    split = config.get("train_split")
    if split and isinstance(split, str):
        rows.append((f"trained on {split}", _pictures_of(source, split, path or card.data_path)))
    rows.append((f"measured on {source.split}", f"{len(source.items):,} pictures"))
    if len(card.inputs) > 1:
        rows.append(("inputs", f"{len(card.inputs)} pictures per sample: {', '.join(card.inputs)}"))
    rows += [
        ("input size", f"{pre.height}×{pre.width} (height×width), {pre.interpolation}"),
        ("preprocessing", f"(value − mean) · scale; mean {_list(pre.mean)}; scale {_list(pre.scale)}"),
        ("channel order", pre.channel_order),
    ]
    return rows


def _pictures_of(source: DataSource, split: str, path: Path | str | None) -> str:
    try:
        return f"{len(open_dataset(source.name, None if path is None else Path(path), split).items):,} pictures"
    except EdgeailiteError as error:
        return f"cannot be opened now ({error})"


def _list(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)


def label_values(target: ClassTarget) -> tuple[str, ...]:
    """Return the label values of each class, as text."""
    by_class: dict[int, list[str]] = {}
    for value, index in sorted(target.label_map.items()):
        if index != IGNORE:
            by_class.setdefault(index, []).append(str(value))
    return tuple(", ".join(by_class.get(index, [])) for index in range(len(target.classes)))


def curves_of(history: Sequence[Mapping[str, str]], config: Mapping[str, Any]) -> tuple[bytes, str] | None:
    """Draw the curves of training; return the PNG and what it shows, or None for fewer than two finished epochs."""
    rows = [row for row in history if not math.isnan(number(row, "epoch"))]
    if len(rows) < 2:  # a point is no curve: `single_epoch` says it in words
        return None
    marks = marks_of(config)
    text = CURVES_TEXT + (f" Dashed lines: {', '.join(marks)}." if marks else "")
    return panels_figure([int(number(row, "epoch")) for row in rows], panels(rows), marks=marks), text


def single_epoch(history: Sequence[Mapping[str, str]]) -> str | None:
    """Return a training of one epoch as a sentence; None for one of several or none."""
    rows = [row for row in history if not math.isnan(number(row, "epoch"))]
    return (
        f"One epoch was trained, so there is no curve: {epoch_line(rows[0], int(number(rows[0], 'epoch')))}."
        if len(rows) == 1
        else None
    )


def marks_of(config: Mapping[str, Any]) -> dict[str, float]:
    """Return the epochs after which something is fixed or changes, as places on the axis between two epochs."""
    epochs = config.get("epochs")
    marks: dict[str, float] = {}
    if not isinstance(epochs, int) or not 0 < epochs <= MOST_EPOCHS:
        return marks
    for key, name in (("freeze_ranges_epoch", "ranges fixed"), ("freeze_bn_epoch", "BatchNorm fixed")):
        share = config.get(key)
        if is_finite(share) and math.ceil(share * epochs) < epochs:
            marks[name] = math.ceil(share * epochs) + 0.5
    if config.get("scheduler") == "step":
        given = config.get("milestones")
        places = (
            [place for place in given if is_finite(place) and 0 <= place < epochs] if isinstance(given, list) else []
        )
        marks |= {f"lr step {index + 1}": place + 0.5 for index, place in enumerate(places)}
    return marks


def training_rows(history: Sequence[Mapping[str, str]], config: Mapping[str, Any], *, weights: str) -> Rows:
    """Return rows that say how long the network was trained, its best score, and which weights are shown."""
    rows: Rows = []
    rows_known = [row for row in history if not math.isnan(number(row, "epoch"))]
    if rows_known:
        fixed = not config.get("early_stopping")
        planned = None if config.get("epochs") is None else shown(config["epochs"])
        rule = f"{planned} fixed beforehand" if fixed else f"at most {planned}, early stopping"
        rows.append(("epochs", f"{len(rows_known)}" + (f" ({rule})" if planned else "")))
        best = best_score(rows_known)
        if best is not None:
            rows.append(("best on validation", f"{score_text(best[0], best[1])}, epoch {best[2]}"))
        seconds = sum(value for row in rows_known if not math.isnan(value := number(row, "seconds")))
        rows.append(("time", f"{seconds / 60:.1f} minutes"))
    rows += [(name, _after(round(place - 0.5))) for name, place in marks_of(config).items()]
    return [*rows, ("weights of this report", weights)]


def _after(epochs: int) -> str:
    return f"after {counted(epochs, 'epoch')}"


def device_grid(
    cost: Cost, profiles: Sequence[str], *, integer: bool, model: Path, size: tuple[int, int]
) -> Grid | None:
    """Estimate milliseconds by device; on an Ethos-U of `model`, a run or .tflite file, at `size` (height, width).

    Raises UsageError for an unknown device, and for an Ethos-U without Vela.
    """
    if not profiles:
        return None
    layers = int8_layers(cost.layers) if integer and not cost.integer_macs else cost.layers
    rows = []
    for name in profiles:
        if name in ACCELERATORS:
            rows.append((name, _on_npu(name, model, size)))
            continue
        profile = load_profile(name)
        found = estimate(layers, profile)
        origin = "fitted to measured networks" if profile.measured else "from the datasheet"
        rows.append((profile.name, [f"{found.milliseconds:.2f}", f"{found.low:.2f} to {found.high:.2f}", origin]))
    return Grid(("ms", "band, ms", "profile"), rows)


def _on_npu(accelerator: str, model: Path, size: tuple[int, int]) -> list[str]:
    """Return the cells of an Ethos-U."""
    config = ComplexityConfig(str(model), accelerator=accelerator)
    found = estimate_model(config, [size])[size]
    left = f", without what is left to its CPU (operators: {len(found.cpu_operators)})" if found.cpu_operators else ""
    return [f"{found.milliseconds:.2f}", "not known", f"by Vela {found.version} for {found.system}{left}"]


def read_parity(folder: Path) -> list[Parity]:
    """Read the numbers of every contract in the folder, and whether its file is still the one they were measured on."""
    found = []
    for path in sorted(folder.glob("contract*.json")):
        contract = load_contract(path)
        file = folder / Path(str(contract.get("file", ""))).name  # in this folder, whatever a contract says
        state = "the file is no longer in the run folder"
        if file.is_file():
            same = sha256_of(file) == contract.get("sha256")
            state = "" if same else "the file has changed since; run `edgeailite verify` again"
        results = contract.get("results")
        found.append(Parity(file.name, state, results if isinstance(results, dict) else {}))
    return found


def verdicts_of(parity: Sequence[Parity], folder: Path) -> list[Verdict]:
    """Say in a sentence what is proven of every exported file and every contract."""
    found = [_verdict(contract) for contract in parity]
    known = {contract.file for contract in parity}
    files = [file.name for file in sorted([*folder.glob("*.onnx"), *folder.glob("*.tflite")])]
    found += [
        Verdict("open", f"{name} has no contract; run `edgeailite verify {folder}`.")
        for name in files
        if name not in known
    ]
    if not found:
        found = [Verdict("open", f"No file was exported; run `edgeailite export {folder}`, then `edgeailite verify`.")]
    return found


def _verdict(contract: Parity) -> Verdict:
    if contract.state:
        return Verdict("bad", f"The contract is for {contract.file}: {contract.state}.")
    levels = {
        name: part for name, part in contract.results.items() if isinstance(part, Mapping) and "equal_argmax" in part
    }
    proven = [name for name in (*PROVEN_LEVELS, *LEVELS.values()) if name in levels]
    if not proven:
        return Verdict("open", f"The contract of {contract.file} holds no comparison; run `edgeailite verify` again.")
    least = min(float(levels[name]["equal_argmax"] or 0) for name in proven)
    gap = max(float(levels[name].get("max_difference") or 0) for name in proven)
    pictures = levels[proven[0]].get("pictures")
    if least < LEAST_EQUAL:
        return Verdict("open", f"{contract.file}: only {_share(least)} % of pixels have an equal class.")
    what = "equal in every bit" if gap == 0 and least == 1 else f"{_share(least)} % of pixels with equal class"
    sizes = contract.results.get("sizes")
    count = len({str(name).split()[0] for name in sizes}) if isinstance(sizes, Mapping) else 0
    more = f", and at {count} further sizes" if count else ""
    parts, share = contract.results.get("float_parts"), contract.results.get("integer_macs")
    if isinstance(parts, Mapping):
        what = f"{what}, {but_for(list(parts), share if is_finite(share) else None)}"
    return Verdict(
        "open" if "promise" in contract.results else "good",  # a promise stands there where it is less than every bit
        f"{contract.file} was compared with the network in torch{f' on {pictures} pictures' if pictures else ''} "
        f"({'onnxruntime levels ' if proven[0] in PROVEN_LEVELS else ''}{' and '.join(proven)}{more}): {what}.",
    )


def _share(value: float) -> str:
    """Write a share as per cent that never rounds up to 100."""
    text = f"{100 * value:.10g}"
    return "just below 100" if value < 1 and float(text) == 100 else text


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML or JSON file of a run folder; {} if there is none. Raises DataError for a damaged one."""
    if not path.is_file():
        return {}
    try:
        text = read_regular(path, limit=LARGEST)
        parse = json_value if path.suffix == ".json" else yaml_value
        values = parse(text, where=f"{path}: cannot be read; restore or remove it")
    except OSError as error:
        raise unreadable(path, error, fix="restore or remove it") from None
    if not isinstance(values, dict):
        raise DataError(f"{path}: expected names and values, found {type(values).__name__}; restore or remove it")
    return values


def weight_files(folder: Path) -> list[Path]:
    """List checkpoints and exported files of a run folder, by name."""
    return sorted(file for pattern in WEIGHT_FILES for file in folder.glob(pattern) if file.is_file())


def state_dict_hash(weights: Mapping[str, Tensor]) -> str:
    """Return the sha256 of names, types, shapes and values: the same for the same weights in any file."""

    def parts() -> Iterator[bytes]:
        """Yield the bytes to hash, in the order of the names."""
        for name in sorted(weights):
            value = weights[name].detach().cpu().contiguous()
            yield f"{name} {value.dtype} {list(value.shape)}\n".encode()
            yield value.flatten().view(torch.uint8).numpy().tobytes()

    return sha256_of(parts())
