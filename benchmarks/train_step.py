"""Our training step against the bare loop that somebody would write by hand, on data that is in memory already.

    python benchmarks/train_step.py --batch 8 --size 240 320 --pairs 40 --threads 1
    python benchmarks/train_step.py --device cuda --batch 16 --size 384 768 --pairs 60 --steps 5 --compile

Bare: forward, torch's cross entropy, backward, optimizer, on normalised float32 pictures. Ours: `engine.train_epoch`
over uint8 pictures, with normalisation on the device, checks for numbers that are not finite, sums of losses, rates.
Both are float32 on the same layout. Of each pair, which alternates in order, the ratio of the times counts: the median,
and the 95 % upper bound of the median by bootstrap. Then what the layout, and on GPUs mixed precision and torch.compile
bring, against the bare loop in float32 and NCHW under `nn.DataParallel`, as the published code trains.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from edgeailite.config import Loop
from edgeailite.data.loader import EpochBatches
from edgeailite.data.tensors import Sample, to_input
from edgeailite.distributed import ALONE
from edgeailite.environment import cpu_features, cpu_model
from edgeailite.models import create_model
from edgeailite.preprocessing import Preprocessing
from edgeailite.training.learner import Place, make_learner, make_losses
from edgeailite.training.loss_balancing import make_balance
from edgeailite.training.output_losses import TaskOptions
from edgeailite.training.step import train_epoch

CLASSES = 19
Steps = Callable[[], None]  # some training steps


def main() -> None:
    """Print the comparisons."""
    args = _arguments()
    if args.threads:
        torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    chip = torch.cuda.get_device_name() if device.type == "cuda" else cpu_model()
    print(f"{chip}; torch {torch.__version__}, {torch.get_num_threads()} threads; batch {args.batch}, size {args.size}")
    torch.manual_seed(0)
    model = create_model(args.model_name, CLASSES).to(device)
    batch = _batch(args.batch, tuple(args.size), device)
    steps = args.steps
    bare = _bare(model, batch, steps, channels_last=True)
    ours = {
        "channels_last": _ours(model, batch, steps, channels_last=True),
        "NCHW": _ours(model, batch, steps, channels_last=False),
    }
    _compare("ours / bare loop", ours["channels_last"], bare, pairs=args.pairs)
    _compare("channels_last / NCHW", ours["channels_last"], ours["NCHW"], pairs=args.pairs)
    if args.compile:
        ours["compiled"] = _ours(model, batch, steps, channels_last=True, compiled=True)
        _compare("compiled / not", ours["compiled"], ours["channels_last"], pairs=args.pairs)
    if device.type == "cpu" and "amx_bf16" in cpu_features():
        ours["bf16"] = _ours(model, batch, steps, channels_last=True, amp="bf16")
        _compare("bf16 / float32", ours["bf16"], ours["channels_last"], pairs=args.pairs)
    if device.type == "cuda":
        old = _bare(model, batch, steps, channels_last=False, parallel=True)
        ours["bf16"] = _ours(model, batch, steps, channels_last=True, amp="bf16")
        if args.compile:
            ours["bf16 compiled"] = _ours(model, batch, steps, channels_last=True, amp="bf16", compiled=True)
        print(f"DataParallel, float32, NCHW: {_speed(old, args):.0f} images/s")
        for name, run in ours.items():
            _compare(f"{name} / DataParallel ({_speed(run, args):.0f} images/s)", run, old, pairs=args.pairs)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model_name", default="deeplabv3plus_mobilenetv2_tv_edgeailite")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, nargs=2, default=(240, 320))
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--steps", type=int, default=1, help="steps that are timed together")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--compile", action="store_true")
    return parser.parse_args()


def _batch(count: int, size: tuple[int, int], device: torch.device) -> Sample:
    images = torch.randint(0, 256, (count, 3, *size), dtype=torch.uint8, device=device)
    labels = torch.randint(0, CLASSES, (count, *size), device=device)
    labels[:, :4] = 255
    return (images,), {"segmentation": labels}


def _bare(model: nn.Module, batch: Sample, steps: int, *, channels_last: bool, parallel: bool = False) -> Steps:
    (images,), targets = batch
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = copy.deepcopy(model).to(memory_format=layout).train()
    call = nn.DataParallel(network) if parallel else network
    x = to_input(images, Preprocessing(*images.shape[-2:])).contiguous(memory_format=layout)
    y = targets["segmentation"]
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, weight_decay=1e-4)

    def run() -> None:
        for _ in range(steps):
            loss = F.cross_entropy(call(x)["segmentation"], y, ignore_index=255)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    return run


def _ours(
    model: nn.Module, batch: Sample, steps: int, *, channels_last: bool, amp: str = "off", compiled: bool = False
) -> Steps:
    count = len(batch[0][0])
    learner = make_learner(
        copy.deepcopy(model),
        Loop(lr=1e-4, amp=amp, channels_last=channels_last, compile=compiled),
        losses=make_losses(TaskOptions(), ALONE),
        balance=make_balance("fixed", ["segmentation"]),
        preprocessing=Preprocessing(*batch[0][0].shape[-2:]),
        place=Place(batch[0][0].device, ALONE),
    )
    learner.train()
    batches = EpochBatches(count * steps, count, seed=1)

    def run() -> None:
        train_epoch(learner, [batch] * steps, batches, schedule=lambda epoch: 1.0)

    return run


def _seconds(run: Steps) -> float:
    began = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def _speed(run: Steps, args: argparse.Namespace) -> float:
    """Images per second, the median of some runs."""
    return args.batch * args.steps / float(np.median([_seconds(run) for _ in range(7)][2:]))


def _compare(title: str, run: Steps, other: Steps, *, pairs: int) -> None:
    for _ in range(2):
        run(), other()
    ratios = np.array([_ratio(run, other, swapped=bool(index % 2)) for index in range(pairs)])
    print(f"{title}: median {np.median(ratios):.3f}, 95 % below {_upper_bound(ratios):.3f} ({pairs} pairs)")


def _ratio(run: Steps, other: Steps, *, swapped: bool) -> float:
    if swapped:
        second = _seconds(other)
        return _seconds(run) / second
    return _seconds(run) / _seconds(other)


def _upper_bound(ratios: NDArray[np.float64]) -> float:
    rng = np.random.default_rng(0)
    draws = rng.choice(ratios, (10_000, len(ratios)))
    return float(np.percentile(np.median(draws, axis=1), 95))


if __name__ == "__main__":
    main()
