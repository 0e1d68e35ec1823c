"""Counters of MACs side by side: edgeailite, fvcore, thop, torchinfo, ptflops, onnx-tool; accuracy and time.

    pip install --no-deps --target PEERS fvcore iopath yacs portalocker termcolor tabulate tqdm thop torchinfo \\
        ptflops onnx-tool
    PYTHONPATH=PEERS python benchmarks/counters.py [NETWORK] [--size H W]

The yardstick is a count by hand: hooks take the shapes that every convolution and linear layer meets in a real pass,
and the formula of docs/cost.md gives its MACs. `layers` is how many of them a counter has exactly, by module name. Each
counter runs once on CPU after its imports, then `shell` is the wall time of a whole process with them. Peers that are
not installed are named on a line and left out.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgeailite.models import create_model

Counts = dict[str, int]  # module name -> MACs; "" is the whole where a counter does not tell layers apart
NETWORK = "deeplabv3plus_mobilenetv2_tv_edgeailite"


class OneOutput(nn.Module):
    """The network with a plain tensor as result, which is all that some counters take."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return next(iter(self.network(image).values()))


def by_hand(model: nn.Module, image: torch.Tensor) -> Counts:
    """MACs of convolutions and linear layers from the shapes of a real pass."""
    counts: Counts = {}

    def hook(name: str) -> Callable[..., None]:
        def seen(module: Any, given: Any, result: torch.Tensor) -> None:
            positions = given[0] if isinstance(module, nn.ConvTranspose2d) else result
            where = prod(positions.shape[2:]) if positions.dim() == 4 else prod(positions.shape[1:-1])
            counts[name] = where * module.weight.numel()

        return seen

    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    handles = [m.register_forward_hook(hook(name)) for name, m in model.named_modules() if isinstance(m, kinds)]
    with torch.inference_mode():
        model(image)
    for handle in handles:
        handle.remove()
    return counts


def edgeailite(model: nn.Module, image: torch.Tensor) -> Counts:
    """This project."""
    from edgeailite.cost import layer_macs

    return dict(layer_macs(model, tuple(image.shape[2:])))


def fvcore(model: nn.Module, image: torch.Tensor) -> Counts:
    """fvcore, per module."""
    from fvcore.nn import FlopCountAnalysis

    analysis = FlopCountAnalysis(model, image).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    leaves = {name for name, module in model.named_modules() if not list(module.children())}
    return {"": int(analysis.total())} | {n: int(c) for n, c in analysis.by_module().items() if n in leaves}


def thop(model: nn.Module, image: torch.Tensor) -> Counts:
    """thop, per module."""
    from thop import profile

    macs, _, layers = profile(model, inputs=(image,), verbose=False, ret_layer_info=True)
    found: Counts = {"": int(macs)}

    def walk(tree: dict[str, Any], path: str) -> None:
        for name, (count, _, children) in tree.items():
            if children:
                walk(children, f"{path}{name}.")
            else:
                found[f"{path}{name}"] = int(count)

    walk(layers, "")
    return found


def torchinfo(model: nn.Module, image: torch.Tensor) -> Counts:
    """torchinfo, per layer."""
    from torchinfo import summary

    result = summary(model, input_data=image, verbose=0)
    names = {id(module): name for name, module in model.named_modules()}
    layers = {names[info.layer_id]: int(info.macs) for info in result.summary_list if info.is_leaf_layer}
    return {"": int(result.total_mult_adds)} | layers


def ptflops(model: nn.Module, image: torch.Tensor) -> Counts:
    """ptflops: the sum."""
    from ptflops import get_model_complexity_info

    macs, _ = get_model_complexity_info(
        model, tuple(image.shape[1:]), as_strings=False, print_per_layer_stat=False, verbose=False
    )
    return {"": int(macs)}


def onnx_tool(model: nn.Module, image: torch.Tensor) -> Counts:
    """onnx-tool: the sum of an exported file."""
    import onnx_tool as tool

    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "model.onnx")
        torch.onnx.export(model, (image,), file, dynamo=True, verbose=False, external_data=False)
        loaded = tool.Model(file, {"verbose": False})
        loaded.graph.shape_infer()
        loaded.graph.profile()
        return {"": int(loaded.graph.macs[0])}


COUNTERS: dict[str, Callable[[nn.Module, torch.Tensor], Counts]] = {
    "edgeailite": edgeailite,
    "fvcore": fvcore,
    "thop": thop,
    "torchinfo": torchinfo,
    "ptflops": ptflops,
    "onnx_tool": onnx_tool,
}


def measure(counter: str, network: str, size: tuple[int, int]) -> dict[str, Any]:
    """Total, layers that are exact and seconds, in this process."""
    torch.set_num_threads(1)
    image = torch.zeros(1, 3, *size)
    model = OneOutput(create_model(network)).eval()
    truth = by_hand(model, image)
    begin = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        counts = COUNTERS[counter](model, image)
    seconds = time.perf_counter() - begin
    layers = {name: count for name, count in counts.items() if name}
    total = counts.get("", sum(layers.values()))
    return {
        "total": total,
        "truth": sum(truth.values()),
        "exact": sum(layers.get(name) == count for name, count in truth.items()) if layers else None,
        "layers": len(truth),
        "seconds": seconds,
    }


def shell_seconds(network: str, size: tuple[int, int]) -> float:
    """Best wall time of three of the command in a process of its own."""
    words = [sys.executable, "-m", "edgeailite", "complexity", network, "--img_resize", *map(str, size)]
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        subprocess.run(words, check=True, capture_output=True)
        times.append(time.perf_counter() - begin)
    return min(times)


def rows(network: str, size: tuple[int, int]) -> list[str]:
    """A Markdown table."""
    lines = ["| counter | GMACs | off by hand count | layers exact | seconds |", "|---|---|---|---|---|"]
    for counter in COUNTERS:
        if counter != "edgeailite" and importlib.util.find_spec(counter) is None:
            print(f"{counter}: not installed, left out (the head of this file says how)", file=sys.stderr)
            continue
        words = [sys.executable, "-W", "ignore", __file__, network, "--size", *map(str, size), "--one", counter]
        ended = subprocess.run(words, capture_output=True, text=True, check=False)
        if ended.returncode != 0:
            reason = (ended.stderr.strip().splitlines() or ["?"])[-1]
            lines.append(f"| {counter} | fails: {reason[:90]} | | | |")
            continue
        result = json.loads(ended.stdout.splitlines()[-1])
        off = 100 * (result["total"] / result["truth"] - 1)
        exact = "not told" if result["exact"] is None else f"{result['exact']} of {result['layers']}"
        lines.append(f"| {counter} | {result['total'] / 1e9:.6f} | {off:+.3f} % | {exact} | {result['seconds']:.2f} |")
    lines.append(
        f"\n`edgeailite complexity {network}` from the shell, best of three: {shell_seconds(network, size):.2f} s"
    )
    return lines


def main() -> None:
    """Compare all counters, or run `--one`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", nargs="?", default=NETWORK)
    parser.add_argument("--size", nargs=2, type=int, default=(384, 768), metavar=("H", "W"))
    parser.add_argument("--one", choices=list(COUNTERS), help="measure one counter and print JSON")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one, args.network, tuple(args.size))))
        return
    print("\n".join(rows(args.network, tuple(args.size))))


if __name__ == "__main__":
    main()
