"""The network that weights are of is named, whatever the number of classes; values that are none are, too."""

import pytest
import torch

from edgeailite.errors import DataError
from edgeailite.models import create_model
from edgeailite.pretrained import load_pretrained, which_network
from tests.golden import golden_model

NAME, OTHER = "fpn_aspp_mobilenetv2_tv_edgeailite", "deeplabv3plus_mobilenetv2_tv_edgeailite"


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return create_model(NAME, 7).state_dict()


def test_the_network_of_a_file_is_found(weights, tmp_path):
    wrapped = {f"module.{key}": value for key, value in weights.items() if not key.endswith("num_batches_tracked")}
    assert which_network({"state_dict": wrapped}, tmp_path) == NAME
    assert which_network(golden_model("resnet18_c1").state_dict(), tmp_path) == "resnet18_c1"
    less = {key: value for key, value in weights.items() if not key.endswith("features.3.conv.2.weight")}
    backbone = {key: value for key, value in weights.items() if key.startswith("encoder.")}
    for values in ({}, {"w": torch.ones(3)}, [1], None, less, backbone):
        assert which_network(values, tmp_path) is None


def test_a_refusal_names_the_network(weights, tmp_path):
    torch.save(weights, tmp_path / "w.pt")
    with pytest.raises(DataError, match=rf"does not fit {OTHER}: .*use the file's own network: --model_name {NAME}"):
        load_pretrained(create_model(OTHER, 7), tmp_path / "w.pt")
    backbone = {key: value for key, value in weights.items() if key.startswith("encoder.")}
    torch.save(backbone, tmp_path / "w.pt")
    with pytest.raises(DataError, match=rf"use the file's own network: --model_name .*{OTHER}"):
        load_pretrained(create_model("fpn_aspp_regnetx800mf_edgeailite", 7), tmp_path / "w.pt")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(weights, tmp_path, value):
    key = "encoder.features.3.conv.2.weight"
    damaged = dict(weights) | {key: weights[key].clone()}
    damaged[key][0, 1] = value
    torch.save(damaged, tmp_path / "w.pt")
    model = create_model(NAME, 7)
    before = model.state_dict()[key].clone()
    expected = rf"w\.pt: {key} holds {value:g} \(1 of its 3456 values .*take another"
    with pytest.raises(DataError, match=expected):
        load_pretrained(model, tmp_path / "w.pt")
    assert torch.equal(model.state_dict()[key], before)


def test_a_variance_below_zero_is_named(weights, tmp_path):
    key = "encoder.features.0.1.running_var"
    torch.save({**weights, key: -weights[key]}, tmp_path / "w.pt")
    with pytest.raises(DataError, match=rf"{key} holds -1 "):
        load_pretrained(create_model(NAME, 7), tmp_path / "w.pt")
