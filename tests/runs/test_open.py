"""A checkpoint of a network made with options gives that network back, float and quantized."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from edgeailite.errors import DataError
from edgeailite.modelcard import changed_options
from edgeailite.models import create_model
from edgeailite.quantization import prepare
from edgeailite.runs.checkpoint import Checkpoint, save_checkpoint
from edgeailite.runs.folder import LAST
from edgeailite.runs.network import load_network
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


# --- checkpoints that somebody else wrote


@pytest.fixture(scope="module")
def quantized(tmp_path_factory):
    """The values of a quantized checkpoint."""
    name, outputs = "mobilenetv2dilated_c1_deepsup", {"segmentation": 3}
    model = prepare(create_model(name, 3), percentile=100.0)
    card = replace(golden_card((64, 64), 3), model_name=name, outputs=outputs)
    path = tmp_path_factory.mktemp("quantized") / LAST
    how = {"scheme": "ort_u8s8", "percentile": 100.0, "method": "calibration", "equalize": False, "adaround": 0}
    save_checkpoint(path, Checkpoint(card, model.state_dict(), {}, how))
    return torch.load(path, weights_only=True)


def changed(path, values, *, part, **entries):
    torch.save({**values, part: {**(values[part] or {}), **entries}}, path)
    return path


HOW = {
    "unknown scheme": ({"scheme": "int4"}, "quantization: scheme: expected ort_u8s8 or "),
    "no scheme": ({"scheme": None}, "quantization: scheme: expected"),
    "share that is text": ({"percentile": "99"}, "quantization: percentile: expected a finite number in 50..100"),
    "share that is none": ({"percentile": float("nan")}, "quantization: percentile: expected"),
    "unknown observer": ({"observer": "x"}, "quantization: observer: expected"),
    "unknown ranges": ({"ranges": "x"}, "quantization: ranges: expected tracked or learned"),
    "method that moves the cursor": ({"method": "\x1b[2J"}, "quantization: method: expected"),
    "plan in a list": ({"plan": [1]}, "quantization: plan: expected names with values"),
    "bits that are text": ({"plan": {"weights": {"a": "8"}}}, "quantization: plan: weights must be names with whole"),
    "bits of no file": ({"plan": {"weights": {"a": 3}}}, "plan: weights of a have 3 bits"),
    "layer of no network": ({"plan": {"weights": {"nowhere": 4}, "activations": {}}}, "nowhere"),
    "learned where nothing was": ({"ranges": "learned"}, "weights do not fit"),
}


@pytest.mark.parametrize("kind", HOW)
def test_quantization_that_nothing_here_writes(quantized, tmp_path, kind):
    entries, reason = HOW[kind]
    path = changed(tmp_path / LAST, quantized, part="quantization", **entries)
    refused(path, reason)


def test_what_another_version_says_of_its_quantization_is_left_out(quantized, tmp_path):
    path = changed(tmp_path / LAST, quantized, part="quantization", of_another_version=[1])
    checkpoint, _ = load_network(path)
    assert checkpoint.quantization == quantized["quantization"]


RANGES = {"scale": [0.0, -1.0, float("nan"), float("inf")], "zero_point": [-1, 256]}


@pytest.mark.parametrize("name, value", [(name, value) for name, values in RANGES.items() for value in values])
def test_scales_and_zero_points_that_give_nothing(quantized, tmp_path, name, value):
    weights = quantized["state_dict"]
    key = next(key for key in weights if key.startswith("ranges.") and key.endswith(name))
    path = changed(tmp_path / LAST, quantized, part="state_dict", **{key: torch.full_like(weights[key], value)})
    refused(path, key.rpartition(".")[0])


CARDS = {
    "unknown network": ({"model_name": "resnet"}, "unknown model 'resnet'"),
    "unknown option": ({"options": {"depth": 3}}, "option"),
    "inputs without end": ({"options": {"inputs": 10**6}}, "inputs"),
    "channels without end": ({"outputs": {"segmentation": 10**9}}, "outputs"),
    "channels that the weights lack": ({"outputs": {"segmentation": 4000}}, "weights do not fit"),
    "more outputs than weights": ({"outputs": {"segmentation": 3, "depth": 1}}, "weights do not fit"),
    "another network": ({"model_name": "fpn_aspp_regnetx800mf_edgeailite"}, "weights do not fit"),
}


@pytest.mark.parametrize("kind", CARDS)
def test_cards_of_other_networks(quantized, tmp_path, kind):
    entries, _ = CARDS[kind]
    refused(changed(tmp_path / LAST, quantized, part="card", **entries), "")


def refused(path, reason):
    with pytest.raises(DataError, match=rf"^{path}: ") as caught:
        load_network(path)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
