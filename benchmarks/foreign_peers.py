"""int8 files of float ONNX files from elsewhere: ours beside those of quantize_static and NNCF, in one alternating run.

    python -m venv --system-site-packages NNCF && NNCF/bin/pip install nncf==3.4.0
    python -m benchmarks.foreign_peers --folder FOLDER --camvid CAMVID --nncf NNCF/bin/python

Five float files: four of torchvision with seeded random weights (their signal says nothing of accuracy), and the FPN of
`benchmarks/camvid`, which has labels. Everybody gets the same calibration pictures. The files of all tools are then

- proven by `edgeailite verify FILE --pictures` (share of MACs that run as integers, verdict),
- timed against the float file, all in turns, medians of the ratios round by round with 95 % intervals,
- compared with their own simulation: ours with the integer-exact network, others with their graph in float (that is
  what such a tool evaluates), by the share of output values that are equal,
- scored on labels, if there are any.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
import torchvision
from torch import Tensor, nn

from benchmarks.int8 import mean_iou, ratio, reason
from edgeailite.cost.latency import alternate, onnx_runner
from edgeailite.data.files.images import read_image
from edgeailite.environment import machine_facts, machine_title
from edgeailite.export import to_onnx
from edgeailite.export.int8_files.file import int8_file
from edgeailite.export.int8_files.prove import prove_int8
from edgeailite.foreign import read_onnx
from edgeailite.modelcard import ModelCard
from edgeailite.onnxfile import read_onnx as read_file
from edgeailite.preprocessing import Preprocessing, preprocess
from edgeailite.quantization import calibrate, integer_exact, prepare, set_input_range
from edgeailite.runs.network import load_network
from edgeailite.runtime import open_session

FPN = Path(__file__).parent / "camvid" / "camvid_fpn_1.pt"
OURS, KERNELS = "edgeailite", "edgeailite_kernels"  # the second: `--kernels onnxruntime`
DEFAULTS, BEST, NNCF = "onnxruntime_defaults", "onnxruntime_u8s8_per_channel", "nncf"
PEERS = Path(__file__).parent / "int8_peers"


class Logits(nn.Module):
    """A network with one tensor as its answer."""

    def __init__(self, network: nn.Module, output: str | None = None) -> None:
        super().__init__()
        self.network, self.output = network, output

    def forward(self, image: Tensor) -> Tensor:
        """Picture -> scores."""
        found = self.network(image)
        return found if self.output is None else found[self.output]


def seeded(make: Callable[..., nn.Module], output: str | None = None, **options: object) -> Callable[[], nn.Module]:
    """Return a maker of a network with random weights and statistics of BatchNorm that are not the initial ones."""

    def made() -> nn.Module:
        torch.manual_seed(0)
        network = make(weights=None, **options)
        for part in network.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.normal_(0, 0.1)
                part.running_var.uniform_(0.5, 1.5)
        return Logits(network, output)

    return made


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "our fpn (CamVid)": lambda: Logits(load_network(FPN)[1], "segmentation"),
    "resnet18": seeded(torchvision.models.resnet18),
    "mobilenet_v2": seeded(torchvision.models.mobilenet_v2),
    "mobilenet_v3_small": seeded(torchvision.models.mobilenet_v3_small),
    "lraspp": seeded(
        torchvision.models.segmentation.lraspp_mobilenet_v3_large, "out", weights_backbone=None, num_classes=11
    ),
}


def main() -> None:
    """Make the files, compare them, print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--camvid", type=Path, required=True, help="folder of CamVid")
    parser.add_argument("--nncf", default=None, help="python of an environment with NNCF; without it NNCF is left out")
    parser.add_argument("--size", type=int, nargs=2, default=(96, 160))
    parser.add_argument("--calibration", type=int, default=8)
    parser.add_argument("--pictures", type=int, default=2, help="pictures that the proofs compare")
    parser.add_argument("--scored", type=float, default=60, help="pictures of CamVid's test split for mIoU")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    args = parser.parse_args()
    print(f"{machine_title(machine_facts(args.threads))}; {args.rounds} rounds, {args.size[0]}x{args.size[1]}")
    print("\n| network | file | integer MACs | float / this | = own simulation | verdict | mIoU |")
    print("|---|---|---|---|---|---|---|")
    for name in args.networks:
        place = args.folder / name.split()[0 if "(" not in name else 1]
        place.mkdir(parents=True, exist_ok=True)
        for row in rows(name, place, args):
            print(f"| {name} | {' | '.join(row)} |", flush=True)


def rows(name: str, place: Path, args: argparse.Namespace) -> list[list[str]]:
    """Make a network's files and measure them; a row per file."""
    size = (args.size[0], args.size[1])
    paths = sorted((args.camvid / "images" / "train").iterdir())
    chosen = paths[:: max(1, len(paths) // args.calibration)][: args.calibration]
    card = ModelCard("network", {}, (), (), Preprocessing(*size), "pictures")
    np.save(place / "calibration.npy", np.concatenate([preprocess(read_image(p), card.preprocessing) for p in chosen]))
    network = NETWORKS[name]().eval()
    torch.onnx.export(
        network, (torch.zeros(1, 3, *size),), str(place / "float.onnx"), dynamo=True, verbose=False,
        input_names=["image"], output_names=["output"], external_data=False,
    )  # fmt: skip
    simulated = write_ours(place, size)
    write_peers(place, args.nncf)
    files = {n: place / f"{n}.onnx" for n in (OURS, KERNELS, DEFAULTS, BEST, NNCF) if (place / f"{n}.onnx").is_file()}
    runs = {
        n: onnx_runner(p, "onnxruntime", threads=args.threads)
        for n, p in {"float": place / "float.onnx", **files}.items()
    }
    times = {key: np.array(t.milliseconds) for key, t in alternate(runs, rounds=args.rounds, warmup=3).items()}
    labelled = load_network(FPN)[0].card.with_size(size) if "CamVid" in name else None
    args.data_path, args.split = args.camvid, "test"
    scores = {}
    if labelled is not None:
        scored = argparse.Namespace(data_path=args.camvid, split="test", pictures=args.scored)
        scores = {n: mean_iou(p, labelled, scored) for n, p in {"float": place / "float.onnx", **files}.items()}
    found = [["float", "-", "1", "-", "-", f"{scores['float']:.2f}" if scores else "-"]]
    for key, path in files.items():
        try:
            cells = proven(path, paths[-args.pictures :], card, simulated if key in (OURS, KERNELS) else None)
        except Exception as error:  # noqa: BLE001 - a peer's file may fail in any way, and that is a result
            cells = ["-", "-", reason(error)]
        speed = ratio(times["float"], times[key])
        found.append([key, cells[0], speed, cells[1], cells[2], f"{scores[key]:.2f}" if scores else "-"])
    return found


def write_ours(place: Path, size: tuple[int, int]) -> Callable[[np.ndarray], np.ndarray]:
    """Write our two files from float.onnx; return the integer-exact network."""
    network = read_onnx(onnx.load(str(place / "float.onnx")))
    inputs = torch.from_numpy(np.load(place / "calibration.npy"))
    quantized = prepare(network)
    preprocessing = Preprocessing(*size)
    set_input_range(quantized, *preprocessing.input_range)
    calibrate(quantized, [(x[None],) for x in inputs])
    quantized.eval()
    exact = integer_exact(quantized)
    answer = exact(inputs[:1])["output"]
    card = ModelCard("network", {"output": answer.shape[1]}, (), (), preprocessing, "pictures")
    onnx.save(to_onnx(quantized, card, size=size), str(place / f"{OURS}.onnx"))
    onnx.save(to_onnx(quantized, card, size=size, kernels="onnxruntime"), str(place / f"{KERNELS}.onnx"))
    return lambda image: exact(torch.from_numpy(image))["output"].numpy()


def write_peers(place: Path, nncf: str | None) -> None:
    """Let the other tools write their files, each in a process of its own."""
    for python, script in ((sys.executable, "with_onnxruntime.py"), (nncf, "with_nncf.py")):
        if python is not None:
            done = subprocess.run(
                [python, str(PEERS / script), str(place)], capture_output=True, text=True, check=False
            )
            if done.returncode:
                print(f"{script}: {reason((done.stderr.strip().splitlines() or ['failed'])[-1])}", file=sys.stderr)


def proven(
    path: Path, pictures: list[Path], card: ModelCard, simulated: Callable[[np.ndarray], np.ndarray] | None
) -> list[str]:
    """Cells: share of MACs in integers, values equal to the own simulation, verdict."""
    file = int8_file(read_file(path))
    images = [read_image(picture) for picture in pictures]
    inputs = [preprocess(image, card.preprocessing) for image in images]
    answers = {level: open_session(path, level=level, threads=1) for level in ("ALL", "DISABLED")}
    equal = []
    for x in inputs:
        found: Mapping[str, np.ndarray] = {k: s.run(None, {file.input: x})[0] for k, s in answers.items()}
        expected = found["DISABLED"] if simulated is None else simulated(x)
        equal.append(float((found["ALL"] == expected).mean()))
    proof = prove_int8(file, images, card.preprocessing, threads=1)
    verdict = "proven" if proof.exact else f"proven but for {len(proof.parts)} tensors"
    return [f"{100 * proof.integer_macs:.1f} %", f"{100 * np.mean(equal):.1f} %", verdict]


if __name__ == "__main__":
    main()
