"""int8 files of several tools beside the float file they came from: speed, accuracy and parity, one alternating run.

    python benchmarks/int8.py export --run RUN --folder FOLDER --size 384 768
    for peer in onnxruntime nncf aimet torchao brevitas; do benchmarks/int8_peers/setup.sh $peer FOLDER; done
    PYTHONPATH=.:OPENVINO python benchmarks/int8.py compare --folder FOLDER --threads 1 2 --rounds 30 --pictures 50

`export` writes the float file, ours (ranges from the pictures that the peers get, or those of an int8 run, which needs
the float.onnx of its float run in the folder) and what the peers need. Their packages conflict, so each peer writes its
file in an environment of its own.
`compare` times all `*.onnx` of the folder in turns, in one environment, twice: with logits at picture size, and with
ArgMax before the last up-sampling. All files get that by the same change to the graph.

OpenVINO computes float files in bfloat16 where the CPU can, unless it is told not to: both are measured, and "float" is
32 bit. Ratios are taken round by round: their median, and a 95 % interval by resampling the rounds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import fx

from edgeailite.cost.latency import Timing, alternate, onnx_runner
from edgeailite.cost.latency.runners import onnx_session
from edgeailite.data.augment.transforms import EvalTransform
from edgeailite.data.loader import eval_loader
from edgeailite.data.tensors import to_input
from edgeailite.environment import machine_facts, machine_title
from edgeailite.evaluation import Protocol, file_predictor
from edgeailite.evaluation.measure import measure
from edgeailite.evaluation.summary import headline
from edgeailite.export import to_onnx
from edgeailite.modelcard import ModelCard
from edgeailite.quantization import calibrate, integer_exact, prepare, set_input_range
from edgeailite.runs.dataset import dataset_of
from edgeailite.runs.network import load_network
from edgeailite.runs.open import OpenModel
from edgeailite.runtime import OnnxModel

RUNTIMES = ("onnxruntime", "openvino float32", "openvino bfloat16")
FLOAT = "float"
SAMPLES = 2000
Runner = Callable[[], object]


def main() -> None:
    """`export` or `compare`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    exporting, comparing = commands.add_parser("export"), commands.add_parser("compare")
    for command in (exporting, comparing):
        command.add_argument("--folder", type=Path, required=True)
        command.add_argument("--data_path", type=Path, help="folder of the data set; default as in training")
    exporting.add_argument("--run", type=Path, required=True)
    exporting.add_argument("--size", type=int, nargs=2, default=(384, 768))
    exporting.add_argument("--calibration", type=int, default=16, help="training pictures that ranges are taken from")
    exporting.add_argument("--compared", type=int, default=8, help="pictures of --split whose classes are compared")
    comparing.add_argument("--threads", type=int, nargs="+", default=(1, 2))
    comparing.add_argument("--rounds", type=int, default=30)
    comparing.add_argument(
        "--pictures", type=float, default=0.0, help="part of --split for mIoU: 0 = all, else how many"
    )
    for command in (exporting, comparing):
        command.add_argument("--split", default="val")
    comparing.add_argument("--files", nargs="+", help="names without .onnx; default all in the folder")
    comparing.add_argument("--openvino", default="yes", choices=("yes", "no"))
    args = parser.parse_args()
    {"export": export, "compare": compare}[args.command](args)


def export(args: argparse.Namespace) -> None:
    """Write the folder that `int8_peers/files.py` describes, and our own files."""
    args.folder.mkdir(parents=True, exist_ok=True)
    size = (args.size[0], args.size[1])
    checkpoint, network = load_network(args.run)
    card = replace(checkpoint.card, preprocessing=replace(checkpoint.card.preprocessing, height=size[0], width=size[1]))
    run = str(args.run.resolve())
    (args.folder / "network.json").write_text(json.dumps({"run": run, "size": size, "card": card.to_dict()}))
    images = {
        "calibration": inputs(card, args.data_path, "train", args.calibration),
        "compared": inputs(card, args.data_path, args.split, args.compared),
    }
    for name, values in images.items():
        np.save(args.folder / f"{name}.npy", values)
    quantized = network
    if not isinstance(network, fx.GraphModule):
        (args.folder / f"{FLOAT}.onnx").write_bytes(to_onnx(network, card, size=size).SerializeToString())
        quantized = prepare(network)
        set_input_range(quantized, *card.preprocessing.input_range)
        calibrate(quantized, [torch.from_numpy(x[None]) for x in images["calibration"]])
        quantized.eval()
    assert isinstance(quantized, fx.GraphModule)
    exact = integer_exact(quantized)
    found = [exact(torch.from_numpy(x[None]))["segmentation"].argmax(1).numpy() for x in images["compared"]]
    labels = np.concatenate(found).astype(np.uint8)
    for name, kernels in (("edgeailite", "plain"), ("edgeailite_kernels", "onnxruntime")):
        model = to_onnx(quantized, card, size=size, kernels=kernels)  # type: ignore[arg-type]
        (args.folder / f"{name}.onnx").write_bytes(model.SerializeToString())
        np.save(args.folder / f"{name}-labels.npy", labels)


def inputs(card: ModelCard, data_path: Path | None, split: str, count: int) -> NDArray[np.float32]:
    """`count` pictures of a split, evenly spaced, as the network gets them: (count,3,H,W)."""
    source, pre = dataset_of(card, None, data_path, split), card.preprocessing
    indices = np.linspace(0, len(source.items) - 1, min(count, len(source.items))).round().astype(int).tolist()
    transform = EvalTransform(pre.size, pre.interpolation)
    loader = eval_loader(source, transform, batch_size=1, workers=0, indices=indices)
    return np.concatenate([to_input(images[0], pre).numpy() for images, _ in loader])


def with_argmax(model: onnx.ModelProto, size: tuple[int, int]) -> onnx.ModelProto:
    """Classes (1,H,W) uint8 instead of logits: ArgMax before the last resize, then the nearest neighbour.

    Quantizers behind that resize go. Raises ValueError where no resize makes the output.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    maker = {name: node for node in graph.node for name in node.output}
    node = maker.get(graph.output[0].name)
    while node is not None and node.op_type in ("QuantizeLinear", "DequantizeLinear", "Identity", "Clip"):
        node = maker.get(node.input[0])
    if node is None or node.op_type not in ("Resize", "Upsample"):
        raise ValueError(f"output {graph.output[0].name}: not made by a resize")
    constants = {"labels_size": np.array([1, 1, *size], np.int64), "labels_axis": np.array([1], np.int64)}
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    nearest = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
    graph.node.extend(
        (
            helper.make_node("ArgMax", [node.input[0]], ["labels_index"], axis=1, keepdims=1),
            helper.make_node("Cast", ["labels_index"], ["labels_small"], to=TensorProto.UINT8),
            helper.make_node("Resize", ["labels_small", "", "", "labels_size"], ["labels_large"], **nearest),
            helper.make_node("Squeeze", ["labels_large", "labels_axis"], ["labels"]),
        )
    )
    del graph.output[:], graph.value_info[:]
    graph.output.append(helper.make_tensor_value_info("labels", TensorProto.UINT8, [1, *size]))
    _drop_unused(graph)
    return changed


def _drop_unused(graph: onnx.GraphProto) -> None:
    needed = {value.name for value in graph.output}
    for node in reversed(list(graph.node)):
        if needed.isdisjoint(node.output):
            graph.node.remove(node)
        else:
            needed.update(node.input)


def runner(path: Path, runtime: str, threads: int) -> Runner:
    """A file in a runtime; OpenVINO at the precision that the runtime's name says. RuntimeError or DataError."""
    if runtime == "onnxruntime":
        return onnx_runner(path, runtime, threads=threads)
    import openvino

    kind = openvino.Type.f32 if runtime.endswith("float32") else openvino.Type.bf16
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": kind}
    request = openvino.Core().compile_model(str(path), "CPU", settings).create_infer_request()
    x = np.random.default_rng(0).uniform(-2, 2, list(request.model_inputs[0].shape)).astype(np.float32)
    return lambda: request.infer([x])


def classes(path: Path, runtime: str, images: NDArray[np.float32]) -> NDArray[np.integer]:
    """Classes (N,H,W) that a file gives in a runtime."""
    if runtime == "onnxruntime":
        session = onnx_session(path, threads=1)
        name = session.get_inputs()[0].name
        return np.concatenate([session.run(None, {name: x[None]})[0].argmax(1) for x in images])
    import openvino

    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": openvino.Type.f32}
    request = openvino.Core().compile_model(str(path), "CPU", settings).create_infer_request()
    return np.concatenate([next(iter(request.infer([x[None]]).values())).argmax(1) for x in images])


def mean_iou(path: Path, card: ModelCard, args: argparse.Namespace) -> float:
    """In per cent, as `edgeailite validate` measures it, of a file in onnxruntime."""
    size = card.preprocessing.size
    predict = file_predictor(OnnxModel(onnx_session(path, threads=1), card, "int8", "none", size))
    opened = OpenModel(card, lambda images: {"segmentation": next(iter(predict(images).values()))}, "onnx", path, None)
    source = dataset_of(card, None, args.data_path, args.split)
    tally = measure(opened, source, workers=0, protocol=Protocol(epoch_size=args.pictures))
    return 100 * next(iter(headline(tally).values()))


def quality(path: Path, card: ModelCard, args: argparse.Namespace) -> list[str]:
    """Cells: mIoU, classes equal in onnxruntime and OpenVINO, and in onnxruntime and the tool's own simulation."""
    images = np.load(args.folder / "compared.npy")
    ours = classes(path, "onnxruntime", images)
    other = classes(path, "openvino", images) if args.openvino == "yes" else None
    simulated = args.folder / f"{path.stem}-labels.npy"
    own = np.load(simulated) if simulated.is_file() else None
    shares = ["-" if o is None else f"{100 * (o == ours).mean():.3f}" for o in (other, own)]
    return [f"{mean_iou(path, card, args):.2f}", *shares]


def timings(paths: Mapping[str, Path], runtimes: Sequence[str], threads: int, rounds: int) -> dict[str, Timing]:
    """`<file> <runtime>` -> times, all in turns; what a runtime refuses is left out and said."""
    runs = {}
    for runtime in runtimes:
        for name, path in paths.items():
            try:
                runs[f"{name} {runtime}"] = runner(path, runtime, threads)
            except Exception as error:  # noqa: BLE001 - runtimes raise many kinds, without a common base
                print(f"{name} in {runtime}: {reason(error)}")
    return alternate(runs, rounds=rounds, warmup=5)


def reason(error: object) -> str:
    """What went wrong, as one cell of a table."""
    return " ".join(str(error).split()).replace("|", "/")[:200]


def ratio(reference: NDArray[np.float64], values: NDArray[np.float64]) -> str:
    """Median of the ratios round by round, and its 95 % interval over resampled rounds."""
    ratios = reference / values
    drawn = np.random.default_rng(0).integers(0, len(ratios), (SAMPLES, len(ratios)))
    low, high = np.percentile(np.median(ratios[drawn], axis=1), (2.5, 97.5))
    return f"{np.median(ratios):.2f} ({low:.2f} .. {high:.2f})"


def rows(names: Sequence[str], measured: Mapping[str, Timing], runtimes: Sequence[str]) -> dict[str, list[str]]:
    """Cells per file: by runtime median ms and ratio to the float file there; then fastest float / fastest of this."""
    times = {key: np.array(timing.milliseconds) for key, timing in measured.items()}
    exact = [f"{FLOAT} {r}" for r in runtimes if not r.endswith("bfloat16") and f"{FLOAT} {r}" in times]
    fastest = min(exact, key=lambda key: float(np.median(times[key])))
    found = {}
    for name in names:
        cells = []
        own = [f"{name} {runtime}" for runtime in runtimes if f"{name} {runtime}" in times]
        for runtime in runtimes:
            key, base = f"{name} {runtime}", f"{FLOAT} {runtime}"
            known = key in times and base in times
            cells += [f"{np.median(times[key]):.1f}", ratio(times[base], times[key])] if known else ["refused", "-"]
        best = min(own, key=lambda key: float(np.median(times[key]))) if own else None
        cells.append("-" if best is None else ratio(times[fastest], times[best]))
        found[name] = cells
    return found


def compare(args: argparse.Namespace) -> None:
    """Measure and print the tables."""
    known = json.loads((args.folder / "network.json").read_text())
    card, size = load_network(Path(known["run"]))[0].card, (known["size"][0], known["size"][1])
    card = replace(card, preprocessing=replace(card.preprocessing, height=size[0], width=size[1]))
    names = args.files or sorted(path.stem for path in args.folder.glob("*.onnx") if path.stem != FLOAT)
    paths = {name: args.folder / f"{name}.onnx" for name in (FLOAT, *[name for name in names if name != FLOAT])}
    runtimes = RUNTIMES if args.openvino == "yes" else RUNTIMES[:1]
    print(
        f"{machine_title(machine_facts(args.threads[0]))}; onnxruntime {onnxruntime.__version__}, {args.rounds} rounds"
    )
    print_quality(paths, card, args)
    with tempfile.TemporaryDirectory(prefix="edgeailite-int8-") as folder:
        labelled = {name: Path(folder) / f"{name}.onnx" for name in paths}
        for name, path in paths.items():
            onnx.save(with_argmax(onnx.load(str(path)), size), str(labelled[name]))
        for threads in args.threads:
            for title, files in (("logits at picture size", paths), ("ArgMax before the last up-sampling", labelled)):
                found = rows(list(files), timings(files, runtimes, threads, args.rounds), runtimes)
                print_times(f"{size[0]}x{size[1]}, {title}, {threads} thread(s)", found, runtimes)


def print_quality(paths: Mapping[str, Path], card: ModelCard, args: argparse.Namespace) -> None:
    """The table of accuracy and parity, with what could not be made."""
    print("\n| file | MB | mIoU % | = in OpenVINO % | = own simulation % |\n|---|---|---|---|---|")
    for name, path in paths.items():
        try:
            cells = quality(path, card, args)
        except Exception as error:  # noqa: BLE001 - a peer's file may fail in any way, and that is a result
            cells = [reason(error), "-", "-"]
        print(f"| {name} | {path.stat().st_size / 1e6:.1f} | {' | '.join(cells)} |")
    for failed in sorted(args.folder.glob("*.failed")):
        print(f"| {failed.stem} | - | not made: {reason(failed.read_text())} | - | - |")


def print_times(title: str, found: Mapping[str, list[str]], runtimes: Sequence[str]) -> None:
    """One table of times."""
    heads = [text for runtime in runtimes for text in (f"{runtime} ms", "float / this")]
    print(f"\n{title}\n\n| file | {' | '.join(heads)} | fastest float32 / fastest |")
    print("|---" * (len(heads) + 2) + "|")
    for name, cells in found.items():
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
