"""Predictors give what the network gives; files are tested with the verbs (tests/commands/test_validate_outputs.py)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from edgeailite.errors import DataError
from edgeailite.evaluation import torch_predictor
from edgeailite.models import create_model
from edgeailite.preprocessing import Preprocessing
from tests.evaluation.test_evaluate import pictures


class Difference(nn.Module):
    """Two inputs, two outputs, and what training alone adds."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, first: Tensor, second: Tensor) -> dict[str, Tensor]:
        outputs = {"segmentation": self.weight * first - second, "depth": first[:, :1].double()}
        return outputs | ({"segmentation_deepsup": first} if self.training else {})


def test_every_input_is_normalised_and_every_output_given():
    pre = Preprocessing(6, 8, mean=(1.0, 2.0, 3.0), scale=(0.5, 0.25, 2.0), channel_order="BGR")
    images = pictures(2, inputs=2)
    outputs = torch_predictor(Difference(), pre)(images)
    assert {name: value.dtype for name, value in outputs.items()} == dict.fromkeys(
        ("segmentation", "depth"), torch.float32
    )
    difference = (images[0].flip(1).float() - images[1].flip(1).float()) * torch.tensor(pre.scale).view(1, 3, 1, 1)
    torch.testing.assert_close(outputs["segmentation"], difference)
    torch.testing.assert_close(outputs["depth"], (images[0][:, 2:].float() - 1) * 0.5)


def test_networks_with_deep_supervision_predict_in_eval_mode():
    model = create_model("mobilenetv2dilated_c1_deepsup", 3).train()
    outputs = torch_predictor(model, Preprocessing(64, 64))(pictures(1, size=(64, 64)))
    assert {name: tuple(value.shape) for name, value in outputs.items()} == {"segmentation": (1, 3, 64, 64)}


def test_outputs_that_are_not_finite_are_an_error_of_what_was_opened():
    network, pre = Difference(), Preprocessing(6, 8)
    network.weight.data.fill_(float("nan"))
    assert torch.isnan(torch_predictor(network, pre)(pictures(1, inputs=2))["segmentation"]).all()
    with pytest.raises(DataError, match=r"run/last\.pt: output segmentation: \d+ of \d+ values are not finite"):
        torch_predictor(network, pre, where="run/last.pt")(pictures(1, inputs=2))
