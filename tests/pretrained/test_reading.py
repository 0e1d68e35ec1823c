"""Files that are not what they should be: refused in one line that names the file, and no code in them runs."""

import argparse
import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from edgeailite.errors import DataError
from edgeailite.pretrained import read_weights, state_dict_of


class Payload:
    """What a hostile checkpoint holds: unpickling it would make the folder `path`."""

    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"mkdir '{self.path}'",)


def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).state_dict()


def saved(path, values):
    torch.save(values, path)
    return path


def whole() -> bytes:
    buffer = io.BytesIO()
    torch.save({"state_dict": weights()}, buffer)
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
    "noise": bytes(range(256)) * 30,
    "a zip of something else": b"PK\x05\x06" + bytes(18),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_file_is_one_line_that_names_it(tmp_path, damage):
    path = tmp_path / "w.pt"
    path.write_bytes(DAMAGED[damage])
    with pytest.raises(DataError, match=r"w\.pt: (damaged checkpoint|refused, )") as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "page", [b"<!DOCTYPE html><title>Sign in</title>", b"\n <html><body>404</body></html>", b"<Error/>"]
)
def test_web_page_instead_of_weights(tmp_path, page):
    path = tmp_path / "w.pth"
    path.write_bytes(page * 30)
    with pytest.raises(DataError, match=r"w\.pth: .*a web page saved under this name"):
        read_weights(path)


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"gone\.pt: no such checkpoint file"):
        read_weights(tmp_path / "gone.pt")


def test_folder_instead_of_a_file(tmp_path):
    with pytest.raises(DataError, match=r": a folder; give a file of weights; none in it looks like one$"):
        read_weights(tmp_path)
    for name in ("config.yaml", "last.pt", "best.pt", "decoder.pth"):
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=r": a folder; give a file in it: best\.pt, decoder\.pth, last\.pt$"):
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


def test_whole_network_in_a_pickle_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"refused, it holds more than tensors") as caught:
        read_weights(saved(tmp_path / "w.pt", nn.Sequential(nn.Conv2d(3, 4, 1))))
    assert "(Unsupported global: GLOBAL torch.nn.modules.container.Sequential);" in str(caught.value)


REFUSED = {
    "a function of the system": (Payload("x"), "Unsupported global: GLOBAL posix.system"),
    "arguments": ({"args": argparse.Namespace(a=1)}, "Unsupported global: GLOBAL argparse.Namespace"),
    "an array": ({"a": np.zeros(3)}, "Unsupported global: GLOBAL numpy._core.multiarray._reconstruct"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refusal_names_the_class_and_gives_no_way_around(tmp_path, what):
    values, expected = REFUSED[what]
    with pytest.raises(DataError) as caught:
        read_weights(saved(tmp_path / "w.pt", values))
    message = str(caught.value)
    assert f"({expected}); take one that holds weights only" in message
    assert not any(word in message for word in ("\x1b", "weights_only", "torch.load", "safe_globals", "PyTorch 2"))


@pytest.mark.parametrize("data", [bytes(range(256)) * 30, pickle.dumps(Payload("x"))], ids=["noise", "new pickle"])
def test_refusal_without_a_class_gives_no_way_around(tmp_path, data):
    (tmp_path / "w.pt").write_bytes(data)
    with pytest.raises(DataError, match=r"refused, .* \(Unsupported operand \d+\); take one") as caught:
        read_weights(tmp_path / "w.pt")
    assert "weights_only" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_torchscript_is_refused(tmp_path):
    torch.jit.save(torch.jit.script(nn.Conv2d(3, 4, 1)), tmp_path / "w.pt")
    with pytest.raises(
        DataError, match=r"w\.pt: a TorchScript archive, which is code; take one that holds weights only"
    ):
        read_weights(tmp_path / "w.pt")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("number", [np.float64(0.69), np.float32(0.5), np.int64(3), np.bool_(True)], ids=repr)
def test_numpy_numbers_of_old_checkpoints_are_harmless(tmp_path, number, zipped):
    path = tmp_path / "w.pth"
    torch.save({"best_metric": number, "state_dict": weights()}, path, _use_new_zipfile_serialization=zipped)
    values = read_weights(path)
    assert values["best_metric"] == number
    assert list(state_dict_of(values, path)[0]) == list(weights())


def test_numpy_numbers_saved_by_numpy_1(tmp_path):
    """Its module was called numpy.core; the name stands in the pickle."""
    path = tmp_path / "w.pth"
    torch.save({"best": np.float64(0.69), "state_dict": weights()}, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    assert b"cnumpy._core.multiarray\n" in data
    path.write_bytes(data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"))
    assert read_weights(path)["best"] == 0.69


def test_numpy_objects_are_still_refused(tmp_path):
    proof = tmp_path / "ran"
    path = saved(tmp_path / "w.pt", {"state_dict": weights(), "best": np.array([Payload(proof)], dtype=object)})
    with pytest.raises(DataError, match="refused"):
        read_weights(path)
    assert not proof.exists()


def test_safetensors_are_read_and_a_lying_header_is_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(weights(), path)
    assert all(torch.equal(value, weights()[key]) for key, value in read_weights(path).items())
    data = bytearray(path.read_bytes())
    data[:8] = (2**40).to_bytes(8, "little")
    path.write_bytes(data)
    with pytest.raises(DataError, match="damaged safetensors file"):
        read_weights(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_unreadable_file(tmp_path, name):
    path = Path(tmp_path / name)
    path.write_bytes(whole())
    path.chmod(0)
    with pytest.raises(DataError, match="cannot be read"):
        read_weights(path)
