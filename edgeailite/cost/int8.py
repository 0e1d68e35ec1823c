"""Estimates the layers of the int8 network that a float network becomes, before any export.

Rules, those of `edgeailite export` on a quantized run: (1) BatchNorm and activations are part of the layer whose result
they alone read, and layers with MACs have a bias; (2) pictures are quantized first; (3) every value is 1 byte, weights
1 byte, biases 4; (4) the last resize is float and reads dequantized logits; an output without one is dequantized.
Pyramid pooling is counted as one integer layer, which in the file is several float products.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod

from edgeailite.cost.layer import Cost, Layer, Value
from edgeailite.cost.memory import held_bytes
from edgeailite.cost.operations import ACTIVATIONS, COUNTED, REQUANTIZED, element_operations

RESIZES = ("resize", "resize_nearest")
FLOAT_BYTES = 4
BIAS_BYTES = 4


@dataclass
class _Rewriting:
    """The integer layers so far; `renamed` says which value now stands for a float one."""

    layers: list[Layer] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)

    def codes(self, value: Value) -> Value:
        """The int8 value of a float one."""
        return Value(self.renamed.get(value.name, value.name), value.shape, 1)

    def maker(self, name: str) -> int | None:
        """Index of the last layer that gives a value; None for what comes from outside."""
        backwards = range(len(self.layers) - 1, -1, -1)
        return next((index for index in backwards if self.layers[index].outputs[0].name == name), None)


def int8_layers(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """Estimate the int8 layers of float layers that are in order of execution."""
    readers = Counter(value.name for layer in layers for value in layer.inputs)
    made = {value.name for layer in layers for value in layer.outputs}
    ends = {layer.outputs[0].name for layer in layers if readers[layer.outputs[0].name] == 0}
    rewriting = _Rewriting()
    for layer in layers:
        for value in layer.inputs:
            if value.name not in made and value.name not in rewriting.renamed:
                _convert(rewriting, "quantize", value, 1)
        if _is_fused(rewriting, layer, readers):
            _fuse(rewriting, layer)
        elif layer.outputs[0].name in ends and layer.operator in RESIZES:
            logits = _convert(rewriting, "dequantize", rewriting.codes(layer.inputs[0]), FLOAT_BYTES)
            rewriting.layers.append(replace(layer, inputs=(logits,), outputs=layer.outputs[:1]))
        else:
            _quantize(rewriting, layer)
            if layer.outputs[0].name in ends:
                _convert(rewriting, "dequantize", rewriting.layers[-1].outputs[0], FLOAT_BYTES)
    return tuple(rewriting.layers)


def int8_cost(cost: Cost) -> Cost:
    """Estimate the int8 network of a float one: layers, memory by liveness, weights."""
    layers = int8_layers(cost.layers)
    read = {value.name for layer in layers for value in layer.inputs}
    outputs = tuple(layer.outputs[0] for layer in layers if layer.outputs[0].name not in read)
    memory = held_bytes(layers, cost.inputs, outputs)
    once = {(layer.name, layer.kernel): layer for layer in layers}.values()  # a layer that is called twice
    weights = sum(layer.weight_bytes for layer in once)
    return Cost(
        layers,
        sum(layer.parameters for layer in once),
        cost.inputs,
        outputs,
        memory=memory,
        memory_int8=memory,
        weight_bytes=weights,
        weight_int8_bytes=weights,
    )


def _is_fused(rewriting: _Rewriting, layer: Layer, readers: Counter[str]) -> bool:
    """Rule 1: nobody else sees what the BatchNorm or activation reads."""
    if layer.operator != "batch_norm" and layer.operator not in ACTIVATIONS:
        return False
    source = layer.inputs[0]
    in_place = source.name == layer.outputs[0].name
    return rewriting.maker(rewriting.codes(source).name) is not None and (in_place or readers[source.name] == 1)


def _fuse(rewriting: _Rewriting, layer: Layer) -> None:
    rewriting.renamed[layer.outputs[0].name] = rewriting.codes(layer.inputs[0]).name


def _quantize(rewriting: _Rewriting, layer: Layer) -> None:
    """The layer with codes in and out."""
    inputs = tuple(rewriting.codes(value) for value in layer.inputs)
    output = layer.outputs[0]
    if output.name in {value.name for value in layer.inputs}:  # in place; the file makes a new value
        rewriting.renamed[output.name] = f"{rewriting.codes(output).name}+"
    requantization = 2 * output.elements if layer.operator in REQUANTIZED else 0
    integer = replace(
        layer,
        inputs=inputs,
        outputs=(rewriting.codes(output),),
        weight_bytes=layer.parameters,
        element_operations=layer.element_operations + requantization,
        integer=True,
    )
    rewriting.layers.append(_with_bias(integer) if layer.operator in COUNTED else integer)


def _with_bias(layer: Layer) -> Layer:
    """A layer with MACs as the file has it: one bias per channel, also where the float network has none."""
    weights, output = prod(layer.kernel), layer.outputs[0]
    had_one = layer.parameters > weights
    return replace(
        layer,
        parameters=weights + output.shape[1],
        weight_bytes=weights + BIAS_BYTES * output.shape[1],
        element_operations=layer.element_operations + (0 if had_one else output.elements),
    )


def _convert(rewriting: _Rewriting, operator: str, value: Value, item_bytes: int) -> Value:
    """Append a layer between float and int8; gives back its result."""
    result = Value(f"{value.name}_{operator}d", value.shape, item_bytes)
    operations = element_operations(operator, value.elements, value.elements)
    rewriting.layers.append(
        Layer(f"{value.name}_{operator}d", operator, (value,), (result,), element_operations=operations)
    )
    if operator == "quantize":
        rewriting.renamed[value.name] = result.name
    return result
