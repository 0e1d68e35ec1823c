"""Networks with several pictures and outputs: torch and files give what counting by hand gives, through every verb."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from edgeailite.cost.accuracies import read_accuracies
from edgeailite.data import open_dataset
from edgeailite.data.augment.transforms import EvalTransform
from edgeailite.data.files.images import read_image
from edgeailite.data.loader import eval_loader
from edgeailite.data.streets.dataset import write_streets
from edgeailite.evaluation import Protocol, Views, evaluate, merge, part_of
from edgeailite.evaluation.measure import measure
from edgeailite.evaluation.summary import tasks_of
from edgeailite.export import to_onnx
from edgeailite.modelcard import ModelCard, changed_options
from edgeailite.models import create_model
from edgeailite.preprocessing import Preprocessing, preprocess
from edgeailite.runs.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from edgeailite.runs.dataset import dataset_of
from edgeailite.runs.folder import LAST
from edgeailite.runs.network import load_network
from edgeailite.runs.open import open_model

NAME = "deeplabv3plus_mobilenetv2_tv_edgeailite"
FORM = "streets_depth_semantic_motion_multi_input"
OUTPUTS = {"depth": 1, "segmentation": 19, "motion": 2}
SIZE = (64, 96)
QUICK = ("--workers", 0, "--device", "cpu", "--threads", 1, "--json", True)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Three validation scenes with their previous frames, depth and motion."""
    return write_streets(tmp_path_factory.mktemp("streets"), train=2, val=3, height=64, width=128, workers=0)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory) -> Path:
    """A run folder with random weights, beside it files of fixed and of open size and one with ArgMax."""
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(3)
    model = create_model(NAME, outputs=OUTPUTS, inputs=2).eval()
    source = open_dataset(FORM, data, "val")
    card = ModelCard(
        NAME,
        OUTPUTS,
        source.classes,
        source.palette,
        Preprocessing(*SIZE),
        dataset_name=FORM,
        data_path=str(data),
        options=changed_options(model.options),
    )
    save_checkpoint(folder / LAST, Checkpoint(card, model.state_dict(), {}))
    (folder / "argmax.onnx").write_bytes(
        to_onnx(model, card, size=SIZE, argmax="full", simplify=False).SerializeToString()
    )
    file = to_onnx(model, card, simplify=False)
    (folder / "open.onnx").write_bytes(file.SerializeToString())
    for value in file.graph.input:  # exporting a third time takes longer
        for dimension, size in zip(value.type.tensor_type.shape.dim, (1, 3, *SIZE), strict=True):
            dimension.dim_value = size
    (folder / "fixed.onnx").write_bytes(file.SerializeToString())
    return folder


def by_hand(run: Path, data: Path) -> dict[str, list[tuple[np.ndarray, Tensor]]]:
    """(target, prediction at its size) of every picture, by output, with the network alone."""
    source = open_dataset(FORM, data, "val")
    _, model = load_network(run)
    found: dict[str, list] = {name: [] for name in OUTPUTS}
    for item in source.items:
        images = [torch.from_numpy(preprocess(read_image(path), Preprocessing(*SIZE))) for path in item.images]
        with torch.inference_mode():
            outputs = model(*images)
        for name, target in source.targets.items():
            values = target.values(item.labels[name], source.name)
            scaled = torch.nn.functional.interpolate(outputs[name], values.shape, mode="bilinear")[0]
            found[name].append((values, scaled[0] if name == "depth" else scaled.argmax(0)))
    return found


@pytest.mark.parametrize("file", ["", "fixed.onnx", "open.onnx"])
@pytest.mark.parametrize("batch_size", [1, 2])
def test_every_output_equals_counting_by_hand(command, run, data, file, batch_size):
    ended = command("validate", run / file, *QUICK, "--data_path", data, "--batch_size", batch_size)
    assert ended.code == 0, ended.err
    values = json.loads(ended.out)
    pairs = by_hand(run, data)
    for name in ("segmentation", "motion"):
        truth, guess = (np.concatenate([np.asarray(pair[side]).ravel() for pair in pairs[name]]) for side in (0, 1))
        truth, guess = truth[truth != 255], guess[truth != 255]
        present = sorted(set(truth) | set(guess))
        iou = [((truth == c) & (guess == c)).sum() / ((truth == c) | (guess == c)).sum() for c in present]
        assert values[name]["miou"] == pytest.approx(100 * np.mean(iou), abs=0.01)
        assert len(values[name]["iou"]) == OUTPUTS[name]
    truth, guess = (np.concatenate([np.asarray(pair[side]).ravel() for pair in pairs["depth"]]) for side in (0, 1))
    truth, guess = truth[truth > 0].astype(float), guess[truth > 0].astype(float)
    assert values["depth"]["ard"] == pytest.approx(100 * np.mean(np.abs(guess - truth) / truth), abs=0.01)
    assert values["depth"]["rmse_metres"] == pytest.approx(np.sqrt(np.mean((guess - truth) ** 2)), abs=0.01)


def test_results_of_several_outputs_are_a_results_file(command, run, data, tmp_path):
    """The accuracy of the network is that of its segmentation."""
    ended = command("validate", run / "fixed.onnx", *QUICK, "--data_path", data)
    (tmp_path / "results.json").write_text(ended.out)
    [found] = read_accuracies(tmp_path / "results.json")
    assert (found.network, found.size, found.classes) == (NAME, SIZE, 19)
    assert found.miou == json.loads(ended.out)["segmentation"]["miou"]


def test_argmax_file_is_the_network_at_equal_size(run, data):
    """At the size of the network, the ArgMax inside is the ArgMax outside; depth stays what it is."""
    protocol = Protocol(output_size=SIZE)
    tallies = []
    for file in ("fixed.onnx", "argmax.onnx"):
        opened = open_model(run / file, device=CPU, threads=1)
        source = dataset_of(opened.card, None, data, "val")
        tallies.append(measure(opened, source, workers=0, protocol=protocol))
    for name in ("segmentation", "motion"):
        assert np.array_equal(tallies[0][name].confusion, tallies[1][name].confusion)
    assert tallies[0]["depth"] == tallies[1]["depth"]


@pytest.mark.parametrize(
    "protocol",
    [
        Protocol(Views((0.5, 1.0), flip=True)),
        Protocol(window=SIZE, stride=(64, 32), img_resize=(64, 128)),
        Protocol(Views(short_edges=(64, 96), padding=32)),
    ],
    ids=["scales and flip", "window", "short edges"],
)
def test_torch_and_file_agree_under_every_protocol(run, data, protocol):
    results = []
    for file in ("", "open.onnx"):
        opened = open_model(run / file, device=CPU, threads=1)
        tally = measure(opened, dataset_of(opened.card, None, data, "val"), workers=0, protocol=protocol)
        results.append([tally[name].scores() for name in ("segmentation", "motion", "depth")])
    for ours, theirs in zip(*results, strict=True):
        for name in vars(ours):
            assert getattr(ours, name) == pytest.approx(getattr(theirs, name), abs=2e-3, nan_ok=True)


def test_a_window_slides_a_file_of_one_size_over_larger_pictures(command, run, data):
    words = ("--data_path", data, *QUICK, "--window", *SIZE, "--window_stride", 64, 32)
    values = [json.loads(command("validate", run / file, *words).out) for file in ("fixed.onnx", "open.onnx")]
    assert {**values[0], "model": ""} == {**values[1], "model": ""}


@pytest.mark.parametrize(
    "words, flag",
    [
        (("--scales", 0.5, 1), "--scales 0.5 1.0"),
        (("--short_edges", 300, 400), "--short_edges 300 400"),
        (("--window", 32, 64), "--window 32 64"),
        (("--img_resize", 64, 128), "--img_resize 64 128"),
    ],
)
def test_other_sizes_are_refused_for_a_file_of_one(command, run, data, words, flag):
    ended = command("validate", run / "fixed.onnx", "--data_path", data, *QUICK, *words)
    assert ended.code == 2
    assert f"{flag}: {run / 'fixed.onnx'} takes pictures of 64 96 only" in ended.err
    assert "export RUN --dynamic True" in ended.err


def test_averaging_is_refused_for_a_file_with_argmax(command, run, data):
    ended = command("validate", run / "argmax.onnx", "--data_path", data, *QUICK, "--flip", True)
    assert ended.code == 2
    assert "a file with ArgMax gives classes, which cannot be averaged" in ended.err


def test_shards_of_a_split_merge_to_the_whole(run, data):
    opened = open_model(run, device=CPU)
    source = dataset_of(opened.card, None, data, "val")
    whole = measure(opened, source, workers=0)
    shards = [
        evaluate(
            opened.predict,
            eval_loader(source, EvalTransform(SIZE), batch_size=1, workers=0, indices=indices),
            tasks_of(source, opened.card.outputs),
        )
        for indices in ([1], [0, 2], [])
    ]
    merged = merge(shards)
    assert merged["depth"].scores() == whole["depth"].scores()
    assert np.array_equal(merged["segmentation"].confusion, whole["segmentation"].confusion)


def test_part_of_a_split(run, data):
    opened = open_model(run, device=CPU)
    source = dataset_of(opened.card, None, data, "val")
    part = measure(opened, source, workers=0, protocol=Protocol(epoch_size=2))
    assert [sums.pixels > 0 for sums in part["depth"].pictures] == [True, True]
    whole = measure(opened, source, workers=0)
    assert part["depth"].pictures == tuple(whole["depth"].pictures[index] for index in part_of(3, 2))


def test_table_and_matrices_of_each_output(command, run, data, tmp_path):
    words = ("--workers", 0, "--device", "cpu", "--boundary", True, "--confusion", tmp_path / "deep/m.csv")
    ended = command("validate", run, "--data_path", data, *words)
    assert ended.code == 0, ended.err
    rows = (
        "segmentation: mIoU, %",
        "segmentation: IoU road, %",
        "motion: boundary IoU, %",
        "depth: ARD, %",
        "depth: RMSE, m",
    )
    for row in rows:
        assert row in ended.out
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["m_motion.csv", "m_segmentation.csv"]


def test_data_of_another_form_is_refused(command, run, data):
    for name, code, reason in (
        ("streets", 2, "has 1 picture(s) per sample, but the model takes 2"),
        ("streets_motion_multi_input", 3, "has labels for motion, none for the model's output depth"),
        ("cityscapes_segmentation_infer", 2, "has pictures only, no labels to compare with"),
    ):
        ended = command("validate", run, "--dataset_name", name, "--data_path", data, *QUICK)
        assert (ended.code, reason in ended.err) == (code, True), ended.err


@pytest.mark.slow
def test_the_line_from_calibration_to_proof(command, run, data):
    ended = command("calibrate", run, "--images", 2, "--batch_size", 1, "--workers", 0, "--data_path", data)
    assert ended.code == 0, ended.err
    assert "simulated int8: val segmentation mIoU, %" in ended.out
    quantized = run.with_name(f"{run.name}_ptq")
    assert command("export", quantized).code == 0
    ended = command("verify", quantized, "--images", 1, "--data_path", data, "--sizes", 64, 64)
    assert ended.code == 0, ended.err
    ended = command("verify", quantized / "model_int8.onnx", quantized / "contract_int8.json")
    assert ended.code == 0, ended.err


def test_verbs_that_draw_pictures_draw_depth_and_say_what_they_cannot(command, run, data, tmp_path):
    picture = next(data.rglob("*_leftImg8bit.png"))
    ended = command("infer", run, picture, "--save_path", tmp_path / "out")
    assert ended.code == 2
    assert "the network takes 2 picture(s) at a time, --beside names 0" in ended.err
    checkpoint = load_checkpoint(run / LAST)
    model = create_model(NAME, outputs={"depth": 1})
    card = replace(
        checkpoint.card, outputs={"depth": 1}, classes=(), palette=(), options={}, dataset_name="streets_depth"
    )
    (tmp_path / "depth").mkdir()
    save_checkpoint(tmp_path / "depth" / LAST, Checkpoint(card, model.state_dict(), {}))
    ended = command("infer", tmp_path / "depth", picture, "--save_path", tmp_path / "out")
    assert ended.code == 0
    assert list((tmp_path / "out").glob("*depth*.png"))
    ended = command("report", tmp_path / "depth", "--data_path", data)
    assert ended.code == 0
    assert (tmp_path / "depth" / "report.html").is_file()
    values = json.loads(command("validate", tmp_path / "depth", "--data_path", data, *QUICK).out)
    assert set(values) == {"model", "network", "size", "type", "arithmetic", "data", "ard", "rmse_metres"}


def test_report_shows_the_output_whose_classes_the_card_names(command, run, data, tmp_path):
    ended = command("report", run, "--data_path", data, "--output", tmp_path / "r.html", "--images", 1)
    assert ended.code == 0, ended.err
    assert "traffic light" in (tmp_path / "r.html").read_text(encoding="utf-8")
