"""Our own networks keep the graphs, names and ranges that files and checkpoints were made with."""

from __future__ import annotations

import hashlib

import pytest
from torch import fx, nn

from edgeailite.quantization import convert, prepare
from tests.export.toy import Toy
from tests.golden import golden_model
from tests.quantization.tiny import Chain, Tiny

NETWORKS = {
    "tiny": Tiny,
    "chain": Chain,
    "toy": Toy,
    "deeplab": lambda: golden_model("deeplabv3plus_mobilenetv2_tv_edgeailite", num_classes=5),
    "unet": lambda: golden_model("unet_aspp_mobilenetv2_tv_edgeailite", outputs={"segmentation": 3, "motion": 2}),
    "pyramid": lambda: golden_model("mobilenetv2dilated_ppm_deepsup", num_classes=5),
}
BEFORE = {  # written by the code that knew our own networks alone (commit b7ada22)
    "tiny": "7b24aef98bdffb2a",
    "chain": "4efe6755ac0af7b4",
    "toy": "aae476b28c8d5c88",
    "deeplab": "134f1951c5403389",
    "unet": "a55440aff174546e",
    "pyramid": "eed1790f1dbe5c53",
}


def written(graph_module: fx.GraphModule) -> str:
    """Everything that a file and a checkpoint are made from, but the numbers."""
    nodes = [f"{node.name} {node.op} {_name(node)} {node.args} {node.kwargs}" for node in graph_module.graph.nodes]
    tensors = [f"{name} {tuple(value.shape)} {value.dtype}" for name, value in graph_module.state_dict().items()]
    kinds = [f"{name} {type(module).__name__}" for name, module in graph_module.named_modules()]
    return "\n".join((*nodes, *tensors, *kinds))


def _name(node: fx.Node) -> str:
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", repr(node.target))


def fingerprint(network: nn.Module) -> str:
    prepared = prepare(network.eval())
    text = written(prepared) + written(convert(prepared))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", NETWORKS)
def test_prepared_and_converted_graphs_are_those_of_before(name):
    assert fingerprint(NETWORKS[name]()) == BEFORE[name]
