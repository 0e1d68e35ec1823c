"""Where a file was proven and where it is re-checked, and known reasons why an honest file departs on a machine."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

from edgeailite.environment import (
    OLDEST_ONNXRUNTIME,
    UNKNOWN,
    cpu_features,
    int8_instructions,
    machine_arithmetic,
    release,
)
from edgeailite.runtime.kernels import kernel_facts
from edgeailite.runtime.saturation import sums_saturate


def here() -> str:
    """Say with which onnxruntime and on which processor this program runs: "onnxruntime 1.32.0 on avx512_vnni"."""
    import onnxruntime

    return f"onnxruntime {onnxruntime.__version__} on {int8_instructions(platform.machine(), cpu_features())}"


def origin(results: Mapping[str, Any]) -> str:
    """Say of a re-check's results whether the file is the contract's, where it was proven and where this is.

    >>> origin({"same_file": True, "proven": "onnxruntime 1.32.0 on avx512_vnni", "here": "onnxruntime 1.32.0 on avx2"})
    'file unchanged; proven with onnxruntime 1.32.0 on avx512_vnni, this is onnxruntime 1.32.0 on avx2'
    """
    file = "file unchanged"
    if not results["same_file"]:
        file = f"it is another file than the contract's (sha256 {results['sha256'][:16]}…)"
    proven = f"proven with {results['proven']}, " if results["proven"] else ""
    text = f"{file}; {proven}this is {results['here']}"
    if "arithmetic" not in results:
        return text
    text += f", arithmetic {results['arithmetic']}"
    if results["expected"] == results["arithmetic"]:
        return text
    return f"{text}, of which the contract says nothing: compared with {results['expected']}"


def reasons(results: Mapping[str, Any]) -> list[str]:
    """List known reasons why an int8 file that is as exported departs on this machine, each with what to do.

    `results` are those of a re-check or a proof; [] for float files and files with parts of 16 bits.
    """
    if "arithmetic" not in results:
        return []
    found = machine_reasons()
    if results["expected"] != results["arithmetic"]:
        found.append("write the contract again with `edgeailite verify RUN` of this version, for this arithmetic")
    return found or ["no reason is known: `edgeailite doctor` compares the kernels of this machine"]


def machine_reasons() -> list[str]:
    """List facts of this machine for which int8 files of onnxruntime depart, each with what to do."""
    import onnxruntime

    found = []
    if release(onnxruntime.__version__) < release(OLDEST_ONNXRUNTIME):
        found.append(
            f"onnxruntime {onnxruntime.__version__} resizes the codes of int8 files and cuts off: "
            f"install onnxruntime>={OLDEST_ONNXRUNTIME}"
        )
    if sums_saturate():
        found.append("sums of 8-bit weights saturate here in files of older versions: export the run again")
    arithmetic = machine_arithmetic()
    if arithmetic == UNKNOWN:
        found.append(f"the kernels of {platform.machine()} were never compared")
        return found
    facts = kernel_facts()
    if departing := [kind for kind in ("additions", "resizes") if arithmetic not in facts[kind]]:
        found.append(
            f"{' and '.join(departing)} of this build of onnxruntime have other bits than {arithmetic}: "
            "take a build for Linux from PyPI, which were compared"
        )
    return found
