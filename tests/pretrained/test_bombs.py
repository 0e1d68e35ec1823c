"""Small files of weights that would fill the memory, take hours, or hold what no network has: refused in one line."""

import copy
import io
import json
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from edgeailite.errors import DataError
from edgeailite.pretrained import archives, read_weights, reading

SECONDS = 10.0


def members() -> dict[str, bytes]:
    """What torch writes of one tensor, by the names of the entries."""
    buffer = io.BytesIO()
    torch.save({"w": torch.ones(1000)}, buffer)
    with zipfile.ZipFile(buffer) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewritten(change: Callable[[dict[str, bytes]], object], compression: int = zipfile.ZIP_STORED) -> bytes:
    entries, buffer = members(), io.BytesIO()
    change(entries)
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def larger(entries: dict[str, bytes]) -> None:
    """The description speaks of 2^28 values."""
    lie = b"J\x00\x00\x00\x10"
    name = next(name for name in entries if name.endswith("data.pkl"))
    entries[name] = entries[name].replace(b"M\xe8\x03tq\x07QK\x00M\xe8\x03", lie + b"tq\x07QK\x00" + lie)


def inflating(entries: dict[str, bytes]) -> None:
    entries["archive/data/0"] = bytes(1 << 24)


def overlapping() -> bytes:
    """2,000 entries whose bytes are the same megabyte."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members().items():
            archive.writestr(name, data)
        archive.writestr("archive/data/1", bytes(1 << 20))
        for number in range(2, 2000):
            twin = copy.copy(archive.getinfo("archive/data/1"))
            twin.filename = f"archive/data/{number}"
            archive.filelist.append(twin)
            archive.NameToInfo[twin.filename] = twin
    return buffer.getvalue()


def twice() -> bytes:
    """Two entries of one name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        for name, data in [*members().items(), ("archive/data/0", bytes(4000))]:
            archive.writestr(name, data)
    return buffer.getvalue()


def described_elsewhere() -> bytes:
    """The directory of large archives, for one reader here and for another there."""
    saved = io.BytesIO()
    torch.save({"w": torch.ones(1000)}, saved)
    whole = bytearray(saved.getvalue())
    at = whole.rindex(b"PK\x06\x07")
    whole[at + 8 : at + 16] = (7).to_bytes(8, "little")
    return bytes(whole)


ARCHIVES: dict[str, Callable[[], bytes]] = {
    "compressed": lambda: rewritten(lambda entries: None, zipfile.ZIP_DEFLATED),
    "inflating": lambda: rewritten(inflating, zipfile.ZIP_DEFLATED),
    "larger than the file": lambda: rewritten(larger),
    "overlapping": overlapping,
    "one name twice": twice,
    "two directories": described_elsewhere,
    "bytes behind the end": lambda: rewritten(lambda entries: None) + b"more",
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_archives_that_torch_did_not_write(tmp_path, kind):
    path = tmp_path / "w.pt"
    path.write_bytes(ARCHIVES[kind]())
    refused(path, "damaged checkpoint")


def test_bounds_of_an_archive(tmp_path, monkeypatch):
    path = tmp_path / "w.pt"
    torch.save({"w": torch.ones(3)}, path)
    assert torch.equal(read_weights(path)["w"], torch.ones(3))
    for name, value in (("MOST_ENTRIES", 3), ("MOST_PICKLE", 20), ("MOST_DIRECTORY", 20)):
        with monkeypatch.context() as patch:
            patch.setattr(archives, name, value)
            refused(path, f"more than {value}")
    torch.save({"w": torch.ones(3)}, path, _use_new_zipfile_serialization=False)
    assert torch.equal(read_weights(path)["w"], torch.ones(3))
    monkeypatch.setattr(reading, "MOST_PARTS", 20)
    refused(path, "more than 20 values")


class Shadowed:
    """A mapping whose methods a pickle has replaced."""

    def __reduce__(self):
        return OrderedDict, (), {"items": 5, "keys": 3, "_metadata": 7}, None, iter({"w": torch.ones(2)}.items())


def holding_itself() -> list[object]:
    values: list[object] = []
    values.append(values)
    return values


def nested(count: int, *, doubled: bool) -> list[object]:
    values: list[object] = [1]
    for _ in range(count):
        values = [values, values] if doubled else [values]
    return values


VALUES: dict[str, tuple[Callable[[], object], str]] = {
    "repeated by stride": (lambda: torch.ones(1).expand(10**6, 10**6), "more than the file holds"),
    "sparse": (lambda: torch.ones(3, 3).to_sparse(), "a sparse tensor"),
    "meta": (lambda: torch.ones(4, device="meta"), "without values"),
    "complex": (lambda: torch.ones(4, dtype=torch.complex64), "a complex tensor"),
    "holds itself": (holding_itself, "nested more than 64 deep"),
    "deep": (lambda: nested(100, doubled=False), "nested more than 64 deep"),
    "aliases": (lambda: nested(40, doubled=True), "more than 1000000 values"),
    "a tensor as a name": (lambda: {torch.ones(1): 1}, "as a name"),
}


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("zipped", [True, False])
def test_values_that_are_none(tmp_path, kind, zipped):
    make, reason = VALUES[kind]
    path = tmp_path / "w.pt"
    torch.save({"state_dict": {"w": make()}}, path, _use_new_zipfile_serialization=zipped)
    refused(path, reason)


@pytest.mark.filterwarnings("ignore:.*quantize_per_tensor.*|.*quantization.*")
def test_quantized_tensors_of_torch_are_named(tmp_path):
    torch.save({"a": {"w": torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.qint8)}}, tmp_path / "w.pt")
    refused(tmp_path / "w.pt", "a.w is a quantized tensor")


def test_many_views_of_one_tensor(tmp_path):
    one = torch.ones(10**6)
    torch.save({str(index): one.view(-1) for index in range(50)}, tmp_path / "w.pt")
    refused(tmp_path / "w.pt", "more than the file holds")
    torch.save({"a": one, "tied": one.view(10, -1)}, tmp_path / "w.pt")
    assert read_weights(tmp_path / "w.pt")["tied"].shape == (10, 10**5)


def test_what_a_pickle_has_replaced_is_not_used(tmp_path):
    path, parameter = tmp_path / "w.pt", torch.nn.Parameter(torch.ones(2))
    parameter.detach = 5
    torch.save({"state_dict": Shadowed(), "parameter": parameter}, path)
    values = read_weights(path)
    assert (type(values["state_dict"]), list(values["state_dict"])) == (dict, ["w"])
    assert torch.equal(values["parameter"].detach(), torch.ones(2))


def header(**tensors: object) -> bytes:
    text = json.dumps(tensors).encode()
    return len(text).to_bytes(8, "little") + text + bytes(40)


def entry(shape: list[int], kind: str = "F32") -> dict[str, object]:
    return {"dtype": kind, "shape": shape, "data_offsets": [0, 40]}


SAFETENSORS = {
    "overlapping": header(a=entry([10]), b=entry([10])),
    "larger than the file": header(a=entry([2**40])),
    "unknown type": header(a=entry([10], "F77")),
    "no header": b"",
    "endless header": (2**25).to_bytes(8, "little") + bytes(100),
}


@pytest.mark.parametrize("kind", SAFETENSORS)
def test_safetensors_whose_header_lies(tmp_path, kind):
    path = tmp_path / "w.safetensors"
    path.write_bytes(SAFETENSORS[kind])
    refused(path, "damaged safetensors file")


@pytest.mark.parametrize("data", [bytes(2000), b"\x80\x02" + b"(" * 5000, b"\x80\x02}q\x00.", b"\x80\x02K\x01Q."])
def test_pickles_that_nobody_wrote(tmp_path, data):
    path = tmp_path / "w.pt"
    path.write_bytes(data)
    refused(path, "w.pt: ")


def refused(path: Path, reason: str) -> None:
    began = time.perf_counter()
    with pytest.raises(DataError) as caught:
        read_weights(path)
    assert time.perf_counter() - began < SECONDS
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and reason in message and "\n" not in message, message
