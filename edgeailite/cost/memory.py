"""Peak activation memory by liveness: what must be held at once, layer by layer.

Rules: (1) a value is held from the layer that makes it to the last one that takes it; (2) inputs of the network are
held by the caller from beginning to end, outputs from their making to the end; (3) values of one name are one piece of
memory; (4) weights and what a kernel needs for itself while it runs are not activation memory. A torch network is
different in (1): there a tensor is held until torch lets it go, which `torch_graph` observes.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgeailite.cost.layer import Layer, Value


def held_bytes(layers: Sequence[Layer], inputs: Sequence[Value], outputs: Sequence[Value]) -> tuple[int, ...]:
    """Return the bytes held while each layer runs, the layers running in order; the largest is the peak."""
    size: dict[str, int] = {}
    for value in (*inputs, *(v for layer in layers for v in (*layer.inputs, *layer.outputs))):
        size[value.name] = max(size.get(value.name, 0), value.bytes)
    last = {value.name: index for index, layer in enumerate(layers) for value in (*layer.inputs, *layer.outputs)}
    kept = {value.name for value in (*inputs, *outputs)}
    held = {value.name for value in inputs}
    total, memory = sum(size[name] for name in held), []
    for index, layer in enumerate(layers):
        new = {value.name for value in layer.outputs} - held
        held |= new
        total += sum(size[name] for name in new)
        memory.append(total)
        touched = {value.name for value in (*layer.inputs, *layer.outputs)} & held
        done = {name for name in touched if last[name] <= index and name not in kept}
        held -= done
        total -= sum(size[name] for name in done)
    return tuple(memory)
