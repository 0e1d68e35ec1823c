"""int8 against float in onnxruntime: same network, same outputs, one alternating run, both fully optimised.

    python benchmarks/int8_speed.py --size 384 768 --threads 2 --rounds 40

Random weights (speed does not depend on them), ranges from random pictures. Prints median and spread in ms, the ratio
round by round, and what the CPU can do. `full` has logits at image size on both sides; `argmax` has
ArgMax before the last up-sampling on both sides.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import onnxruntime
import torch

from edgeailite.environment import cpu_features, cpu_model
from edgeailite.export import to_onnx
from edgeailite.modelcard import ModelCard
from edgeailite.models import create_model
from edgeailite.preprocessing import Preprocessing
from edgeailite.quantization import calibrate, prepare, set_input_range
from edgeailite.runtime import load_onnx


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model_name", default="deeplabv3plus_mobilenetv2_tv_edgeailite")
    parser.add_argument("--size", type=int, nargs=2, default=(384, 768))
    parser.add_argument("--classes", type=int, default=19)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=40)
    args = parser.parse_args()
    features = [name for name in cpu_features() if name.startswith(("avx512", "avx_vnni", "amx", "avx2"))]
    print(f"{cpu_model()}; {' '.join(features)}; onnxruntime {onnxruntime.__version__}, {args.threads} threads")
    models = _files(args.model_name, (args.size[0], args.size[1]), args.classes)
    sessions = {name: load_onnx(data, threads=args.threads).session for name, data in models.items()}
    x = np.random.default_rng(0).uniform(-2, 2, (1, 3, *args.size)).astype(np.float32)
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for index in range(args.rounds + 5):
        for name, session in sessions.items():
            began = time.perf_counter()
            session.run(None, {"image": x})
            if index >= 5:
                times[name].append(1e3 * (time.perf_counter() - began))
    for name, values in times.items():
        low, median, high = np.percentile(values, (10, 50, 90))
        print(f"{name:<16} median {median:7.2f} ms   10 to 90 % {low:7.2f} .. {high:7.2f}   min {min(values):7.2f}")
    for kind in ("full", "argmax"):
        ratios = np.array(times[f"float {kind}"]) / np.array(times[f"int8 {kind}"])
        low, median, high = np.percentile(ratios, (10, 50, 90))
        print(f"{kind}: float / int8, round by round: median {median:.2f}   10 to 90 % {low:.2f} .. {high:.2f}")


def _files(name: str, size: tuple[int, int], classes: int) -> dict[str, bytes]:
    torch.manual_seed(0)
    network = create_model(name, classes).eval()
    palette = tuple((i, i, i) for i in range(classes))
    card = ModelCard(
        name, network.outputs, tuple(str(i) for i in range(classes)), palette, Preprocessing(*size), "random"
    )
    quantized = prepare(network)
    set_input_range(quantized, *card.preprocessing.input_range)
    calibrate(quantized, [torch.empty(2, 3, 128, 256).uniform_(-2, 2) for _ in range(2)])
    quantized.eval()
    files = {}
    for kind, argmax in (("full", "none"), ("argmax", "before_upsampling")):
        files[f"float {kind}"] = to_onnx(network, card, size=size, argmax=argmax).SerializeToString()
        files[f"int8 {kind}"] = to_onnx(quantized, card, size=size, argmax=argmax).SerializeToString()
    return files


if __name__ == "__main__":
    main()
