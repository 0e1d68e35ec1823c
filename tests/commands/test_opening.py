"""A checkpoint of a network made with options gives that network back, float and quantized."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from edgeailite.checkpoint import LAST, Checkpoint, save_checkpoint
from edgeailite.commands.opening import load_network
from edgeailite.modelcard import changed_options
from edgeailite.models import create_model
from edgeailite.quantization import prepare
from tests.golden import golden_card

CASES = {
    "deeplabv3plus_mobilenetv2_tv_edgeailite": {"inputs": 2, "output_range": {"depth": (1.0, 80.0)}},
    "fpn_aspp_mobilenetv2_tv_edgeailite": {"upsampling": "subpixel"},
    "v1_resnet34_c1_bilinear": {"align_corners": True},
}


@pytest.mark.parametrize("name", CASES)
def test_options_come_back_from_a_checkpoint(name, tmp_path):
    outputs = {"segmentation": 3, "depth": 1}
    model = create_model(name, outputs=outputs, **CASES[name])
    card = replace(golden_card((64, 64), 3), model_name=name, outputs=outputs, options=changed_options(model.options))
    save_checkpoint(tmp_path / LAST, Checkpoint(card, model.state_dict(), {}, None))
    _, loaded = load_network(tmp_path / LAST)
    assert loaded.options == model.options
    images = [torch.rand(1, 3, 40, 50) for _ in range(model.inputs)]
    with torch.no_grad():
        assert torch.equal(loaded(*images)["depth"], model.eval()(*images)["depth"])


def test_a_quantized_network_with_deep_supervision_comes_back(tmp_path):
    name, quantization = "mobilenetv2dilated_c1_deepsup", {"scheme": "ort_u8s8", "percentile": 100.0}
    model = prepare(create_model(name, 3), percentile=100.0)
    card = replace(golden_card((64, 64), 3), model_name=name, outputs={"segmentation": 3})
    save_checkpoint(tmp_path / LAST, Checkpoint(card, model.state_dict(), {}, quantization))
    _, loaded = load_network(tmp_path / LAST)
    assert set(loaded.state_dict()) == set(model.state_dict())
