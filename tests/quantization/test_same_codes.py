"""One set of codes: a calibrated network gives the same in onnxruntime on every processor and in XNNPACK."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, fx

from edgeailite.quantization import SCHEMES, convert
from edgeailite.quantization.arithmetic import ONNXRUNTIME_ROWS
from edgeailite.quantization.enlarge import convolve_resizes, shapes_of
from edgeailite.quantization.enlarge_codes import EnlargeCodes
from edgeailite.quantization.graph import is_resize, leaves_network
from edgeailite.quantization.integer import Codes, IntegerExact
from edgeailite.quantization.lowered import input_codes
from edgeailite.quantization.lowering import lower
from edgeailite.quantization.tflite_rules import run_program
from edgeailite.quantization.tie_safe import tie_safe_additions
from tests.export.toy import image, toy_quantized
from tests.quantization.tiny import pixels, quantized, tiny
from tests.sweep import covering_names, int8_names, sweep_model
from tests.sweep import pixels as sweep_pixels
from tests.sweep import quantized as sweep_quantized

EXACT = [name for name, scheme in SCHEMES.items() if not scheme.power_of_two]


def inner_codes(model: fx.GraphModule, picture: Tensor, arithmetic: str) -> dict[str, Tensor]:
    """All quantized tensors by node, as onnxruntime computes them."""
    found: dict[str, Tensor] = {}

    def seen(node: fx.Node, codes: Codes) -> None:
        found[node.name] = codes.codes

    IntegerExact(convert(model), seen, arithmetic).run(picture)
    return found


def inner_factors(converted: fx.GraphModule, picture: Tensor) -> list[tuple[float, float]]:
    """By what each inner resize multiplies height and width of its input, for this picture."""
    shapes = shapes_of(converted, (picture.shape[2], picture.shape[3]))
    inner = [node for node in converted.graph.nodes if is_resize(node) and not leaves_network(node)]
    return [tuple(shapes[node][axis] / shapes[node.args[0]][axis] for axis in (2, 3)) for node in inner]


def check(model: fx.GraphModule, picture: Tensor) -> None:
    first, *others = (inner_codes(model, picture, name) for name in ONNXRUNTIME_ROWS)
    for other in others:
        assert [name for name, codes in first.items() if not torch.equal(codes, other[name])] == []
    converted = convert(model)
    outputs = next(node for node in converted.graph.nodes if node.op == "output").args[0]
    convolved = convolve_resizes(converted, (picture.shape[2], picture.shape[3]))
    factors = [factor for factor in inner_factors(converted, picture) if factor != (1, 1)]
    assert sum(isinstance(module, EnlargeCodes) for module in convolved.modules()) == len(factors)
    program = lower(convolved, (picture.shape[2], picture.shape[3]), head="codes")
    got = run_program(program, [input_codes(picture[0].numpy(), program.inputs[0])], "xnnpack")
    for name, node in outputs.items():
        shift = program.outputs[name].zero_point - int(converted.get_submodule(node.args[0].target).zero_point)
        expected = first[node.args[0].name][0].permute(1, 2, 0).numpy() + shift
        np.testing.assert_array_equal(got[name][0], expected)


@pytest.mark.parametrize("scheme", EXACT)
def test_small_networks_have_the_same_codes_everywhere(scheme):
    for model, picture in (
        (toy_quantized(scheme), image(7)),
        (quantized(tiny(), scheme), pixels(1, seed=7)[0][0]),
    ):
        safe, total = tie_safe_additions(model)
        assert safe == total > 0
        check(model, picture)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in covering_names() if name in int8_names()])
def test_networks_have_the_same_codes_everywhere(name):
    """Additions of all; every tensor of those whose resizes are by powers of two, which pyramid pooling is not."""
    model, picture = sweep_quantized(sweep_model(name)), sweep_pixels(1, (1, 64, 128), seed=7)[0]
    safe, total = tie_safe_additions(model)
    assert safe == total
    others = set(inner_factors(convert(model), picture)) - {(factor, factor) for factor in (1, 2, 4, 8, 16, 32)}
    if others:
        assert any(kind in name for kind in ("psp", "ppm", "upernet", "ddrnet")), others
    else:
        check(model, picture)
