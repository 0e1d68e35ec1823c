"""`edgeailite verify`: prove a run's exported file against torch, or re-check a file alone against its contract.

The second form must work with numpy and the file's runtime only (onnxruntime, or LiteRT for .tflite files): everything
else is imported where the first form starts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from edgeailite.config import VerifyConfig
from edgeailite.errors import EdgeailiteError, UsageError
from edgeailite.runtime import load_contract, origin, recheck, recheck_tflite
from edgeailite.runtime.contract_file import but_for

TFLITE = ".tflite"
SHOWN = {"equal_argmax": "same class", "max_difference": "largest difference"}  # columns of the table
IN_FLOAT = ("DISABLED", "fake_quant")  # levels that compute an int8 file in float


def run(config: VerifyConfig) -> int:
    """Print the agreement; ParityError (exit 4) names the first layer that departs."""
    if config.trace is not None:
        _trace(config, *config.trace)
    elif config.pictures is not None:
        _prove_file(config)
    elif config.contract is not None:
        _recheck(config)
    elif config.model.suffix in (".onnx", TFLITE):
        prove = ", or pictures to prove it on" if config.model.suffix == ".onnx" else ""
        raise UsageError(
            f"verify {config.model}: give its contract too: edgeailite verify {config.model} contract.json{prove}"
        )
    else:
        _prove(config)
    return 0


def _prove(config: VerifyConfig) -> None:
    """Prove every file of a run; with `json` one object: the first file's numbers, those of others by their names."""
    from edgeailite.export import Verification, verify_files

    values: dict[str, Any] = {}

    def proven(found: Verification) -> None:
        numbers = {**found.results, "contract": str(found.contract)}
        values.update({found.run.name: numbers} if values else numbers)
        if not config.json:
            _show(found.verdict, numbers, height_width=found.size)

    try:
        verify_files(config, on_proof=proven)
    except EdgeailiteError as error:
        values |= {"failed": str(error)} if values else {}  # beside what is proven
        raise
    finally:
        if config.json and values:
            print(json.dumps(values))


def _prove_file(config: VerifyConfig) -> None:
    """Prove an int8 file of any tool by its own integers."""
    from edgeailite.export import verify_int8_file

    found = verify_int8_file(config)
    numbers = {**found.results, "contract": str(found.contract)}
    if config.json:
        print(json.dumps(numbers))
        return
    _show(found.verdict, numbers, height_width=found.size)
    for line in found.remarks:
        print(f"  {line}")


def _recheck(config: VerifyConfig) -> None:
    assert config.contract is not None
    contract, name = load_contract(config.contract), str(config.contract)
    check = recheck_tflite if config.model.suffix == TFLITE else recheck
    results = check(config.model, contract, skip_hash=config.skip_hash, threads=config.threads, name=name)
    pre = contract.get("preprocessing")  # contracts of format 1 may not say it
    size = (pre["height"], pre["width"]) if pre else ("own",)
    title = f"{config.model} keeps its contract: {results['pictures']} pictures"
    if not results["same_file"]:
        title = f"{config.model} gives the answers of the contract on {results['pictures']} pictures"
    exact = config.model.suffix == TFLITE or "arithmetic" in results
    every_bit = ", every bit as expected" if exact else ""
    if "float_parts" in results:
        every_bit = f", {but_for(results['float_parts'])}"
    if config.json:
        print(json.dumps(results))
    else:
        _show(f"{title}{every_bit}; {origin(results)}", results, height_width=size)


def _trace(config: VerifyConfig, first: str, second: str) -> None:
    from rich.table import Table

    from edgeailite.console import print_json, print_table
    from edgeailite.export import trace_forms
    from edgeailite.export.trace.summary import draw, summary, table_cells
    from edgeailite.files import write_result
    from edgeailite.inference import find_pictures

    folder = config.trace_pictures
    found = trace_forms(
        config, first, second, pictures=None if folder is None else find_pictures(folder, apart_from=folder)
    )
    if config.trace_plot is not None:
        write_result(config.trace_plot, draw(found), "trace_plot")
    if config.json:
        print_json(found.to_dict())
        return
    head, rows = table_cells(found)
    table = Table(title=f"{found.sides[1]} against {found.sides[0]}{', layer by layer' if found.local else ''}")
    for name in head[:2]:
        table.add_column(name, overflow="fold")
    for name in head[2:]:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*row)
    print_table(table)
    print("\n".join(summary(found)))


def _show(title: str, results: Mapping[str, Any], *, height_width: Sequence[object]) -> None:
    """Print the verdict and a row per size and level, in plain lines since rich may be missing."""
    print(title)
    rows = _rows(results, "x".join(map(str, height_width)))
    names = [name for name in SHOWN if any(name in row for _, _, row in rows)]
    cells = [("size", "level", *(SHOWN[name] for name in names))]
    cells += [(size, level, *(_cell(row.get(name)) for name in names)) for size, level, row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for size, level, *numbers in cells:
        right = (text.rjust(width) for text, width in zip(numbers, widths[2:], strict=True))
        print("  ".join(["", size.ljust(widths[0]), level.ljust(widths[1]), *right]))
    if "integer_kernels" in results:
        if shown := [level for _, level, _ in rows if level in IN_FLOAT]:
            verb = "is" if len(shown) == 1 else "are"
            print(f"  {' and '.join(shown)} {verb} float: near, not equal, is right (docs/parity.md)")
        wanted = results["integer_kernels"]["wanted"]
        whole = wanted - len(results["integer_kernels"]["float_nodes"])
        print(f"  integer kernels: {whole} of {wanted} layers are computed in integers")
    if "arithmetic" in results and "expected" not in results:  # the title of a re-check says it
        print(f"  arithmetic: {results['arithmetic']}, onnxruntime's on this machine")
    if results.get("additions", {}).get("total"):
        safe, total = results["additions"]["tie_safe"], results["additions"]["total"]
        print(f"  additions: {safe} of {total} have the same bits on every kind of machine")
    if "export" in results:
        print(f"  file and what export writes: {results['export']}")
    if "inner_tensors" in results:
        print(f"  inner tensors of LiteRT: {results['inner_tensors']['compared']} compared, every bit equal")
    if "conversion" in results:
        print(f"  {_conversion(results['conversion'])}")
    if "promise" in results:
        print(f"  promised: {results['promise']}")
    if "contract" in results:
        print(f"  contract, with all numbers: {results['contract']}")


def _conversion(figures: Mapping[str, Any]) -> str:
    """Return a line about the conversion to integers."""
    text = (
        f"conversion to integers: {figures['layers']} layers within {figures['largest_step']:.0f} step; same answer "
        f"on {_cell(figures['agreement'])}, asked {figures['asked']:g}"
    )
    if "one_grey_level" not in figures:
        return text
    return (
        f"{text}, but unsteady: with itself on {_cell(figures['one_grey_level'])} when pictures change by a grey level"
    )


def _rows(results: Mapping[str, Any], size: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Return rows of size, level and numbers, the file's own size first."""
    own = [(size, key, value) for key, value in results.items() if isinstance(value, dict) and "equal_argmax" in value]
    further = results.get("sizes", {}).items()
    return own + [(*key.split(" ", 1), value) for key, value in further]


def _cell(value: float | None) -> str:
    """Write a number: `-` where no output has classes; a share never rounds up to 1."""
    if value is None:
        return "-"
    text = f"{value:.6g}"
    return ">0.999999" if value < 1 and text == "1" else text
