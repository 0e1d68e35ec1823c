"""The sentence about where a file was proven and checked, and the reasons for which an honest file departs."""

from __future__ import annotations

import pytest

from edgeailite.runtime import machine
from edgeailite.runtime.machine import here, machine_reasons, origin, reasons

SAME = {"same_file": True, "proven": "onnxruntime 1.32.0 on avx512_vnni", "here": "onnxruntime 1.31.1 on aarch64"}
EXACT = SAME | {"arithmetic": "onnxruntime_arm64", "expected": "onnxruntime_arm64"}


def be(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    features: list[str],
    *,
    version: str = "1.32.0",
    resizes: tuple[str, ...] = ("onnxruntime_x86", "onnxruntime_arm64"),
    saturate: bool = False,
) -> None:
    monkeypatch.setattr(machine, "sums_saturate", lambda: saturate)
    facts = {"additions": ["onnxruntime_x86", "onnxruntime_arm64"], "resizes": resizes}
    monkeypatch.setattr(machine, "kernel_facts", lambda: facts)
    monkeypatch.setattr(machine.platform, "machine", lambda: name)
    monkeypatch.setattr(machine, "cpu_features", lambda: features)
    arithmetic = {"aarch64": "onnxruntime_arm64", "x86_64": "onnxruntime_x86"}.get(name, "unknown")
    monkeypatch.setattr(machine, "machine_arithmetic", lambda: arithmetic)
    monkeypatch.setattr("onnxruntime.__version__", version)


@pytest.mark.parametrize(
    ("results", "sentence"),
    [
        (SAME, "file unchanged; proven with onnxruntime 1.32.0 on avx512_vnni, this is onnxruntime 1.31.1 on aarch64"),
        (SAME | {"proven": ""}, "file unchanged; this is onnxruntime 1.31.1 on aarch64"),
        (
            EXACT,
            "file unchanged; proven with onnxruntime 1.32.0 on avx512_vnni, this is onnxruntime 1.31.1 on aarch64, "
            "arithmetic onnxruntime_arm64",
        ),
        (
            EXACT | {"expected": "onnxruntime_x86", "same_file": False, "sha256": "12" * 32, "proven": ""},
            "it is another file than the contract's (sha256 1212121212121212…); this is onnxruntime 1.31.1 on aarch64, "
            "arithmetic onnxruntime_arm64, of which the contract says nothing: compared with onnxruntime_x86",
        ),
    ],
)
def test_where_a_file_was_proven_and_checked(results, sentence):
    assert origin(results) == sentence


@pytest.mark.parametrize(
    ("name", "features", "changes", "words"),
    [
        ("x86_64", ["avx2", "avx_vnni"], {}, []),
        ("x86_64", [], {}, []),
        ("x86_64", ["avx2"], {"saturate": True}, ["sums of 8-bit weights saturate here in files of older versions"]),
        ("aarch64", ["asimddp"], {}, []),
        ("aarch64", [], {"resizes": ()}, ["resizes of this build of onnxruntime have other bits than"]),
        ("riscv64", [], {}, ["the kernels of riscv64 were never compared"]),
        ("aarch64", [], {"version": "1.26.0"}, ["onnxruntime 1.26.0 resizes the codes", "onnxruntime>=1.27"]),
        ("x86_64", [], {"version": "1.9.1", "saturate": True}, ["onnxruntime 1.9.1 resizes", "weights saturate"]),
    ],
)  # fmt: skip
def test_known_reasons_of_a_machine(name, features, changes, words, monkeypatch):
    be(monkeypatch, name, features, **changes)
    found = machine_reasons()
    assert bool(found) == bool(words)
    assert all(word in "; ".join(found) for word in words)


def test_reasons_are_given_where_bits_are_promised(monkeypatch):
    be(monkeypatch, "x86_64", ["avx512_vnni"])
    assert here() == "onnxruntime 1.32.0 on avx512_vnni"
    assert reasons(SAME) == []
    assert reasons(EXACT) == ["no reason is known: `edgeailite doctor` compares the kernels of this machine"]
    [reason] = reasons(EXACT | {"expected": "onnxruntime_x86"})
    assert "write the contract again" in reason
