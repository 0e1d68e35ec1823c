"""int8 .tflite files of litert-torch and ai-edge-quantizer beside ours, made from one float network.

    python -m benchmarks.int8 export --run RUN --folder FOLDER --size 384 768 --data_path CAMVID_FOLDER
    benchmarks/int8_peers/setup.sh litert FOLDER
    python -m benchmarks.tflite_peers FOLDER --split test --pictures 40 --data_path CAMVID_FOLDER

Ranges come from the same pictures. Per file: its size, mIoU in LiteRT (XNNPACK), and the share of pixels with the same
class in LiteRT's reference kernels, and in the tool's own simulation: ours is the integer-exact network in the
arithmetic `xnnpack`, litert-torch's the converted PT2E graph; ai-edge-quantizer has none. Speed: copy the files into
the folders of `benchmarks/runtimes.py`.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx

from benchmarks.int8 import reason
from edgeailite.data.tensors import to_input
from edgeailite.evaluation import Protocol
from edgeailite.evaluation.measure import measure
from edgeailite.evaluation.summary import headline
from edgeailite.export.to_tflite import to_tflite
from edgeailite.modelcard import ModelCard
from edgeailite.quantization import calibrate, integer_exact, prepare, set_input_range
from edgeailite.runs.dataset import dataset_of
from edgeailite.runs.network import load_network
from edgeailite.runs.open import OpenModel
from edgeailite.runtime.tflite_session import tflite_interpreter

OURS = "edgeailite"


def main() -> None:
    """Write our file if it is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data_path", type=Path, help="folder of the data set; default as in training")
    parser.add_argument("--split", default="test")
    parser.add_argument("--pictures", type=float, default=40.0, help="part of --split for mIoU: 0 = all, else how many")
    parser.add_argument("--reference", type=int, default=3, help="pictures for the reference kernels, which are slow")
    args = parser.parse_args()
    known = json.loads((args.folder / "network.json").read_text())
    size = (known["size"][0], known["size"][1])
    checkpoint, network = load_network(Path(known["run"]))
    card = checkpoint.card.with_size(size)
    if not (args.folder / f"{OURS}.tflite").is_file():
        write_ours(args.folder, network, card, size)
    print(
        "\n| file | MB | mIoU, % | classes: reference kernels, % | classes: own simulation, % |\n|---|---|---|---|---|"
    )
    for path in sorted(args.folder.glob("*.tflite")):
        cells = quality(path, card, args)
        print(f"| {path.name} | {path.stat().st_size / 1e6:.1f} | {' | '.join(cells)} |", flush=True)
    for failed in sorted(args.folder.glob("*.failed")):
        print(f"| {failed.stem} | - | not made: {reason(failed.read_text())} | - | - |")


def write_ours(folder: Path, network: torch.nn.Module, card: ModelCard, size: tuple[int, int]) -> None:
    """Calibrate, export, and keep what the integer-exact network answers."""
    model = prepare(network)
    set_input_range(model, *card.preprocessing.input_range)
    calibrate(model, [torch.from_numpy(x[None]) for x in np.load(folder / "calibration.npy")])
    (folder / f"{OURS}.tflite").write_bytes(to_tflite(model.eval(), card, size=size).data)
    np.save(folder / f"{OURS}-labels.npy", simulated(model, np.load(folder / "compared.npy")))


def simulated(model: fx.GraphModule, images: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Classes of the integer-exact network in XNNPACK's arithmetic."""
    exact = integer_exact(model, arithmetic="xnnpack")
    found = [exact(torch.from_numpy(x[None]))["segmentation"].argmax(1).numpy() for x in images]
    return np.concatenate(found).astype(np.uint8)


@dataclass(frozen=True)
class Scores:
    """A .tflite file of any tool with one picture and one output: `scores(image)` (1,3,H,W) -> (1,C,H,W)."""

    interpreter: Any

    @staticmethod
    def of(path: Path, kernels: str) -> Scores:
        """Load a file; `kernels` is `xnnpack` or `reference`."""
        return Scores(tflite_interpreter(path.read_bytes(), name=str(path), threads=1, kernels=kernels))

    def __call__(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run it; a file may take and give channels first or last, floats or codes."""
        [taken], [given] = self.interpreter.get_input_details(), self.interpreter.get_output_details()
        if taken["shape"][-1] == 3:
            image = image.transpose(0, 2, 3, 1)
        if taken["dtype"] == np.int8:
            scale, zero_point = taken["quantization"]
            image = np.clip(np.rint(image / np.float32(scale)) + zero_point, -128, 127).astype(np.int8)
        self.interpreter.set_tensor(taken["index"], np.ascontiguousarray(image))
        self.interpreter.invoke()
        values = self.interpreter.get_tensor(given["index"])
        last = values.shape[-1] < values.shape[1]  # classes are fewer than rows
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2) if last else values, np.float32)


def quality(path: Path, card: ModelCard, args: argparse.Namespace) -> list[str]:
    """Cells: mIoU, classes as in the reference kernels, classes as in the tool's own simulation."""
    images = np.load(args.folder / "compared.npy")
    try:
        found = classes(Scores.of(path, "xnnpack"), images)
        other = classes(Scores.of(path, "reference"), images[: args.reference])
    except Exception as error:  # noqa: BLE001 - a peer's file may fail in any way, and that is a result
        return [reason(error), "-", "-"]
    simulated_labels = args.folder / f"{path.stem}-labels.npy"
    own = f"{100 * (np.load(simulated_labels) == found).mean():.3f}" if simulated_labels.is_file() else "none"
    return [
        f"{mean_iou(Scores.of(path, 'xnnpack'), path, card, args):.2f}",
        f"{100 * (other == found[: len(other)]).mean():.3f}",
        own,
    ]


def classes(scores: Scores, images: NDArray[np.float32]) -> NDArray[np.integer]:
    """Classes (N,H,W) of normalised pictures (N,3,H,W)."""
    return np.concatenate([scores(x[None]).argmax(1) for x in images])


def mean_iou(scores: Scores, path: Path, card: ModelCard, args: argparse.Namespace) -> float:
    """In per cent, as `edgeailite validate` measures it."""

    def predict(images: tuple[torch.Tensor, ...]) -> dict[str, torch.Tensor]:
        inputs = to_input(images[0], card.preprocessing).numpy()
        return {"segmentation": torch.from_numpy(np.concatenate([scores(x[None]) for x in inputs]))}

    source = dataset_of(card, None, args.data_path, args.split)
    opened = OpenModel(card, predict, "tflite", path, None)
    tally = measure(opened, source, workers=0, protocol=Protocol(epoch_size=args.pictures))
    return 100 * next(iter(headline(tally).values()))


if __name__ == "__main__":
    main()
