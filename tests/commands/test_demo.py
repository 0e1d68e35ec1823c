"""The whole line, small: the demo leaves what it should, and the int8 file scores what integer-exact torch scores."""

from __future__ import annotations

import json

import pytest

from edgeailite.__main__ import main
from edgeailite.commands import demo
from edgeailite.config import DemoConfig
from edgeailite.errors import UsageError

FILES = (
    "float/config.yaml",
    "float/env.json",
    "float/metrics.csv",
    "float/last.pt",
    "float/best.pt",
    "float/model.onnx",
    "float/contract.json",
    "ptq/model_int8.onnx",
    "qat/model_int8.onnx",
    "qat/contract_int8.json",
    "qat/report.html",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("demo")
    config = DemoConfig(
        root / "runs", root / "streets", train_images=4, val_images=2, epochs=1, quantize_epochs=1, threads=1
    )
    assert demo.run(config) == 0
    return root


def test_every_step_leaves_its_files(made):
    assert [name for name in FILES if not (made / "runs" / name).is_file()] == []
    pictures = list((made / "streets/leftImg8bit/val").rglob("*.png"))
    assert len(list((made / "runs/predictions").rglob("*_overlay.png"))) == len(pictures) == 2


def test_the_integer_file_scores_what_the_integer_exact_network_scores(made, capsys):
    scores = []
    for model, flags in (("qat/model_int8.onnx", []), ("qat", ["--integer_exact", "True"])):
        args = ["validate", str(made / "runs" / model), "--data_path", str(made / "streets"), "--json", "True", *flags]
        assert main([*args, "--workers", "0"]) == 0
        scores.append(json.loads(capsys.readouterr().out))
    own = ("model", "arithmetic")  # a file has no choice of arithmetic
    assert {k: v for k, v in scores[0].items() if k not in own} == {k: v for k, v in scores[1].items() if k not in own}


def test_the_contract_says_what_was_proven(made):
    contract = json.loads((made / "runs/qat/contract_int8.json").read_text())
    results = contract["results"]
    assert results["EXTENDED"]["max_difference"] == results["ALL"]["max_difference"] == 0
    assert results["integer_kernels"]["all_integer"]
    assert len(results["sizes"]) == 6  # three sizes, two levels
    assert contract["golden"]


def test_the_contract_holds_and_a_wrong_file_exits_with_4(made, capsys):
    file, contract = made / "runs/qat/model_int8.onnx", str(made / "runs/qat/contract_int8.json")
    assert main(["verify", str(file), contract]) == 0
    assert main(["verify", str(made / "runs/ptq/model_int8.onnx"), contract, "--skip_hash", "True"]) == 4
    assert "departs first at" in capsys.readouterr().err


def test_the_demo_empties_only_its_own_folder(made, tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(UsageError, match="not empty and not made by the demo"):
        demo.run(DemoConfig(tmp_path, made / "streets", train_images=4, val_images=2))
    assert (tmp_path / "mine.txt").exists()
