"""The doctor: each planted fault is found and named with its fix, and a healthy installation gives exit 0."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgeailite import environment
from edgeailite.commands import doctor

HEALTHY = {
    "torch_facts": {"version": "2.15.0+cpu", "threads": 1, "cuda_build": None, "gpus": []},
    "torchvision_facts": {"version": "0.29.2+cpu", "kept": 1},
    "cv2_facts": {"version": "5.0.0", "shape": [2, 2, 3]},
    doctor.KERNELS: {
        "onnxruntime": "9.0", "providers": ["CPUExecutionProvider"], "values": [200],
        "additions": ["onnxruntime_x86"], "resizes": ["onnxruntime_x86", "onnxruntime_sse2"],
    },
    doctor.EMULATION: {"onnxruntime": "9.0", "departs": {"EXTENDED": [], "ALL": []}, "checked_on": "some machines"},
}  # fmt: skip


@pytest.fixture
def healthy(monkeypatch):
    """A machine with nothing to complain about; a test then breaks one thing."""
    versions = {"torch": "2.15.0", "torchvision": "0.29.2", "opencv-python-headless": "5.0.0"}
    absent = {"opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless"}
    facts = {key: dict(value) for key, value in HEALTHY.items()}
    monkeypatch.setattr(environment, "ask_apart", facts.__getitem__)
    monkeypatch.setattr(environment, "installed", lambda name: None if name in absent else versions.get(name, "999.0"))
    monkeypatch.setattr(doctor, "torch_wanted_by_torchvision", lambda: "==2.15.0")
    monkeypatch.setattr(environment, "cpu_features", lambda: ["avx2", "avx512_vnni"])
    monkeypatch.setattr(environment, "machine_arithmetic", lambda: "onnxruntime_x86")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return SimpleNamespace(versions=versions, absent=absent, facts=facts)


def report(capsys) -> tuple[int, dict[str, dict[str, str]]]:
    """Exit code, and the findings by name, as `edgeailite doctor --json` gives them."""
    code = doctor.run(SimpleNamespace(json=True))
    return code, {finding["what"]: finding for finding in json.loads(capsys.readouterr().out)}


def test_healthy_is_exit_0(healthy, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, findings = report(capsys)
    assert code == 0
    assert {finding["level"] for finding in findings.values()} == {"ok"}
    assert list(tmp_path.iterdir()) == []


def test_old_dependency_is_an_error_with_its_fix(healthy, capsys):
    healthy.versions["onnx"] = "1.20.1"
    code, findings = report(capsys)
    assert code == 1
    assert findings["onnx"]["level"] == "error"
    assert findings["onnx"]["value"] == "1.20.1, but onnx>=1.21 is needed"
    assert findings["onnx"]["fix"] == 'pip install --upgrade "onnx>=1.21"'


def test_missing_dependency_is_an_error(healthy, capsys):
    healthy.absent.add("tyro")
    code, findings = report(capsys)
    assert (code, findings["tyro"]["value"]) == (1, "not installed")


def test_torchvision_built_for_another_torch(healthy, capsys):
    healthy.versions["torch"] = "2.14.0"
    code, findings = report(capsys)
    finding = findings["torchvision with torch"]
    assert (code, finding["level"]) == (1, "error")
    assert "torchvision 0.29.2 with torch 2.14.0, but it was built for torch==2.15.0" in finding["value"]
    assert "pip install" in finding["fix"]


def test_torchvision_operator_missing(healthy, capsys):
    healthy.facts["torchvision_facts"] = {"error": "RuntimeError: operator torchvision::nms does not exist"}
    code, findings = report(capsys)
    assert code == 1
    assert "nms does not exist" in findings["torchvision with torch"]["value"]
    assert findings["torchvision with torch"]["fix"] == doctor.REINSTALL


@pytest.mark.parametrize(
    ("version", "rule", "fits"),
    [("2.11.0+cpu", "==2.11.0", True), ("2.12.0", "==2.11.0", False), ("2.15.0", ">=2.14.0", True), ("2.9", "", True)],
)
def test_version_rules(version, rule, fits):
    assert doctor._satisfies(version, rule) is fits


def test_two_opencv_builds_are_a_warning(healthy, capsys):
    healthy.absent.discard("opencv-python")
    code, findings = report(capsys)
    assert (code, findings["import cv2"]["level"]) == (0, "warn")
    assert findings["import cv2"]["fix"].startswith("pip uninstall -y opencv-python opencv-python-headless")


def test_saturating_cpu_is_told_to_take_7_bit_weights(healthy, capsys, monkeypatch):
    healthy.facts[doctor.KERNELS]["values"] = [101]
    monkeypatch.setattr(environment, "cpu_features", lambda: ["avx2"])
    code, findings = report(capsys)
    assert code == 0
    for what in ("onnxruntime int8", "CPU"):
        assert findings[what]["level"] == "warn"
        assert "--scheme ort_u8s7" in findings[what]["fix"]


def test_the_emulation_is_checked_and_the_rule_that_departs_named(healthy, capsys):
    finding = report(capsys)[1]["integer-exact"]
    assert finding["value"].startswith("holds at EXTENDED and ALL with onnxruntime 9.0 (avx2, avx512_vnni)")
    assert finding["value"].endswith("checked before on some machines")
    healthy.facts[doctor.EMULATION]["departs"] = {"EXTENDED": [], "ALL": ["4 (bilinear resize)"]}
    code, findings = report(capsys)
    assert (code, findings["integer-exact"]["level"]) == (0, "warn")
    assert "rule 4 (bilinear resize) at ALL" in findings["integer-exact"]["value"]
    healthy.facts[doctor.EMULATION] = {"error": "ImportError: torch"}
    assert report(capsys)[1]["integer-exact"]["value"] == "not checked: ImportError: torch"


@pytest.mark.parametrize(
    ("facts", "arithmetic", "level", "words"),
    [
        ({}, "onnxruntime_x86", "ok", "onnxruntime_x86: additions and resizes have its bits"),
        ({"onnxruntime": "1.26.1"}, "onnxruntime_x86", "error", "onnxruntime 1.26.1 resizes the codes of int8 files"),
        ({"resizes": []}, "onnxruntime_x86", "warn", "onnxruntime_x86 by the processor, but resizes have other bits"),
        ({}, "onnxruntime_arm64", "warn", "onnxruntime_arm64 by the processor, but additions and resizes have"),
        ({}, "unknown", "warn", "were never compared"),
        ({"error": "ImportError: onnxruntime"}, "onnxruntime_arm64", "warn", "onnxruntime_arm64; not measured"),
    ],
)
def test_the_arithmetic_of_the_machine_is_named(facts, arithmetic, level, words, healthy, capsys, monkeypatch):
    monkeypatch.setattr(environment, "machine_arithmetic", lambda: arithmetic)
    healthy.facts[doctor.KERNELS] |= facts
    finding = report(capsys)[1]["arithmetic"]
    assert (finding["level"], bool(finding["fix"])) == (level, level != "ok")
    assert words in finding["value"]


def test_where_only_files_are_rechecked_nothing_else_is_missed(healthy, capsys):
    healthy.absent |= {"torch", "tyro", "onnx", "rich"}
    healthy.facts.pop("torch_facts")  # not asked for
    code, findings = report(capsys)
    assert code == 0
    assert {"numpy", "onnxruntime", "arithmetic", "onnxruntime int8", "CPU"} < set(findings)
    assert findings["installation"]["value"] == (
        'for `edgeailite verify FILE contract.json` alone; the rest needs torch: pip install "edgeailite[train]"'
    )
    healthy.versions["onnxruntime"] = "1.23.2"
    code, findings = report(capsys)
    assert (code, findings["onnxruntime"]["fix"]) == (1, 'pip install --upgrade "onnxruntime>=1.27"')


def test_more_threads_than_cores(healthy, capsys, monkeypatch):
    healthy.facts["torch_facts"]["threads"] = 8
    monkeypatch.setattr(environment, "usable_cores", lambda: 2)
    assert report(capsys)[1]["cores"]["fix"] == "export OMP_NUM_THREADS=2"


def test_driver_without_usable_cuda():
    assert doctor.check_gpu(HEALTHY["torch_facts"], driver=False).level == "ok"
    assert "CPU build" in doctor.check_gpu(HEALTHY["torch_facts"], driver=True).value
    old = {"version": "2.15.0", "cuda_build": "13.2", "gpus": []}
    assert "update the driver" in doctor.check_gpu(old, driver=True).fix


def test_disk_and_folder(tmp_path):
    assert [doctor.check_space(size).level for size in (10**8, 10**9, 10**10)] == ["error", "warn", "ok"]
    finding = doctor.check_writable(tmp_path / "absent")
    assert (finding.level, finding.value) == ("error", "not writable: No such file or directory")


def test_plain_lines_where_there_is_no_terminal(healthy, capsys):
    healthy.versions["numpy"] = "1.26.4"
    assert doctor.run(SimpleNamespace(json=False)) == 1
    out = capsys.readouterr().out
    assert 'error  numpy: 1.26.4, but numpy>=2 is needed  -> pip install --upgrade "numpy>=2"' in out
    assert out.splitlines()[-1] == "doctor: 1 error, 0 warnings"
    assert "\x1b" not in out


def test_table_keeps_brackets(capsys):
    doctor._print_table([doctor.Finding("error", "a", "edgeailite[openvino]", "fix")])
    assert "edgeailite[openvino]" in capsys.readouterr().out


def test_needs_only_the_standard_library():
    code = "import sys; before = set(sys.modules); import edgeailite.commands.doctor; print(*set(sys.modules) - before)"
    command = [sys.executable, "-c", code]
    out = subprocess.run(command, capture_output=True, text=True, check=True, cwd=environment.CHECKOUT).stdout
    names = {name.partition(".")[0] for name in out.split()}
    assert names <= sys.stdlib_module_names | {"edgeailite"}


def test_real_facts_of_this_machine():
    for question in ("cv2_facts", doctor.KERNELS):
        assert "error" not in environment.ask_apart(question)
    facts = environment.environment()
    assert facts["packages"]["torch"] == environment.installed("torch")
    assert 1 <= facts["cores"] <= 4096
    assert json.loads(json.dumps(facts)) == facts
    assert str(Path.home()) not in json.dumps(facts)


def test_the_emulation_holds_here_or_says_where_not():
    facts = environment.ask_apart(doctor.EMULATION)
    assert "error" not in facts
    assert facts["onnxruntime"] == environment.installed("onnxruntime")
    if "avx512_vnni" in environment.cpu_features():
        assert facts["departs"] == {"EXTENDED": [], "ALL": []}


ALONE = """
import importlib.metadata as metadata, os, sys
from pathlib import Path
import edgeailite.environment as environment
KEPT = ("numpy", "onnxruntime")
for name in ("torch", "torchvision", "onnx", "onnxscript", "onnxsim", "cv2", "tyro", "rich", "yaml", "matplotlib"):
    sys.modules[name] = None
known = environment.installed
environment.installed = lambda name: known(name) if name in KEPT else None
from edgeailite.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def test_it_runs_with_numpy_and_onnxruntime_alone(tmp_path):
    command = [sys.executable, "-c", ALONE, "doctor", "--json", "True"]
    variables = os.environ | {"PYTHONPATH": str(environment.CHECKOUT)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=variables)
    assert done.returncode == 0, done.stderr
    findings = {finding["what"]: finding for finding in json.loads(done.stdout)}
    assert findings["arithmetic"]["value"].startswith(environment.machine_arithmetic())
    assert "torch" in findings["installation"]["value"]


def test_an_interpreter_that_cannot_be_started_is_an_answer(monkeypatch, tmp_path):
    monkeypatch.setattr(environment.sys, "executable", str(tmp_path / "none"))
    assert environment.ask_apart("cv2_facts") == {
        "error": "no second interpreter can be started (No such file or directory)"
    }


def test_a_failing_interpreter_is_an_answer():
    assert "ImportError" in environment.ask_apart("no_such_facts")["error"]


def test_cgroup_quota(tmp_path):
    assert environment.cgroup_quota(tmp_path) is None
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert environment.cgroup_quota(tmp_path) is None
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert environment.cgroup_quota(tmp_path) == 1.5


def test_git_commit(tmp_path):
    assert environment.git_commit(tmp_path) is None
