"""What each way of quantizing costs in accuracy: every row a file exported, run by onnxruntime and measured on test.

    python benchmarks/quantization_table.py CAMVID_FOLDER RUNS_FOLDER --networks deeplab_1 fpn_1 unet_1 regnet_1

Starts from the float checkpoints of `benchmarks/camvid` (another folder: --checkpoints). Each cell is made by the verbs
a user would call: calibrate or quantize, export, validate --split test. What is made stays in RUNS_FOLDER and is not
made again, a training that was cut off goes on; so several processes may each make the cells of one network, and a last
call prints the table of docs/quantization.md. --only names the rows to make and print, --epochs the length of the
trainings. With --settings the rows are trainings with one setting changed at a time. Where one chooses is val, which
--split val measures on, and --settings too.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeailite.runs.checkpoint import load_checkpoint

HERE = Path(__file__).parent
ADAROUND = "100"  # steps per layer
MAX_DROP = "0.2"  # points, on 16 pictures of the validation split
SCHEMES = ("ort_u8s8", "s8s8", "tidl_pow2", "portable")
OBSERVERS = ("minmax", "ema", "percentile", "mse", "entropy")
SEEDS = {"deeplab_1": (1, 2, 3)}  # of quantization-aware training with the default scheme
TRAINED = ("--evaluate_every", "1000", "--save_every", "30")
LIKE_QAT = "--optimizer adam --lr 5e-5 --weight_decay 1e-4 --scheduler cosine --warmup_epochs 0"  # its defaults
FLOAT_ON = ("camvid", *LIKE_QAT.split(), *TRAINED)  # a preset and what differs from it
CHANGES = {
    "learning rate 1.5e-5": ("--lr", "1.5e-5"),
    "learning rate 1.5e-4": ("--lr", "1.5e-4"),
    "learning rate 5e-4": ("--lr", "5e-4"),
    "nothing fixed": ("--freeze_bn_epoch", "1", "--freeze_ranges_epoch", "1"),
    "all fixed from the start": ("--freeze_bn_epoch", "0", "--freeze_ranges_epoch", "0"),
    "ranges min-max": ("--observer", "minmax"),
    "ranges learned": ("--ranges", "learned"),
    "distill 1": ("--distill", "1"),
}


@dataclass(frozen=True)
class Row:
    """One way of quantizing: a verb and its options.

    "plan" analyzes first and calibrates by the plan; "train" goes on in float, what it gives is measured as it is.
    """

    name: str
    verb: str
    options: tuple[str, ...]
    seeds: bool = False
    """Three seeds for the networks of SEEDS."""


REFINED = {
    "equalize": ("--equalize", "True"),
    "bias": ("--correct_bias", "True"),
    "adaround": ("--adaround", ADAROUND),
}
ALL_REFINED = tuple(option for options in REFINED.values() for option in options)


def rows(epochs: int) -> list[Row]:
    """Float training that goes on as long as the quantized one; observers, refinements, schemes and trainings."""
    longer = (*FLOAT_ON, "--epochs", str(epochs))
    found = [Row(f"float, {epochs} epochs more", "train", longer)]
    found.append(Row(f"float, {epochs} epochs more, BatchNorm fixed", "train", (*longer, "--freeze_bn", "True")))
    found += [Row(f"ort_u8s8 {name}", "calibrate", ("--observer", name)) for name in OBSERVERS]
    found += [Row(f"ort_u8s8 percentile + {name}", "calibrate", options) for name, options in REFINED.items()]
    found.append(Row("ort_u8s8 percentile + all three", "calibrate", ALL_REFINED))
    for scheme in SCHEMES[1:]:
        found.append(Row(f"{scheme} percentile", "calibrate", ("--scheme", scheme)))
        found.append(Row(f"{scheme} percentile + all three", "calibrate", ("--scheme", scheme, *ALL_REFINED)))
    found.append(Row("portable percentile + bias", "calibrate", ("--scheme", "portable", *REFINED["bias"])))
    found.append(Row(f"ort_u8s8 mixed, at most {MAX_DROP} lost on val", "plan", ("--max_drop", MAX_DROP)))
    for scheme in SCHEMES:
        own = epochs if scheme == SCHEMES[0] else max(1, epochs // 2)
        options = ("--scheme", scheme, "--epochs", str(own), *TRAINED)
        found.append(Row(f"{scheme} QAT", "quantize", options, seeds=scheme == SCHEMES[0]))
    return found


def settings(epochs: int) -> list[Row]:
    """Quantization-aware training with the defaults, then with one thing changed at a time."""
    own = next(row for row in rows(epochs) if row.verb == "quantize")
    return [own, *(Row(f"QAT, {name}", own.verb, (*own.options, *change)) for name, change in CHANGES.items())]


def main() -> None:
    """Make the cells that are missing, then print all there are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--checkpoints", type=Path, default=HERE / "camvid")
    parser.add_argument("--networks", nargs="*", default=["deeplab_1", "fpn_1", "unet_1", "regnet_1"])
    parser.add_argument("--only", nargs="*", help="names of rows; default all")
    parser.add_argument("--epochs", type=int, default=6, help="of training; half for the other schemes")
    parser.add_argument("--settings", action="store_true", help="the table of settings")
    parser.add_argument("--split", choices=("val", "test"), help="default test; val with --settings")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    args.split = args.split or ("val" if args.settings else "test")
    table = settings(args.epochs) if args.settings else rows(args.epochs)
    wanted = [row for row in table if not args.only or row.name in args.only]
    for network in args.networks:
        float_cell(args, network, args.checkpoints / f"camvid_{network}.pt")
        for row in wanted:
            for seed in SEEDS.get(network, (1,)) if row.seeds else (1,):
                make_cell(args, network, row, seed)
    print_table(args, wanted)


def float_cell(args: argparse.Namespace, network: str, source: Path) -> None:
    """Accuracy of the float checkpoint, which is copied: what is analysed leaves files beside it."""
    folder = args.runs / network / "float"
    if not (folder / "best.pt").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / "best.pt")
    measure(args, folder, folder)


def folder_name(row: Row) -> str:
    """Of a row's runs, without the seed."""
    return "".join(letter if letter.isalnum() else "_" for letter in row.name)


def make_cell(args: argparse.Namespace, network: str, row: Row, seed: int) -> None:
    """Quantize, export, measure the file; or train on, and measure the network."""
    source, folder = args.runs / network / "float", args.runs / network / f"{folder_name(row)}_{seed}"
    if numbers(args, folder).is_file():
        return
    common = ("--data_path", args.data, "--save_path", folder, "--seed", seed, "--workers", 0)
    if row.verb == "train":
        train_on(args, source / "best.pt", (*row.options, *common), folder)
        measure(args, folder, folder / "last.pt")
        return
    file = folder / "model_int8.onnx"
    if not file.is_file():
        quantize(args, source, row, common, folder)
        edgeailite("export", folder / "last.pt", as_json=False)
    measure(args, folder, file)


def train_on(args: argparse.Namespace, weights: Path, options: tuple[Any, ...], folder: Path) -> None:
    """Float training from these weights."""
    if (folder / "last.pt").is_file():
        edgeailite("train", "--resume", folder, as_json=False)
        return
    model = ("--model_name", load_checkpoint(weights).card.model_name, "--pretrained", weights)
    edgeailite("preset", *options, *model, threads=args.threads, as_json=False)


def quantize(args: argparse.Namespace, source: Path, row: Row, common: tuple[Any, ...], folder: Path) -> None:
    """The row's checkpoint; a training that was cut off goes on."""
    verb, options = row.verb, row.options
    if verb == "plan":
        plan = source / "plan.json"
        edgeailite("analyze", source, *options, "--data_path", args.data, "--plan", plan, threads=args.threads)
        verb, options = "calibrate", ("--plan", str(plan))
    if verb == "quantize" and (folder / "last.pt").is_file():
        common = (*common, "--resume", True)
    if verb == "quantize" or not (folder / "best.pt").is_file():
        edgeailite(verb, source, *options, *common, threads=args.threads, as_json=False)


def edgeailite(verb: str, *arguments: Any, threads: int | None = None, as_json: bool = True) -> str:
    """Run a verb; EDGEAILITE=… names another command."""
    command = shlex.split(os.environ.get("EDGEAILITE", f"{shlex.quote(sys.executable)} -m edgeailite"))
    command += [verb, *map(str, arguments)]
    command += [] if threads is None else ["--threads", str(threads)]
    command += ["--json", "True"] if as_json else []
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def measure(args: argparse.Namespace, folder: Path, subject: Path) -> None:
    """Validate what a cell made, unless its numbers are there."""
    kept = numbers(args, folder)
    if not kept.is_file():
        split = ("--data_path", args.data, "--split", args.split)
        kept.write_text(edgeailite("validate", subject, *split, threads=args.threads))


def numbers(args: argparse.Namespace, folder: Path) -> Path:
    """The file with a cell's numbers."""
    return Path(folder / f"{args.split}.json")


def miou(path: Path) -> float | None:
    """Mean IoU, per cent."""
    return json.loads(path.read_text())["miou"] if path.is_file() else None


def print_table(args: argparse.Namespace, table: list[Row]) -> None:
    """Markdown: a row per way, a column per network; in brackets the difference to float."""
    floats = {network: miou(numbers(args, args.runs / network / "float")) for network in args.networks}
    print(f"| | {' | '.join(floats)} |\n|---|{'---|' * len(floats)}")
    print(f"| float | {' | '.join('' if v is None else f'{v:.2f}' for v in floats.values())} |")
    for row in table:
        cells = []
        for network, reference in floats.items():
            folders = sorted((args.runs / network).glob(f"{folder_name(row)}_[0-9]"))
            values = [miou(numbers(args, folder)) for folder in folders]
            cells.append(cell([value for value in values if value is not None], reference))
        print(f"| {row.name} | {' | '.join(cells)} |")


def cell(values: list[float], reference: float | None) -> str:
    """Mean, spread of several seeds, and the difference to float."""
    if not values or reference is None:
        return ""
    mean = statistics.fmean(values)
    spread = f" ± {statistics.stdev(values):.2f} ({len(values)} seeds)" if len(values) > 1 else ""
    return f"{mean:.2f}{spread} ({mean - reference:+.2f})"


if __name__ == "__main__":
    main()
