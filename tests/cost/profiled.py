"""Peak memory as torch's profiler sees it, the oracle of `edgeailite complexity`'s.

Allocations and releases of one pass on CPU are added up in order. What a kernel takes and gives back while it runs (a
convolution of oneDNN reorders its input, up to several times as large as the activations) is its workspace, no
activation: allocations that begin and end inside one convolution or resize are left out.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch._C._profiler import _EventType
from torch.profiler import ProfilerActivity, profile

KERNELS = ("aten::conv2d", "aten::conv_transpose2d", "aten::upsample_bilinear2d")


def profiled_peak(model: nn.Module, image: Tensor) -> int:
    """Most bytes held at once, the image included."""
    with torch.no_grad():
        model.eval()(image)  # the first pass allocates for good
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
            result = model(image)
    assert result is not None  # held until the profile ends
    events = _allocations(seen)
    workspace = _workspace(events)
    live = peak = 0
    for index, event in enumerate(events):
        live += 0 if index in workspace else event.extra_fields.alloc_size
        peak = max(peak, live)
    return peak + image.numel() * image.element_size()


def _allocations(seen: Any) -> list[Any]:
    """Allocation (positive size) and release events in order of time."""
    waiting, found = list(seen.profiler.kineto_results.experimental_event_tree()), []
    while waiting:
        event = waiting.pop()
        waiting.extend(event.children)
        if event.tag == _EventType.Allocation:
            found.append(event)
    return sorted(found, key=lambda event: event.start_time_ns)


def _workspace(events: list[Any]) -> set[int]:
    """Indices of allocations, and their releases, that one kernel makes and ends itself."""
    born: dict[int, int] = {}
    inside: set[int] = set()
    for index, event in enumerate(events):
        address = event.extra_fields.ptr
        if event.extra_fields.alloc_size > 0:
            born[address] = index
            continue
        start = born.pop(address, None)
        if start is not None and _kernel(event) is not None and _kernel(events[start]) == _kernel(event):
            inside |= {start, index}
    return inside


def _kernel(event: Any) -> int | None:
    """Identity of the convolution or resize that an event happened in."""
    around = event.parent
    while around is not None and around.name not in KERNELS:
        around = around.parent
    return None if around is None else around.id
