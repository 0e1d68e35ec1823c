"""What becomes of networks of other people: read, quantized, written as an int8 file, and the file proven.

    pip install "edgeailite[bench]"
    python -m benchmarks.foreign_networks --results FILE.jsonl            # the 54; again: those without a row
    python -m benchmarks.foreign_networks --results FILE.jsonl --only tv.resnet18 hand.ENet --again
    python -m benchmarks.foreign_networks --results FILE.jsonl --others   # networks that nothing was fitted to

Weights are random, statistics of BatchNorm are those of two pictures. Each network has a process of its own with a time
limit; its row is kept in the file. Rows: **proven** is every bit at EXTENDED and ALL, all of it integer; **proven but
for** names what stays in float, and the share of multiply-accumulates that is integer; **refused** has the reason;
**wrong** is a network read with other values than torch's; **not proven** is a file that the proof rejects; anything
else is a traceback. `--exporter` says how a torch network becomes ONNX: `read_module` (torch.export), or a file of
torch's older exporter, at opset 11, 13 or 17.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from benchmarks.foreign.table import NAMES, OTHERS, maker
from edgeailite.errors import EdgeailiteError, ParityError, UsageError
from edgeailite.export.parity import Subject, outputs_of, prove, training_input
from edgeailite.export.to_onnx import to_onnx
from edgeailite.foreign import read_module, read_onnx
from edgeailite.modelcard import ModelCard
from edgeailite.preprocessing import Preprocessing
from edgeailite.quantization import calibrate, prepare
from edgeailite.quantization.graph import named_outputs
from edgeailite.runtime import load_onnx, run

EXPORTERS = ("read_module", "opset11", "opset13", "opset17")
SIZES = {  # of networks that do not take SIZE: smallest pictures, and grids of a pyramid that divide the features
    "smp.PAN/resnet18": (128, 160),
    "smp.PSPNet/resnet18": (96, 192),
    "smp.UPerNet/resnet18": (192, 192),
    "hand.FastSCNN": (192, 192),
    "hand.PPLiteSeg": (128, 128),
    "smp.DPT/tu-vit_tiny_patch16_224": (224, 224),
}
SIZE, OTHER_SIZES = (96, 128), ((101, 139), (160, 224))  # the second for networks that take multiples of 32
PICTURES = 2
PROCESSES = multiprocessing.get_context("fork")  # so that torch is imported once
WRONG = 1e-3  # of the largest value: difference of the network that was read from torch's
OUTCOMES = ("proven", "proven but for", "refused", "wrong", "not proven", "traceback", "time limit")


def main() -> None:
    """Try what has no row yet, and print the table."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="JSON lines, one network each; is added to")
    parser.add_argument("--only", nargs="+", help="names of networks, for instance tv.resnet18")
    parser.add_argument("--others", action="store_true", help="other networks than the 54")
    parser.add_argument("--again", action="store_true", help="try those with a row again; the newest row counts")
    parser.add_argument("--exporter", choices=EXPORTERS, default=EXPORTERS[0], help="who writes the ONNX file")
    parser.add_argument("--limit", type=float, default=900, help="seconds for one network")
    args = parser.parse_args()
    names = args.only or (OTHERS if args.others else NAMES)
    rows = read_rows(args.results, args.exporter)
    for name in names:
        if name not in rows or args.again:
            rows[name] = tried(name, args.exporter, args.limit)
            with args.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(rows[name]) + "\n")
            print(f"{name}: {rows[name]['outcome']}: {rows[name]['detail'][:150]}", file=sys.stderr, flush=True)
    print_table([rows[name] for name in names])


def read_rows(path: Path, exporter: str) -> dict[str, dict[str, Any]]:
    """Return the newest row of each network."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    rows = [json.loads(line) for line in lines]
    return {row["name"]: row for row in rows if row["exporter"] == exporter}


def tried(name: str, exporter: str, limit: float) -> dict[str, Any]:
    """Try a network in a process of its own."""
    parent, child = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=lambda: child.send(attempt(name, exporter)))
    row, start = {"name": name, "exporter": exporter}, time.monotonic()
    process.start()
    child.close()
    try:
        row |= parent.recv() if parent.poll(limit) else {"outcome": "time limit", "detail": f"more than {limit:g} s"}
    except EOFError:
        process.join()
        row |= {"outcome": "traceback", "detail": f"the process ended with status {process.exitcode}"}
    process.kill()
    process.join()
    return row | {"seconds": round(time.monotonic() - start, 1)}


def attempt(name: str, exporter: str) -> dict[str, Any]:
    """Return the outcome for one network and what explains it."""
    size = SIZES.get(name, SIZE)
    row: dict[str, Any] = {}
    try:
        module = with_statistics(maker(name)(), size)
        example = pictures_as_input(size)[0]
        network = read_with(exporter, module, example)
        row["float"] = difference(module, network, example)
        if row["float"] > WRONG:
            return row | {"outcome": "wrong", "detail": f"float values differ by {row['float']:.2g}"}
        other = other_size(module, network)
        return row | proven(network, size, other)
    except ParityError as error:
        return row | {"outcome": "not proven", "detail": str(error)}
    except EdgeailiteError as error:
        return row | {"outcome": "refused", "detail": str(error)}
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a row
        text = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
        return row | {"outcome": "traceback", "detail": text[:300], "traceback": traceback.format_exc()[-3000:]}


def with_statistics(module: nn.Module, size: tuple[int, int]) -> nn.Module:
    """Give BatchNorm the statistics of the pictures."""
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None  # plain means
    module.train()
    with torch.no_grad():
        module(torch.cat(pictures_as_input(size)))
    return module.eval()


def pictures(size: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """Return smooth random pictures with edges."""
    made = []
    for seed in range(PICTURES):
        rng = np.random.default_rng(seed)
        coarse = torch.from_numpy(rng.uniform(0, 255, (1, 3, 6, 8)))
        smooth = nn.functional.interpolate(coarse, size=size, mode="bicubic").numpy()[0].transpose(1, 2, 0)
        smooth[size[0] // 3 :, : size[1] // 2] = 255 - smooth[size[0] // 3 :, : size[1] // 2]
        made.append(np.clip(smooth + rng.normal(0, 8, smooth.shape), 0, 255).astype(np.uint8))
    return made


def pictures_as_input(size: tuple[int, int]) -> list[Tensor]:
    """Return the pictures, normalised: (1,3,H,W) each."""
    return [torch.from_numpy(training_input(picture, Preprocessing(*size))) for picture in pictures(size)]


def read_with(exporter: str, module: nn.Module, example: Tensor) -> fx.GraphModule:
    """Read a torch module by way of one of EXPORTERS."""
    if exporter == EXPORTERS[0]:
        return read_module(module, example)
    opset = int(exporter.removeprefix("opset"))
    try:
        return read_onnx(_older_export(module, example, opset, open_size=True))
    except Exception:  # noqa: BLE001 - torch's exporter has many reasons to need the size
        return read_onnx(_older_export(module, example, opset, open_size=False))


def _older_export(module: nn.Module, example: Tensor, opset: int, *, open_size: bool) -> bytes:
    """Return the bytes of the ONNX file of torch's older exporter."""
    file = io.BytesIO()
    axes = {"image": {0: "batch", 2: "height", 3: "width"}} if open_size else None
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # it prints the graph where it fails
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, (example,), file, dynamo=False, opset_version=opset, input_names=["image"], dynamic_axes=axes
        )
    return file.getvalue()


def difference(module: nn.Module, network: nn.Module, x: Tensor) -> float:
    """Return the largest difference of two networks' outputs, relative to the largest value."""
    with torch.no_grad():
        expected, got = (list(named_outputs(one(x)).values()) for one in (module, network))
    assert len(expected) == len(got), (len(expected), len(got))
    return max(float((a - b).abs().max() / a.abs().max()) for a, b in zip(expected, got, strict=True))


def other_size(module: nn.Module, network: nn.Module) -> tuple[int, int] | None:
    """Return the first of OTHER_SIZES at which the network that was read has torch's values."""
    for size in OTHER_SIZES:
        try:
            if difference(module, network, pictures_as_input(size)[0]) <= WRONG:
                return size
        except Exception:  # noqa: BLE001 - torch's own reasons why a network takes certain sizes alone
            continue
    return None


def proven(network: fx.GraphModule, size: tuple[int, int], other: tuple[int, int] | None) -> dict[str, Any]:
    """Quantize, export and prove a network that was read."""
    images = pictures_as_input(size)
    quantized = prepare(network, float_parts=True)
    calibrate(quantized, [(image,) for image in images])
    with torch.no_grad():
        channels = {name: value.shape[1] for name, value in network(images[0]).items()}
    count = next(iter(channels.values()))
    card = ModelCard(
        "foreign", channels, tuple(map(str, range(count))), ((0, 0, 0),) * count, Preprocessing(*size), "pictures"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model_int8.onnx"
        written, other = _written(quantized, card, size, other)  # one export, which takes seconds
        onnx.save(written, str(path))
        subject = Subject(quantized, card, path)
        found = prove(subject, pictures(size), threads=1, export_again=False)
        if other is not None:
            _prove_at(other, subject)
    parts = sorted(found.get("float_parts", {}))
    row = {"share": found.get("integer_macs", 1.0), "parts": parts, "other": other and "x".join(map(str, other))}
    if "promise" not in found:
        return row | {"outcome": "proven", "detail": ""}
    steps = max((part["largest_step"] for part in found["float_parts"].values()), default=0)
    detail = f"{len(parts)} parts, {100 * row['share']:.2f} % of MACs integer, at most {steps} step off: " + ", ".join(
        parts
    )
    return row | {"outcome": "proven but for", "detail": detail}


def _written(
    model: fx.GraphModule, card: ModelCard, size: tuple[int, int], other: tuple[int, int] | None
) -> tuple[onnx.ModelProto, tuple[int, int] | None]:
    """Return the file, with open sizes if there is another one to try, and that size; of one size if it must be."""
    if other is not None:
        with contextlib.suppress(UsageError):
            return to_onnx(model, card, size=None), other
    return to_onnx(model, card, size=size), None


def _prove_at(size: tuple[int, int], subject: Subject) -> None:
    """Compare a file of open size with its network at another size. Raises ParityError."""
    x = pictures_as_input(size)[0].numpy()
    expected = outputs_of(subject.reference(), x)
    for level in ("EXTENDED", "ALL"):
        got = run(load_onnx(subject.file, threads=1, level=level), x)
        for name, value in expected.items():
            if not np.array_equal(value, got[name]):
                raise ParityError(f"{name} at {size}, {level}: {(value != got[name]).mean():.2g} of values differ")


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print the rows as a table, and how many there are of each outcome."""
    print("| network | outcome | integer MACs, % | also at | detail |\n|---|---|---|---|---|")
    for row in rows:
        share = f"{100 * row['share']:.2f}" if "share" in row else "-"
        print(f"| {row['name']} | {row['outcome']} | {share} | {row.get('other') or '-'} | {row['detail'][:200]} |")
    counts = Counter(row["outcome"] for row in rows)
    print(
        "\n" + ", ".join(f"{outcome} {counts[outcome]}" for outcome in OUTCOMES if counts[outcome]), f"of {len(rows)}"
    )


if __name__ == "__main__":
    main()
