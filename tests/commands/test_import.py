"""Weights of other tools become runs: every layout that is recognised, and the whole line for one of them."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor, nn

from edgeailite.cli import parse
from edgeailite.models import create_model
from edgeailite.pretrained import published_state_dict
from edgeailite.pretrained.find_state_dict import PREFERRED
from edgeailite.report.reproduce import commands_of
from edgeailite.runs.checkpoint import load_checkpoint
from edgeailite.runs.folder import BEST, LAST
from edgeailite.runs.network import load_network
from tests.pretrained.test_ade20k import pair_of
from tests.pretrained.test_backbones import MOBILENET
from tests.pretrained.test_ranges import qat_file

TI, PAIR, DDRNET = "deeplabv3plus_mobilenetv2_tv_edgeailite", "mobilenetv2dilated_c1_deepsup", "ddrnet23_slim"
MACHINE = ("--workers", 0, "--device", "cpu", "--threads", 1)
SIZE = ("--img_resize", 64, 64)
Weights = dict[str, Tensor]


def network(name: str = TI, classes: int = 4) -> nn.Module:
    torch.manual_seed(1)
    return create_model(name, classes)


def prefixed(prefix: str, weights: Weights) -> Weights:
    return {prefix + key: value for key, value in weights.items()}


def saved(path: Path, values: object) -> list[Path]:
    torch.save(values, path)
    return [path]


def one_ade20k_file(folder: Path) -> list[Path]:
    state = network(PAIR).state_dict()
    return saved(folder / "net.pth", {key.replace("decoders.0.", "decoder."): value for key, value in state.items()})


def ti_layout(wrapped) -> tuple[str, object, str]:
    """A file with TI's names, as `wrapped` nests them."""
    return TI, lambda folder: saved(folder / "w.pth", wrapped(network().state_dict())), "edgeailite network"


# layout: the network, the files, the kind that is recognised
LAYOUTS = {
    "TI": ti_layout(lambda weights: weights),
    **{f"TI under {key}": ti_layout(lambda weights, key=key: {key: weights, "epoch": 3}) for key in PREFERRED[1:]},
    **{
        f"TI behind {prefix}": ti_layout(lambda weights, prefix=prefix: {"state_dict": prefixed(prefix, weights)})
        for prefix in ("module.", "module.module.", "_orig_mod.", "model.", "model.net.")
    },
    "Lightning": (
        TI,
        lambda folder: saved(
            folder / "epoch=3.ckpt",
            {
                "state_dict": prefixed("model.", network().state_dict()),
                "epoch": 3,
                "hyper_parameters": {"lr": 0.1},
                "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}}],
            },
        ),
        "edgeailite network",
    ),
    "TI after quantization": (
        TI,
        lambda folder: [qat_file(folder / "qat.pth")],
        "edgeailite network after quantization-aware training",
    ),
    "CSAIL, two files": (PAIR, lambda folder: list(pair_of(network(PAIR), folder)), "ADE20K encoder and decoder"),
    "CSAIL, one file": (PAIR, one_ade20k_file, "ADE20K network in one file"),
    "DDRNet": (
        DDRNET,
        lambda folder: saved(folder / "ddr.pth", published_state_dict(network(DDRNET))),
        "DDRNet network",
    ),
}  # fmt: skip

# backbone: the network, its prefix below the encoder that such a file has not, the kind
BACKBONES = {
    "torchvision": (MOBILENET, "", "torchvision MobileNetV2 backbone"),
    "pycls": ("fpn_aspp_regnetx400mf_edgeailite", "features.", "pycls RegNet backbone"),
    "CSAIL": ("resnet18dilated_c1", "", "ADE20K ResNet backbone (deep stem)"),
}


def told(text: str) -> dict[str, str]:
    """The rows of the table that a verb prints where it has no terminal."""
    pairs = (line.strip().split("  ", 1) for line in text.splitlines() if "  " in line.strip())
    return {key.strip(): value.strip() for key, value in pairs}


NESTINGS = pytest.mark.slow  # tests/pretrained has them too, without a run


@pytest.mark.parametrize(
    "layout",
    [pytest.param(name, marks=[NESTINGS] if name.startswith(("TI under", "TI behind")) else []) for name in LAYOUTS],
)
def test_every_layout_becomes_a_run(command, tmp_path, layout):
    name, write, kind = LAYOUTS[layout]
    files = write(tmp_path)
    ended = command("import", *files, "--model_name", name, "--save_path", tmp_path / "run", *SIZE)
    assert ended.code == 0, ended.err
    rows = told(ended.out)
    assert rows["recognised"] == kind and rows["network"] == name
    loaded, total = rows["tensors"].split()[0:3:2]
    assert loaded == total and int(total) > 200
    checkpoint, module = load_network(tmp_path / "run")
    assert checkpoint.card.classes[:2] == ("class_0", "class_1")
    if layout != "TI after quantization":
        expected = network(name).state_dict()
        own = {key: value for key, value in module.state_dict().items() if "num_batches" not in key}
        assert all(torch.equal(value, expected[key]) for key, value in own.items())
    assert (tmp_path / "run" / LAST).is_file()
    assert json.loads((tmp_path / "run/pretrained.json").read_text())["kind"] == kind


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_backbone_alone_is_refused_with_the_command_that_trains_from_it(command, tmp_path, backbone):
    name, prefix, kind = BACKBONES[backbone]
    state = {key.removeprefix(prefix): value for key, value in network(name).encoder.state_dict().items()}
    (file,) = saved(tmp_path / "backbone.pth", state)
    words = ("import", file, "--model_name", name, "--save_path", tmp_path / "run", *SIZE)
    ended = command(*words)
    assert ended.code == 3 and not (tmp_path / "run").exists()
    assert f"{kind}, not a whole network; train from it: edgeailite train --pretrained {file}" in ended.err
    if backbone == "torchvision":
        words = (*words, "--untrained_decoder", True)
        assert "does not say how many classes there are; give the classes with --classes" in command(*words).err
        assert command(*words, "--classes", "road", "sky").code == 0
        module = load_network(tmp_path / "run")[1]
        assert torch.equal(module.state_dict()["encoder.features.0.0.weight"], state["features.0.0.weight"])


@pytest.mark.slow
def test_the_whole_line(command, tmp_path, miniature):
    """import, calibrate, export, verify, and what reads files: the classes are those of the data set."""
    (file,) = saved(tmp_path / "ti.pth", {"state_dict": prefixed("module.", network(TI, 19).state_dict())})
    run = tmp_path / "run"
    ended = command("import", file, "--save_path", run, "--data_path", miniature, *SIZE, "--model_name", TI)
    assert ended.code == 0, ended.err
    assert told(ended.out)["next"] == f"edgeailite calibrate {run}"
    card = load_checkpoint(run / BEST).card
    assert card.classes[0] == "road" and card.dataset_name == "streets" and card.data_path == str(miniature)
    assert card.preprocessing.mean == (128.0,) * 3 and card.preprocessing.size == (64, 64)
    for verb, *words in (
        ("validate", run, *MACHINE),
        ("calibrate", run, "--calibration_images", 2, *MACHINE),
        ("export", f"{run}_ptq"),
        ("verify", f"{run}_ptq", "--images", 1),
        ("report", f"{run}_ptq"),
    ):
        ended = command(verb, *words)
        assert ended.code == 0, (verb, ended.err)
    config = yaml.safe_load((run / "config.yaml").read_text())
    first = commands_of(run, config, None, commit=None)[0]
    again = parse("import", shlex.split(first)[2:])
    assert (again.checkpoint, again.model_name, again.data_path) == ((str(file),), TI, miniature), first
    assert (again.img_resize, again.mean, again.save_path) == ((64, 64), (128.0,) * 3, run), first
    calibrated = yaml.safe_load(Path(f"{run}_ptq/config.yaml").read_text())
    lines = commands_of(Path(f"{run}_ptq"), calibrated, {"method": "calibration"}, commit=None)
    assert [line.split()[1] for line in lines[:2]] == ["import", "calibrate"]


@pytest.mark.slow
def test_pictures_alone_are_enough(command, tmp_path, miniature):
    (file,) = saved(tmp_path / "ti.pth", network().state_dict())
    (tmp_path / "names.txt").write_text("road\nsky\ncar\ntree\n")
    words = ("--model_name", TI, "--save_path", tmp_path / "run", "--classes", tmp_path / "names.txt", *SIZE)
    ended = command("import", file, *words)
    assert ended.code == 0 and told(ended.out)["next"].endswith("run --pictures FOLDER")
    pictures = miniature / "leftImg8bit"
    ended = command("calibrate", tmp_path / "run", "--pictures", pictures, "--calibration_images", 2, *MACHINE)
    assert ended.code == 0, ended.err
    assert load_checkpoint(tmp_path / "run_ptq" / BEST).card.classes == ("road", "sky", "car", "tree")


@pytest.mark.slow
def test_networks_of_equal_shapes_are_offered_and_one_that_fits_alone_is_taken(command, tmp_path):
    (file,) = saved(tmp_path / "w.pth", network().state_dict())
    ended = command("import", file, "--save_path", tmp_path / "run", *SIZE)
    both = f"{TI}, {TI.replace('_edgeailite', '_fd_edgeailite')}"
    assert ended.code == 2 and f"fits 2 networks; choose one: --model_name of {both}" in ended.err
    files = pair_of(network("resnet18dilated_c1"), tmp_path)
    ended = command("import", *files, "--save_path", tmp_path / "run", *SIZE)
    assert ended.code == 2 and "fits 3 networks; choose one: --model_name of resnet18_c1, " in ended.err
    (file,) = saved(tmp_path / "ddr.pth", published_state_dict(network(DDRNET)))
    ended = command("import", file, "--save_path", tmp_path / "run", *SIZE)
    assert ended.code == 0 and told(ended.out)["network"] == DDRNET, ended.err


REFUSED = {
    "another network": (
        lambda folder: saved(folder / "w.pth", network().state_dict()),
        ("--model_name", "fpn_aspp_mobilenetv2_tv_edgeailite"),
        f"use the file's own network: --model_name {TI}",
    ),
    "a changed network": (
        lambda folder: saved(folder / "w.pth", network().state_dict() | {"encoder.extra.weight": torch.ones(3)}),
        (),
        f"fits no network that is known here; the nearest is {TI}, with ",
    ),
    "no weights": (lambda folder: saved(folder / "w.pth", {"epoch": 3}), (), "no state_dict in this file"),
    "a decoder alone": (
        lambda folder: [pair_of(network(PAIR), folder)[1]],
        ("--model_name", PAIR),
        "a decoder alone; give both files, the encoder's first: ENCODER DECODER",
    ),
    "a pair in the wrong order": (
        lambda folder: list(pair_of(network(PAIR), folder))[::-1],
        ("--model_name", PAIR),
        "holds a decoder; give the encoder's file first: ENCODER DECODER",
    ),
    "names that are too few": (
        lambda folder: saved(folder / "w.pth", network().state_dict()),
        ("--model_name", TI, "--classes", "a", "b"),
        "--classes a b: 2 names, but",
    ),
    "colours that are too few": (
        lambda folder: saved(folder / "w.pth", network().state_dict()),
        ("--model_name", TI, "--palette", 1, 2, 3),
        "1 colours for 4 classes",
    ),
    "outputs that are too many": (
        lambda folder: saved(folder / "w.pth", network().state_dict()),
        ("--model_name", TI, "--outputs", "depth", "segmentation"),
        "--outputs depth segmentation: 2 names, but",
    ),
    "three files": (lambda folder: [folder / name for name in "abc"], (), "expected one file, or ENCODER DECODER"),
}  # fmt: skip


@pytest.mark.parametrize("fault", REFUSED)
def test_refusals_are_one_line_with_the_fix(command, tmp_path, fault):
    write, words, expected = REFUSED[fault]
    ended = command("import", *write(tmp_path), "--save_path", tmp_path / "run", *words)
    assert ended.code in (2, 3) and not (tmp_path / "run").exists()
    last = ended.err.strip().splitlines()[-1]
    assert last.startswith("error: ") and expected in last
    assert "--pretrained" not in last  # import has no such option


def test_another_number_of_classes_than_the_data_set(command, tmp_path, miniature):
    (file,) = saved(tmp_path / "w.pth", network().state_dict())
    ended = command("import", file, "--model_name", TI, "--save_path", tmp_path / "run", "--data_path", miniature)
    assert ended.code == 2
    assert "has 4 channels in segmentation, streets has 19; give the data set it was trained on" in ended.err
    words = ("--save_path", tmp_path / "run", "--data_path", miniature, "--classes", "a", "b")
    ended = command("import", file, "--model_name", TI, *words)
    assert ended.code == 2 and "--classes a b: streets names them already; leave one of them out" in ended.err


def test_a_checkpoint_of_ours_needs_no_import_and_a_foreign_file_names_it(command, tmp_path):
    (file,) = saved(tmp_path / "w.pth", network().state_dict())
    assert command("import", file, "--model_name", TI, "--save_path", tmp_path / "run", *SIZE).code == 0
    ended = command("import", tmp_path / "run" / BEST, "--save_path", tmp_path / "again")
    assert ended.code == 2 and "every verb opens it as it is" in ended.err
    ended = command("calibrate", file)
    assert ended.code == 3 and f"edgeailite import {file} --model_name {TI}" in ended.err
    assert "--pretrained" not in ended.err
    ended = command("import", file, "--model_name", TI, "--save_path", tmp_path / "run")
    assert ended.code == 3 and "holds a run already" in ended.err and "--resume" not in ended.err


def test_several_outputs_and_inputs_are_told_by_the_file(command, tmp_path):
    torch.manual_seed(0)
    outputs = {"depth": 1, "segmentation": 5}
    model = create_model(TI, outputs=outputs, inputs=2)
    (file,) = saved(tmp_path / "w.pth", model.state_dict())
    words = ("--model_name", TI, "--save_path", tmp_path / "run", *SIZE)
    assert "--outputs none: 1 names, but" in command("import", file, *words).err
    ended = command("import", file, *words, "--outputs", "depth", "segmentation")
    assert ended.code == 0, ended.err
    card = load_checkpoint(tmp_path / "run" / BEST).card
    assert card.outputs == outputs and len(card.inputs) == 2 and len(card.classes) == 5


@pytest.mark.parametrize(
    "folder, order, mean", [("ade20k-mobilenet", "RGB", 123.675), ("baseline-mobilenet", "BGR", 102.9801)]
)
def test_what_is_usual_for_a_kind_of_file_is_said(command, tmp_path, folder, order, mean):
    folder = tmp_path / folder
    files = pair_of(network(PAIR), folder)
    ended = command("import", *files, "--model_name", PAIR, "--save_path", tmp_path / "run", *SIZE)
    assert ended.code == 0, ended.err
    rules = load_checkpoint(tmp_path / "run" / BEST).card.preprocessing
    assert rules.channel_order == order and rules.mean[0] == mean
    assert f"input: what is usual for such files: {order}, mean {mean:.6g}" in ended.err


@pytest.mark.slow
def test_published_ranges_follow(command, tmp_path, miniature):
    """The line that the table ends with runs as it is."""
    file = qat_file(tmp_path / "qat.pth")
    words = ("--model_name", TI, "--save_path", tmp_path / "run", "--data_path", miniature, *SIZE)
    ended = command("import", file, *words)
    assert ended.code == 0, ended.err
    line = told(ended.out)["next"].split()
    assert line == [
        "edgeailite",
        "calibrate",
        f"{tmp_path / 'run'}",
        "--scheme",
        "tidl_pow2",
        "--pretrained",
        str(file),
    ]
    assert command(*line[1:], *MACHINE).code == 0
    quantization = load_checkpoint(tmp_path / "run_ptq" / BEST).quantization
    assert quantization is not None and quantization["method"] == "published ranges"
