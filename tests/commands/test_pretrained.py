"""`train --pretrained`: what it takes, what it says, what it leaves in the run folder."""

import dataclasses
import json

import pytest
import torch

from edgeailite.cli import parse
from edgeailite.commands import train
from edgeailite.config import TrainConfig
from edgeailite.config.stored import plain, train_config
from edgeailite.errors import DataError, UsageError
from edgeailite.models import create_model
from edgeailite.training import float_run as training
from tests.golden import MODEL, golden_model

URL = "https://download.pytorch.org/models/mobilenet_v2-b0353104.pth"


def config_for(data, folder, **options) -> TrainConfig:
    return TrainConfig(
        data_path=data,
        save_path=folder,
        img_resize=(64, 64),
        epochs=1,
        batch_size=2,
        workers=0,
        device="cpu",
        **options,
    )


@pytest.fixture
def started(monkeypatch) -> list:
    """The trainers that would have trained."""
    trainers = []
    monkeypatch.setattr(training, "fit", lambda trainer, *_, **__: trainers.append(trainer) or {})
    return trainers


@pytest.mark.parametrize("words", [[URL], ["encoder_epoch_20.pth", "decoder_epoch_20.pth"]])
def test_one_file_or_two_and_addresses_stay_whole(words):
    config = parse("train", ["--pretrained", *words, "--epochs", "3"], prog="edgeailite train")
    assert config.pretrained == tuple(words)
    assert train_config(json.loads(json.dumps(plain(config)))) == config


def test_three_files_are_refused():
    with pytest.raises(UsageError, match=r"pretrained.*one file, or two: ENCODER DECODER"):
        parse("train", ["--pretrained", "a", "b", "c"], prog="edgeailite train")


def test_older_runs_with_one_path_are_read():
    assert train_config({"pretrained": "w.pth"}).pretrained == ("w.pth",)
    assert train_config({"pretrained": None}).pretrained is None


def test_report_is_said_and_kept(miniature, tmp_path, started, capsys):
    path = tmp_path / "w.pth"
    torch.save(golden_model().encoder.features.state_dict(prefix="features."), path)  # torchvision's layout
    train.run(config_for(miniature, tmp_path / "run", pretrained=(str(path),)))
    err = capsys.readouterr().err
    assert f"{path}: torchvision MobileNetV2 backbone, " in err
    assert "  the file holds a backbone only: " in err
    kept = json.loads((tmp_path / "run" / "pretrained.json").read_text())
    assert kept["source"] == str(path)
    assert kept["kind"] == "torchvision MobileNetV2 backbone"
    assert "encoder.features.0.0.weight" in kept["loaded"]
    assert all(key.startswith("decoders.") for key in kept["missing"])
    first = "encoder.features.0.0.weight"
    assert torch.equal(started[0].model.state_dict()[first], golden_model().state_dict()[first])


def test_pair_with_another_head(miniature, tmp_path, started):
    name = "mobilenetv2dilated_c1_deepsup"
    source = create_model(name)
    files = tmp_path / "encoder_epoch_20.pth", tmp_path / "decoder_epoch_20.pth"
    for file, part in zip(files, (source.encoder, source.decoders[0]), strict=True):
        torch.save(part.state_dict(), file)
    config = config_for(miniature, tmp_path / "run", model_name=name, pretrained=tuple(map(str, files)))
    with pytest.raises(DataError, match=r"has 150 classes in segmentation, this network 19; .*--allow_head_mismatch"):
        train.run(config)
    assert not (tmp_path / "run").exists()
    train.run(dataclasses.replace(config, allow_head_mismatch=True))
    kept = json.loads((tmp_path / "run" / "pretrained.json").read_text())
    assert len(kept["mismatched"]) == 4
    assert torch.equal(started[0].model.decoders[0].cbr[0].weight, source.decoders[0].cbr[0].weight)


def test_resuming_does_not_need_the_file(miniature, tmp_path):
    path = tmp_path / "w.pth"
    torch.save(golden_model(MODEL).state_dict(), path)
    train.run(config_for(miniature, tmp_path / "run", pretrained=(str(path),)))
    path.unlink()
    assert train.run(TrainConfig(resume=tmp_path / "run")) == 0
