"""The record of one layer, and of a whole network: what it computes and what it moves.

Rules of counting, for a torch network and for an ONNX file alike:

1. MACs: multiply-accumulates of convolution, transposed convolution and linear layers. A convolution has one per
   output position and weight, a transposed one per input position and weight, a linear layer one per row and weight.
   Positions in the padding count; bias does not; batch is 1. 1 GMAC = 10⁹ MACs = 2 GFLOPs.
2. Everything else is listed, not added: element operations (`edgeailite.cost.operations`) and bytes moved.
3. Bytes read are the tensors a layer takes and its weights, each once; bytes written are the tensors it gives. That is
   what a layer moves if nothing stays in a cache. Operators that only look at memory in another way (reshape,
   transpose of a weight, slice) are no layers.
4. Parameters of a layer are the learned values it takes. A weight that two layers share stands at both and counts once
   in the network.
5. A layer is integer if it takes and gives quantized tensors; then weights are 1 byte and biases 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod


@dataclass(frozen=True)
class Value:
    """A tensor that layers hand on. Two values with one name are the same memory (an activation done in place)."""

    name: str
    shape: tuple[int, ...]
    item_bytes: int

    @property
    def elements(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        """Return the size in memory."""
        return self.elements * self.item_bytes


@dataclass(frozen=True)
class Layer:
    """One executed operator.

    `name` is the path of the module (or the node of a file) it belongs to, `operator` a word such as `convolution`.
    `kernel` is the shape of the weight (out, in / groups, height, width), () without one; `groups` as in torch.
    """

    name: str
    operator: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    macs: int = 0
    parameters: int = 0
    weight_bytes: int = 0
    element_operations: int = 0
    integer: bool = False
    kernel: tuple[int, ...] = ()
    groups: int = 1

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Return the shape of the (first) result, (N,C,H,W) for images."""
        return self.outputs[0].shape

    @property
    def bytes_read(self) -> int:
        """Return the bytes of tensors taken, and of weights (rule 3)."""
        return sum(value.bytes for value in self.inputs) + self.weight_bytes

    @property
    def bytes_written(self) -> int:
        """Return the bytes of tensors given."""
        return sum(value.bytes for value in self.outputs)

    @property
    def intensity(self) -> float:
        """Return operations (2 per MAC, 1 per element operation) per byte moved; 0 if none is moved."""
        moved = self.bytes_read + self.bytes_written
        return (2 * self.macs + self.element_operations) / moved if moved else 0.0


@dataclass(frozen=True)
class Cost:
    """A network at one size: its layers in order of execution, and what only the whole has.

    `parameters`: learned values, those that only training uses included. `memory`: bytes of activations held while each
    layer runs, inputs and outputs included (`memory.py`); `memory_int8` the same of the integer network: of this file,
    or estimated; None for a float file, which does not tell. Weight bytes likewise: of the weights that are read.
    """

    layers: tuple[Layer, ...]
    parameters: int
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    memory: tuple[int, ...]
    memory_int8: tuple[int, ...] | None
    weight_bytes: int
    weight_int8_bytes: int | None

    @property
    def peak_bytes(self) -> int:
        """Return the peak activation memory in bytes."""
        return max(self.memory, default=sum(value.bytes for value in self.inputs))

    @property
    def peak_int8_bytes(self) -> int | None:
        """Return the peak activation memory of the integer network, if known."""
        return None if self.memory_int8 is None else max(self.memory_int8)

    @property
    def macs(self) -> int:
        """Multiply-accumulates (rule 1)."""
        return sum(layer.macs for layer in self.layers)

    @property
    def giga_macs(self) -> float:
        """Return MACs in units of 10⁹."""
        return self.macs / 1e9

    @property
    def integer_macs(self) -> int:
        """Return the MACs of integer layers."""
        return sum(layer.macs for layer in self.layers if layer.integer)

    @property
    def element_operations(self) -> int:
        """Return the element operations of all layers."""
        return sum(layer.element_operations for layer in self.layers)

    @property
    def bytes_moved(self) -> int:
        """Return the bytes read and written by all layers."""
        return sum(layer.bytes_read + layer.bytes_written for layer in self.layers)
