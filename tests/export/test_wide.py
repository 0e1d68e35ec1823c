"""Files with 16-bit parts: they say so, exactness is not promised of them, and what is promised is still checked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from torch import nn

from edgeailite.errors import ParityError
from edgeailite.export import to_onnx
from edgeailite.export.contract import contract_values
from edgeailite.export.parity import Agreement, Subject, holds, prove
from edgeailite.modelcard import ModelCard
from edgeailite.quantization import Plan, calibrate, prepare, set_input_range
from edgeailite.runtime import load_onnx, recheck
from tests.golden import golden_card, smooth_pictures
from tests.onnxfile.made import change_preprocessing

SIZE = (32, 48)
CARD = golden_card(SIZE, num_classes=4)
PLAN = Plan(weights={"middle": 16}, activations={"relu": 16})


class Tiny(nn.Module):
    """Three convolutions and a resize: what every network here has."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, 2, 1)
        self.relu = nn.ReLU()
        self.middle = nn.Conv2d(8, 8, 3, 1, 1)
        self.last = nn.Conv2d(8, channels, 1)

    def forward(self, *images: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.last(self.middle(self.relu(self.first(images[0]))))
        size = images[0].shape[2:]
        name = "depth" if self.last.out_channels == 1 else "segmentation"
        return {name: nn.functional.interpolate(x, size=size, mode="bilinear", align_corners=False)}


def subject(folder: Path, plan: Plan = PLAN, card: ModelCard = CARD) -> Subject:
    torch.manual_seed(0)
    model = prepare(Tiny(next(iter(card.outputs.values()))).eval(), plan=plan)
    set_input_range(model, *card.preprocessing.input_range)
    images = [torch.from_numpy(picture.transpose(2, 0, 1).copy())[None] for picture in smooth_pictures(2, SIZE, seed=1)]
    calibrate(model, [(image.float() - 128) / 64 for image in images])
    file = folder / "model_int8.onnx"
    file.write_bytes(to_onnx(model.eval(), card, size=SIZE).SerializeToString())
    return Subject(model, card, file)


@pytest.fixture(scope="module")
def wide(tmp_path_factory) -> Subject:
    return subject(tmp_path_factory.mktemp("wide"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> list[tuple[Path, ...]]:
    folder = tmp_path_factory.mktemp("pictures")
    paths = [folder / f"{index}.png" for index in range(2)]
    for path, picture in zip(paths, smooth_pictures(2, (40, 60)), strict=True):
        cv2.imwrite(str(path), picture)
    return [(path,) for path in paths]


def contract(found: Subject, pictures: list[tuple[Path, ...]]) -> dict:
    return json.loads(json.dumps(contract_values(found, pictures, {})))


def metadata(found: Subject) -> dict[str, str]:
    return load_onnx(found.file).session.get_modelmeta().custom_metadata_map


def test_the_file_names_its_wide_parts_and_others_have_none(wide, tmp_path):
    assert json.loads(metadata(wide)["edgeailite.wide"]) == ["middle", "ranges.relu"]
    assert "edgeailite.wide" not in metadata(subject(tmp_path, Plan()))


def test_the_proof_says_that_it_is_not_exact(wide):
    results = prove(wide, smooth_pictures(2, (40, 60)), sizes=((33, 65),))
    assert results["exact"] is False
    assert "99 %" in results["promise"]
    assert results["ALL"]["equal_argmax"] >= 0.99
    assert not results["integer_kernels"]["all_integer"]


def test_without_wide_parts_every_bit_is_still_asked_for(tmp_path, pictures):
    narrow = subject(tmp_path, Plan(weights={"middle": 4}))
    results = prove(narrow, smooth_pictures(1, (40, 60)))
    assert "exact" not in results
    assert results["ALL"]["max_difference"] == 0
    written = contract(narrow, pictures)
    assert written["exact"] is True
    assert written["tolerance"]["int8"] == "every bit"
    assert "promise" not in recheck(narrow.file, written)


def test_what_holds():
    most, few = (Agreement(1, share, 3.0, 0.05, 1.0) for share in (0.995, 0.985))
    assert holds(most, "int8", wide=True)
    assert not holds(few, "int8", wide=True)
    assert not holds(most, "int8")
    assert holds(Agreement(1, None, 3.0, 0.05, 1.0), "int8", wide=True)
    assert not holds(Agreement(1, None, 3.0, 0.2, 1.0), "int8", wide=True)


def test_a_contract_of_a_wide_file_is_rechecked_by_labels_and_says_so(wide, pictures):
    written = contract(wide, pictures)
    assert written["exact"] is False
    results = recheck(wide.file, written)
    assert (results["exact"], "99 %" in results["promise"]) == (False, True)
    for golden in written["golden"]:  # other bits, equal labels: what another machine may give
        golden["outputs"]["segmentation"]["sha256"] = "0" * 64
    assert recheck(wide.file, written)["ALL"]["equal_argmax"] == 1
    del written["exact"]
    with pytest.raises(ParityError, match="departs first"):
        recheck(wide.file, written)


def test_a_wrong_wide_file_and_wrong_preprocessing_are_found(wide, pictures, tmp_path):
    written = contract(wide, pictures)
    model = onnx.load(str(wide.file))
    weight = next(t for t in model.graph.initializer if len(t.dims) == 4)
    weight.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(weight), weight.name))
    onnx.save(model, str(tmp_path / "wrong.onnx"))
    with pytest.raises(ParityError, match="departs first"):
        recheck(tmp_path / "wrong.onnx", written, skip_hash=True)
    with pytest.raises(ParityError, match="departs first"):
        prove(Subject(wide.module, CARD, tmp_path / "wrong.onnx"), smooth_pictures(1, (40, 60)), skip_hash=True)
    model = onnx.load(str(wide.file))
    change_preprocessing(model, "interpolation", "area")
    onnx.save(model, str(tmp_path / "area.onnx"))
    with pytest.raises(ParityError, match="preprocessing"):
        recheck(tmp_path / "area.onnx", written, skip_hash=True)


def test_values_without_classes_must_be_near(pictures, tmp_path):
    depth = subject(tmp_path, card=replace(CARD, outputs={"depth": 1}, classes=(), palette=()))
    assert prove(depth, smooth_pictures(1, (40, 60)))["ALL"]["equal_argmax"] is None
    written = contract(depth, pictures)
    written["golden"][0]["outputs"]["depth"]["sha256"] = "0" * 64
    assert recheck(depth.file, written)["ALL"]["equal_argmax"] is None
    values = written["golden"][0]["outputs"]["depth"]
    values["sample"] = (np.array(values["sample"]) + values["std"]).tolist()
    with pytest.raises(ParityError, match="departs first"):
        recheck(depth.file, written)
