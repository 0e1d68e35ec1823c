"""The arithmetic of a runtime on the command line: measured in, compared, traced, and its names where one is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from edgeailite.config.checks import ARITHMETICS as NAMES
from edgeailite.environment import machine_arithmetic
from edgeailite.export import to_onnx
from edgeailite.modelcard import ModelCard
from edgeailite.preprocessing import Preprocessing
from edgeailite.quantization import calibrate, prepare, set_input_range
from edgeailite.quantization.arithmetic import ARITHMETICS, ONNXRUNTIME_ROWS
from edgeailite.runs.checkpoint import Checkpoint, save_checkpoint
from edgeailite.runs.folder import LAST
from tests.export.toy import SIZE as TOY_SIZE
from tests.export.toy import toy_card, toy_quantized
from tests.golden import golden_card, golden_model, smooth_pictures

SIZE = (64, 64)
QUICK = ("--workers", 0, "--threads", 1, "--device", "cpu", "--json", True)
OTHER = "onnxruntime_arm64" if machine_arithmetic() != "onnxruntime_arm64" else "onnxruntime_x86"


@pytest.fixture(scope="module")
def run(tmp_path_factory, miniature) -> Path:
    """A quantized run of the miniature data set."""
    folder, card = tmp_path_factory.mktemp("arithmetic"), golden_card(SIZE)
    card = ModelCard(
        card.model_name, card.outputs, card.classes, card.palette, Preprocessing(*SIZE), "streets", str(miniature)
    )
    prepared = prepare(golden_model(), "ort_u8s7", exact_resizes=False)  # at exact ones nothing departs
    set_input_range(prepared, *card.preprocessing.input_range)
    images = [torch.from_numpy(picture.transpose(2, 0, 1).copy())[None] for picture in smooth_pictures(2, SIZE)]
    calibrate(prepared, [(image.float() - 128) / 64 for image in images])
    quantization = {"scheme": "ort_u8s7", "percentile": 99.99}
    save_checkpoint(folder / LAST, Checkpoint(card, prepared.state_dict(), {}, quantization))
    return folder


def test_the_options_name_every_row():
    assert tuple(ARITHMETICS) == NAMES


def test_accuracy_is_measured_in_the_arithmetic_that_is_asked_for(run, command, tmp_path):
    found = {}
    for words in ((), ("--integer_exact", True), ("--arithmetic", OTHER), ("--arithmetic", machine_arithmetic())):
        ended = command("validate", run, *words, "--confusion", tmp_path / f"{len(found)}.csv", *QUICK)
        assert ended.code == 0, ended.err
        found[words] = json.loads(ended.out) | {"confusion": None}
    simulated, own, other, named = found.values()
    assert [part["arithmetic"] for part in (simulated, own, other)] == [None, machine_arithmetic(), OTHER]
    assert own == named
    assert own["type"] == other["type"] == "int8"
    pixels = [(tmp_path / f"{index}.csv").read_text() for index in range(4)]
    assert pixels[1] == pixels[3]
    assert pixels[1] != pixels[2]
    table = command("validate", run, "--arithmetic", OTHER, *QUICK[:-2])
    assert f"{run} in the arithmetic {OTHER} on streets val, 2 pictures" in table.out


def test_two_models_are_compared_in_an_arithmetic(run, command):
    ended = command("compare", run, run, "--arithmetic", OTHER, "--draws", 100, *QUICK)
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert [found[side]["arithmetic"] for side in ("a", "b")] == [OTHER, OTHER]
    assert found["outputs"]["segmentation"]["agreement"]["differ"] == 0


def test_forms_in_other_arithmetics_are_traced(run, command):
    """Resizes and additions are where they depart, layer by layer."""
    words = ("--trace_local", True, "--images", 1, "--threads", 1, "--json", True)
    own = command("verify", run, "--trace", "integer_exact", f"integer_exact:{machine_arithmetic()}", *words)
    assert json.loads(own.out)["first_difference"] is None, own.err
    ended = command("verify", run, "--trace", "integer_exact", f"integer_exact:{OTHER}", *words)
    assert ended.code == 0, ended.err
    rows = [row for row in json.loads(ended.out)["rows"] if row["equal"] < 1]
    assert rows
    assert {row["operator"] for row in rows} <= {"Resize", "Add"}


@pytest.mark.parametrize("verb", ["validate", "compare"])
def test_a_wrong_name_is_answered_with_the_rows(verb, run, command):
    models = (run, run)[: 1 if verb == "validate" else 2]
    ended = command(verb, *models, "--arithmetic", "neon", *QUICK)
    assert ended.code == 2
    assert all(name in ended.err for name in ARITHMETICS)


def test_what_has_no_arithmetic_of_its_own(run, command, tmp_path):
    file = tmp_path / "other.onnx"
    file.write_bytes(to_onnx(toy_quantized("s8s8"), toy_card(), size=TOY_SIZE).SerializeToString())
    for words, reason in (
        (
            ("validate", file, "--arithmetic", OTHER, *QUICK),
            "is computed by a runtime, with its own",
        ),
        (
            ("compare", file, file, "--arithmetic", OTHER, *QUICK),
            "--arithmetic: neither",
        ),
        (("verify", run, "--trace", "integer_exact", "integer_exact:neon"), "--arithmetic neon: there is no such row"),
    ):
        ended = command(*words)
        assert (ended.code, reason in ended.err) == (2, True), ended
    assert set(ONNXRUNTIME_ROWS) < set(ARITHMETICS)
