"""A training step with fake quantization against the float step of the same network, float32, alternating.

    python benchmarks/qat_step.py --batch 8 --size 240 320 --rounds 12

Both include forward, loss, backward and optimizer. `qat` observes ranges and updates BatchNorm statistics (first
epochs), `qat frozen bn` has BatchNorm folded with fixed statistics (later epochs), `qat frozen` fixed ranges too.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from torch import nn

from edgeailite.environment import cpu_model
from edgeailite.losses import cross_entropy
from edgeailite.models import create_model
from edgeailite.optim import make_optimizer
from edgeailite.quantization import calibrate, prepare, set_input_range, set_state


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model_name", default="deeplabv3plus_mobilenetv2_tv_edgeailite")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, nargs=2, default=(240, 320))
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    print(f"{cpu_model()}; torch {torch.__version__}, {torch.get_num_threads()} threads, {args.device}, float32")
    torch.manual_seed(0)
    x = torch.empty(args.batch, 3, *args.size, device=args.device).uniform_(-2, 2).to(memory_format=torch.channels_last)
    y = torch.randint(0, 19, (args.batch, *args.size), device=args.device)
    network = create_model(args.model_name, 19)
    states = {
        "float": None,
        "qat": {"observing": True, "frozen_bn": False},
        "qat frozen bn": {"observing": True, "frozen_bn": True},
        "qat frozen": {"observing": False, "frozen_bn": True},
    }
    models: dict[str, nn.Module] = {}
    for name, state in states.items():
        model: nn.Module = network if state is None else _quantized(network)
        models[name] = model.to(args.device).to(memory_format=torch.channels_last).train()
        if state is not None:
            set_state(model, **state)
    optimizers = {k: make_optimizer("sgd", m.parameters(), lr=1e-4, weight_decay=1e-4) for k, m in models.items()}
    times: dict[str, list[float]] = {name: [] for name in models}
    for index in range(args.rounds + 2):
        for name, model in models.items():
            seconds = _step(model, optimizers[name], x, y)
            if index >= 2:
                times[name].append(seconds)
    for name, values in times.items():
        ratios = np.array(values) / np.array(times["float"])
        low, median, high = np.percentile(ratios, (10, 50, 90))
        spread = f"10 to 90 % {low:.2f} .. {high:.2f}"
        print(f"{name:<14} median {np.median(values):.3f} s   / float: {median:.2f}   {spread}")


def _quantized(network: nn.Module) -> nn.Module:
    model = prepare(network)
    set_input_range(model, -2.0, 2.0)
    calibrate(model, [torch.empty(1, 3, 128, 128).uniform_(-2, 2)])
    return model


def _step(model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor) -> float:
    began = time.perf_counter()
    loss = cross_entropy(model(x)["segmentation"], y)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    if x.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
