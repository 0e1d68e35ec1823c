"""The commands of examples/tflite_micro/README.md, as they stand there, in the folder of tools/microcontrollers.sh.

EDGEAILITE_MICROCONTROLLERS names that folder; nothing is downloaded here.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from edgeailite.cli import parse
from edgeailite.export.c_array import c_files
from edgeailite.export.to_tflite import WrittenProgram, to_tflite
from tests.export.toy import SIZE, toy_card, toy_quantized
from tests.sweep import golden_sweep_model, quantized, sweep_card

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "examples/tflite_micro/README.md").read_text()
EXPORT, TOOLS, ARRAY, BUILD, CHECK, BUILD_KERNELS, CHECK_KERNELS, *BOARDS = re.findall(
    r"^    (\S.*)$", README, re.MULTILINE
)
FOLDER = os.environ.get("EDGEAILITE_MICROCONTROLLERS", "")
EQUAL = r"2 golden cases: equal; arena (\d+) bytes"
WITHOUT = "EDGEAILITE_MICROCONTROLLERS names no folder of tools/microcontrollers.sh"


def needs_tools(test: Any) -> Any:
    return pytest.mark.slow(pytest.mark.skipif(not FOLDER, reason=WITHOUT)(test))


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder in which the README's commands can be given."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "tools").symlink_to(ROOT / "tools")
    return tmp_path


def given(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"TOOLS": FOLDER}
    return subprocess.run(
        command, shell=True, cwd=folder, capture_output=True, text=True, check=False, env=environment, timeout=600
    )


def passed(command: str, folder: Path) -> str:
    ended = given(command, folder)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def write(written: WrittenProgram, folder: Path) -> str:
    header, source = c_files(written, "model_int8")
    (folder / "model_int8.h").write_text(header)
    (folder / "model_int8.c").write_text(source)
    return source


def toy_file(head: str) -> WrittenProgram:
    return to_tflite(toy_quantized("ort_u8s8"), toy_card(), size=SIZE, head=head)


@pytest.mark.parametrize("head", ["codes", "argmax", "logits"])
@needs_tools
def test_micro_and_the_kernels_alone_give_every_byte(folder, head):
    write(toy_file(head), folder)
    passed(TOOLS, folder)
    passed(ARRAY, folder)
    for build, check in ((BUILD, CHECK), (BUILD_KERNELS, CHECK_KERNELS)):
        passed(build, folder)
        said = passed(check, folder)
        assert re.search(EQUAL, said), said


@needs_tools
def test_one_other_byte_is_found(folder):
    source = write(toy_file("codes"), folder)
    first = re.search(r"(output_1_0\[\d+\] = \{\n)(\d+),", source)
    assert first is not None
    changed = f"{first[1]}{int(first[2]) ^ 1},"
    (folder / "model_int8.c").write_text(source[: first.start()] + changed + source[first.end() :])
    passed(ARRAY, folder)
    passed(BUILD_KERNELS, folder)
    ended = given(CHECK_KERNELS, folder)
    assert ended.returncode == 4
    assert re.search(r"case 1, segmentation: .*, 1 of \d+ bytes differ, first 0\n", ended.stdout), ended.stdout
    assert "DIFFER" in ended.stdout


@needs_tools
def test_an_arena_that_is_too_small_is_said_to_be(folder):
    write(toy_file("codes"), folder)
    passed(ARRAY, folder)
    for build, check, size, words in (
        (BUILD, CHECK, 4096, "the tensors alone need"),
        (BUILD, CHECK, 16384, "AllocateTensors failed"),
        (BUILD_KERNELS, CHECK_KERNELS, 4096, "compile with -DARENA_BYTES="),
    ):
        passed(build.replace(" -O2", f" -O2 -DARENA_BYTES={size}"), folder)
        ended = given(check, folder)
        assert ended.returncode == 3 and words in ended.stdout, ended.stdout


@pytest.mark.parametrize("head", ["codes", "argmax"])
@needs_tools
def test_emulated_cortex_m_give_every_byte(folder, head):
    write(toy_file(head), folder)
    for command in BOARDS:
        said = passed(command, folder)
        assert "run.sh" not in command or re.search(EQUAL, said), said


@needs_tools
def test_a_whole_network_on_an_emulated_cortex_m4(folder):
    network = golden_sweep_model("deeplabv3plus_mobilenetv2_tv_edgeailite")
    size = tuple(map(int, re.findall(r"--img_resize (\d+) (\d+)", EXPORT)[0]))
    write(to_tflite(quantized(network, "ort_u8s8"), sweep_card(network), size=size, head="codes"), folder)
    build, run = (command for command in BOARDS if command.endswith("an386"))
    passed(build, folder)
    said = passed(run, folder)
    assert re.search(EQUAL, said), said


def test_the_export_that_the_readme_gives_is_one():
    config = parse("export", shlex.split(EXPORT)[2:])
    assert config.c_array and config.target == "tflite"
    assert config.output.suffix == ".tflite"
