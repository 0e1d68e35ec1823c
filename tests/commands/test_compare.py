"""`edgeailite compare` on two tiny runs: the numbers are those of `validate`, and two of the same differ nowhere."""

import json

import cv2
import numpy as np
import pytest
import torch

from edgeailite.commands import compare, validate
from edgeailite.commands.compare import agreement_text
from edgeailite.config import CompareConfig, ValidateConfig
from edgeailite.data.sets.cityscapes import CLASS_TABLE
from edgeailite.errors import UsageError
from edgeailite.modelcard import ModelCard
from edgeailite.models import create_model
from edgeailite.preprocessing import Preprocessing
from edgeailite.runs.checkpoint import Checkpoint, save_checkpoint
from edgeailite.runs.folder import LAST

CLASSES = len(CLASS_TABLE)


def make_run(folder, data, *, seed: int, size: int, outputs=None, classes=None):
    torch.manual_seed(seed)
    count = CLASSES if outputs is None else outputs["segmentation"]
    card = ModelCard(
        "deeplabv3plus_mobilenetv2_tv_edgeailite",
        outputs or {"segmentation": CLASSES},
        (classes or tuple(row[1] for row in CLASS_TABLE))[:count],
        tuple(row[2] for row in CLASS_TABLE)[:count],
        Preprocessing(size, size),
        "streets",
        str(data),
    )
    folder.mkdir()
    weights = create_model(card.model_name, outputs=card.outputs).state_dict()
    save_checkpoint(folder / LAST, Checkpoint(card, weights, {}))
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory, miniature):
    """Two networks with other weights and other input sizes."""
    root = tmp_path_factory.mktemp("runs")
    return make_run(root / "a", miniature, seed=1, size=64), make_run(root / "b", miniature, seed=2, size=96)


def compared(capsys, *models, **options):
    assert compare.run(CompareConfig(*models, workers=0, json=True, **options)) == 0
    return json.loads(capsys.readouterr().out)


def test_numbers_are_those_of_validate(runs, capsys, tmp_path):
    found = compared(capsys, *runs, draws=200, sheet=tmp_path / "deep/sheet.png", images=1)
    for side, run in zip("ab", runs, strict=True):
        assert validate.run(ValidateConfig(run, workers=0, json=True)) == 0
        expected = json.loads(capsys.readouterr().out)
        part = found["outputs"]["segmentation"]
        assert part["miou"][side] == expected["miou"]
        assert part["pixel_accuracy"][side] == expected["pixel_accuracy"]
        assert {name: row[side] for name, row in part["iou"].items()} == pytest.approx(expected["iou"], abs=0.006)
        assert found[side]["parameters"] == 2_425_024
        assert found[side]["file_megabytes"] == pytest.approx((run / LAST).stat().st_size / 1e6, abs=1e-3)
    assert found["a"]["giga_macs"] < found["b"]["giga_macs"]  # at 64x64 and 96x96
    assert part["miou"]["interval"][0] <= part["miou"]["difference"] <= part["miou"]["interval"][1]
    agreement = part["agreement"]
    assert agreement["labelled_pixels"] == 2 * 64 * 64
    assert sum(agreement[name] for name in ("a_right", "b_right", "neither")) == pytest.approx(100, abs=0.01)
    sheet = cv2.imread(found["sheets"][0])
    assert sheet.shape[1] == 8 + 5 * 328  # five columns
    assert len(np.unique(sheet.reshape(-1, 3), axis=0)) > 50


def test_a_model_and_itself(runs, capsys):
    part = compared(capsys, runs[0], runs[0], draws=100)["outputs"]["segmentation"]
    assert part["miou"]["difference"] == 0
    assert part["miou"]["interval"] == [0, 0]
    assert part["agreement"]["differ"] == 0
    assert part["agreement"]["a_right"] is None


def test_seed_and_part_of_the_split(runs, capsys):
    one, same, other = (compared(capsys, *runs, draws=100, seed=seed)["outputs"] for seed in (1, 1, 2))
    assert one == same
    assert one["segmentation"]["miou"]["difference"] == other["segmentation"]["miou"]["difference"]
    single = compared(capsys, *runs, draws=100, epoch_size=1.0)
    assert single["pictures"] == 1
    low, high = single["outputs"]["segmentation"]["miou"]["interval"]
    assert low == high  # one picture says nothing about others


def test_tables_say_how_the_interval_was_made(runs, capsys):
    assert compare.run(CompareConfig(*runs, draws=100, workers=0)) == 0
    out = capsys.readouterr().out
    for part in ("100 paired draws", "seed 1", "mIoU, %", "IoU road, %", "GMACs", "they differ on", "it leaves 0 out"):
        assert part in out, part


def test_models_of_other_classes_are_refused(runs, miniature, tmp_path):
    names = tuple(f"class {index}" for index in range(CLASSES))
    renamed = make_run(tmp_path / "renamed", miniature, seed=1, size=64, classes=names)
    with pytest.raises(UsageError, match="other names"):
        compare.run(CompareConfig(runs[0], renamed, workers=0))
    fewer = make_run(tmp_path / "fewer", miniature, seed=1, size=64, outputs={"segmentation": 5})
    with pytest.raises(UsageError, match=r"segmentation \(19\).*segmentation \(5\).*none in common"):
        compare.run(CompareConfig(runs[0], fewer, workers=0))


def test_integer_exact_needs_a_quantized_run(runs):
    with pytest.raises(UsageError, match="neither model is a quantized run"):
        compare.run(CompareConfig(*runs, integer_exact=True, workers=0))


def test_sentences_without_values():
    nothing = {"labelled_pixels": 0, "differ": None, "a_right": None, "b_right": None}
    assert agreement_text(nothing, classes=True) == "no pixel is labelled"
    depth = {"labelled_pixels": 10, "differ": 50.0, "a_right": 20.0, "b_right": 80.0}
    assert "A is closer on 20.0 %, B on 80.0 %" in agreement_text(depth, classes=False)
