"""Small honest files that the cases are made from: a data set, ONNX files with contracts, run folders.

They are made once, each in a process of its own. The two ONNX files are written by hand with the metadata of the
exporter: a damaged byte of a file of a few kilobytes meets its structure, one of ten megabytes meets a weight.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgeailite.__main__ import main
from edgeailite.config import TrainConfig
from edgeailite.config.stored import plain
from edgeailite.data.streets.dataset import write_streets
from edgeailite.environment import environment
from edgeailite.export.to_onnx import _metadata
from edgeailite.files import sha256_of
from edgeailite.modelcard import ModelCard
from edgeailite.preprocessing import Preprocessing, preprocess
from edgeailite.runs.checkpoint import Checkpoint, save_checkpoint
from edgeailite.runs.folder import append_metrics, start_run
from edgeailite.runs.network import build_network
from edgeailite.runtime import Golden, load_onnx, run
from edgeailite.runtime.contract import FORMAT, Layer, described
from edgeailite.runtime.session import tensors

HEIGHT, WIDTH = 32, 48
CLASSES = ("road", "sky", "car")
PALETTE = ((128, 64, 128), (70, 130, 180), (0, 0, 142))
NETWORK = "fpn_mobilenetv2_tv_edgeailite"  # of the published networks the smallest file
SETTINGS = "classes: [road, sky, car]\npalette: [[128, 64, 128], [70, 130, 180], [0, 0, 142]]\n"
QUIET = ("--workers", 0, "--device", "cpu", "--threads", 1)
TRAIN = ("--model_name", NETWORK, "--img_resize", HEIGHT, WIDTH, "--batch_size", 2, "--epochs", 1, *QUIET,
         "--amp", "off", "--overlays", 0, "--tensorboard", "off")  # fmt: skip


@dataclass(frozen=True)
class Seeds:
    """The folder of the seeds; every one has a name and a folder of that name."""

    root: Path

    def __truediv__(self, name: str) -> Path:
        return self.root / name

    def copy(self, name: str, target: Path) -> Path:
        """A copy of a seed; what is large is linked and must not be written to."""
        shutil.copytree(self.root / name, target, copy_function=_copy)
        return target


def _copy(source: str, target: str) -> None:
    if Path(source).stat().st_size > 1_000_000:
        Path(target).hardlink_to(source)
    else:
        shutil.copy2(source, target)


def card(folder: Path | None = None) -> ModelCard:
    """What the checkpoints and files say of themselves."""
    pre = Preprocessing(HEIGHT, WIDTH)
    return ModelCard(
        NETWORK, {"segmentation": 3}, CLASSES, PALETTE, pre, "folder", None if folder is None else str(folder)
    )


def scene(number: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A picture and its mask: sky, road and a car somewhere."""
    rng = np.random.default_rng(number)
    mask = np.full((HEIGHT, WIDTH), 1, np.uint8)
    mask[HEIGHT // 2 :] = 0
    y, x = rng.integers(0, HEIGHT // 2), rng.integers(0, WIDTH // 2)
    mask[y : y + 12, x : x + 16] = 2
    colours = np.stack([mask * 80, 255 - mask * 60, mask * 40], -1) + rng.integers(0, 20, (HEIGHT, WIDTH, 3))
    return colours.clip(0, 255).astype(np.uint8), mask


def _data(folder: Path) -> None:
    for split, numbers in (("train", range(4)), ("val", range(4, 6))):
        for number in numbers:
            for kind, pixels in zip(("images", "labels"), scene(number), strict=True):
                path = folder / kind / split / f"p{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    (folder / "dataset.yaml").write_text(SETTINGS)


def _quantizers(value: str, scale: str, zero: str) -> list[NodeProto]:
    return [
        helper.make_node("QuantizeLinear", [value, scale, zero], [f"{value}.q"], name=f"{value}.quantize"),
        helper.make_node("DequantizeLinear", [f"{value}.q", scale, zero], [f"{value}.d"], name=f"{value}.dequantize"),
    ]


def network(kind: str) -> ModelProto:
    """Convolution, ReLU, convolution, resize; float, or between quantizers. Metadata as `export` writes it."""
    rng = np.random.default_rng(0)
    weights = {"a": rng.normal(size=(4, 3, 3, 3)) / 4, "b": rng.normal(size=(3, 4, 3, 3)) / 4}
    values = {name: np.asarray(value, np.float32) for name, value in weights.items()}
    values["sizes"] = np.array([1, 3, HEIGHT, WIDTH], np.int64)
    relu = helper.make_node("Relu", ["hidden"], ["active"], name="relu")
    resize = helper.make_node("Resize", ["small", "", "", "sizes"], ["segmentation"], name="resize", mode="linear")
    if kind == "float":
        inputs = ("image", "a", "active", "b")
        nodes = [[], [], [], []]
    else:
        for name in ("a", "b"):
            values[name] = np.clip(np.rint(values[name] / 0.01), -127, 127).astype(np.int8)
        values |= {"s": np.float32(1 / 64), "sw": np.float32(0.01), "z": np.uint8(128), "zw": np.int8(0)}
        nodes = [_quantizers("image", "s", "z"), _quantizers("active", "s", "z"), [], []]
        for name in ("a", "b"):
            nodes[2].append(helper.make_node("DequantizeLinear", [name, "sw", "zw"], [f"{name}.d"], name=f"{name}.d"))
        inputs = ("image.d", "a.d", "active.d", "b.d")
    first = helper.make_node("Conv", inputs[:2], ["hidden"], name="first", pads=[1] * 4, strides=[2, 2])
    second = helper.make_node("Conv", inputs[2:], ["small"], name="second", pads=[1] * 4)
    graph = helper.make_graph(
        [*nodes[2], *nodes[0], first, relu, *nodes[1], second, resize],
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info("segmentation", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    metadata = _metadata(model, card(), argmax="none", kernels="plain")
    if kind == "int8":
        metadata |= {"edgeailite.kind": "int8", "edgeailite.scheme": "ort_u8s8", "edgeailite.session": "{}"}
    helper.set_model_props(model, metadata)
    return model


def _files(folder: Path) -> None:
    for kind, end in (("float", ""), ("int8", "_int8")):
        file = folder / f"model{end}.onnx"
        data = network(kind).SerializeToString(deterministic=True)
        file.write_bytes(data)
        picture = scene(7)[0]
        model, image = load_onnx(file, level="EXTENDED"), preprocess(picture, card().preprocessing)
        inner = {"hidden": ("first",), "active": ("relu",), "small": ("second",)}
        if kind == "int8":
            inner = {"image.q": ("image.quantize",), "active.q": ("first", "relu", "active.quantize")}
        found = tensors(data, list(inner), [image])
        layers = tuple((Layer(name, inner[name]), value) for name, value in found.items())
        golden = Golden((picture,), (image,), run(model, image), layers)
        contract = {
            "format": FORMAT,
            "edgeailite": "0",
            "file": file.name,
            "kind": kind,
            "exact": kind == "int8",
            "sha256": sha256_of(file),
            "preprocessing": card().to_dict()["preprocessing"],
            "card": described(card()),
            "environment": {},
            "results": {},
            "golden": [golden.to_dict()],
        }
        (folder / f"contract{end}.json").write_text(json.dumps(contract))


def _bare(folder: Path) -> None:
    """A run folder without the state of training: as large as its weights."""
    about = card(folder.parent / "data")
    torch.manual_seed(1)
    options = plain(TrainConfig(dataset_name="folder", data_path=folder.parent / "data", model_name=NETWORK, epochs=1))
    start_run(folder, options, environment())
    save_checkpoint(folder / "last.pt", Checkpoint(about, build_network(about).state_dict(), options))
    append_metrics(folder, {"epoch": 1, "lr": 1e-4, "loss": 1.5, "miou": 0.25, "pixel_accuracy": 0.5, "seconds": 1.0})


def command(*words: object) -> None:
    """A command line that must succeed. Raises RuntimeError."""
    code = main([str(word) for word in words])
    if code:
        raise RuntimeError(f"{' '.join(map(str, words))} ended with {code}")


def _labelled(folder: Path) -> None:
    """What `infer` writes."""
    shutil.copy2(folder.parent / "files/model.onnx", folder / "model.onnx")
    command(
        "infer", folder / "model.onnx", folder.parent / "data/images/val", "--save_path", folder / "out", "--threads", 1
    )


def _streets(folder: Path) -> None:
    write_streets(folder, train=2, val=1, height=64, width=128)


def _trained(folder: Path) -> None:
    command("train", "--dataset_name", "folder", "--data_path", folder.parent / "data", "--save_path", folder, *TRAIN)


def _quantized(folder: Path) -> None:
    command("calibrate", folder.parent / "trained", "--save_path", folder, "--images", 2, *QUIET)


def _exported(folder: Path) -> None:
    """A trained run and a quantized one with their files."""
    for name in ("trained", "quantized"):
        shutil.copytree(folder.parent / name, folder / name)
        command("export", folder / name)


MAKERS: dict[str, Callable[[Path], None]] = {
    "data": _data,
    "files": _files,
    "bare": _bare,
    "labelled": _labelled,
    "streets": _streets,
    "trained": _trained,
    "quantized": _quantized,
    "exported": _exported,
}
"""In the order in which they are made; later ones are made of earlier ones."""
ORIGINS = {
    "files": ("data",),
    "bare": ("data",),
    "labelled": ("data", "files"),
    "trained": ("data",),
    "quantized": ("trained",),
    "exported": ("quantized",),
}
"""What a seed is made of."""
QUICK = ("data", "files", "bare", "labelled", "streets")  # those that are there within seconds


def with_origins(names: Iterable[str]) -> list[str]:
    """These seeds and all that they are made of, in the order in which they are made."""
    needed, waiting = set(), list(names)
    while waiting:
        name = waiting.pop()
        needed.add(name)
        waiting += ORIGINS.get(name, ())
    return [name for name in MAKERS if name in needed]
