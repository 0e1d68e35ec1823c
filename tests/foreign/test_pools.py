"""Max unpooling: read from files and modules, exact in int8, refused where a file does not say what it undoes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from edgeailite.console import exporter_silenced
from edgeailite.errors import UsageError
from edgeailite.export.to_onnx import to_onnx
from edgeailite.foreign import read_module, read_onnx, unpooling_translations
from edgeailite.foreign.unpooling import max_unpool
from edgeailite.modelcard import ModelCard
from edgeailite.preprocessing import Preprocessing
from edgeailite.quantization import calibrate, integer_exact, prepare
from edgeailite.runtime import load_onnx
from tests.foreign.onnx_models import compare, kinds, model, numbers, weights

CONV = ("Conv", "image w b", "c", {"pads": [1, 1, 1, 1]})
PARTS = {"w": weights(8, 3, 3, 3), "b": weights(8)}
PAIRS = {"kernel_shape": [2, 2], "strides": [2, 2]}
TRIPLES = {"kernel_shape": [2, 3], "strides": [3, 3], "pads": [1, 1, 1, 1]}
POOLING_ONLY = ("dilations", "ceil_mode", "storage_order")
SIZE = [("Shape", "c", "size", {})]


def unpooled(window, *, inputs="q places size", before=SIZE, places="places", pooled="c"):
    return [
        CONV,
        *before,
        ("MaxPool", pooled, f"p {places}", window),
        ("Sigmoid", "p", "q", {}),
        ("MaxUnpool", inputs, "y", {name: window[name] for name in window if name not in POOLING_ONLY}),
    ]


@pytest.mark.parametrize("window", [PAIRS, TRIPLES], ids=["2/2", "2x3/3 padded"])
def test_reads_an_unpooling_as_onnxruntime_computes_it(window):
    network = compare(model(unpooled(window), PARTS))
    assert kinds(network) == ["Conv2d", "MaxPool2d", "Sigmoid", "max_unpool"]


def test_an_unpooling_without_a_size_has_that_of_its_window():
    file = model(unpooled(PAIRS, inputs="q places", before=[]), PARTS, shape=("N", 3, 48, 64))
    assert kinds(compare(file, ((48, 64),)))[-1] == "max_unpool"


OVERLAPPING = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4}


@pytest.mark.parametrize(("nodes", "more", "said"), [
    (unpooled(OVERLAPPING), {}, "undoes a pooling whose windows overlap"),
    (unpooled({**PAIRS, "dilations": [2, 2]}), {}, "windows have gaps"),
    (unpooled({**PAIRS, "ceil_mode": 1}), {}, "rounds its size up"),
    (unpooled({**PAIRS, "storage_order": 1}), {}, "column by column"),
    (
        [*unpooled(PAIRS, before=[("Concat", "few sides", "size", {"axis": 0})])],
        {"few": numbers(2, 8), "sides": numbers(50, 66)},
        "gives another size than its pooling took",
    ),
    (
        [*unpooled(PAIRS)[:-1], ("Cast", "places", "z", {"to": 1}), ("Add", "z q", "y", {})],
        {},
        "gives the places of its values to more than unpooling",
    ),
    (
        [CONV, ("MaxPool", "c", "p", PAIRS), ("Shape", "p", "s", {}), ("Expand", "zero s", "places", {}), *SIZE,
         ("MaxUnpool", "p places size", "y", PAIRS)],
        {"zero": np.int64(0)},
        "takes places that are no maximum pooling's",
    ),
], ids=["overlapping", "gaps", "rounded up", "columns", "size", "places read", "places made"])  # fmt: skip
def test_what_cannot_be_undone_is_refused_by_name(nodes, more, said):
    with pytest.raises(UsageError, match=said) as caught:
        read_onnx(model(nodes, PARTS | more, shape=(2, 3, 48, 64)))
    assert "\n" not in str(caught.value)


class Unpools(nn.Module):
    """Pools and unpools as SegNet does, once with an activation that torch's exporter has to write."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.first, self.pool = nn.Conv2d(3, 8, 3, padding=1), nn.MaxPool2d(2, 2, return_indices=True)
        self.middle, self.unpool = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), activation), nn.MaxUnpool2d(2, 2)
        self.last = nn.Conv2d(8, 3, 1)

    def forward(self, x):
        x = self.first(x)
        pooled, places = self.pool(x)
        return self.last(self.unpool(self.middle(pooled), places, output_size=x.size()))


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.PReLU(8)], ids=["by the graph writer", "by torch's exporter"])
@torch.no_grad()
def test_an_unpooling_is_exact_in_int8(activation):
    torch.manual_seed(0)
    module = Unpools(activation).eval()
    network = read_module(module, torch.zeros(1, 3, 32, 48))
    for size in ((32, 48), (33, 45)):
        x = torch.randn(2, 3, *size)
        torch.testing.assert_close(network(x)["output"], module(x))
    quantized = prepare(network)
    calibrate(quantized, [(torch.randn(2, 3, 32, 48),)])
    card = ModelCard("unpools", {"output": 3}, tuple("abc"), ((0, 0, 0),) * 3, Preprocessing(32, 48), "none")
    data = to_onnx(quantized, card).SerializeToString()
    exact = integer_exact(quantized)
    for level in ("EXTENDED", "ALL"):
        file = load_onnx(data, level=level)
        for size in ((32, 48), (33, 45)):
            x = torch.randn(1, 3, *size)
            np.testing.assert_array_equal(file.run(x.numpy())["output"], exact(x)["output"].numpy())


def test_an_unpooling_goes_through_a_file_of_torchs_exporter(tmp_path):
    torch.manual_seed(0)
    module, path = Unpools(nn.ReLU()).eval(), tmp_path / "theirs.onnx"
    dynamic = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    table = unpooling_translations()
    with exporter_silenced():
        torch.onnx.export(
            module, (torch.zeros(2, 3, 32, 48),), path, dynamo=True, dynamic_shapes=(dynamic,),
            input_names=["image"], custom_translation_table=table, verbose=False,
        )  # fmt: skip
    assert "max_unpool" in kinds(compare(onnx.load(path)))


def test_of_equal_values_the_first_counts():
    pooled = torch.tensor([[[[1.0, 1.0, 0.0, 2.0], [1.0, 1.0, 2.0, 2.0]]]])
    found = max_unpool(torch.tensor([[[[5.0, 6.0]]]]), pooled, (2, 2), (2, 2), (0, 0))
    assert found.tolist() == [[[[5.0, 0.0, 0.0, 6.0], [0.0, 0.0, 0.0, 0.0]]]]


def test_an_unpooling_has_a_gradient():
    values, pooled = torch.randn(1, 2, 3, 4, requires_grad=True), torch.randn(1, 2, 6, 8)
    max_unpool(values, pooled, (2, 2), (2, 2), (0, 0)).sum().backward()
    assert values.grad is not None
    assert torch.equal(values.grad, torch.ones_like(values))
