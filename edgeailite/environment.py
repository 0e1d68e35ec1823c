"""Facts about the installation and the machine: requirements, versions, CPU, devices.

`environment()` is the record that a run keeps as env.json. `edgeailite doctor` (commands/doctor.py) judges the facts
and says how to fix them; tools/setup.sh asks `unmet_requirements`. Only the standard library is imported at the top:
this must run where torch, numpy or the rest are missing or broken. Anything that could crash an interpreter (a torch
built for another CPU or driver) is asked of a second one, by `ask_apart`.
"""

from __future__ import annotations

import importlib.metadata as metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from edgeailite.errors import counted

OWN_EXTRA = re.compile(r"edgeailite\[(\w+)\]")  # an extra that holds another one
TRAIN = "train"  # the extra with torch, for everything but files
CHECKOUT = Path(__file__).resolve().parents[1]
CPU_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "amx_bf16", "asimddp", "i8mm")
VNNI = {"avx512_vnni", "avx_vnni"}  # either: x86 then adds products of int8 in 32 bits
X86, ARM = ("x86_64", "amd64"), ("aarch64", "arm64")  # what `platform.machine` calls 64-bit ones, in small letters
UNKNOWN = "unknown"  # the arithmetic of any other machine
OLDEST_ONNXRUNTIME = "1.27"  # older ones resize the codes of an int8 file, and cut off instead of rounding


class Requirement(NamedTuple):
    """A distribution that pyproject.toml names, and the oldest version it takes ("" for any)."""

    name: str
    minimum: str

    def __str__(self) -> str:
        return f"{self.name}>={self.minimum}" if self.minimum else self.name


# --- what is needed, what is there


def requirements(extras: Iterable[str] = ()) -> list[Requirement]:
    """List the requirements of the package and of extras, from the checkout's pyproject.toml or else its metadata."""
    base, optional = _declared()
    lines, waiting = [*base], [*extras]
    for extra in waiting:  # which grows: an extra may hold another
        for line in optional.get(extra, []):
            own = OWN_EXTRA.fullmatch(line.strip())
            (waiting if own else lines).append(own[1] if own else line)
    return [_requirement(line) for line in dict.fromkeys(lines)]


def _declared() -> tuple[list[str], dict[str, list[str]]]:
    """Return the lines of the package's dependencies, and those of each extra."""
    pyproject = CHECKOUT / "pyproject.toml"
    if pyproject.is_file():
        project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
        return project["dependencies"], project["optional-dependencies"]
    optional: dict[str, list[str]] = {"": []}
    for text in metadata.requires("edgeailite") or []:
        line, _, marker = text.partition(";")
        optional.setdefault(marker.strip().removeprefix('extra == "').removesuffix('"'), []).append(line)
    return optional.pop(""), optional


def _requirement(line: str) -> Requirement:
    name, _, minimum = line.partition(">=")  # the one operator that pyproject.toml uses
    return Requirement(name.strip(), minimum.strip())


def installed(name: str) -> str | None:
    """Return the version of a distribution, without importing it; None if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def release(version: str) -> tuple[int, ...]:
    """Return the numbers of a version for comparison: "2.15.0+cpu" is (2, 15, 0)."""
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3])


def is_met(requirement: Requirement) -> bool:
    """Return True if it is installed and new enough."""
    version = installed(requirement.name)
    return version is not None and release(version) >= release(requirement.minimum)


def unmet_requirements(extras: Iterable[str] = ()) -> list[str]:
    """List requirements that are missing or too old, in pip's terms; the set-up scripts ask this."""
    return [str(requirement) for requirement in requirements(extras) if not is_met(requirement)]


# --- the machine


def _proc_cpuinfo(*keys: str) -> str:
    """Return the value of the first of these keys that /proc/cpuinfo has; "" if it has none."""
    path = Path("/proc/cpuinfo")
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    found = re.search(rf"^(?:{'|'.join(keys)})[ \t]*:[ \t]*(.*)$", text, re.MULTILINE)
    return found.group(1).strip() if found else ""


def _sysctl(name: str) -> str:
    if platform.system() != "Darwin":
        return ""
    return subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, check=False).stdout.strip()


def cpu_model() -> str:
    """Return the name that the processor gives itself."""
    return _proc_cpuinfo("model name", "Model") or _sysctl("machdep.cpu.brand_string") or platform.machine()


def cpu_features() -> list[str]:
    """List the CPU's instruction sets that matter to integer inference; empty if the system does not tell."""
    listed = _listed_features()
    return [feature for feature in CPU_FEATURES if feature in listed]


def _listed_features() -> set[str]:
    """All instruction sets that the system lists, by the names that Linux gives them."""
    asked = {"asimddp": "hw.optional.arm.FEAT_DotProd", "avx2": "hw.optional.avx2_0"}
    found = {feature for feature, name in asked.items() if _sysctl(name) == "1"}
    return found | set(_proc_cpuinfo("flags", "Features").lower().split())


def machine_arithmetic(machine: str | None = None, features: Sequence[str] | None = None) -> str:
    """Name the arithmetic of onnxruntime here: a row of `quantization.arithmetic`, or "unknown".

    `machine` is a name as `platform.machine` gives it, `features` are instruction sets as in `cpu_features`; both are
    this machine's by default. On x86 AVX2 decides; where the system does not list instruction sets, AVX2 is assumed.

    >>> machine_arithmetic("aarch64"), machine_arithmetic("x86_64", ["sse2"]), machine_arithmetic("riscv64")
    ('onnxruntime_arm64', 'onnxruntime_sse2', 'unknown')
    """
    name = (platform.machine() if machine is None else machine).lower()
    if name in ARM:
        return "onnxruntime_arm64"
    if name not in X86:
        return UNKNOWN
    listed = _listed_features() if features is None else set(features)
    return "onnxruntime_sse2" if listed and "avx2" not in listed else "onnxruntime_x86"


def int8_instructions(machine: str, features: Sequence[str]) -> str:
    """Name what int8 convolutions run on: the instruction set on x86, as far as it matters, else the processor's kind.

    >>> int8_instructions("x86_64", ["avx2", "avx512f", "avx512_vnni"]), int8_instructions("aarch64", ["asimddp"])
    ('avx512_vnni', 'aarch64')
    """
    return next((name for name in ("avx512_vnni", "avx_vnni", "avx512f", "avx2") if name in features), machine)


def usable_cores() -> int:
    """Count the cores of the process's affinity and its container's quota, which os.cpu_count() does not see."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_quota(Path("/sys/fs/cgroup"))
    return max(1, min(cores, round(quota))) if quota else cores


def cgroup_quota(root: Path) -> float | None:
    """Return the cores that the control group under this root grants (version 2, then 1); None for no limit."""
    unified = root / "cpu.max"
    if unified.is_file():
        quota, period = unified.read_text(encoding="ascii").split()[:2]
        return None if quota == "max" else int(quota) / int(period)
    files = [root / "cpu" / "cpu.cfs_quota_us", root / "cpu" / "cpu.cfs_period_us"]
    if not all(file.is_file() for file in files):
        return None
    micros, span = (int(file.read_text(encoding="ascii")) for file in files)
    return micros / span if micros > 0 else None


def git_commit(root: Path = CHECKOUT) -> str | None:
    """Return the commit of a checkout, with "-dirty" after it where files differ; None outside one."""
    if not (root / ".git").exists() or shutil.which("git") is None:
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    return asked.stdout.strip() or None


def torch_facts() -> dict[str, Any]:
    """Collect torch's facts about itself and its devices. Imports torch."""
    import torch

    usable = torch.cuda.is_available()
    return {
        "version": str(torch.__version__),
        "threads": torch.get_num_threads(),
        "cuda_build": torch.version.cuda,
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())] if usable else [],
    }


def environment() -> dict[str, Any]:
    """Return facts of this machine for a run: no host or user name, no path. Imports torch if installed."""
    facts = torch_facts() if installed("torch") else {}
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "packages": {requirement.name: installed(requirement.name) for requirement in requirements([TRAIN])},
        "cpu": cpu_model(),
        "cpu_features": cpu_features(),
        "cores": usable_cores(),
        "threads": facts.get("threads"),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        "gpus": facts.get("gpus", []),
        "cuda_build": facts.get("cuda_build"),
        "commit": git_commit(),
    }


# --- questions put to a second interpreter


def torchvision_facts() -> dict[str, Any]:
    """Import torchvision and run one compiled operator of it: a mismatch with torch shows in one or the other."""
    import torch
    import torchvision

    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    return {"version": str(torchvision.__version__), "kept": len(torchvision.ops.nms(boxes, torch.ones(1), 0.5))}


def cv2_facts() -> dict[str, Any]:
    """Import cv2 and resize one picture with the rule that the package uses."""
    import cv2
    import numpy as np

    resized = cv2.resize(np.zeros((4, 4, 3), np.uint8), (2, 2), interpolation=cv2.INTER_LINEAR_EXACT)
    return {"version": cv2.__version__, "shape": list(resized.shape)}


def ask_apart(question: str) -> dict[str, Any]:
    """Call one of the functions above in a fresh interpreter; returns {"error": its last line} if that fails or dies.

    A function of another module is named in full.
    """
    module, _, name = question.rpartition(".")
    code = f"import json; from {module or __name__} import {name}; print('\\n' + json.dumps({name}()))"
    paths = [str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])]
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-P", "-c", code]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=variables)
    except subprocess.TimeoutExpired:
        return {"error": "no answer within 120 s"}
    except OSError as error:  # of an emulated interpreter, which the system cannot start
        return {"error": f"no second interpreter can be started ({error.strerror})"}
    if asked.returncode == 0:
        return dict(json.loads(asked.stdout.splitlines()[-1]))
    if asked.returncode < 0:
        return {"error": f"the interpreter died of signal {-asked.returncode}"}
    return {"error": asked.stderr.strip().splitlines()[-1] if asked.stderr.strip() else "no message"}


def machine_facts(threads: int) -> dict[str, Any]:
    """Collect the facts of this machine, other than the network, that a measured time depends on."""
    versions = {name: installed(name) for name in ("onnxruntime", "torch", "openvino")}
    return {"cpu": cpu_model(), "features": cpu_features(), "threads": threads, **versions}


def machine_title(facts: Mapping[str, Any]) -> str:
    """Return CPU, features and threads of `machine_facts`, also of those in a file. KeyError if they are missing."""
    count = facts["threads"]
    return f"{facts['cpu']} ({' '.join(facts['features'])}), {counted(count, 'thread')}"
