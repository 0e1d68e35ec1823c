"""Compiles int8 .tflite files for Arm's Ethos-U with Vela, and reads its estimate of what they cost there.

Vela (package `ethos-u-vela`) is Arm's compiler; it replaces the operators that the NPU computes by one operator with
commands for it, and leaves the rest to the CPU. It runs in a process of its own: it writes files, prints, and ends its
process on some files. Its numbers are those of its model of a system, not measurements, and leave the CPU's part out.
"""

from __future__ import annotations

import csv
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from edgeailite.errors import DataError, UsageError, option
from edgeailite.runtime.tflite_file import TfliteFile, read_tflite
from edgeailite.untrusted import printable

PACKAGE = "ethos-u-vela"
SYSTEMS = "Arm/vela.ini"  # comes with Vela
SECONDS = 600  # Vela takes 2 s for most networks, and some 20 s for large ones
LONGEST_REASON = 400  # characters
NUMBERS = (
    "core_clock",
    "cycles_total",
    "sram_memory_used",
    "dram_memory_used",
    "on_chip_flash_memory_used",
    "off_chip_flash_memory_used",
)
"""Columns of Vela's summary that are read: Hz, cycles, and KiB."""
NPU_OPERATOR = "CUSTOM"  # the only one that Vela writes of that kind
KIBIBYTE = 1024


@dataclass(frozen=True)
class System:
    """A system of Vela's file `Arm/vela.ini` that an NPU is taken to be part of: clock, memories and their speed."""

    config: str
    memory_mode: str


_U55 = System("Ethos_U55_High_End_Embedded", "Shared_Sram")
_U65 = System("Ethos_U65_High_End", "Dedicated_Sram")
_U85 = System("Ethos_U85_SYS_DRAM_Mid", "Dedicated_Sram")
ACCELERATORS: dict[str, System] = {
    **{f"ethos-u55-{macs}": _U55 for macs in (32, 64, 128, 256)},
    **{f"ethos-u65-{macs}": _U65 for macs in (256, 512)},
    **{f"ethos-u85-{macs}": _U85 for macs in (128, 256, 512, 1024, 2048)},
}
"""Ethos-U NPUs that Vela compiles for, by family and 8-bit MACs per cycle -> the system of the estimate."""


@dataclass(frozen=True)
class CpuOperator:
    """An operator that Vela left to the CPU; `name` and `shape` (N,H,W,C) are its output's, `source` its input's."""

    kind: str
    name: str
    source: tuple[int, ...]
    shape: tuple[int, ...]
    is_output: bool


@dataclass(frozen=True)
class VelaEstimate:
    """Cost of one picture on an NPU as Vela `version` estimates it, without the operators that the CPU computes.

    `flash_bytes` and `dram_bytes` are what lies outside the chip (weights, and in Dedicated_Sram all tensors),
    `sram_bytes` what is needed inside.
    """

    accelerator: str
    system: str
    memory_mode: str
    clock_hz: float
    cycles: int
    sram_bytes: int
    dram_bytes: int
    flash_bytes: int
    cpu_operators: tuple[CpuOperator, ...]
    version: str

    @property
    def milliseconds(self) -> float:
        """Time of the cycles at the system's clock."""
        return 1000 * self.cycles / self.clock_hz


@dataclass(frozen=True)
class CompiledFile:
    """The bytes of a compiled .tflite file, with the metadata of the one it was made of, and Vela's estimate."""

    data: bytes
    estimate: VelaEstimate


def check_vela(accelerator: str) -> None:
    """Raise UsageError for an accelerator that Vela does not know, or where Vela is not installed."""
    if accelerator not in ACCELERATORS:
        raise UsageError(
            f"expected one of {', '.join(ACCELERATORS)}",
            about="accelerator",
            value=accelerator,
            known=tuple(ACCELERATORS),
            code="unknown-name",
        )
    if find_spec("ethosu") is None:
        raise UsageError(
            "Vela, which compiles for Ethos-U, is not installed",
            about="accelerator",
            value=accelerator,
            fix=f"pip install {PACKAGE}",
            code="not-installed",
        )


def compile_tflite(data: bytes, accelerator: str, *, name: str = "model") -> CompiledFile:
    """Compile an int8 .tflite file for an Ethos-U; `name` is how messages call the file.

    Raises UsageError for an unknown accelerator, for a file that is compiled already, and where Vela is not installed;
    DataError for a file that cannot be read, and where Vela fails.
    """
    check_vela(accelerator)
    if any(node.kind == NPU_OPERATOR for node in read_tflite(data).nodes):
        raise UsageError(
            "holds operators of a device's own: it is compiled already", path=name, fix="give the file before that"
        )
    system = ACCELERATORS[accelerator]
    with TemporaryDirectory(prefix="vela-") as folder:
        source = Path(folder) / "model.tflite"
        source.write_bytes(data)
        _run_vela(source, accelerator, system, name)
        try:
            compiled = source.with_name("model_vela.tflite").read_bytes()
            summary = source.with_name(f"model_summary_{system.config}.csv").read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise _failed(name, f"its results are missing: {error}") from None
    row = read_summary(summary, accelerator)
    return CompiledFile(compiled, _estimate(row, accelerator, cpu_operators(read_tflite(compiled))))


def _run_vela(source: Path, accelerator: str, system: System, name: str) -> None:
    """Run Vela on a file; its results lie beside it afterwards. Raises DataError where it fails or takes too long."""
    words = ["--accelerator-config", accelerator, "--config", SYSTEMS, "--system-config", system.config]
    words += ["--memory-mode", system.memory_mode, "--output-dir", ".", source.name]
    try:
        child = subprocess.run(
            [sys.executable, "-m", "ethosu.vela", *words],
            cwd=source.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=SECONDS,
            env={**os.environ, "PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1"},  # lines in their order
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _failed(name, f"it takes more than {SECONDS} s") from None
    if child.returncode != 0:
        said = [line for line in child.stdout.decode(errors="replace").splitlines() if line.strip()]
        raise _failed(name, f"exit code {child.returncode}: {said[-1] if said else 'no message'}")


def _failed(name: str, reason: str) -> DataError:
    return DataError(f"Vela cannot compile it ({printable(reason)[:LONGEST_REASON]})", path=name)


def read_summary(text: str, accelerator: str) -> Mapping[str, float]:
    """Return the numbers of the CSV file that Vela writes, by column.

    Raises DataError for one of another form, of another accelerator or system, or with numbers that cannot be.
    """
    rows = list(csv.reader(text.splitlines()))
    if len(rows) != 2 or len(rows[0]) != len(rows[1]):
        raise _unclear(f"{len(rows)} lines, expected names and numbers")
    values = dict(zip(*rows, strict=True))
    system = ACCELERATORS[accelerator]
    expected = {
        "accelerator_configuration": accelerator.title().replace("-", "_"),
        "system_config": system.config,
        "memory_mode": system.memory_mode,
        "batch_size": "1",
    }
    for column, wanted in expected.items():
        if values.get(column) != wanted:
            raise _unclear(f"{column} {values.get(column)}, expected {wanted}")
    return {column: _number(values, column) for column in NUMBERS}


def _number(values: Mapping[str, str], column: str) -> float:
    try:
        number = float(values[column])
    except (KeyError, ValueError):
        raise _unclear(f"{column} {values.get(column)}, expected a number") from None
    if not math.isfinite(number) or number < 0 or (column == "core_clock" and number == 0):
        raise _unclear(f"{column} {number}")
    return number


def _unclear(reason: str) -> DataError:
    return DataError(
        f"Vela's summary is not as expected ({printable(reason)[:LONGEST_REASON]})", fix="Vela 5.2 is known to work"
    )


def _estimate(row: Mapping[str, float], accelerator: str, operators: tuple[CpuOperator, ...]) -> VelaEstimate:
    def size(*columns: str) -> int:
        return round(KIBIBYTE * sum(row[f"{column}_memory_used"] for column in columns))

    return VelaEstimate(
        accelerator,
        ACCELERATORS[accelerator].config,
        ACCELERATORS[accelerator].memory_mode,
        clock_hz=row["core_clock"],
        cycles=round(row["cycles_total"]),
        sram_bytes=size("sram"),
        dram_bytes=size("dram"),
        flash_bytes=size("on_chip_flash", "off_chip_flash"),
        cpu_operators=operators,
        version=version(PACKAGE),
    )


def cpu_operators(compiled: TfliteFile) -> tuple[CpuOperator, ...]:
    """Return the operators of a compiled file that the CPU computes, in order: all but the NPU's."""
    outputs = set(compiled.outputs.values())
    return tuple(
        CpuOperator(
            node.kind,
            compiled.tensors[node.outputs[0]].name,
            compiled.tensors[node.inputs[0]].shape,
            compiled.tensors[node.outputs[0]].shape,
            node.outputs[0] in outputs,
        )
        for node in compiled.nodes
        if node.kind != NPU_OPERATOR and node.inputs and node.inputs[0] >= 0 and node.outputs
    )


def estimate_lines(estimate: VelaEstimate) -> dict[str, str]:
    """Return a line for each part of an estimate: time, memory, and the operators that the CPU computes."""
    kibibytes = {"SRAM": estimate.sram_bytes, "DRAM": estimate.dram_bytes, "flash": estimate.flash_bytes}
    left = [
        f"{operator.kind} {operator.name}"
        + (f" ({why})" if (why := why_on_cpu(operator, estimate.accelerator)) else "")
        for operator in estimate.cpu_operators
    ]
    return {
        f"estimate by Vela {estimate.version}": f"{estimate.milliseconds:.2f} ms on {estimate.accelerator}: "
        f"{estimate.cycles:,} cycles at {estimate.clock_hz / 1e6:.0f} MHz, {estimate.system}, {estimate.memory_mode}",
        "memory there": ", ".join(f"{name} {size / 1024:,.1f} KiB" for name, size in kibibytes.items() if size),
        "left to the CPU": f"not in the estimate: {'; '.join(left)}" if left else "nothing",
    }


def why_on_cpu(operator: CpuOperator, accelerator: str) -> str:
    """Say why an accelerator leaves an operator to the CPU, and what avoids it; empty where that is not known."""
    if operator.kind == "DEQUANTIZE":
        return f"the NPU has integers alone; {option('head')} quantized or codes leaves it out"
    if operator.kind == "ARG_MAX":
        return f"over more than 127 classes; {option('head')} codes or quantized leaves it out"
    if operator.kind != "RESIZE_BILINEAR":
        return ""
    sizes = "{}x{} to {}x{}".format(*operator.source[1:3], *operator.shape[1:3])
    multiples = f"{option('img_resize')} of multiples of 32 (*_fd_*: 64)"
    if accelerator.startswith("ethos-u85"):
        reason = f"{sizes}, by no power of two; {multiples} avoids that inside a network"
    else:
        reason = f"{sizes}, not by 2; inside unet_* and fpn_* all are by 2 at {multiples}"
    return reason + (f", {option('head')} codes leaves the last one out" if operator.is_output else "")
