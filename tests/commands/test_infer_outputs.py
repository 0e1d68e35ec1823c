"""Networks of several inputs and outputs, files of every kind, and label values of the data set, through `infer`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from edgeailite.commands import infer
from edgeailite.config import InferConfig
from edgeailite.data import open_dataset
from edgeailite.data.augment.transforms import EvalTransform
from edgeailite.data.files.images import read_image, read_label
from edgeailite.data.loader import eval_loader
from edgeailite.data.streets.dataset import write_streets
from edgeailite.data.tensors import to_input
from edgeailite.errors import DataError, UsageError
from edgeailite.evaluation import outputs_at
from edgeailite.export import to_onnx
from edgeailite.inference import as_input, label_picture
from edgeailite.inference.labels import inverse, original_values
from edgeailite.modelcard import ModelCard, changed_options
from edgeailite.models import create_model
from edgeailite.preprocessing import Preprocessing
from edgeailite.quantization import prepare, set_state
from edgeailite.runs.checkpoint import Checkpoint, save_checkpoint
from edgeailite.runs.folder import LAST
from edgeailite.runs.open import open_model
from tests.data.trees import mask, picture
from tests.golden import golden_model

NAME = "deeplabv3plus_mobilenetv2_tv_edgeailite"
FORM = "streets_depth_semantic_motion_multi_input"
OUTPUTS = {"depth": 1, "segmentation": 19, "motion": 2}
SIZE = (64, 96)
CPU = torch.device("cpu")
KINDS = ("labels", "colors", "overlay", "side_by_side", "shares")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_streets(tmp_path_factory.mktemp("streets"), train=1, val=2, height=64, width=128, workers=0)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory) -> Path:
    """A run folder of a network with two inputs and three outputs, with random weights."""
    torch.manual_seed(3)
    model = create_model(NAME, outputs=OUTPUTS, inputs=2).eval()
    source = open_dataset(FORM, data, "val")
    options = changed_options(model.options)
    card = ModelCard(NAME, OUTPUTS, source.classes, source.palette, Preprocessing(*SIZE), FORM, str(data), options)
    folder = tmp_path_factory.mktemp("run")
    save_checkpoint(folder / LAST, Checkpoint(card, model.state_dict(), {}))
    return folder


@pytest.fixture(scope="module")
def single(data, tmp_path_factory) -> Path:
    """A folder with one network of 19 classes as float and as int8 file."""
    folder = tmp_path_factory.mktemp("single")
    source = open_dataset("streets", data, "val")
    card = ModelCard(
        NAME, {"segmentation": 19}, source.classes, source.palette, Preprocessing(*SIZE), "streets", str(data)
    )
    model = golden_model()
    (folder / "float.onnx").write_bytes(to_onnx(model, card, size=SIZE, simplify=False).SerializeToString())
    shown = [read_image(path) for path in (data / "leftImg8bit/val/streets").iterdir()]
    quantized = prepare(model, percentile=100.0).eval()
    set_state(quantized, observing=True, enabled=False)
    with torch.no_grad():
        quantized(torch.cat([to_input(as_input(picture, card.preprocessing), card.preprocessing) for picture in shown]))
    set_state(quantized, observing=False, enabled=True)
    (folder / "int8.onnx").write_bytes(to_onnx(quantized, card, size=SIZE, simplify=False).SerializeToString())
    return folder


def streams(data: Path, **more: object) -> dict[str, object]:
    return {"input": (data / "leftImg8bit/val",), "beside": (data / "leftImg8bit_previous/val",), "write": KINDS} | more


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_every_output_gets_its_pictures(run, data, tmp_path):
    """Values are those that `validate` compares: the previous frame is the first input, as in the data set."""
    assert infer.run(InferConfig(run, save_path=tmp_path, **streams(data))) == 0
    source = open_dataset(FORM, data, "val")
    predict = open_model(run, device=CPU).predict
    loader = eval_loader(source, EvalTransform(SIZE), batch_size=1, workers=0)
    expected_files = {"infer.json", "legend.png", "shares.csv", "shares.json"}
    for item, (images, _) in zip(source.items, loader, strict=True):
        stem = tmp_path / "streets" / item.image.stem
        expected = {name: value[0] for name, value in outputs_at(predict, images, (64, 128)).items()}
        for name in ("segmentation", "motion"):
            label = read_label(stem.with_name(f"{stem.name}_{name}_label.png"))
            assert (label == expected[name].argmax(0).numpy()).all()
        stored = cv2.imread(str(stem.with_name(f"{stem.name}_depth.png")), cv2.IMREAD_UNCHANGED)
        assert stored.dtype == np.uint16
        assert stored / 256 == pytest.approx(expected["depth"][0].numpy().clip(0, 65535 / 256), abs=1 / 500)
        colors = [f"{name}_{kind}" for name in OUTPUTS for kind in ("color", "overlay", "side_by_side")]
        kinds = ["segmentation_label", "motion_label", "depth", *colors]
        expected_files |= {f"streets/{item.image.stem}_{kind}.png" for kind in kinds}
    assert files(tmp_path) == expected_files
    [first, _] = json.loads((tmp_path / "shares.json").read_text())
    assert {name: len(shares) for name, shares in first["shares"].items()} == {"segmentation": 19, "motion": 2}
    assert all(sum(shares.values()) == pytest.approx(1, abs=1e-4) for shares in first["shares"].values())


def test_which_input_the_pictures_are(run, data, tmp_path):
    config = InferConfig(run, save_path=tmp_path / "last", **streams(data, write=("labels",)))
    infer.run(config)
    previous, now = data / "leftImg8bit_previous/val", data / "leftImg8bit/val"
    turned = replace(config, input=(previous,), beside=(now,), camera_input=0, save_path=tmp_path / "first")
    infer.run(turned)
    for path in (tmp_path / "last/streets").iterdir():
        assert path.read_bytes() == (tmp_path / "first/streets" / path.name).read_bytes()


def test_a_missing_second_picture_is_skipped(run, data, tmp_path):
    beside = tmp_path / "beside/streets"
    beside.mkdir(parents=True)
    first, second = sorted((data / "leftImg8bit_previous/val/streets").iterdir())
    (beside / first.name.replace("_leftImg8bit", "_flow")).write_bytes(first.read_bytes())
    more = streams(data, beside=(tmp_path / "beside",), write=("labels",))
    assert infer.run(InferConfig(run, save_path=tmp_path / "out", **more)) == 1
    reason = (tmp_path / "out/skipped.csv").read_text()
    assert second.name in reason
    assert first.name not in reason


@pytest.mark.parametrize("beside, model", [(0, "run"), (1, "single")])
def test_another_number_of_inputs_is_refused(run, single, data, tmp_path, beside, model):
    folders = (data / "leftImg8bit_previous/val",) * beside
    file = run if model == "run" else single / "float.onnx"
    with pytest.raises(UsageError, match=r"the network takes . picture\(s\) at a time, --beside names"):
        infer.run(InferConfig(file, save_path=tmp_path, **streams(data, beside=folders)))


@pytest.mark.parametrize("file", ["float.onnx", "int8.onnx"])
def test_files_give_what_the_predictor_gives(single, data, tmp_path, file):
    picture = next((data / "leftImg8bit/val/streets").iterdir())
    assert infer.run(InferConfig(single / file, (picture,), tmp_path, write=("labels",))) == 0
    expected = label_picture(open_model(single / file, device=CPU), read_image(picture))
    label = read_label(tmp_path / f"{picture.stem}_label.png")
    assert (label == expected).all()
    assert len(np.unique(label)) > 1


@pytest.mark.openvino
@pytest.mark.parametrize("file, least", [("float.onnx", 0.999), ("int8.onnx", 0.9)])
def test_openvino_agrees(single, data, tmp_path, file, least):
    picture = next((data / "leftImg8bit/val/streets").iterdir())
    labels = []
    for runtime in ("onnxruntime", "openvino"):
        config = InferConfig(single / file, (picture,), tmp_path / runtime, write=("labels",), runtime=runtime)
        assert infer.run(config) == 0
        labels.append(read_label(tmp_path / runtime / f"{picture.stem}_label.png"))
    assert (labels[0] == labels[1]).mean() >= least


def test_openvino_needs_a_file_and_the_package(run, single, data, tmp_path, monkeypatch):
    monkeypatch.setattr("edgeailite.runtime.openvino_session.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"--runtime openvino: not installed; pip install openvino"):
        infer.run(InferConfig(single / "float.onnx", (data,), tmp_path, runtime="openvino"))
    with pytest.raises(UsageError, match=r"computes \.onnx files"):
        infer.run(InferConfig(run, save_path=tmp_path, runtime="openvino", **streams(data)))


def test_original_ids_are_those_of_the_label_files(single, run, data, tmp_path):
    picture = next((data / "leftImg8bit/val/streets").iterdir())
    plain = InferConfig(single / "float.onnx", (picture,), tmp_path / "plain", write=("labels",))
    infer.run(plain)
    infer.run(replace(plain, save_path=tmp_path / "ids", original_ids=True, data_path=data))
    table = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
    classes, ids = (read_label(tmp_path / kind / f"{picture.stem}_label.png") for kind in ("plain", "ids"))
    assert (np.array(table)[classes] == ids).all()
    motion = InferConfig(run, save_path=tmp_path / "motion", original_ids=True, **streams(data, write=("labels",)))
    infer.run(motion)
    found = [np.unique(read_label(path)) for path in (tmp_path / "motion").rglob("*_motion_label.png")]
    assert set(np.concatenate(found)) <= {0, 255}


def test_label_values_that_result_files_cannot_hold_are_refused(tmp_path):
    picture(tmp_path / "images/val/a.jpg")
    mask(tmp_path / "labels/val/a.png", (0, 1))
    (tmp_path / "dataset.yaml").write_text("label_map: {0: a, 1: b, 1000: b, -1: c}\n")
    card = ModelCard(
        "none", {"segmentation": 3}, ("a", "b", "c"), ((0, 0, 0),) * 3, Preprocessing(32, 32), dataset_name="folder"
    )
    with pytest.raises(
        DataError, match="class c has label value -1, and result files hold 0 to 255; leave --original_ids"
    ):
        original_values(card, tmp_path)
    assert inverse({0: 0, 1: 1, 1000: 1, 255: 255}).tolist()[:3] == [0, 1, 255]


def test_original_ids_need_the_data_set(single, data, tmp_path):
    config = InferConfig(single / "float.onnx", (data,), tmp_path / "out", original_ids=True, data_path=tmp_path)
    with pytest.raises(
        UsageError, match=r"--original_ids: the label values stand with data set streets .* --data_path"
    ):
        infer.run(config)
