"""A network's files in every runtime that takes them, one alternating run: float32 and int8, logits and classes.

    python -m benchmarks.runtimes RUN ... --folder FOLDER --size 384 768 --data_path DATA --threads 1 2 --rounds 20

RUN is a float run or checkpoint. Its files are written to FOLDER/RUN/{logits,classes}, unless they are there already:

 float.onnx             float32
 int8.onnx              calibrated as `edgeailite calibrate` does, with a few training pictures
 int8_kernels.onnx      the same, rewritten as `--kernels onnxruntime` does
 int8_long_scales.onnx  the same without scales at which every CPU resizes alike (`prepare(exact_resizes=False)`)
 int8.tflite            inner resizes written as convolutions, as `--target tflite` does
 int8_resize.tflite     inner resizes left to the runtime

Any further .onnx or .tflite file in those folders is timed too. Scales at which additions have no ties cannot take
time: operators and shapes are the same, so they have no row.

"classes" are taken before the last up-sampling and enlarged by the nearest neighbour; those of .tflite files at full
size (`--argmax full`), and in the rows `codes` from the codes of the decoder, by numpy. OpenVINO computes float parts
in bfloat16 where the CPU can, unless it is told not to: `openvino` is float32, `openvino bfloat16` what it does by
itself.

Each table has the median and the least milliseconds, how many times as fast as float32 in onnxruntime (median of the
ratios round by round, 95 % interval over resampled rounds), and the machine's load before and after. `--clock cpu`
counts the time that processors work for this process: with one thread, what a run takes if nothing else runs.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import fx, nn

from benchmarks.int8 import inputs, ratio, reason, runner, with_argmax
from edgeailite.cost.latency import Timing, alternate
from edgeailite.environment import machine_facts, machine_title
from edgeailite.export import to_onnx
from edgeailite.export.naming import file_names
from edgeailite.export.passes import apply_passes
from edgeailite.export.tflite_file import write_tflite
from edgeailite.export.to_tflite import to_tflite
from edgeailite.modelcard import ModelCard
from edgeailite.quantization import calibrate, convert, prepare, set_input_range
from edgeailite.quantization.lowering import lower
from edgeailite.runs.network import load_network
from edgeailite.runtime.session import open_session
from edgeailite.runtime.tflite_session import tflite_interpreter

HEADS = ("logits", "classes")  # folders
TFLITE_HEADS = {"logits": ("logits",), "classes": ("argmax", "codes")}
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
ONNX_RUNTIMES = {"onnxruntime": "onnxruntime", "openvino": "openvino float32", "openvino bfloat16": "openvino bfloat16"}
FLOAT = "float.onnx in onnxruntime"
AIM = 3.0  # int8 in the fastest runtime, times as fast as float32 in onnxruntime
Run = Callable[[], object]


def main() -> None:
    """Write what is missing, time and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--data_path", type=Path, help="folder of the data set; default as in training")
    parser.add_argument("--size", type=int, nargs=2, default=(384, 768))
    parser.add_argument("--calibration", type=int, default=8, help="training pictures that ranges are taken from")
    parser.add_argument("--threads", type=int, nargs="+", default=(1, 2))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument(
        "--clock", default="wall", choices=tuple(CLOCKS), help="cpu: for a machine that does other work"
    )
    parser.add_argument("--heads", nargs="+", default=list(HEADS), choices=HEADS)
    args = parser.parse_args()
    machine = machine_title(machine_facts(max(args.threads)))
    print(f"{machine}; onnxruntime {onnxruntime.__version__}, {args.rounds} rounds, {args.clock} time")
    for run in args.runs:
        folder = args.folder / run.stem
        if not folder.is_dir():
            write_files(run, folder, (args.size[0], args.size[1]), args.data_path, args.calibration)
        print(f"\nint8_kernels.onnx equals int8.onnx in every bit: {same_answers(folder / 'logits')}")
        for threads in args.threads:
            for head in args.heads:
                title = f"{run.stem}, {args.size[0]}x{args.size[1]}, {head}, {threads} thread(s)"
                print_table(title, timings(folder / head, head, threads, args.rounds, args.clock))


def write_files(run: Path, folder: Path, size: tuple[int, int], data_path: Path | None, pictures: int) -> None:
    """Write all files of a run."""
    checkpoint, network = load_network(run)
    card = checkpoint.card.with_size(size)
    images = inputs(card, data_path, "train", pictures)
    quantized = quantize(network, card, images, exact_resizes=True)
    models = {
        "float": to_onnx(network, card, size=size),
        "int8": to_onnx(quantized, card, size=size),
        "int8_long_scales": to_onnx(quantize(network, card, images, exact_resizes=False), card, size=size),
    }
    for head in HEADS:
        (folder / head).mkdir(parents=True)
        for name, model in models.items():
            onnx.save(model if head == "logits" else with_argmax(model, size), str(folder / head / f"{name}.onnx"))
        rewritten = apply_passes(onnx.load(str(folder / head / "int8.onnx")), "onnxruntime")
        onnx.save(rewritten, str(folder / head / "int8_kernels.onnx"))
        for kind in TFLITE_HEADS[head]:
            name = "int8_codes" if kind == "codes" else "int8"
            (folder / head / f"{name}.tflite").write_bytes(to_tflite(quantized, card, size=size, head=kind).data)
            (folder / head / f"{name}_resize.tflite").write_bytes(with_resizes(quantized, size, kind))


def quantize(
    network: nn.Module, card: ModelCard, images: NDArray[np.float32], *, exact_resizes: bool
) -> fx.GraphModule:
    """A calibrated copy of a float network."""
    model = prepare(network, exact_resizes=exact_resizes)
    set_input_range(model, *card.preprocessing.input_range)
    calibrate(model, [torch.from_numpy(x[None]) for x in images])
    return model.eval()


def with_resizes(model: fx.GraphModule, size: tuple[int, int], head: str) -> bytes:
    """The .tflite file as it would be with RESIZE_BILINEAR inside the network."""
    converted = convert(model)
    return write_tflite(lower(converted, size, head=head, names=file_names(converted.graph)), metadata={})


def same_answers(folder: Path) -> bool:
    """Whether the rewritten file gives the bits of the plain one, for a random picture."""
    answers = []
    for name in ("int8", "int8_kernels"):
        session = open_session(folder / f"{name}.onnx", threads=1)
        value = session.get_inputs()[0]
        image = np.random.default_rng(0).uniform(-2, 2, value.shape).astype(np.float32)
        answers.append(session.run(None, {value.name: image})[0])
    return bool(np.array_equal(answers[0].view(np.int32), answers[1].view(np.int32)))


def timings(folder: Path, head: str, threads: int, rounds: int, clock: str) -> dict[str, Timing]:
    """Time every file of a folder in its runtimes, in turns; what a runtime refuses is left out and said."""
    runs: dict[str, Run] = {}
    for name, make in runners(folder, head, threads):
        try:
            runs[name] = make()
        except Exception as error:  # noqa: BLE001 - runtimes raise many kinds, without a common base
            print(f"{name}: {reason(error)}")
    before = os.getloadavg()[0]
    found = alternate(runs, rounds=rounds, warmup=5, clock=CLOCKS[clock])
    print(f"\nload average {before:.1f} before, {os.getloadavg()[0]:.1f} behind")
    return found


def runners(folder: Path, head: str, threads: int) -> Iterator[tuple[str, Callable[[], Run]]]:
    """Yield a name and what makes the call to be timed, the float file in onnxruntime first."""
    for path in sorted(folder.glob("*.onnx")):
        for title, runtime in ONNX_RUNTIMES.items():
            yield f"{path.name} in {title}", partial(runner, path, runtime, threads)
    for path in sorted(folder.glob("*.tflite")):
        enlarged = head == "classes" and "codes" in path.stem
        yield f"{path.name} in LiteRT", partial(litert_runner, path, threads, enlarged)


def litert_runner(path: Path, threads: int, enlarged: bool) -> Run:
    """A .tflite file of any tool; with `enlarged` the best class of its codes is taken and enlarged, by numpy."""
    model = tflite_interpreter(path.read_bytes(), name=str(path), threads=threads, kernels="xnnpack")
    [image], [output] = model.get_input_details(), model.get_output_details()
    low, high = (-128, 128) if image["dtype"] == np.int8 else (-2, 2)
    model.set_tensor(image["index"], np.random.default_rng(0).uniform(low, high, image["shape"]).astype(image["dtype"]))
    factor = int(image["shape"][1] // output["shape"][1])

    def run() -> object:
        model.invoke()
        if not enlarged:
            return None
        labels = model.get_tensor(output["index"]).argmax(-1).astype(np.uint8)
        return labels.repeat(factor, 1).repeat(factor, 2)

    return run


def print_table(title: str, measured: Mapping[str, Timing]) -> None:
    """Print a row per file and runtime, fastest first, and whether the aim is met."""
    base = np.array(measured[FLOAT].milliseconds)
    print(f"\n{title}\n\n| file | median ms | least ms | float32 in onnxruntime / this |\n|---|---|---|---|")
    for name, timing in sorted(measured.items(), key=lambda item: item[1].median):
        print(f"| {name} | {timing.median:.1f} | {timing.minimum:.1f} | {ratio(base, np.array(timing.milliseconds))} |")
    name = min((name for name in measured if name.startswith("int8")), key=lambda name: measured[name].median)
    times = float(np.median(base / np.array(measured[name].milliseconds)))
    verdict = "met" if times >= AIM else "not met"
    print(f"\nfastest int8: {name}, {times:.2f} x float32 in onnxruntime (aim {AIM:.0f}: {verdict})")


if __name__ == "__main__":
    main()
