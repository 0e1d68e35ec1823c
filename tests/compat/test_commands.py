"""Every printed command: it parses as printed, and on miniatures in the published places it does what it says.

Training commands make a dry run at the printed size; the others run to their end.
"""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import cv2
import pytest
import torch
import yaml

from edgeailite.compat import ade20k_reading, ade20k_running, pixel2pixel, running
from edgeailite.compat.weights import training_config
from edgeailite.data.files.images import read_image, read_label
from edgeailite.models import create_model
from edgeailite.pretrained import open_weights
from edgeailite.runs.checkpoint import load_checkpoint
from edgeailite.runs.folder import LAST
from tests.compat.world import save_backbone, save_network, write_world

TEXT = Path(__file__).resolve().parents[1] / "reference/published_commands.txt"
PRINTED = [line for line in TEXT.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
MACHINE = ["--workers", "0", "--device", "cpu", "--threads", "1"]
QUICK = (0, 5, 6, 8)  # of PRINTED: the first training, validation, inference, calibration


def script_of(line: str) -> str:
    return Path(line.split()[1]).stem


def words_of(line: str) -> list[str]:
    return shlex.split(line)[2:]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """The world of published commands, to read only."""
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def world(made, tmp_path, monkeypatch) -> Path:
    """A folder to work in, with the data of the world, random weights behind addresses, and files to fill in."""
    (tmp_path / "data").symlink_to(made / "data", target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(open_weights, "download", lambda url, **_: save_backbone(url, made / "weights"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return tmp_path


def write_pair(folder: Path, suffix: str, name: str) -> None:
    """The two published files of an ADE20K network, with random weights."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    model = create_model(name)
    torch.save(model.encoder.state_dict(), folder / f"encoder{suffix}")
    torch.save(model.decoders[0].state_dict(), folder / f"decoder{suffix}")


# --- they parse


@pytest.mark.parametrize("line", [line for line in PRINTED if "pixel2pixel" in line])
def test_printed_pixel2pixel_commands_parse(line):
    command = pixel2pixel.read(script_of(line), words_of(line))
    running.check_known(command)
    config = training_config(command.options)
    assert config.img_resize in ((384, 768), (768, 1536), (512, 512))
    assert config.output_size in ((1024, 2048), (512, 512), (374, 1242))
    assert command.notes == ()


@pytest.mark.parametrize("line", [line for line in PRINTED if "ade20k" in line and "--cfg" not in line])
def test_printed_ade20k_commands_parse(line):
    training_config(ade20k_reading.read(script_of(line), words_of(line)).options)


def test_published_recipe_of_the_first_command():
    config = training_config(pixel2pixel.read(script_of(PRINTED[0]), words_of(PRINTED[0])).options)
    assert (config.optimizer, config.lr, config.milestones, config.multistep_gamma) == ("adam", 4e-4, (100, 200), 0.25)
    assert (config.pretrained, config.batch_size) == (
        ("https://download.pytorch.org/models/mobilenet_v2-b0353104.pth",),
        12,
    )


# --- they run


def filled(line: str, folder: Path) -> list[str]:
    """The words of a command, with weights of its network where the reader has to fill in a file."""
    words = words_of(line)
    if "?????" in words:
        name = words[words.index("--model_name") + 1]
        words[words.index("?????")] = str(save_network(folder / f"{name}.pth", name))
    return words


def extra(line: str) -> list[str]:
    """What makes a command small: a dry run for trainings, a folder and few pictures for the others."""
    if "--phase validation" in line:
        return ["--save_path", "out"] if "infer" in line else []
    if "--quantize True" in line:
        return ["--save_path", "quantized", "--batch_size", "2", "--epochs", "1"]
    return ["--dry_run", "True", "--amp", "off"]


def numbered(pattern: str) -> list[object]:
    lines = [(index, line) for index, line in enumerate(PRINTED) if pattern in line]
    return [
        pytest.param(line, id=f"{index}", marks=[] if index in QUICK else [pytest.mark.slow]) for index, line in lines
    ]


@pytest.mark.parametrize("line", numbered("pixel2pixel"))
def test_printed_pixel2pixel_commands_run(world, capsys, line):
    code = running.run(script_of(line), [*filled(line, world), *MACHINE, *extra(line)])
    ended = capsys.readouterr()
    assert code == 0, ended.err
    if "infer" in line:
        check_inference(world / "out")
    elif "--phase validation" in line:
        assert "IoU road" in ended.out
        assert not list(world.glob("runs*"))
    elif "--quantize True" in line:
        assert load_checkpoint(world / "quantized" / LAST).quantization is not None
    else:
        assert "dry run" in ended.out
        assert {path.name for path in world.iterdir()} == {"data"}


def check_inference(out: Path) -> None:
    """Labels of the printed size, pictures of them, mIoU, and a video that plays."""
    stem = "streets_streets_000000_000019_leftImg8bit"
    labels = read_label(out / f"Task0/{stem}_label.png")
    assert labels.shape == (1024, 2048)
    assert read_image(out / f"Task0/{stem}_overlay.png").shape == (1024, 2048, 3)
    metric = dict(line.split() for line in (out / "metric.txt").read_text().splitlines())
    assert 0 <= float(metric["miou"]) <= float(metric["pixel_accuracy"]) * 19 <= 1900
    video = cv2.VideoCapture(str(out / "Task0.mp4"))
    assert (video.get(cv2.CAP_PROP_FRAME_WIDTH), video.get(cv2.CAP_PROP_FRAME_COUNT)) == (2048, 1)


SMALL_2019 = {
    "DIR": "ckpt/small",
    "MODEL": {"arch_encoder": "mobilenetv2dilated", "arch_decoder": "c1_deepsup", "fc_dim": 320},
    "DATASET": {"imgSizes": [64, 96]},
    "TRAIN": {"epoch_iters": 1},
}
V1 = "v1_resnet34_dilated8_c1_bilinear"


@pytest.fixture
def ade20k(world) -> Path:
    """The folders, files and pictures that the ADE20K commands name."""
    picture = next((world / "data/ADEChallengeData2016/images/validation").iterdir())
    shutil.copy(picture, world / "TEST_IMG.jpg")
    (world / "PATH_IMG").mkdir()
    shutil.copy(picture, world / "PATH_IMG/a.jpg")
    write_pair(world / "ckpt/MODEL_ID", "_best.pth", V1)
    write_pair(world / "CKPT_PATH/MODEL_ID", "_best.pth", V1)
    write_pair(world / "ckpt/small", "_epoch_20.pth", "mobilenetv2dilated_c1_deepsup")
    (world / "config.yaml").write_text(yaml.safe_dump(SMALL_2019))
    return world


def run_ade20k(line: str) -> int:
    words = [f"{word}.jpg" if word == "TEST_IMG" else word for word in words_of(line)]
    script = script_of(line)
    machine = MACHINE[2:] if script == "test" else MACHINE
    return ade20k_running.run(script, [*words, *machine, *(["--dry_run", "True"] if script == "train" else [])])


@pytest.mark.parametrize(
    "line",
    [pytest.param(line, id=" ".join(words_of(line)) or "train", marks=[] if "--cfg" in line else [pytest.mark.slow])
     for line in PRINTED if "ade20k" in line and "--imgs" not in line],
)  # fmt: skip
def test_printed_ade20k_commands_run(ade20k, capsys, line):
    code = run_ade20k(line)
    ended = capsys.readouterr()
    assert code == 0, ended.err
    expected = {"train": "dry run", "eval": "IoU wall", "test": "TEST_IMG.jpg:\n"}[script_of(line)]
    assert expected in ended.out


@pytest.mark.slow
def test_the_test_command_of_2019_reads_the_weights_in_its_folder(ade20k, capsys):
    write_pair(ade20k / "ckpt/ade20k-resnet50dilated-ppm_deepsup", "_epoch_20.pth", "resnet50dilated_ppm_deepsup")
    line = next(line for line in PRINTED if "--imgs" in line)
    words = [*words_of(line), "--device", "cpu", "DATASET.imgSizes", "[64]"]  # the printed 300 to 600 take minutes
    assert ade20k_running.run("test", words) == 0
    assert "a.jpg:" in capsys.readouterr().out
    assert read_image(ade20k / "a.png").shape == (64, 128, 3)


def test_test_writes_picture_and_prediction_and_lists_classes(ade20k, capsys):
    words = ["--imgs", "PATH_IMG", "--cfg", "config.yaml", "--device", "cpu", "TEST.result", "seen"]
    assert ade20k_running.run("test", words) == 0
    pair = read_image(ade20k / "seen/a.png")
    assert (pair[:, :64] == read_image(ade20k / "PATH_IMG/a.jpg")).all()
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    shares = [float(line.rpartition(" ")[2].rstrip("%")) for line in printed]
    assert shares == sorted(shares, reverse=True)
    assert min(shares) >= 0.1
    assert 95 < sum(shares) <= 100.5
    colours = {tuple(colour) for colour in pair[:, 64:].reshape(-1, 3).tolist()}
    assert len(colours) >= len(shares)


def test_eval_counts_absent_classes_as_0(ade20k, capsys):
    words = ["--cfg", "config.yaml", *MACHINE, "--json", "True"]
    assert ade20k_running.run("eval", words) == 0
    values = json.loads(capsys.readouterr().out.splitlines()[-1])
    present = [value for value in values["iou"].values() if value is not None]
    assert values["miou"] == pytest.approx(sum(present) / 150, abs=0.01)


def test_no_weights_is_said(ade20k, capsys):
    assert ade20k_running.run("eval", ["--id", "none"]) == 3
    assert "neither encoder_best.pth and decoder_best.pth nor a run of ours" in capsys.readouterr().err


def test_an_input_is_never_overwritten(ade20k, capsys):
    (ade20k / "PATH_IMG/a.jpg").rename(ade20k / "PATH_IMG/a.png")
    words = ["--imgs", "PATH_IMG", "--cfg", "config.yaml", "TEST.result", "PATH_IMG"]
    before = (ade20k / "PATH_IMG/a.png").read_bytes()
    assert ade20k_running.run("test", words) == 2
    assert "would overwrite the input" in capsys.readouterr().err
    assert (ade20k / "PATH_IMG/a.png").read_bytes() == before
