"""Our networks beside those of segmentation_models.pytorch and torchvision: onnxruntime, one alternating run.

    pip install --no-deps --target PEERS segmentation-models-pytorch timm "huggingface-hub<1" requests urllib3 tqdm
    PYTHONPATH=.:PEERS python benchmarks/side_by_side.py --threads 2 --rounds 30 --kinds float32 int8 tflite

Prints the Markdown table of docs/models.md; int8 files are ours alone: ONNX in onnxruntime, and .tflite in LiteRT with
XNNPACK's kernels, which give the decoder's codes before the last resize (needs the extra `tflite`). With --results (a
file of `edgeailite validate --json True`, or a CSV with network, miou and type) it has a column mIoU, and --plot draws
it over milliseconds with the Pareto front. All weights are random (speed does not depend on them), all ONNX files come
from the same exporter (torch.onnx, fixed size, onnxsim) and give logits of 19 classes at the size of the picture, and
GMACs and parameters are counted from the files (BatchNorm is folded) by the same rules. Peers that are not installed
are left out, and said so. Exported files go to a fresh folder, unless --cache keeps them: whoever keeps them answers
for their being of this version.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import onnx
import onnxsim
import torch
from torch import Tensor, nn

from edgeailite.cost import pareto
from edgeailite.cost.accuracies import read_accuracies
from edgeailite.cost.candidates import Subject, open_subjects
from edgeailite.cost.devices import INT8_SUFFIX
from edgeailite.cost.ethos_u import untrained_tflite
from edgeailite.cost.latency import Timing, alternate, onnx_runner
from edgeailite.cost.latency.runners import tflite_runner
from edgeailite.drawing.plots import tradeoff
from edgeailite.environment import machine_facts
from edgeailite.errors import UsageError

OURS = (
    "unet_aspp_mobilenetv2_tv_edgeailite",
    "deeplabv3plus_mobilenetv2_tv_edgeailite",
    "fpn_aspp_mobilenetv2_tv_edgeailite",
    "fpn_aspp_mobilenetv2_tv_fd_edgeailite",
    "fpn_aspp_regnetx400mf_edgeailite",
    "fpn_aspp_regnetx800mf_edgeailite",
    "fpn_aspp_efficientnet_lite0_edgeailite",
    "fpn128full_aspp_efficientnet_lite0_edgeailite",
    "deeplabv3plus_efficientnet_lite0_edgeailite",
    "fpn_aspp_mobilenetv4_conv_small_edgeailite",
    "fpn_aspp_mobilenetv4_conv_medium_edgeailite",
    "fpn_aspp_repvgg_a0_edgeailite",
    "fpn_aspp_mobileone_s0_edgeailite",
    "ddrnet23_slim",
    "ffnet40s",
)
CLASSES = 19
TFLITE = "tflite"
OPSET = 20  # at 21 the exporter writes GroupNormalization, a function whose shapes onnx does not infer


def peers() -> dict[str, Callable[[], nn.Module]]:
    """Name -> what builds it without weights; packages that are missing are named on stderr by the caller."""
    from torchvision.models import segmentation

    found: dict[str, Callable[[], nn.Module]] = {
        f"torchvision {name}": lambda name=name: getattr(segmentation, name)(
            weights=None, weights_backbone=None, num_classes=CLASSES
        )
        for name in ("lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large")
    }
    try:
        import segmentation_models_pytorch as smp
    except ImportError as error:
        print(f"segmentation_models.pytorch is left out: {error}")
        return found
    for name in ("Unet", "FPN", "DeepLabV3Plus"):
        found[f"smp {smp.__version__} {name} mobilenet_v2"] = lambda name=name: getattr(smp, name)(
            "mobilenet_v2", encoder_weights=None, classes=CLASSES
        )
    return found


class Logits(nn.Module):
    """The logits of a network that gives a dictionary (torchvision) or a tensor."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        found = self.network(image)
        return found["out"] if isinstance(found, dict) else found


def export_peer(build: Callable[[], nn.Module], path: Path, size: tuple[int, int]) -> None:
    """Write a peer's network as our own export does: BatchNorm folded by onnxsim, fixed size."""
    if path.is_file():
        return
    network = Logits(build()).eval()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's notes on its own internals
        program = torch.onnx.export(
            network, (torch.zeros(1, 3, *size),), dynamo=True, verbose=False, opset_version=OPSET, input_names=["image"]
        )
    assert program is not None
    simplified, valid = onnxsim.simplify(program.model_proto)
    onnx.save(simplified if valid else program.model_proto, str(path))


def main() -> None:
    """Export, measure in turns, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=(384, 768))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--networks", nargs="+", default=OURS, help="networks of ours, by name")
    parser.add_argument("--kinds", nargs="+", choices=("float32", "int8", TFLITE), default=("float32",))
    parser.add_argument("--no_peers", action="store_true", help="our networks alone")
    parser.add_argument("--results", type=Path, help="accuracies of our networks")
    parser.add_argument("--plot", type=Path, help="PNG to draw, of the networks that have an accuracy")
    parser.add_argument("--cache", type=Path, help="folder to keep exported files in; default a fresh one")
    args = parser.parse_args()
    if args.plot is not None and args.results is None:
        parser.error("--plot: give the accuracies with --results")
    if args.cache is not None:
        run(args)
        return
    with tempfile.TemporaryDirectory(prefix="edgeailite-side-by-side-") as folder:
        args.cache = Path(folder)
        run(args)


def run(args: argparse.Namespace) -> None:
    """All of it, with exported files in `args.cache`."""
    args.cache.mkdir(parents=True, exist_ok=True)
    size = (args.size[0], args.size[1])
    onnx_kinds = [kind for kind in args.kinds if kind != TFLITE]
    subjects = open_subjects(args.networks, args.cache, size=size, classes=CLASSES, kinds=onnx_kinds)
    subjects += tflite_subjects(args.networks, args.cache, size) if TFLITE in args.kinds else []
    for name, build in () if args.no_peers else peers().items():
        path = args.cache / f"{name.replace(' ', '_')}-{size[0]}x{size[1]}.onnx"
        export_peer(build, path, size)
        [subject] = open_subjects([str(path)], args.cache, size=size)
        subjects.append(replace(subject, name=name))
    runs = {subject.name: runner(subject, size, args.threads) for subject in subjects}
    timings = alternate(runs, rounds=args.rounds, warmup=5)
    facts = machine_facts(args.threads)
    results = [] if args.results is None else read_accuracies(args.results)
    miou = {one.network + (INT8_SUFFIX if one.arithmetic == "int8" else ""): one.miou for one in results}
    print(f"\n{size[0]}x{size[1]}, {args.threads} threads, onnxruntime {facts['onnxruntime']}, CPU with")
    print(f"{' '.join(facts['features'])}; {args.rounds} rounds in turns\n")
    accuracy = ("mIoU, %",) if miou else ()
    heads = ("network", "GMACs", "parameters", "median ms", "10 to 90 %", "minimum ms", *accuracy)
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for subject in sorted(subjects, key=lambda subject: timings[subject.name].median):
        rated = miou.get(subject.name)
        print(row(subject, timings[subject.name]), *(["-" if rated is None else f"{rated:.2f}", "|"] if miou else []))
    if args.plot is not None:
        draw(args.plot, {name: (timings[name].median, miou[name]) for name in timings if name in miou})


def tflite_subjects(names: Sequence[str], folder: Path, size: tuple[int, int]) -> list[Subject]:
    """Write each network's int8 .tflite file, with random weights; one that has no such form is named and left out."""
    subjects = []
    for name in names:
        path = folder / f"{name}-{size[0]}x{size[1]}.tflite"
        try:
            if not path.is_file():
                path.write_bytes(untrained_tflite(name, size, classes=CLASSES))
        except UsageError as error:
            print(f"{name} (tflite) is left out: {error}")
            continue
        [subject] = open_subjects([str(path)], folder, size=size)
        subjects.append(replace(subject, name=f"{name} ({TFLITE})"))
    return subjects


def runner(subject: Subject, size: tuple[int, int], threads: int) -> Callable[[], object]:
    """What runs a subject once."""
    if subject.file.suffix == ".tflite":
        return tflite_runner(subject.file, threads=threads)
    return onnx_runner(subject.file, "onnxruntime", threads=threads, height_width=size)


def draw(path: Path, points: Mapping[str, tuple[float, float]]) -> None:
    """Write the plot: milliseconds, accuracy and their Pareto front."""
    if not points:
        raise SystemExit("--plot: --results holds no network that was timed")
    front = pareto(list(points.values()))
    labels = ("median milliseconds", "mIoU, %")
    path.write_bytes(tradeoff([(name, *point) for name, point in points.items()], front, labels=labels))


def row(subject: Subject, timing: Timing) -> str:
    """A line of the table."""
    low, high = timing.spread
    cost = subject.cost
    counted = ("-", "-") if cost is None else (f"{cost.giga_macs:.3f}", f"{cost.parameters:,}")
    cells = (*counted, f"{timing.median:.1f}")
    return f"| {subject.name} | {' | '.join(cells)} | {low:.1f} .. {high:.1f} | {timing.minimum:.1f} |"


if __name__ == "__main__":
    main()
