"""`edgeailite verify`: prove a run's exported file against torch, or re-check a file alone against its contract.

The second form must work with numpy and onnxruntime only: everything else is imported where the first form starts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeailite.config import VerifyConfig
from edgeailite.errors import UsageError
from edgeailite.runtime import load_contract, recheck

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edgeailite.export.parity import Picture, Subject

GOLDEN_PICTURES = 2
GOLDEN_WIDTH, GOLDEN_TALLEST = 160, 8192
SHOWN = ("equal_argmax", "max_difference")  # columns of the table


def run(config: VerifyConfig) -> int:
    """Print the agreement; ParityError (exit 4) names the first layer that departs."""
    if config.trace is not None:
        from edgeailite.commands.verify_trace import show_trace

        return show_trace(config, config.trace)
    if config.contract is not None:
        contract = load_contract(config.contract)
        name = str(config.contract)
        results = recheck(config.model, contract, skip_hash=config.skip_hash, threads=config.threads, name=name)
        pre = contract.get("preprocessing")  # those of format 1 may not say it
        size = (pre["height"], pre["width"]) if pre else ("own",)
        title = f"{config.model} keeps its contract: {results['pictures']} pictures"
        if not results["same_file"]:
            title = (
                f"{config.model} gives the answers of the contract on {results['pictures']} pictures; "
                f"it is another file than the contract's (sha256 {results['sha256'][:16]}…)"
            )
        _show(title, results, height_width=size, as_json=config.json)
        return 0
    if config.model.suffix == ".onnx":
        raise UsageError(
            f"verify {config.model}: give its contract too: edgeailite verify {config.model} contract.json"
        )
    results, size = _prove_run(config)
    _show(_verdict(config, results), results, height_width=size, as_json=config.json)
    return 0


def _verdict(config: VerifyConfig, results: dict[str, Any]) -> str:
    """What was shown, in words: nothing is called proven of which only pictures were compared."""
    seen = f"{results['data']}, {results['ALL']['pictures']} pictures"
    if config.export_again:
        return f"{config.model} is proven: {seen}"
    return f"{config.model} agrees with its file on pictures; nothing else was compared: {seen}"


def _prove_run(config: VerifyConfig) -> tuple[dict[str, Any], tuple[int, int]]:
    """The numbers, and the size (height, width) of the file's pictures."""
    from edgeailite.console import progress
    from edgeailite.device import set_threads
    from edgeailite.evaluation.measure import dataset_of
    from edgeailite.export.files import FILE_NAMES
    from edgeailite.export.identity import at_size_of
    from edgeailite.export.parity import Subject, prove
    from edgeailite.runs.checkpoint import run_folder
    from edgeailite.runs.open import load_network
    from edgeailite.runtime import load_onnx

    set_threads(config.threads)
    checkpoint, module = load_network(config.model)
    folder = run_folder(config.model)
    file = folder / FILE_NAMES[checkpoint.quantization is not None]
    loaded = load_onnx(file)
    subject = Subject(module, at_size_of(checkpoint.card, loaded), file, argmax=loaded.argmax)
    source = dataset_of(checkpoint.card, None, config.data_path, config.split)
    items = [item.images for item in source.items[:: _stride(len(source.items), config.images)]]
    with progress("verify", len(items)) as (bar, task):
        results = prove(
            subject,
            _pictures(items),
            sizes=config.sizes,
            threads=config.threads,
            skip_hash=config.skip_hash,
            export_again=config.export_again,
            min_fake_quant=config.min_fake_quant,
            on_picture=lambda: bar.advance(task),
        )
    results = {"data": f"{source.name} {source.split}", **results}
    path = folder / ("contract_int8.json" if subject.kind == "int8" else "contract.json")
    _write(path, json.dumps(_contract(subject, items, results), indent=1) + "\n")
    pre = subject.card.preprocessing
    return {**results, "contract": str(path)}, pre.size


def _write(path: Path, text: str) -> None:
    from edgeailite.errors import DataError
    from edgeailite.files import write_atomic

    try:
        write_atomic(path, text)
    except OSError as error:
        raise DataError(f"{path}: the contract cannot be written ({error.strerror}); make room there") from None


def _pictures(items: list[tuple[Path, ...]]) -> Iterator[tuple[Picture, ...]]:
    from edgeailite.data.files.images import read_image

    for paths in items:
        yield tuple(map(read_image, paths))


def _stride(total: int, wanted: int) -> int:
    return 1 if wanted == 0 else max(1, -(-total // wanted))


def _contract(subject: Subject, items: list[tuple[Path, ...]], results: dict[str, Any]) -> dict[str, Any]:
    """What `recheck` needs, and the numbers that were seen, with versions."""
    from edgeailite import __version__
    from edgeailite.environment import environment
    from edgeailite.export.parity import make_golden
    from edgeailite.files import sha256_of
    from edgeailite.runtime.contract import described
    from edgeailite.runtime.contract_file import FLOAT_LOGIT_TOLERANCE, FLOAT_TOLERANCE, FORMAT, WIDE_PROMISE

    step = max(1, len(items) // GOLDEN_PICTURES)
    chosen = [tuple(map(_small, pictures)) for pictures in _pictures(items[::step][:GOLDEN_PICTURES])]
    return {
        "format": FORMAT,
        "edgeailite": __version__,
        "file": subject.file.name,
        "kind": subject.kind,
        "exact": subject.kind == "int8" and not subject.wide,
        "sha256": sha256_of(subject.file),
        "tolerance": {
            "int8": (WIDE_PROMISE if subject.wide else "every bit") if subject.kind == "int8" else None,
            "float_logits_std": FLOAT_LOGIT_TOLERANCE,
            "float_layer_std": FLOAT_TOLERANCE,
        },
        "preprocessing": subject.card.to_dict()["preprocessing"],
        "card": described(subject.card),
        "environment": environment(),
        "results": results,
        "golden": [make_golden(subject, *pictures).to_dict() for pictures in chosen],
    }


def _small(picture: Picture) -> Picture:
    """A golden picture is kept small; being resized again on the way in, it tests that too."""
    from edgeailite.data.augment.transforms import resize_image

    height = min(max(1, round(picture.shape[0] * GOLDEN_WIDTH / picture.shape[1])), GOLDEN_TALLEST)
    return resize_image(picture, (height, GOLDEN_WIDTH))


def _show(title: str, results: dict[str, Any], *, height_width: Sequence[object], as_json: bool) -> None:
    """The verdict and a row per size and level: plain lines, for rich may be missing; all numbers as JSON."""
    if as_json:
        print(json.dumps(results))
        return
    print(title)
    rows = _rows(results, "x".join(map(str, height_width)))
    names = [name for name in SHOWN if any(name in row for _, _, row in rows)]
    cells = [("size", "level", *names)]
    cells += [(size, level, *(_cell(row.get(name)) for name in names)) for size, level, row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for size, level, *numbers in cells:
        right = (text.rjust(width) for text, width in zip(numbers, widths[2:], strict=True))
        print("  ".join(["", size.ljust(widths[0]), level.ljust(widths[1]), *right]))
    if "integer_kernels" in results:
        wanted = results["integer_kernels"]["wanted"]
        print(f"  integer kernels: {wanted - len(results['integer_kernels']['float_nodes'])} of {wanted}")
    if "export" in results:
        print(f"  file and what export writes: {results['export']}")
    if "conversion" in results:
        print(f"  {_conversion(results['conversion'])}")
    if "promise" in results:
        print(f"  promised: {results['promise']}")
    if "contract" in results:
        print(f"  contract, with all numbers: {results['contract']}")


def _conversion(figures: dict[str, Any]) -> str:
    """The gate between the validated network and the integer one, in a line."""
    text = (
        f"conversion: {figures['layers']} layers within {figures['largest_step']:.0f} step; agrees on "
        f"{_cell(figures['agreement'])}, asked {figures['asked']:g}"
    )
    if "one_grey_level" not in figures:
        return text
    return (
        f"{text}, but unsteady: with itself on {_cell(figures['one_grey_level'])} when pictures change by a grey level"
    )


def _rows(results: dict[str, Any], size: str) -> list[tuple[str, str, dict[str, Any]]]:
    """(size, level, its numbers), the file's own size first."""
    own = [(size, key, value) for key, value in results.items() if isinstance(value, dict) and "equal_argmax" in value]
    further = results.get("sizes", {}).items()
    return own + [(*key.split(" ", 1), value) for key, value in further]


def _cell(value: float | None) -> str:
    """`-` where no output has classes; a share never rounds up to all."""
    if value is None:
        return "-"
    text = f"{value:.6g}"
    return ">0.999999" if value < 1 and text == "1" else text
