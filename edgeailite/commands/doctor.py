"""`edgeailite doctor`: what is wrong with this installation or machine, each finding with its fix.

The facts come from environment.py; here stands what follows from them. Needs nothing but the standard library: where
rich is missing or the output is no terminal, the same findings come as plain lines. Where torch is not installed, what
files need is looked at; where neither torch nor tyro is, what re-checking them needs.
"""

from __future__ import annotations

import importlib.metadata as metadata
import json
import os
import re
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgeailite import environment
from edgeailite.errors import counted

if TYPE_CHECKING:
    from edgeailite.config import DoctorConfig

GIGABYTE = 10**9
REINSTALL = "pip install --upgrade --force-reinstall torch torchvision  # both from the same index"
CV2_KINDS = ("python", "contrib-python", "python-headless", "contrib-python-headless")
CV2_BUILDS = tuple(f"opencv-{kind}" for kind in CV2_KINDS)
EMULATION = "edgeailite.export.self_test.emulation_facts"
KERNELS = "edgeailite.runtime.kernels.kernel_facts"
RECHECK = ("numpy", "onnxruntime")  # all that `verify FILE contract.json` needs

Level = Literal["ok", "warn", "error"]


@dataclass(frozen=True)
class Finding:
    """The result of one check: its subject, the value found, and the advice (empty when all is well)."""

    level: Level
    what: str
    value: str
    fix: str = ""


def run(config: DoctorConfig) -> int:
    """Print every finding; 1 if one of them is an error, else 0."""
    findings = examine(Path.cwd())
    if config.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    elif sys.stdout.isatty() and environment.installed("rich"):
        _print_table(findings)
    else:
        print("\n".join(_line(finding) for finding in findings))
    errors, warnings = (sum(finding.level == level for finding in findings) for level in ("error", "warn"))
    if not config.json:
        print(f"doctor: {counted(errors, 'error')}, {counted(warnings, 'warning')}")
    return int(errors > 0)


def examine(folder: Path) -> list[Finding]:
    """All findings; the folder is where results would be written."""
    if not environment.installed("torch"):
        return _examine_without_torch(folder)
    questions = (EMULATION, "torch_facts", "torchvision_facts", "cv2_facts", KERNELS)
    with ThreadPoolExecutor(2) as pool:  # the first takes as long as the others together
        answers = [pool.submit(environment.ask_apart, question) for question in questions]
    emulation, torch, torchvision, cv2, onnxruntime = (answer.result() for answer in answers)
    driver = Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi") is not None
    return [
        check_python(sys.version_info[:3]),
        *(check_requirement(requirement) for requirement in environment.requirements([environment.TRAIN])),
        check_torch(torch),
        check_torchvision(torchvision, torch),
        check_cv2(cv2, [name for name in CV2_BUILDS if environment.installed(name)]),
        check_emulation(emulation, environment.cpu_features()),
        check_gpu(torch, driver=driver),
        *_check_machine(folder, onnxruntime, torch.get("threads")),
    ]


def _examine_without_torch(folder: Path) -> list[Finding]:
    """Findings where torch is not installed: on what files need, or without tyro on what re-checking them needs."""
    files = environment.installed("tyro") is not None
    use = "exported files" if files else "`edgeailite verify FILE contract.json` alone"
    builds = [name for name in CV2_BUILDS if environment.installed(name)]
    return [
        check_python(sys.version_info[:3]),
        Finding("ok", "installation", f'for {use}; the rest needs torch: pip install "edgeailite[train]"'),
        *(check_requirement(each) for each in environment.requirements() if files or each.name in RECHECK),
        *([check_cv2(environment.ask_apart("cv2_facts"), builds)] if files else []),
        *_check_machine(folder, environment.ask_apart(KERNELS), None),
    ]


def _check_machine(folder: Path, onnxruntime: dict[str, Any], threads: int | None) -> list[Finding]:
    """Findings that matter to re-checks, too."""
    return [
        check_onnxruntime(onnxruntime),
        check_arithmetic(onnxruntime, environment.machine_arithmetic()),
        check_cpu(environment.cpu_model(), environment.cpu_features()),
        check_threads(environment.usable_cores(), threads, os.environ.get("OMP_NUM_THREADS")),
        check_space(shutil.disk_usage(folder).free),
        check_writable(folder),
    ]


# --- the installation


def check_python(version: tuple[int, ...]) -> Finding:
    """Python 3.11 or later."""
    text = ".".join(map(str, version))
    if version < (3, 11):
        return Finding("error", "Python", text, "install Python 3.11 or later and make a new environment with it")
    return Finding("ok", "Python", text)


def check_requirement(requirement: environment.Requirement) -> Finding:
    """One dependency: there, and new enough."""
    version = environment.installed(requirement.name)
    if environment.is_met(requirement):
        return Finding("ok", requirement.name, str(version))
    value = f"{version}, but {requirement} is needed" if version else "not installed"
    return Finding("error", requirement.name, value, f'pip install --upgrade "{requirement}"')


def check_torch(torch: dict[str, Any]) -> Finding:
    """Does torch import at all?"""
    if "error" in torch:
        return Finding("error", "import torch", torch["error"], REINSTALL)
    return Finding("ok", "import torch", torch["version"])


def check_torchvision(torchvision: dict[str, Any], torch: dict[str, Any]) -> Finding:
    """Does torchvision fit torch? By what it declares first, then by its compiled operators.

    Older releases of torchvision demand one exact torch, newer ones (0.29) a lower bound; a fixed table of pairs would
    call healthy installations broken. `operator torchvision::nms does not exist` is the usual symptom.
    """
    what = "torchvision with torch"
    theirs, ours = environment.installed("torchvision"), environment.installed("torch")
    pair = f"torchvision {theirs} with torch {ours}"
    wanted = torch_wanted_by_torchvision()
    if theirs and ours and wanted and not _satisfies(ours, wanted):
        return Finding("error", what, f"{pair}, but it was built for torch{wanted}", REINSTALL)
    if "error" in torchvision:
        cause = REINSTALL if "error" not in torch else "repair torch first"
        return Finding("error", what, f"{pair}: {torchvision['error']}", cause)
    builds = [version.partition("+")[2] for version in (torchvision["version"], torch.get("version", ""))]
    if all(builds) and builds[0] != builds[1]:
        return Finding("warn", what, f"torchvision is built for {builds[0]}, torch for {builds[1]}", REINSTALL)
    return Finding("ok", what, pair)


def torch_wanted_by_torchvision() -> str:
    """The version rule for torch in torchvision's metadata, such as "==2.11.0"; "" where it has none."""
    if environment.installed("torchvision") is None:
        return ""
    found = (re.match(r"torch\b\s*\(?([^;)]*)", line) for line in metadata.requires("torchvision") or [])
    return next((match.group(1).strip() for match in found if match), "")


def _satisfies(version: str, rule: str) -> bool:
    """Only the two operators that torchvision uses; anything else is left to the import."""
    numbers = environment.release(version)
    bounds = re.findall(r"(==|>=)\s*([\d.]+)", rule)
    return all(
        numbers == environment.release(bound) if operator == "==" else numbers >= environment.release(bound)
        for operator, bound in bounds
    )


def check_cv2(cv2: dict[str, Any], builds: list[str]) -> Finding:
    """One OpenCV, and it imports. Two builds write over each other's files."""
    remove = f"pip uninstall -y {' '.join(builds)} && pip install opencv-python-headless"
    if "error" in cv2:
        return Finding("error", "import cv2", cv2["error"], remove if builds else "pip install opencv-python-headless")
    if len(builds) > 1:
        return Finding("warn", "import cv2", f"{' and '.join(builds)} are both installed", remove)
    return Finding("ok", "import cv2", cv2["version"])


def check_onnxruntime(onnxruntime: dict[str, Any]) -> Finding:
    """Does an integer convolution run, and exactly?"""
    what = "onnxruntime int8"
    if "error" in onnxruntime:
        return Finding("error", what, onnxruntime["error"], "pip install --upgrade --force-reinstall onnxruntime")
    if onnxruntime["values"] != [200]:
        value = f"u8 x s8 sums saturate on this CPU: {onnxruntime['values']} for 200"
        advice = "edgeailite avoids it; other programs: session.x64quantprecision, or quantize with --scheme ort_u8s7"
        return Finding("warn", what, value, advice)
    return Finding("ok", what, f"exact; {', '.join(onnxruntime['providers'])}")


def check_arithmetic(onnxruntime: dict[str, Any], arithmetic: str) -> Finding:
    """Does onnxruntime add and resize as its kernels for this kind of processor are known to?"""
    what, oldest = "arithmetic", environment.OLDEST_ONNXRUNTIME
    if "error" in onnxruntime:
        return Finding("warn", what, f"{arithmetic}; not measured", "repair onnxruntime first")
    if environment.release(version := onnxruntime["onnxruntime"]) < environment.release(oldest):
        value = f"onnxruntime {version} resizes the codes of int8 files and cuts off: none gives its validated answers"
        return Finding("error", what, value, f'pip install --upgrade "onnxruntime>={oldest}"')
    if arithmetic == environment.UNKNOWN:
        fix = "int8 files may depart here from what was validated; `verify FILE contract.json` tells"
        return Finding("warn", what, "the kernels of this kind of processor were never compared", fix)
    if departs := [kind for kind in ("additions", "resizes") if arithmetic not in onnxruntime[kind]]:
        value = f"{arithmetic} by the processor, but {' and '.join(departs)} have other bits"
        return Finding("warn", what, value, "int8 files may depart by single codes; say so, with what doctor prints")
    return Finding("ok", what, f"{arithmetic}: additions and resizes have its bits")


def check_emulation(emulation: dict[str, Any], features: list[str]) -> Finding:
    """Does onnxruntime give the bits of the integer-exact evaluation, for a small network with every operator?"""
    what = "integer-exact"
    if "error" in emulation:
        return Finding("warn", what, f"not checked: {emulation['error']}", "repair what is reported above first")
    here = f"onnxruntime {emulation['onnxruntime']} ({', '.join(features) or 'no CPU features known'})"
    known = f"checked before on {emulation['checked_on']}"
    departs = [f"rule {rule} at {level}" for level, rules in emulation["departs"].items() for rule in rules]
    if departs:
        advice = "what is measured with --integer_exact is not what runs here; say so, and prove files with verify"
        return Finding("warn", what, f"departs with {here}: {', '.join(departs)}; {known}", advice)
    return Finding("ok", what, f"holds at {' and '.join(emulation['departs'])} with {here}; {known}")


# --- the machine


def check_cpu(model: str, features: list[str]) -> Finding:
    """Judge the CPU's integer instructions: without VNNI, int8 is slower."""
    value = f"{model} ({', '.join(features) or 'no features known'})"
    if "avx2" in features and not environment.VNNI & set(features):
        return Finding("warn", "CPU", value, "no VNNI: int8 gains little speed here; --scheme ort_u8s7 gains most")
    return Finding("ok", "CPU", value)


def check_threads(cores: int, threads: int | None, omp_num_threads: str | None) -> Finding:
    """More threads than cores fight; a container's quota is what torch does not see."""
    taken = "" if threads is None else f", torch takes {counted(threads, 'thread')}"
    value = f"{cores} usable{taken}, OMP_NUM_THREADS={omp_num_threads or 'unset'}"
    if threads and threads > cores:
        return Finding("warn", "cores", value, f"export OMP_NUM_THREADS={cores}")
    if omp_num_threads == "1" and cores > 1:
        return Finding("warn", "cores", value, f"unset OMP_NUM_THREADS, or export OMP_NUM_THREADS={cores}")
    return Finding("ok", "cores", value)


def check_gpu(torch: dict[str, Any], *, driver: bool) -> Finding:
    """Can torch use the graphics card that the machine has?"""
    if torch.get("gpus"):
        return Finding("ok", "GPU", ", ".join(torch["gpus"]))
    if not driver:
        return Finding("ok", "GPU", "none; training runs on the CPU")
    if "error" in torch:
        return Finding("warn", "GPU", "NVIDIA driver present, torch does not import", "repair torch first")
    if not torch.get("cuda_build"):
        value = f"NVIDIA driver present, but torch {torch['version']} is a CPU build"
        return Finding("warn", "GPU", value, "reinstall torch and torchvision from https://pytorch.org/get-started")
    value = f"NVIDIA driver present, but torch's CUDA {torch['cuda_build']} cannot use it"
    return Finding("warn", "GPU", value, "update the driver, or install torch for the CUDA version nvidia-smi shows")


def check_space(free_bytes: int) -> Finding:
    """A run wants some hundred megabytes; a full disk in the night loses the checkpoint."""
    value = f"{free_bytes / GIGABYTE:.1f} GB free in the working folder"
    if free_bytes < 0.2 * GIGABYTE:
        return Finding("error", "disk", value, "free some space, or work in another folder")
    if free_bytes < 2 * GIGABYTE:
        return Finding("warn", "disk", value, "free some space before a long run")
    return Finding("ok", "disk", value)


def check_writable(folder: Path) -> Finding:
    """Tried, not asked: permission bits do not tell of a read-only mount."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return Finding("ok", "working folder", "writable")
    except OSError as error:
        return Finding("error", "working folder", f"not writable: {error.strerror}", "work in a folder of your own")


def _line(finding: Finding) -> str:
    advice = f"  -> {finding.fix}" if finding.fix else ""
    return f"{finding.level:<5}  {finding.what}: {finding.value}{advice}"


def _print_table(findings: list[Finding]) -> None:
    from rich.table import Table

    from edgeailite.console import print_table

    table = Table("", "what", "value", "fix")
    for finding in findings:
        table.add_row(*astuple(finding))
    print_table(table)
