"""Vela in its process: what it writes is read strictly, and each way in which it fails is one sentence."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from edgeailite.config import ACCELERATORS as NAMES
from edgeailite.errors import DataError, UsageError
from edgeailite.export import vela
from edgeailite.export.tflite_file import write_tflite
from edgeailite.export.vela import (
    ACCELERATORS,
    CpuOperator,
    VelaEstimate,
    compile_tflite,
    cpu_operators,
    estimate_lines,
    read_summary,
    why_on_cpu,
)
from edgeailite.runtime.tflite_file import Node, Tensor, TfliteFile, read_tflite
from tests.export.programs import Builder, constant, scale

needs_vela = pytest.mark.skipif(find_spec("ethosu") is None, reason="ethos-u-vela is not installed")
U55 = "ethos-u55-256"
# Of Vela 5.2.0, for the small network of the tests, without the columns of transfers.
SUMMARY = """\
experiment,network,accelerator_configuration,system_config,memory_mode,core_clock,arena_cache_size,batch_size,\
inference_time,sram_memory_used,dram_memory_used,on_chip_flash_memory_used,off_chip_flash_memory_used,nn_macs,cycles_npu,\
cycles_total
default,toy_argmax,Ethos_U55_256,Ethos_U55_High_End_Embedded,Shared_Sram,500000000.0,4194304.0,1,0.000215104,54.0,0.0,0.0,\
4.96875,449492,90637,107552
"""
FAKE = """
import pathlib, shutil, sys
print("Warning: something")
if {code}:
    print("RuntimeError: no such thing", file=sys.stderr)
    sys.exit({code})
if {writes}:
    shutil.copy("model.tflite", "model_vela.tflite")
    pathlib.Path("model_summary_Ethos_U55_High_End_Embedded.csv").write_text({summary!r})
"""


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """Put another Vela in its place, which ends with a code or leaves the file as it is."""

    def put(*, code: int = 0, writes: bool = True, summary: str = SUMMARY) -> None:
        package = tmp_path / "ethosu"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "vela.py").write_text(FAKE.format(code=code, writes=writes, summary=summary))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # as most users have it
        monkeypatch.setattr(vela, "find_spec", lambda name: name)
        monkeypatch.setattr(vela, "version", lambda name: "5.2.0")

    return put


def small(
    *, resize: tuple[int, int] | None = None, classes: int = 0, size: tuple[int, int] = (8, 8), wide: int = 0
) -> bytes:
    """A convolution, followed by a resize, an ArgMax over classes, or a convolution with large weights."""
    make = Builder(size)
    x = make.convolution(make.inputs[0], "conv", classes or wide or 16, scale=scale(0.1))
    if wide:
        x = make.convolution(x, "wide", 4, scale=scale(0.1))
        weight = make.operators[-1].inputs[1]
        weight.data = np.full_like(weight.data, 127)
    if resize is not None:
        how = {"align_corners": False, "half_pixel_centers": True}
        x = make.add("RESIZE_BILINEAR", [x, constant("up", resize)], "resized", (1, *resize, 16), **how)
    if classes:
        x = make.add("ARG_MAX", [x, constant("axis", [3])], "label", (1, 8, 8), type="int32", scale=None)
    return write_tflite(make.program(out=x), metadata={"note": b"night"})


def test_the_command_line_offers_every_accelerator():
    assert tuple(ACCELERATORS) == NAMES


@needs_vela
def test_vela_knows_the_same_accelerators():
    said = subprocess.run([sys.executable, "-m", "ethosu.vela", "--help"], capture_output=True, text=True, check=True)
    [choices] = set(re.findall(r"\{(ethos-[^}]*)\}", re.sub(r"\s", "", said.stdout)))
    assert choices.split(",") == list(ACCELERATORS)


def test_the_numbers_of_a_summary():
    assert read_summary(SUMMARY, U55) == {
        "core_clock": 500e6,
        "cycles_total": 107552,
        "sram_memory_used": 54,
        "dram_memory_used": 0,
        "on_chip_flash_memory_used": 0,
        "off_chip_flash_memory_used": 4.96875,
    }


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Ethos_U55_256", "Ethos_U55_128", "accelerator_configuration Ethos_U55_128, expected Ethos_U55_256"),
        ("High_End_Embedded", "Deep_Embedded", "system_config Ethos_U55_Deep_Embedded, expected Ethos_U55_High_End"),
        ("Shared_Sram", "Sram_Only", "memory_mode Sram_Only, expected Shared_Sram"),
        ("4194304.0,1,", "4194304.0,2,", "batch_size 2, expected 1"),
        ("107552", "many", "cycles_total many, expected a number"),
        ("107552", "nan", "cycles_total nan"),
        ("54.0", "-54.0", "sram_memory_used -54.0"),
        ("500000000.0", "0", "core_clock 0.0"),
        ("cycles_total", "cycles_in_all", "cycles_total None, expected a number"),
        ("nn_macs,", "", "expected names and numbers"),
        ("default,", "default\n", "3 lines, expected names and numbers"),
    ],
)
def test_another_summary_is_refused(old, new, message):
    assert SUMMARY.count(old) >= 1
    with pytest.raises(DataError, match=re.escape(message)):
        read_summary(SUMMARY.replace(old, new), U55)


def test_the_estimate_is_that_of_the_summary(fake):
    fake()
    data = small(resize=(16, 16))
    made = compile_tflite(data, U55)
    assert made.data == data
    estimate = made.estimate
    assert (estimate.cycles, estimate.clock_hz, estimate.version) == (107552, 500e6, "5.2.0")
    assert (estimate.sram_bytes, estimate.dram_bytes, estimate.flash_bytes) == (55296, 0, 5088)
    assert estimate.milliseconds == pytest.approx(0.215104)
    assert [(o.kind, o.is_output) for o in estimate.cpu_operators] == [("CONV_2D", False), ("RESIZE_BILINEAR", True)]
    lines = estimate_lines(estimate)
    assert lines["estimate by Vela 5.2.0"].startswith("0.22 ms on ethos-u55-256: 107,552 cycles at 500 MHz")
    assert lines["memory there"] == "SRAM 54.0 KiB, flash 5.0 KiB"
    assert lines["left to the CPU"].startswith(
        "not in the estimate: CONV_2D conv; RESIZE_BILINEAR resized (8x8 to 16x16"
    )


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"code": 3}, r"^night: Vela cannot compile it \(exit code 3: RuntimeError: no such thing\)$"),
        ({"writes": False}, r"^night: Vela cannot compile it \(its results are missing: .*model_vela\.tflite"),
        ({"summary": "a,b\n1,2\n"}, r"Vela's summary is not as expected \(accelerator_configuration None"),
    ],
)
def test_a_failure_of_vela_is_told(fake, how, message):
    fake(**how)
    with pytest.raises(DataError, match=message):
        compile_tflite(small(), U55, name="night")


def test_a_vela_that_does_not_end_is_stopped(fake, monkeypatch):
    fake()
    monkeypatch.setattr(vela, "SECONDS", 0.001)
    with pytest.raises(DataError, match=r"Vela cannot compile it \(it takes more than 0\.001 s\)"):
        compile_tflite(small(), U55)


def test_an_unknown_accelerator_is_refused_with_those_there_are():
    with pytest.raises(
        UsageError, match=r"accelerator ethos-u66: expected one of ethos-u55-32, ethos-u55-64"
    ) as caught:
        compile_tflite(small(), "ethos-u66")
    assert caught.value.known == tuple(ACCELERATORS)


def test_without_vela_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setattr(vela, "find_spec", lambda name: None)
    with pytest.raises(
        UsageError, match=r"Vela, which compiles for Ethos-U, is not installed; pip install ethos-u-vela"
    ):
        compile_tflite(small(), U55)


def compiled_by_hand() -> TfliteFile:
    shapes = {"in": (1, 8, 8, 3), "npu": (1, 4, 4, 8), "big": (1, 16, 16, 8), "out": (1, 16, 16, 8)}
    tensors = tuple(Tensor(name, shape, "int8", None, None, 0, None) for name, shape in shapes.items())
    nodes = (
        Node("CUSTOM", 1, (0,), (1,)),
        Node("RESIZE_BILINEAR", 3, (1,), (2,)),
        Node("DEQUANTIZE", 2, (2,), (3,)),
    )
    return TfliteFile("hand", None, b"", tensors, nodes, {"in": 0}, {"out": 3}, {})


def test_operators_of_the_cpu_are_all_but_the_npus():
    assert cpu_operators(compiled_by_hand()) == (
        CpuOperator("RESIZE_BILINEAR", "big", (1, 4, 4, 8), (1, 16, 16, 8), False),
        CpuOperator("DEQUANTIZE", "out", (1, 16, 16, 8), (1, 16, 16, 8), True),
    )


def test_a_compiled_file_is_not_compiled_again(fake, monkeypatch):
    fake()
    monkeypatch.setattr(vela, "read_tflite", lambda data: compiled_by_hand())
    with pytest.raises(UsageError, match=r"^night: holds operators of a device's own: it is compiled already"):
        compile_tflite(b"", U55, name="night")


@pytest.mark.parametrize(
    ("kind", "accelerator", "words"),
    [
        ("RESIZE_BILINEAR", "ethos-u65-512", "4x4 to 16x16, not by 2; inside unet_* and fpn_*"),
        ("RESIZE_BILINEAR", "ethos-u85-256", "4x4 to 16x16, by no power of two; img_resize of multiples of 32"),
        ("ARG_MAX", U55, "over more than 127 classes; head codes or quantized"),
        ("DEQUANTIZE", U55, "the NPU has integers alone; head quantized or codes"),
        ("CONV_2D", U55, ""),
    ],
)
def test_the_reason_says_what_avoids_it(kind, accelerator, words):
    operator = CpuOperator(kind, "x", (1, 4, 4, 8), (1, 16, 16, 8), is_output=False)
    said = why_on_cpu(operator, accelerator).replace("--", "")
    assert said.startswith(words) and bool(said) == bool(words)


# --- the real one


@needs_vela
def test_vela_compiles_and_keeps_the_metadata():
    data = small(resize=(16, 16))
    made = compile_tflite(data, U55)
    before, after = read_tflite(data), read_tflite(made.data)
    assert [node.kind for node in after.nodes] == ["CUSTOM"]
    assert after.metadata["note"] == before.metadata["note"] == b"night"
    assert list(after.outputs) == list(before.outputs) and list(after.inputs) == list(before.inputs)
    assert made.estimate.cpu_operators == ()
    assert made.estimate.cycles > 0 and made.estimate.sram_bytes >= 16 * 16 * 16
    with pytest.raises(UsageError, match="compiled already"):
        compile_tflite(made.data, U55)


@pytest.mark.slow
@needs_vela
@pytest.mark.parametrize("accelerator", ["ethos-u55-32", "ethos-u65-512", "ethos-u85-2048"])
@pytest.mark.parametrize(
    ("how", "families_left"),
    [
        ({"resize": (16, 16)}, ""),
        ({"resize": (32, 32)}, "u55 u65"),
        ({"resize": (24, 24)}, "u55 u65 u85"),
        ({"resize": (12, 12)}, "u55 u65 u85"),
        ({"resize": (16, 32)}, "u55 u65"),
        ({"resize": (5, 7), "size": (1, 1)}, ""),
        ({"wide": 7_281, "size": (1, 1)}, ""),
        ({"wide": 7_282, "size": (1, 1)}, "u55 u65 u85"),
        ({"classes": 127}, ""),
        ({"classes": 128}, "u55 u65"),
    ],
)
def test_what_the_families_leave_to_the_cpu(how, families_left, accelerator):
    """The rules of the checks of target `tflite`, and of `why_on_cpu`."""
    left = compile_tflite(small(**how), accelerator).estimate.cpu_operators
    assert bool(left) == (accelerator.split("-")[1] in families_left.split())


@pytest.mark.slow
@needs_vela
@pytest.mark.parametrize("accelerator", ACCELERATORS)
def test_every_accelerator_compiles(accelerator):
    estimate = compile_tflite(small(), accelerator).estimate
    assert isinstance(estimate, VelaEstimate) and np.isfinite(estimate.milliseconds) and estimate.milliseconds > 0
