"""Target `ethos-u`: the .tflite file of target `tflite`, and beside it what Vela made of it."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch

from edgeailite.errors import UsageError
from edgeailite.export import vela
from edgeailite.export.targets import Request, write
from edgeailite.export.targets.tflite import npu_resizes
from edgeailite.export.to_tflite import WrittenProgram
from edgeailite.export.vela import CompiledFile
from edgeailite.runtime.tflite_file import read_tflite
from tests.export.toy import SIZE, toy_card, toy_quantized

needs_vela = pytest.mark.skipif(find_spec("ethosu") is None, reason="ethos-u-vela is not installed")


@pytest.fixture(scope="module")
def quantized() -> torch.fx.GraphModule:
    return toy_quantized("ort_u8s8")


def request(module: torch.nn.Module, **changes) -> Request:
    return replace(Request(module, toy_card(), 0, size=SIZE, accelerator="ethos-u55-256"), **changes)


@needs_vela
@pytest.mark.parametrize(("head", "left"), [("logits", ["DEQUANTIZE"]), ("codes", [])])
def test_both_files_are_made_and_the_rest_of_the_cpu_is_named(head, left, quantized):
    files, findings = write("ethos-u", request(quantized, head=head))
    assert list(files) == [".tflite", "_vela.tflite"]
    written, compiled = files.values()
    assert isinstance(written, WrittenProgram) and isinstance(compiled, CompiledFile)
    plain = write("tflite", request(quantized, head=head, accelerator=None))[0][".tflite"]
    assert isinstance(plain, WrittenProgram) and written.data == plain.data
    assert [operator.kind for operator in compiled.estimate.cpu_operators] == left
    assert list(npu_resizes(written.program)) == [] and findings == []
    before, after = read_tflite(written.data).texts(), read_tflite(compiled.data).metadata
    assert {key: after[key].decode() for key in before if key != "min_runtime_version"} == {
        key: text for key, text in before.items() if key != "min_runtime_version"
    }


@needs_vela
def test_export_writes_them_into_the_run_and_prints_the_estimate(quantized, command, monkeypatch, tmp_path):
    checkpoint = SimpleNamespace(card=toy_card(), quantization={"scheme": "ort_u8s8"})
    monkeypatch.setattr("edgeailite.export.run.load_network", lambda run: (checkpoint, quantized))
    done = command("export", tmp_path, "--target", "ethos-u", "--accelerator", "ethos-u85-256")
    assert done.code == 0, done.err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model_int8.tflite", "model_int8_vela.tflite"]
    for words in (
        "model_int8_vela.tflite",
        "estimate by Vela",
        "ms on ethos-u85-256",
        "Ethos_U85_SYS_DRAM_Mid",
        "DEQUANTIZE",
        "not in the estimate",
    ):
        assert words in done.out


def test_what_does_not_suit_is_refused(quantized, monkeypatch):
    with pytest.raises(UsageError, match=r"--target ethos-u: .* add --accelerator ethos-u55-32 or ethos-u55-64 or"):
        write("ethos-u", request(quantized, accelerator=None))
    with pytest.raises(UsageError, match=r"--accelerator ethos-u55-256: not for --target tflite; add --target ethos-u"):
        write("tflite", request(quantized))
    with pytest.raises(UsageError, match=r"--accelerator ethos-u9: expected one of ethos-u55-32"):
        write("ethos-u", request(quantized, accelerator="ethos-u9"))
    with pytest.raises(UsageError, match=r"--target ethos-u: a float run"):
        write("ethos-u", request(torch.nn.Identity()))
    monkeypatch.setattr(vela, "find_spec", lambda name: name)
    with pytest.raises(UsageError, match=r"--target ethos-u: a file of one size; leave --dynamic out"):
        write("ethos-u", request(quantized, size=None))
    monkeypatch.setattr(vela, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"is not installed; pip install ethos-u-vela"):
        write("ethos-u", request(quantized))
