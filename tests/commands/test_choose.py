"""`edgeailite choose`: candidates are within the budget and sorted, and their training commands parse."""

from __future__ import annotations

import json
from typing import Any

from edgeailite.cli import parse
from edgeailite.commands import choose
from edgeailite.config import ChooseConfig
from edgeailite.models import MODELS
from edgeailite.models.published import Accuracy, published_accuracy

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
        config = parse("TrainConfig", words[2:], prog="edgeailite train")
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
    found = choose.best_known(rows, ChooseConfig(size=(384, 768), classes=19))
    assert {name: row.miou for name, row in found.items()} == {"a": 60, "b": 50}
    assert choose.best_known(rows, ChooseConfig(size=(720, 1280), classes=20))["a"].miou == 70
    assert set(choose.best_known(rows, ChooseConfig(classes=100))) == {"c"}


def test_own_results_stand_beside_the_published_ones(command, tmp_path):
    results = tmp_path / "mine.csv"
    results.write_text("network,miou,size\nresnet18_c1,99,512x512\nfpn_aspp_regnetx800mf_edgeailite,20.5,512x512\n")
    rows = rows_of(command, *SIZE, "--results", results)
    assert (rows[0]["model"], rows[0]["accuracy"]["miou"], len(rows)) == ("resnet18_c1", 99, 7)
    [fpn] = [row["accuracy"] for row in rows if row["model"] == "fpn_aspp_regnetx800mf_edgeailite"]
    assert (fpn["miou"], fpn["source"]) == (20.5, "own result"), "one's own result comes before the published one"
    results.write_text("network,miou\nnone,99\n")
    assert command("choose", *SIZE, "--results", results).code == 3


def test_published_rows_are_of_known_networks():
    rows = published_accuracy()
    assert len(rows) == 33
    assert not [row.model for row in rows if row.model not in MODELS]
    assert all(30 < row.miou < 80 and row.source for row in rows)
