"""`edgeailite choose`: candidates are within the budget and sorted, and their training commands parse."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

from edgeailite.cli import parse
from edgeailite.config import ChooseConfig
from edgeailite.cost import choice
from edgeailite.models import ALIASES, MODELS
from edgeailite.models.published import Accuracy, published_accuracy

REFERENCE = Path(__file__).parents[1] / "reference"
SIZE = ("--size", 512, 512, "--classes", 32)


def rows_of(command: Any, *options: object) -> list[dict[str, Any]]:
    ended = command("choose", *options, "--json", True)
    assert ended.code == 0, ended.err
    return json.loads(ended.out)


def test_candidates_are_within_the_budget_and_sorted(command):
    everything = rows_of(command, *SIZE)
    assert len(everything) == 6
    budget = sorted(row["giga_macs"] for row in everything)[3]
    rows = rows_of(command, *SIZE, "--max_gmacs", budget)
    assert len(rows) == 4
    assert max(row["giga_macs"] for row in rows) <= budget
    ranks = [(not row["same_size"], -row["accuracy"]["miou"]) for row in rows]
    assert ranks == sorted(ranks)
    assert [row["same_size"] for row in everything].count(False) == 1, "RegNetX400MF is known at 384x384"
    for row in rows:
        words = row["train"].split()
        assert words[:2] == ["edgeailite", "train"]
        config = parse("train", words[2:])
        assert (config.model_name, config.img_resize) == (row["model"], (512, 512))


def test_milliseconds_on_a_device_are_a_budget_too(command):
    options = (*SIZE, "--device", "tda4vm", "--type", "int8")
    everything = rows_of(command, *options)
    limit = sorted(row["milliseconds"][0] for row in everything)[2]
    rows = rows_of(command, *options, "--max_ms", limit)
    assert len(rows) == 3
    assert all(row["milliseconds"][1] < row["milliseconds"][0] <= limit for row in rows)


def test_the_table_shows_conditions_and_commands(command):
    ended = command("choose", *SIZE, "--max_gmacs", 3, "--device", "raspberry_pi_5")
    assert ended.code == 0, ended.err
    for words in (
        "49.95",
        "ADE20K32 512x512",
        "ms on raspberry_pi_5",
        "--model_name unet_aspp_mobilenetv2_tv_edgeailite",
    ):
        assert words in ended.out


def test_a_budget_that_nothing_meets(command):
    ended = command("choose", *SIZE, "--max_gmacs", 0.1)
    assert ended.code == 2
    assert "the cheapest is unet_aspp_mobilenetv2_tv_edgeailite with 2.349 GMACs" in ended.err
    ended = command("choose", "--max_ms", 3)
    assert "expected --device NAME with it" in ended.err


def accuracy(
    model: str, miou: float, size: tuple[int, int] | None, *, arithmetic: str = "float", classes: int = 19
) -> Accuracy:
    return Accuracy(model, "set", classes, size, miou, arithmetic, "", "")


def test_the_nearest_size_is_taken_and_other_class_counts_are_not():
    rows = [
        accuracy("a", 70, (768, 1536)),
        accuracy("a", 60, (384, 768)),
        accuracy("a", 65, (384, 768), arithmetic="int8 (QAT)"),
        accuracy("b", 50, None),
        accuracy("c", 90, (384, 768), classes=150),
    ]
    found = choice.best_known(rows, ChooseConfig(img_resize=(384, 768), num_classes=19))
    assert {name: row.miou for name, row in found.items()} == {"a": 60, "b": 50}
    found = choice.best_known(rows, ChooseConfig(img_resize=(384, 768), num_classes=19), "int8")
    assert {name: row.miou for name, row in found.items()} == {"a": 65, "b": 50}
    assert choice.best_known(rows, ChooseConfig(img_resize=(720, 1280), num_classes=20))["a"].miou == 70
    assert set(choice.best_known(rows, ChooseConfig(num_classes=100))) == {"c"}


def test_own_results_stand_beside_the_published_ones(command, tmp_path):
    results = tmp_path / "mine.csv"
    results.write_text("network,miou,size\nresnet18_c1,99,512x512\nfpn_aspp_regnetx800mf_edgeailite,20.5,512x512\n")
    rows = rows_of(command, *SIZE, "--results", results)
    assert (rows[0]["model"], rows[0]["accuracy"]["miou"], len(rows)) == ("resnet18_c1", 99, 7)
    [fpn] = [row["accuracy"] for row in rows if row["model"] == "fpn_aspp_regnetx800mf_edgeailite"]
    assert (fpn["miou"], fpn["source"]) == (20.5, "own result"), "one's own result comes before the published one"
    results.write_text("network,miou\nnone,99\n")
    assert command("choose", *SIZE, "--results", results).code == 3


def test_the_type_of_accuracy_and_time_is_said(command):
    """Where the estimate is int8, so is the accuracy that counts, if one is known at the size."""
    options = ("--size", 384, 768, "--device", "tda4vm")
    rows = {row["model"]: row for row in rows_of(command, *options, "--limit", 99)}
    assert {row["type"] for row in rows.values()} == {"int8"}
    unet = rows["unet_aspp_mobilenetv2_tv_edgeailite"]["accuracy"]
    assert (unet["arithmetic"], unet["miou"]) == ("int8 (QAT)", 68.18)
    assert rows["fpn_aspp_regnetx800mf_edgeailite"]["accuracy"]["arithmetic"] == "float"
    out = command("choose", *options).out
    for words in ("ms on tda4vm in int8", "384x768, int8 (QAT)", "384x768, float"):
        assert words in out
    board = ("--size", 384, 768, "--device", "raspberry_pi_5", "--type", "float32")
    rows = {row["model"]: row for row in rows_of(command, *board)}
    assert rows["unet_aspp_mobilenetv2_tv_edgeailite"]["accuracy"]["miou"] == 68.94
    assert {row["type"] for row in rows.values()} == {"float32"}
    assert {row["type"] for row in rows_of(command)} == {None}, "nothing was estimated"
    ended = command("choose", "--type", "int8")
    assert (ended.code, "--type int8: expected --device NAME with it" in ended.err) == (2, True)


def test_own_results_say_their_data_and_type(command, tmp_path):
    """Results with other classes do not pass for those asked for, and do not push the published ones out."""
    name = "unet_aspp_mobilenetv2_tv_edgeailite"
    record = {"network": name, "miou": 61.0, "size": [384, 768], "type": "int8", "data": "camvid val"}
    results = tmp_path / "mine.json"
    results.write_text(json.dumps(record | {"iou": dict.fromkeys(map(str, range(11)))}))
    published = [row["model"] for row in rows_of(command, "--limit", 99)]
    for classes in (11, 19):
        options = ("--classes", classes, "--results", results, "--device", "tda4vm", "--limit", 99)
        rows = rows_of(command, *options)
        assert sorted(row["model"] for row in rows) == sorted(published)
        [mine] = [row["accuracy"] for row in rows if row["model"] == name]
        assert (mine["dataset"], mine["classes"]) == (("camvid val", 11) if classes == 11 else ("Cityscapes", 19))
    out = command("choose", "--classes", 11, "--results", results, "--device", "tda4vm", "--limit", 99).out
    assert "camvid val 384x768, int8; own result" in out
    assert "Cityscapes (19 classes) 384x768, float" in out


def test_options_of_the_list(command, monkeypatch):
    known = ["unet_aspp_mobilenetv2_tv_edgeailite", "fpn_aspp_regnetx800mf_edgeailite"]
    unknown = ["resnet18_c1", "mobilenetv2dilated_c1", "resnet34_c1"]
    monkeypatch.setattr(choice, "list_models", lambda: [*unknown, *known])
    rows = rows_of(command, *SIZE, "--unknown", True, "--limit", 4, "--dataset_name", "camvid")
    assert [row["accuracy"] is None for row in rows] == [False, False, True, True]
    assert all("--dataset_name camvid " in row["train"] for row in rows)
    everything = rows_of(command, *SIZE, "--unknown", True)
    costs = [row["giga_macs"] for row in everything if row["model"] in unknown]
    assert costs == sorted(costs, reverse=True)
    assert len(everything) == 5


ADE20K150 = {  # single scale: the pages of 2017, 2018 and 2019
    "v1_resnet34_dilated8_c1_bilinear": 32.77,
    "v1_resnet34_dilated8_psp_bilinear": 36.34,
    "v1_resnet50_dilated8_c1_bilinear": 33.85,
    "v1_resnet50_dilated8_psp_bilinear": 38.00,
    "resnet50dilated_c1_deepsup": 34.88,
    "resnet50dilated_ppm_deepsup": 41.26,
    "resnet101dilated_ppm_deepsup": 42.19,
    "resnet50_upernet": 40.44,
    "resnet101_upernet": 41.98,
    "mobilenetv2dilated_c1_deepsup": 34.84,
    "mobilenetv2dilated_ppm_deepsup": 35.76,
    "resnet18dilated_c1_deepsup": 33.82,
    "resnet18dilated_ppm_deepsup": 38.00,
    "hrnetv2_c1": 42.03,
}


def test_published_rows_are_those_of_the_pages():
    rows = published_accuracy()
    assert {row.model: row.miou for row in rows if row.classes == 150} == ADE20K150
    lines = csv.DictReader((REFERENCE / "gmacs.csv").read_text().splitlines())
    expected = Counter(
        (
            line["dataset"],
            ALIASES.get(line["model"], line["model"]),
            "x".join(line["WxH"].split("x")[::-1]),
            int(line["num_classes"]),
            float(line["seed_mIoU"]),
            "int8 (QAT)" if "QAT" in line["seed_row"] else "float",
        )
        for line in lines
        if line["seed_mIoU"]
    )
    found = Counter(
        (row.dataset, row.model, "x".join(map(str, row.height_width)), row.classes, row.miou, row.arithmetic)
        for row in rows
        if "edgeai-torchvision" in row.source
    )
    assert found == expected
    assert {(row.model, row.dataset): row.miou for row in rows if "DDRNet" in row.source or "FFNet" in row.source} == {
        ("ddrnet23_slim", "Cityscapes"): 77.3,
        ("ffnet40s", "Cityscapes"): 79.7,
        ("ffnet78s", "Cityscapes"): 80.5,
    }
    assert not [row.model for row in rows if row.model not in MODELS]
    assert all(row.source for row in rows)
