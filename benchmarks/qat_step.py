"""A training step with fake quantization against the float step of the same network: time and memory.

    python benchmarks/qat_step.py --batch 8 --size 192 256 --pairs 30 --threads 1
    python benchmarks/qat_step.py --device cuda --batch 16 --size 384 768 --pairs 60

A step is forward, loss, backward and optimizer on data that is in memory. Of each pair, which alternates in order, the
ratio of the times counts: the median, and the 95 % upper bound of the median by bootstrap. `--clock cpu` takes the time
that the process computed, for machines with other work. Memory is the most bytes of tensors alive during a step, of all
and without weights and optimizer. Rows: `tracked` observes ranges and updates BatchNorm statistics (first epochs),
`learned` has gradients for ranges instead; `, bn fixed` has BatchNorm folded with fixed statistics (from 0.3 of the
epochs on), `all fixed` fixed ranges too (from 0.6 on).
"""

from __future__ import annotations

import argparse
import time
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from edgeailite.environment import cpu_model
from edgeailite.models import create_model
from edgeailite.quantization import calibrate, learn_ranges, prepare, set_input_range, set_state
from edgeailite.training.losses import cross_entropy
from edgeailite.training.optim import make_optimizer

CLASSES = 19
ROWS = {
    "tracked": (False, {"observing": True, "frozen_bn": False}),
    "tracked, bn fixed": (False, {"observing": True, "frozen_bn": True}),
    "learned": (True, {"observing": True, "frozen_bn": False}),
    "learned, bn fixed": (True, {"observing": True, "frozen_bn": True}),
    "all fixed": (False, {"observing": False, "frozen_bn": True}),
}
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}


def main() -> None:
    """Print the comparison."""
    args = _arguments()
    if args.threads:
        torch.set_num_threads(args.threads)
    chip = torch.cuda.get_device_name() if args.device == "cuda" else cpu_model()
    print(f"{chip}; torch {torch.__version__}, {torch.get_num_threads()} threads; batch {args.batch}, size {args.size}")
    torch.manual_seed(0)
    network = create_model(args.model_name, CLASSES)
    float_step = _stepper(network, args)
    for _ in range(2):
        float_step()
    fixed, most = _bytes(float_step)
    print(f"float: {_mebi(most)} MiB, {_mebi(most - fixed)} without weights and optimizer")
    for name in args.rows:
        learned, state = ROWS[name]
        step = _stepper(_quantized(network, learned, state), args)
        ratios = _ratios(step, float_step, args)
        held, peak = _bytes(step)
        print(
            f"{name:<18} time / float: median {np.median(ratios):.3f}, 95 % below {_upper_bound(ratios):.3f} "
            f"({len(ratios)} pairs); memory / float: {peak / most:.2f}, "
            f"without weights and optimizer {(peak - held) / (most - fixed):.2f}"
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model_name", default="deeplabv3plus_mobilenetv2_tv_edgeailite")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, nargs=2, default=(192, 256))
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int)
    return parser.parse_args()


def _quantized(network: nn.Module, learned: bool, state: dict[str, bool]) -> nn.Module:
    model = prepare(network)
    set_input_range(model, -2.0, 2.0)
    calibrate(model, [torch.empty(1, 3, 128, 128).uniform_(-2, 2)])
    if learned:
        learn_ranges(model)
    set_state(model, **state)
    return model


def _stepper(model: nn.Module, args: argparse.Namespace) -> Callable[[], None]:
    model = model.to(args.device).to(memory_format=torch.channels_last).train()
    generator = torch.Generator().manual_seed(0)
    x = torch.empty(args.batch, 3, *args.size).uniform_(-2, 2, generator=generator).to(args.device)
    x = x.contiguous(memory_format=torch.channels_last)
    y = torch.randint(0, CLASSES, (args.batch, *args.size), generator=generator).to(args.device)
    optimizer = make_optimizer("adam", model.parameters(), lr=1e-5, weight_decay=1e-4)

    def step() -> None:
        loss = cross_entropy(model(x)["segmentation"], y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def _ratios(step: Callable[[], None], other: Callable[[], None], args: argparse.Namespace) -> NDArray[np.float64]:
    clock = CLOCKS[args.clock]

    def seconds(run: Callable[[], None]) -> float:
        began = clock()
        run()
        if args.device == "cuda":
            torch.cuda.synchronize()
        return clock() - began

    ratios = []
    for index in range(args.pairs + 2):
        first, second = (step, other) if index % 2 else (other, step)
        times = seconds(first), seconds(second)
        ratios.append(times[0] / times[1] if index % 2 else times[1] / times[0])
    return np.array(ratios[2:])


def _upper_bound(ratios: NDArray[np.float64]) -> float:
    draws = np.random.default_rng(0).choice(ratios, (10_000, len(ratios)))
    return float(np.percentile(np.median(draws, axis=1), 95))


def _tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


class _Alive(TorchDispatchMode):
    """Adds up the storages that operators make, until torch lets them go."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch annotates none of it
        self.bytes = self.most = 0
        self.references: dict[int, Any] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        taken = {
            tensor.untyped_storage()._cdata for tensor in tree_leaves((args, kwargs)) if isinstance(tensor, Tensor)
        }
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and tensor.untyped_storage()._cdata not in {*taken, *self.references}:
                self._hold(tensor)
        return result

    def _hold(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        self.references[key] = weakref.ref(storage, lambda _: self._release(key, size))
        self.bytes += size
        self.most = max(self.most, self.bytes)

    def _release(self, key: int, size: int) -> None:
        del self.references[key]
        self.bytes -= size


def _bytes(step: Callable[[], None]) -> tuple[int, int]:
    """Bytes of weights and optimizer (four of everything that is learned), and the most alive, with them."""
    step()
    cells = [cell.cell_contents for cell in step.__closure__ or ()]
    model = next(cell for cell in cells if isinstance(cell, nn.Module))
    fixed = 3 * sum(p.numel() * p.element_size() for p in model.parameters())
    with _Alive() as alive:
        step()
    return fixed, fixed + alive.most


def _mebi(size: int) -> str:
    return f"{size / 2**20:.0f}"


if __name__ == "__main__":
    main()
