"""Estimates on Ethos-U in `complexity` and `choose`: what is compiled, what is printed, what is left out."""

from __future__ import annotations

import json
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from edgeailite.config import ACCELERATORS, ComplexityConfig
from edgeailite.cost import ethos_u
from edgeailite.cost.random_weights import settle
from edgeailite.errors import UsageError
from edgeailite.export import vela
from edgeailite.export.to_tflite import to_tflite
from edgeailite.export.vela import CompiledFile, CpuOperator, VelaEstimate, compile_tflite
from edgeailite.runtime.tflite_file import read_tflite
from tests.cost.latency.tiny import tiny_file
from tests.export.toy import SIZE, toy, toy_card, toy_quantized

needs_vela = pytest.mark.skipif(find_spec("ethosu") is None, reason="ethos-u-vela is not installed")
U55 = "ethos-u55-256"
NAME = "unet_aspp_mobilenetv2_tv_edgeailite"


def made(milliseconds: float, left: int = 0) -> VelaEstimate:
    operators = (CpuOperator("RESIZE_BILINEAR", "up", (1, 2, 3, 8), (1, 8, 12, 8), False),) * left
    cycles = round(milliseconds * 500_000)
    return VelaEstimate(U55, "system", "mode", 500e6, cycles, 2048, 0, 4096, operators, "5.2.0")


@pytest.fixture(scope="module")
def quantized():
    return toy_quantized("ort_u8s8")


@needs_vela
def test_a_file_is_estimated_beside_its_macs(command, quantized, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(to_tflite(quantized, toy_card(), size=SIZE).data)
    ended = command("complexity", path, "--accelerator", U55, "--json", True)
    assert ended.code == 0, ended.err
    [row] = json.loads(ended.out)["sizes"]
    expected = compile_tflite(path.read_bytes(), U55).estimate
    assert ((row["height"], row["width"]), row["vela"]["cycles"]) == (SIZE, expected.cycles)
    assert row["vela"]["milliseconds"] == expected.milliseconds and row["macs"] > 0
    assert [operator["kind"] for operator in row["vela"]["cpu_operators"]] == ["DEQUANTIZE"]


@pytest.mark.parametrize("is_quantized", [False, True])
def test_a_run_is_written_as_its_decoders_codes_at_every_size(is_quantized, monkeypatch, quantized, tmp_path):
    network = quantized if is_quantized else toy()
    monkeypatch.setattr(ethos_u, "load_network", lambda run: (SimpleNamespace(card=toy_card()), network))
    monkeypatch.setattr(ethos_u, "check_vela", lambda accelerator: None)
    heads = []

    def compiled(data: bytes, accelerator: str, *, name: str) -> CompiledFile:
        file = read_tflite(data)
        heads.append((file.texts()["edgeailite.head"], file.tensors[file.inputs["image"]].shape, accelerator))
        return CompiledFile(data, made(1))

    monkeypatch.setattr(ethos_u, "compile_tflite", compiled)
    found = ethos_u.estimate_model(ComplexityConfig(str(tmp_path), accelerator=U55), [(32, 48), (64, 96)])
    assert list(found) == [(32, 48), (64, 96)]
    assert heads == [("codes", (1, 32, 48, 3), U55), ("codes", (1, 64, 96, 3), U55)]


def test_the_table_of_a_network_by_name(command, monkeypatch):
    monkeypatch.setattr(ethos_u, "check_vela", lambda accelerator: None)
    monkeypatch.setattr(ethos_u, "estimate_name", lambda *words, **options: made(8.64, left=1))
    ended = command("complexity", NAME, "--size", 64, 96, "--layers", "none", "--accelerator", U55)
    assert ended.code == 0, ended.err
    for words in (f"{NAME} as int8, 64x96", "8.64 ms on ethos-u55-256", "SRAM 2.0 KiB", "RESIZE_BILINEAR up (2x3 to"):
        assert words in ended.out


def test_what_vela_does_not_read_is_refused(command, monkeypatch, tmp_path):
    monkeypatch.setattr(vela, "find_spec", lambda name: name)
    file = tiny_file(tmp_path / "model.onnx")
    for words, message in (
        ((file,), "--accelerator ethos-u55-256: Vela reads .tflite files; give the run, or what --target tflite wrote"),
        ((NAME, "--inputs", 2), "--inputs 2: with --accelerator for runs alone; give a run folder"),
        ((NAME, "--all", True), "--accelerator ethos-u55-256: expected one network; without --all"),
    ):
        ended = command("complexity", *words, "--accelerator", U55)
        assert (ended.code, message in ended.err) == (2, True), ended.err
    ended = command("bench", file, "--device", U55)
    assert (ended.code, "Vela estimates it; ask `edgeailite choose`" in ended.err) == (2, True), ended.err
    assert all(name in command("devices", "list").out for name in ACCELERATORS)


# --- choose

SIZE_OF_ALL = ("--img_resize", 512, 512, "--num_classes", 32)


@pytest.fixture
def estimates(monkeypatch):
    """Estimates by network; one has no int8 form, and each asked for is noted."""
    asked = []

    def estimate_name(name: str, size, *, classes: int, accelerator: str) -> VelaEstimate:
        asked.append((name, size, classes, accelerator))
        if "regnetx" in name:
            raise UsageError("no such form", path=name)
        return made(20 if name.startswith("fpn") else 10, left=2)

    monkeypatch.setattr(ethos_u, "estimate_name", estimate_name)
    monkeypatch.setattr(vela, "find_spec", lambda name: name)
    return asked


def test_choose_compiles_what_is_within_the_budget_of_macs(command, estimates):
    everything = json.loads(command("choose", *SIZE_OF_ALL, "--json", True).out)
    fits = sorted(row["giga_macs"] for row in everything)[3]
    ended = command("choose", *SIZE_OF_ALL, "--device", U55, "--max_gmacs", fits, "--json", True)
    assert ended.code == 0, ended.err
    rows = json.loads(ended.out)
    within = {row["model"] for row in everything if row["giga_macs"] <= fits}
    assert {name for name, *_ in estimates} == within
    assert all(options == ((512, 512), 32, U55) for _, *options in estimates for options in [tuple(options)])
    assert {row["model"] for row in rows} == {name for name in within if "regnetx" not in name}
    assert all(f"{name} is left out: {name}: no such form" in ended.err for name in within if "regnetx" in name)
    for row in rows:
        expected = 20 if row["model"].startswith("fpn") else 10
        assert (row["milliseconds"], row["type"], len(row["left_to_cpu"])) == ([expected] * 3, "int8", 2)


def test_choose_takes_milliseconds_as_a_budget_and_prints_what_is_left_out(command, estimates):
    ended = command("choose", *SIZE_OF_ALL, "--device", U55, "--max_ms", 15)
    assert ended.code == 0, ended.err
    assert "fpn" not in ended.out
    for words in ("ms on ethos-u55-256 in int8", "left to its CPU", "10.0", "docs/ethos_u.md"):
        assert words in ended.out
    ended = command("choose", *SIZE_OF_ALL, "--device", U55, "--max_ms", 5)
    assert (ended.code, "the cheapest is" in ended.err, "and 10 ms on ethos-u55-256" in ended.err) == (2, True, True)
    ended = command("choose", *SIZE_OF_ALL, "--device", U55, "--type", "float32")
    assert (ended.code, "--type float32: ethos-u55-256 computes in int8 alone" in ended.err) == (2, True)


def test_choose_without_vela_says_so_before_it_counts(command, monkeypatch):
    monkeypatch.setattr(vela, "find_spec", lambda name: None)
    ended = command("choose", "--device", U55)
    assert (ended.code, "not installed; pip install ethos-u-vela" in ended.err) == (2, True)


# --- random weights


class Fed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3, momentum=0.25)
        self.seen: list[torch.Tensor] = []

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.seen.append(image)
        return self.norm(image)


def test_settling_sets_plain_means_and_leaves_the_rest():
    network = Fed().eval()
    settle(network, toy_card())
    expected = torch.stack([image.mean((0, 2, 3)) for image in network.seen]).mean(0)
    torch.testing.assert_close(network.norm.running_mean, expected)
    assert (network.norm.momentum, network.training, len(network.seen)) == (0.25, False, 2)


@pytest.mark.slow
@needs_vela
def test_a_network_with_many_additions_has_an_int8_form():
    """With its first statistics its additions have scales that are refused."""
    found = ethos_u.estimate_name("fpn_aspp_mobilenetv2_tv_edgeailite", (64, 96), classes=19, accelerator=U55)
    assert found.milliseconds > 1 and found.cpu_operators == ()
