"""Six networks that were not written here, each on the whole line of verbs: card, calibrate, export, verify, infer.

They go the line at two sizes, one of them odd, from the file of that size that torch's exporter writes.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

from edgeailite.runtime import load_contract, load_onnx

CLASSES = ("road", "building", "sky", "car")
SIZES = ((64, 96), (65, 97))


class Segmenter(nn.Module):
    """Features of a classifier, a score per class, and a resize to the picture's size."""

    def __init__(self, features: nn.Module, channels: int) -> None:
        super().__init__()
        self.features, self.head = features, nn.Conv2d(channels, len(CLASSES), 1)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.interpolate(self.head(self.features(x)), size=x.shape[-2:], mode="bilinear")


class Output(nn.Module):
    """The main output of one of torchvision's segmentation networks."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.network(x)["out"]
        return found


class UNet(nn.Module):
    """Two levels, transposed convolutions, and skip connections; sides are padded where they are odd."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList([self.block(3, 8), self.block(8, 16), self.block(16, 32)])
        self.up = nn.ModuleList([nn.ConvTranspose2d(32, 16, 2, 2), nn.ConvTranspose2d(16, 8, 2, 2)])
        self.join = nn.ModuleList([self.block(32, 16), self.block(16, 8)])
        self.head = nn.Conv2d(8, len(CLASSES), 1)

    @staticmethod
    def block(inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.1))

    def forward(self, x: Tensor) -> Tensor:
        kept = [self.down[0](x)]
        for block in self.down[1:]:
            kept.append(block(nn.functional.max_pool2d(kept[-1], 2)))
        y = kept.pop()
        for up, join in zip(self.up, self.join, strict=True):
            skip = kept.pop()
            y = nn.functional.interpolate(up(y), size=skip.shape[-2:], mode="nearest")
            y = join(torch.cat([skip, y], 1))
        return self.head(y)


def of_torchvision(name: str) -> nn.Module:
    make = getattr(torchvision.models.segmentation, name)
    return Output(make(weights=None, weights_backbone=None, num_classes=len(CLASSES)))


MAKERS: dict[str, Callable[[], nn.Module]] = {
    "unet": UNet,
    "lraspp": lambda: of_torchvision("lraspp_mobilenet_v3_large"),
    "deeplabv3": lambda: of_torchvision("deeplabv3_mobilenet_v3_large"),
    "mobilenet_v2": lambda: Segmenter(torchvision.models.mobilenet_v2(weights=None).features, 1280),
    "efficientnet_b0": lambda: Segmenter(torchvision.models.efficientnet_b0(weights=None).features, 1280),
    "squeezenet": lambda: Segmenter(torchvision.models.squeezenet1_1(weights=None).features, 512),
}


def test_there_are_six():
    assert len(MAKERS) == 6 and any(side % 2 for size in SIZES for side in size)


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
@pytest.mark.parametrize("name", MAKERS)
def test_a_network_goes_the_whole_line(tmp_path, command, name, size):
    torch.manual_seed(0)
    network = MAKERS[name]()
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
    source, photos = tmp_path / "theirs.onnx", tmp_path / "photos"
    torch.onnx.export(
        network.eval(), (torch.zeros(1, 3, *size),), str(source), dynamo=True, verbose=False, external_data=False
    )
    photos.mkdir()
    for index in range(3):
        picture = np.random.default_rng(index).integers(0, 256, (9, 12, 3), dtype=np.uint8)
        cv2.imwrite(str(photos / f"{index}.png"), cv2.resize(picture, (120, 90)))
    value = ("--mean", "123.675", "116.28", "103.53", "--scale", "0.017125", "0.017507", "0.017429")
    machine, run = ("--device", "cpu", "--threads", "1"), tmp_path / "theirs_card_ptq"
    for words in (
        ("card", str(source), "--classes", *CLASSES, *value),
        ("calibrate", str(tmp_path / "theirs_card.onnx"), "--pictures", str(photos), "--workers", "0", *machine),
        ("export", str(run)),
        ("verify", str(run), "--images", "2", "--threads", "1"),
        ("infer", str(run / "model_int8.onnx"), str(photos), "--save_path", str(tmp_path / "labels"), *machine),
    ):
        ended = command(*words)
        assert ended.code == 0, (words, ended.err)
    assert load_onnx(run / "model_int8.onnx").fixed_size == size
    contract = load_contract(run / "contract_int8.json")
    assert contract["exact"] and contract["results"]["ALL"]["max_difference"] == 0.0
    assert len(list((tmp_path / "labels").rglob("*.png"))) >= 3
