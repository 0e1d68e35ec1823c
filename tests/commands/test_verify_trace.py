"""`verify --trace` on the command line: what the words refer to, what is printed and drawn, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
import torch
from onnx import numpy_helper

from edgeailite.config import VerifyConfig
from edgeailite.data.files.images import write_png
from edgeailite.errors import UsageError
from edgeailite.export import to_onnx
from edgeailite.modelcard import ModelCard
from edgeailite.preprocessing import Preprocessing
from edgeailite.quantization import calibrate, prepare, set_input_range
from edgeailite.runs.checkpoint import Checkpoint, save_checkpoint
from edgeailite.runs.folder import LAST
from tests.cost.latency.tiny import tiny_file
from tests.golden import golden_card, golden_model, smooth_pictures

SIZE = (64, 64)
CONV, TENSOR = "encoder.features.4.conv.1.0", "encoder.features.4.conv.1.2"
ONE = ("--images", 1, "--threads", 1)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A quantized run folder with its exported file, and two pictures in `pictures`."""
    folder = tmp_path_factory.mktemp("run")
    pictures = smooth_pictures(2, SIZE)
    for index, picture in enumerate(pictures):
        (folder / "pictures").mkdir(exist_ok=True)
        write_png(folder / "pictures" / f"{index}.png", picture)
    prepared = prepare(golden_model())
    card = golden_card(SIZE)
    set_input_range(prepared, *card.preprocessing.input_range)
    images = [torch.from_numpy(picture.transpose(2, 0, 1).copy())[None] for picture in pictures]
    calibrate(prepared, [(image.float() - 128) / 64 for image in images])
    quantization = {"scheme": "ort_u8s8", "percentile": 99.99}
    save_checkpoint(folder / LAST, Checkpoint(card, prepared.state_dict(), {}, quantization))
    (folder / "model_int8.onnx").write_bytes(to_onnx(prepared.eval(), card, size=SIZE).SerializeToString())
    return folder


def _broken(source: Path, target: Path) -> Path:
    model = onnx.load(str(source))
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == f"{CONV}.weight")
    codes = numpy_helper.to_array(weight).copy()
    codes.reshape(-1)[codes.size // 2] ^= 0x40
    weight.CopyFrom(numpy_helper.from_array(codes, weight.name))
    onnx.save(model, str(target))
    return target


def test_equal_sides_do_not_depart(run, command):
    ended = command("verify", run, "--trace", "integer_exact", "ort", "--trace_pictures", run / "pictures", *ONE)
    assert ended.code == 0, ended.err
    assert "first difference: none" in ended.out
    assert "first departure beyond rounding: none" in ended.out
    assert "argmax equal on 100.000 % of pixels, max |difference| 0" in ended.out
    assert "matched by name, 1 picture(s)" in ended.out
    assert "not matched" not in ended.out


def test_a_file_is_compared_and_its_fault_named_printed_and_drawn(run, command, tmp_path):
    broken, plot = _broken(run / "model_int8.onnx", tmp_path / "broken.onnx"), tmp_path / "figures" / "growth.png"
    words = (
        "verify",
        run,
        "--trace",
        "integer_exact",
        f"{broken}@EXTENDED",
        "--trace_pictures",
        run / "pictures",
        *ONE,
    )
    ended = command(*words, "--trace_plot", plot)
    assert ended.code == 0, ended.err
    assert f"first departure beyond rounding: {TENSOR} (Conv, layer {CONV})" in ended.out
    assert plot.read_bytes().startswith(b"\x89PNG")
    values = json.loads(command(*words, "--json", True).out)
    assert values["first_departure"] == TENSOR
    assert values["matched_by"] == "name"
    assert values["sides"] == ["integer_exact", f"{broken}@EXTENDED"]
    rows = {row["second"]: row for row in values["rows"]}
    assert rows["image"]["sqnr_db"] is None
    assert rows[TENSOR]["departs"] is True
    assert rows[TENSOR]["equal"] < 1
    local = command(*words[:3], broken, "integer_exact", *words[5:], "--trace_local", True, "--json", True)
    assert [row["second"] for row in json.loads(local.out)["rows"] if row["departs"]] == [TENSOR]


def test_two_files_take_the_preprocessing_of_the_positional_one(run, command, tmp_path):
    file, broken = run / "model_int8.onnx", _broken(run / "model_int8.onnx", tmp_path / "broken.onnx")
    ended = command("verify", file, "--trace", "ort:EXTENDED", broken, "--trace_pictures", run / "pictures", *ONE)
    assert ended.code == 0, ended.err
    assert f"first departure beyond rounding: {TENSOR} " in ended.out
    ended = command("verify", file, "--trace", "float", broken, "--trace_pictures", run / "pictures")
    assert (ended.code, f"{file} is a file; give the run folder" in ended.err) == (2, True)


def test_files_without_metadata(command, tmp_path):
    write_png(tmp_path / "picture.png", smooth_pictures(1, (40, 60))[0])
    fixed, opened = tiny_file(tmp_path / "fixed.onnx"), tiny_file(tmp_path / "open.onnx", size=("height", "width"))
    words = ("--trace", fixed, opened, "--json", True)
    ended = command("verify", fixed, *words, "--trace_pictures", tmp_path / "picture.png")
    assert ended.code == 0, ended.err
    values = json.loads(ended.out)
    assert (values["first_difference"], values["matched"]) == (None, 4)
    assert values["rows"][-1]["shape"] == [1, 8, 64, 96]
    ended = command("verify", opened, *words, "--trace_pictures", tmp_path / "picture.png")
    assert (ended.code, "give --img_resize H W" in ended.err) == (2, True)
    sized = command("verify", opened, *words, "--trace_pictures", tmp_path / "picture.png", "--img_resize", 32, 48)
    assert sized.code == 0, sized.err
    ended = command("verify", fixed, *words)
    assert (ended.code, "names no data set; give --trace_pictures FOLDER" in ended.err) == (2, True)


def test_the_data_sets_pictures_are_traced_by_default(run, command, miniature, tmp_path):
    card = golden_card(SIZE)
    named = ModelCard(
        card.model_name, card.outputs, card.classes, card.palette, Preprocessing(*SIZE), "streets", str(miniature)
    )
    save_checkpoint(tmp_path / LAST, Checkpoint(named, golden_model().state_dict(), {}))
    ended = command("verify", tmp_path, "--trace", "float", run / "model_int8.onnx", "--images", 2, "--json", True)
    assert ended.code == 0, ended.err
    values = json.loads(ended.out)
    assert values["pictures"] == 2
    assert values["outputs"]["segmentation"]["equal_argmax"] > 0.7
    assert values["costliest"]
    refused = command("verify", tmp_path, "--trace", "float", "integer_exact", "--images", 1)
    assert (refused.code, "the run is float" in refused.err) == (2, True)
    missing = command("verify", tmp_path, "--trace", "float", "ort", "--images", 1)
    assert (missing.code, "model.onnx: no such ONNX file; write it with `edgeailite export`" in missing.err) == (
        3,
        True,
    )


@pytest.mark.parametrize(
    "words, message",
    [
        (
            ("nothing", "ort"),
            "--trace nothing: unknown; known are float, fake_quant, integer_exact, integer_exact:ARITHMETIC, ort",
        ),
        (("ort:FAST", "ort"), "unknown runtime or level 'FAST'"),
        (("float", "none.onnx"), "none.onnx: no such ONNX file"),
    ],
)
def test_words_that_mean_nothing(words, message, run, command):
    ended = command("verify", run, "--trace", *words, "--trace_pictures", run / "pictures", *ONE)
    assert ended.code in (2, 3)
    assert message in ended.err
    assert [line.partition(": ")[0] for line in ended.err.splitlines()] == ["weights", "error"]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"trace_plot": Path("a.png")}, "--trace_plot a.png: expected none without --trace"),
        ({"trace": ("float", "ort"), "trace_plot": Path("a.svg")}, "--trace_plot a.svg: expected a file name"),
        ({"trace_local": True}, "--trace_local True: expected False without --trace"),
        ({"trace": ("float", "ort"), "img_resize": (0, 8)}, "--img_resize"),
    ],
)
def test_options_that_do_not_go_together(options, message):
    with pytest.raises(UsageError, match=message):
        VerifyConfig(Path("run"), **options)


def test_pictures_of_several_inputs_come_from_the_data_set(run, command, tmp_path):
    model = onnx.load(str(tiny_file(tmp_path / "tiny.onnx")))
    model.graph.input.append(onnx.helper.make_tensor_value_info("image1", 1, [1, 3, 32, 48]))
    onnx.save(model, str(tmp_path / "two.onnx"))
    words = ("--trace", tmp_path / "two.onnx", tmp_path / "two.onnx", "--trace_pictures", run / "pictures")
    ended = command("verify", tmp_path / "two.onnx", *words)
    assert (ended.code, "the network takes 2 (image, image1)" in ended.err) == (2, True)
