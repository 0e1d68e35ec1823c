"""Time of each operator, from the runtime's own profiler. Measuring slows a network down by some per cent.

onnxruntime runs another graph than the file holds: convolutions take in what follows them, layouts change. Names are
those of the executed graph; `source_name` gives back the node or tensor of the file that a name came from.
"""

from __future__ import annotations

import re
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeailite.cost.latency.runners import bound, onnx_session, random_inputs, torch_images
from edgeailite.untrusted import json_value, printable

if TYPE_CHECKING:
    from torch import nn

DECORATION = re.compile(r"^fused |_nchwc$|_token_\d+$|_nhwc$")


@dataclass(frozen=True)
class OperatorTime:
    """An operator of the executed graph: median time, and that of the least disturbed round."""

    name: str
    kind: str
    milliseconds: float
    minimum: float


def source_name(name: str) -> str:
    """Remove onnxruntime's additions from a name: `encoder.stem.0/Conv_token_5` -> `encoder.stem.0/Conv`."""
    return DECORATION.sub("", name)


def onnx_operators(
    source: Path | bytes,
    *,
    threads: int,
    height_width: tuple[int, int] | None = None,
    rounds: int = 20,
    warmup: int = 3,
) -> list[OperatorTime]:
    """Time the operators of a file, in the order of execution."""
    with tempfile.TemporaryDirectory(prefix="edgeailite-bench-") as folder:
        session = onnx_session(source, threads=threads, profile_prefix=Path(folder) / "profile")
        run = bound(session, random_inputs(session, height_width))  # runs it once more
        for _ in range(warmup + rounds - 1):
            run()
        written = Path(session.end_profiling()).read_text(encoding="utf-8", errors="replace")
        events = json_value(written, where="onnxruntime's profile, in which the file's names stand as they are")
    return _medians(events, warmup)


def _medians(events: list[Mapping[str, Any]], warmup: int) -> list[OperatorTime]:
    """Medians by name over the rounds after the warm-up; over all of a node in a branch that ran less often."""
    durations: dict[str, list[float]] = defaultdict(list)
    kinds: dict[str, str] = {}
    for event in events:
        if event.get("cat") != "Node" or not event["name"].endswith("_kernel_time"):
            continue
        name = event["name"].removesuffix("_kernel_time")
        durations[name].append(event["dur"] / 1e3)
        kinds[name] = event["args"]["op_name"]
    counted = {name: values[warmup:] or values for name, values in durations.items()}
    return [
        OperatorTime(printable(n), kinds[n], float(np.median(values)), min(values)) for n, values in counted.items()
    ]


def torch_operators(
    model: nn.Module, height_width: tuple[int, int], *, inputs: int = 1, threads: int, rounds: int = 10
) -> list[OperatorTime]:
    """Time torch's operators by kind, slowest first: mean and minimum per forward pass, without their callees."""
    import torch

    torch.set_num_threads(threads)
    images = torch_images(height_width, inputs)
    model = model.eval().to("cpu")
    with torch.inference_mode():
        model(*images)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
            for _ in range(rounds):
                model(*images)
    rows = [(event.key, event.self_cpu_time_total / 1e3 / rounds) for event in profiler.key_averages()]
    rows.sort(key=lambda row: -row[1])
    return [OperatorTime(name, name, mean, mean) for name, mean in rows if mean > 0]
