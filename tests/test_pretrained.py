"""Weights from files: damaged, foreign and unsafe ones are refused, and nothing is loaded in part without saying so."""

import io
import os
import pickle
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from edgeailite.errors import DataError
from edgeailite.models import create_model, list_models
from edgeailite.pretrained import describe, load_pretrained, read_weights, state_dict_of


class Payload:
    """What a hostile checkpoint holds: unpickling it would make the folder `path`."""

    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"mkdir '{self.path}'",)


def net(classes: int = 3) -> nn.Module:
    torch.manual_seed(classes)
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, classes, 1))


def same(first: nn.Module, second: nn.Module) -> bool:
    return all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


def saved(path, values):
    torch.save(values, path)
    return path


NESTINGS = {
    "bare": lambda weights: weights,
    "state_dict": lambda weights: {"epoch": 3, "state_dict": weights},
    "model": lambda weights: {"model": weights, "optimizer": {}},
    "two levels": lambda weights: {"state_dict": {"model_state": weights, "note": "text"}},
    "of several devices": lambda weights: {f"module.{key}": value for key, value in weights.items()},
    "without step counters": lambda weights: {k: v for k, v in weights.items() if "num_batches" not in k},
}


@pytest.mark.parametrize("nesting", NESTINGS)
def test_weights_load_however_nested(tmp_path, nesting):
    source, model = net(), net()
    with torch.no_grad():
        source[0].weight.fill_(7)
    report = load_pretrained(model, saved(tmp_path / "w.pt", NESTINGS[nesting](source.state_dict())))
    assert same(model, source)
    assert report.missing == report.unexpected == report.mismatched == ()
    assert "0.weight" in report.loaded
    assert describe(report) == "everything fits"


def test_old_format_of_torch_loads(tmp_path):
    torch.save(net().state_dict(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert len(load_pretrained(net(), tmp_path / "old.pth").loaded) == len(net().state_dict())


def test_other_class_count_is_refused_and_nothing_is_loaded(tmp_path):
    model, before = net(3), net(3)
    path = saved(tmp_path / "w.pt", net(5).state_dict())
    with pytest.raises(DataError, match=r"w\.pt: does not fit this network: 2 other shape \(2\.weight"):
        load_pretrained(model, path)
    assert same(model, before)
    report = load_pretrained(model, path, strict=False)
    assert report.mismatched == ("2.weight", "2.bias")
    assert torch.equal(model[0].weight, net(5)[0].weight)
    assert torch.equal(model[2].weight, before[2].weight)


def test_other_network_is_refused_naming_keys(tmp_path):
    path = saved(tmp_path / "w.pt", {"stem.weight": torch.zeros(1), **nn.Sequential(nn.Conv2d(3, 4, 1)).state_dict()})
    with pytest.raises(DataError, match=r"missing \(1\.weight, \.\.\.\), 1 unexpected \(stem\.weight, \.\.\.\)"):
        load_pretrained(net(), path)


@pytest.mark.parametrize("name", list_models())
def test_a_network_takes_its_own_weights_and_no_other_count(tmp_path, name):
    path = saved(tmp_path / "w.pt", create_model(name, 4).state_dict())
    assert load_pretrained(create_model(name, 4), path).missing == ()
    with pytest.raises(DataError, match="other shape"):
        load_pretrained(create_model(name, 5), path)


def test_file_without_weights(tmp_path):
    with pytest.raises(DataError, match=r"w\.pt: no state_dict in this file"):
        load_pretrained(net(), saved(tmp_path / "w.pt", {"epoch": 3}))
    with pytest.raises(DataError, match="no state_dict"):
        state_dict_of([1, 2], tmp_path)


# --- files that are not what they should be


def whole() -> bytes:
    buffer = io.BytesIO()
    torch.save({"state_dict": net().state_dict()}, buffer)
    return buffer.getvalue()


def flipped(data: bytes, what: str) -> bytes:
    """One bit of a tensor, or of the pickle that describes them, is another."""
    archive = zipfile.ZipFile(io.BytesIO(data))
    name = next(name for name in archive.namelist() if name.endswith(what))
    at = data.index(archive.read(name)) + archive.getinfo(name).file_size // 2
    return data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :]


DAMAGED = {
    "empty": b"",
    "one byte": whole()[:1],
    "a tenth": whole()[: len(whole()) // 10],
    "a half": whole()[: len(whole()) // 2],
    "all but a byte": whole()[:-1],
    "a bit of a tensor": flipped(whole(), "data/0"),
    "a bit of the description": flipped(whole(), "data.pkl"),
    "text": b"<!DOCTYPE html><title>Sign in</title>" * 30,
    "a zip of something else": b"PK\x05\x06" + bytes(18),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_file_is_one_line_that_names_it(tmp_path, damage):
    path = tmp_path / "w.pt"
    path.write_bytes(DAMAGED[damage])
    with pytest.raises(DataError, match=r"w\.pt: (damaged checkpoint|refused, )") as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"gone\.pt: no such checkpoint file"):
        read_weights(tmp_path / "gone.pt")
    with pytest.raises(DataError, match="no such checkpoint file"):
        read_weights(tmp_path)


@pytest.mark.parametrize("kind", ["zip", "bare pickle", "zip, hidden in a state_dict"])
def test_code_in_a_file_is_refused_and_not_run(tmp_path, kind):
    path, proof = tmp_path / "w.pt", tmp_path / "ran"
    if kind == "bare pickle":
        path.write_bytes(pickle.dumps(Payload(proof)))
    else:
        torch.save(Payload(proof) if kind == "zip" else {"state_dict": {"w": Payload(proof)}}, path)
    with pytest.raises(DataError, match=r"w\.pt: refused, .*take one that holds weights only") as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)
    assert not proof.exists()
    assert os.system(f"mkdir '{proof}'") == 0  # the payload would have worked


def test_safetensors_are_read_and_a_lying_header_is_refused(tmp_path):
    model = create_model("deeplabv3plus_mobilenetv2_tv_edgeailite", 3)
    path = tmp_path / "weights.safetensors"
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, path)
    other = create_model("deeplabv3plus_mobilenetv2_tv_edgeailite", 3)
    load_pretrained(other, path)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))
    data = bytearray(path.read_bytes())
    data[:8] = (2**40).to_bytes(8, "little")
    path.write_bytes(data)
    with pytest.raises(DataError, match="damaged safetensors file"):
        load_pretrained(other, path)
