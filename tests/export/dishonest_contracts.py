"""What somebody can write into a contract, and files that try to get past an honest one. None may keep its contract."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.export.dishonest_files import Change, behind, both, card, set_entry

Edit = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class ContractRow:
    """A dishonest contract of an honest file."""

    edit: Edit
    word: str
    kinds: tuple[str, ...] = ("float", "int8")


def put(*path: Any, value: Any) -> Edit:
    """Set the value at a path."""

    def change(contract: dict[str, Any]) -> None:
        place: Any = contract
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return change


def drop(*path: Any) -> Edit:
    def change(contract: dict[str, Any]) -> None:
        place: Any = contract
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]

    return change


OUTPUT = ("golden", 0, "outputs", "segmentation")


def _lie(contract: dict[str, Any]) -> None:
    labels = contract["golden"][0]["outputs"]["segmentation"]["labels"]
    values = np.frombuffer(zlib.decompress(base64.b64decode(labels["zlib_base64"])), np.uint8)
    labels["zlib_base64"] = base64.b64encode(zlib.compress(((values + 1) % 5).tobytes())).decode()


def _shift(contract: dict[str, Any]) -> None:
    output = contract["golden"][0]["outputs"]["segmentation"]
    output["sample"] = [value + output["std"] for value in output["sample"]]


def _renamed(contract: dict[str, Any]) -> None:
    outputs = contract["golden"][0]["outputs"]
    outputs["another"] = outputs.pop("segmentation")


def _no_picture(contract: dict[str, Any]) -> None:
    contract["golden"][0] |= {"pictures": [], "images": []}


PICTURE = ("golden", 0, "pictures", 0)
BOMB = base64.b64encode(zlib.compress(bytes(10**7), 9)).decode()
DEEP: Any = []
for _ in range(200):
    DEEP = [DEEP]

CONTRACTS = {
    "no golden picture": ContractRow(put("golden", value=[]), "golden"),
    "no golden entry": ContractRow(drop("golden"), "golden"),
    "no output": ContractRow(put("golden", 0, "outputs", value={}), "outputs"),
    "an output of another name": ContractRow(_renamed, "another"),
    "no picture in a case": ContractRow(_no_picture, "pictures"),
    "std 1e9": ContractRow(put(*OUTPUT, "std", value=1e9), "std"),
    "std Infinity": ContractRow(put(*OUTPUT, "std", value=float("inf")), "std"),
    "std below 0": ContractRow(put(*OUTPUT, "std", value=-1.0), "std"),
    "std as text": ContractRow(put(*OUTPUT, "std", value="1"), "std"),
    "kind null": ContractRow(put("kind", value=None), "kind"),
    "kind 5": ContractRow(put("kind", value=5), "kind"),
    "kind float of an int8 file": ContractRow(put("kind", value="float"), "", ("int8",)),
    "kind int8 of a float file": ContractRow(put("kind", value="int8"), "", ("float",)),
    "not exact": ContractRow(put("exact", value=False), "", ("int8",)),
    "exact as text": ContractRow(put("exact", value="yes"), "exact"),
    "tolerance": ContractRow(put("tolerance", "float_layer_std", value=1e9), "float_layer_std"),
    "promise of another tolerance": ContractRow(put("tolerance", "int8", value="nearly"), "int8"),
    "preprocessing: mean": ContractRow(put("preprocessing", "mean", value=[0, 0, 0]), "mean"),
    "preprocessing: size": ContractRow(put("preprocessing", "height", value=384), "height"),
    "preprocessing: order": ContractRow(put("preprocessing", "channel_order", value="BGR"), "channel_order"),
    "preprocessing: an entry more": ContractRow(put("preprocessing", "gamma", value=2.2), "gamma"),
    "preprocessing: null": ContractRow(put("preprocessing", value=None), "preprocessing"),
    "class names": ContractRow(put("card", "classes", 0, value="sky"), "classes"),
    "labels that lie": ContractRow(_lie, "labels|departs"),
    "a sample that lies": ContractRow(_shift, "sample|departs"),
    "a sample of three": ContractRow(put(*OUTPUT, "sample", value=[1.0, 2.0, 3.0]), "sample"),
    "no labels": ContractRow(drop(*OUTPUT, "labels"), "labels"),
    "no sums": ContractRow(drop(*OUTPUT, "sums"), "sums"),
    "sums of 0": ContractRow(put(*OUTPUT, "sums", value=[0.0] * 64), "sample|departs"),
    "hash as a number": ContractRow(put("sha256", value=12), "sha256"),
    "hash of another file": ContractRow(put("sha256", value="0" * 64), "sha256"),
    "format 99": ContractRow(put("format", value=99), "format"),
    "format true": ContractRow(put("format", value=True), "format"),
    "a bomb as picture": ContractRow(put(*PICTURE, "zlib_base64", value=BOMB), "bytes"),
    "a picture of 10^12 pixels": ContractRow(put(*PICTURE, "shape", value=[10**6, 10**6, 3]), "shape"),
    "a picture that is no base64": ContractRow(put(*PICTURE, "zlib_base64", value="%%"), "damaged"),
    "nested 200 deep": ContractRow(put("note", value=DEEP), "deep"),
    "a file elsewhere": ContractRow(put("file", value="../../other.onnx"), "file"),
    "results that are none": ContractRow(put("results", "ALL", "equal_argmax", value="all"), "equal_argmax"),
    "a layer that moves the cursor": ContractRow(put("golden", 0, "layers", 0, "tensor", value="\x1b[2J"), "tensor"),
}  # fmt: skip


def _right_at_64_places(shape: tuple[int, ...], by: float) -> NDArray[np.float32]:
    """Added to the scores: 0 where contracts of format 2 look, else anything."""
    size = int(np.prod(shape))
    places = np.random.default_rng(size).integers(0, size, min(size, 64))
    added = np.random.default_rng(1).normal(size=size).astype(np.float32) * np.float32(by)
    added[places] = 0
    return added.reshape(shape)


def _patch(shape: tuple[int, ...]) -> NDArray[np.float32]:
    added = np.zeros(shape, np.float32)
    added[:, 0, 3:6, 3:6] = 0.3
    return added


def added(values: NDArray[np.float32]) -> Change:
    return behind(("Add", ["honest", "added"], "out"), added=values)


def wrong_files(shape: tuple[int, ...]) -> dict[str, Change]:
    """Files whose contract is checked without the hash; `shape` is that of the scores."""
    one = np.zeros(shape, np.float32)
    one[0, 0, 7, 7] = 0.5
    return {
        "wrong but at 64 places": added(_right_at_64_places(shape, 10)),
        "a hundredth off but at 64 places": added(_right_at_64_places(shape, 1e-2)),
        "a patch of nine pixels": added(_patch(shape)),
        "one score of all": added(one),
        "a constant on every score": behind(("Add", ["honest", "one"], "out"), one=np.float32(1)),
        "scores negated": behind(("Neg", ["honest"], "out")),
        "scores doubled": behind(("Mul", ["honest", "two"], "out"), two=np.float32(2)),
        "not finite": behind(("Log", ["honest"], "out")),
        "class names": both(card(classes=["b", "a", "c", "d", "e"]), set_entry("classes", "b,a,c,d,e")),
        "mean 128.01": set_entry("mean", "[128.01, 128.0, 128.0]"),
        "channel order": set_entry("channel_order", "BGR"),
        "kind": set_entry("edgeailite.kind", "float"),
    }
