"""What processes that train together are asked in the tests, and the starting of them.

    results = of_ranks(2, ["batchnorm"], folder, data=...)     -> [what each process found, by case]

The same functions run alone in the tests' own process, with `ALONE`, as the reference.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from edgeailite.config import Loop
from edgeailite.data import open_dataset
from edgeailite.data.augment.transforms import EvalTransform
from edgeailite.data.loader import EpochBatches, Portion, Sample
from edgeailite.data.source import output_channels
from edgeailite.distributed import (
    ALONE,
    AllReduceBatchNorm2d,
    Processes,
    end_processes,
    from_first,
    gather,
    mean_over,
    share_model,
    start_processes,
    sum_over,
    wait_for_all,
)
from edgeailite.errors import DataError
from edgeailite.models import create_model
from edgeailite.preprocessing import Preprocessing
from edgeailite.training.learner import Place, make_learner, make_losses
from edgeailite.training.loss_balancing import make_balance
from edgeailite.training.losses import cross_entropy
from edgeailite.training.output_losses import TaskOptions
from edgeailite.training.step import Learner, Losses, train_epoch
from edgeailite.training.validation import Validation, measure

ROOT = Path(__file__).resolve().parents[1]
CPU = torch.device("cpu")
MODEL = "deeplabv3plus_mobilenetv2_tv_edgeailite"
CLASSES, BATCH, SIZE = 5, 8, 64
PLAIN = Preprocessing(SIZE, SIZE)
TIMEOUT = 3.0  # seconds that one process waits for another here


# --- BatchNorm over several processes

BATCHNORMS: dict[str, tuple[tuple[int, ...], float, float, float | None]] = {  # (N,C,H,W), mean, spread, momentum
    "ordinary": ((6, 3, 5, 4), 0.5, 2.0, 0.1),
    "cumulative": ((6, 3, 5, 4), 0.5, 2.0, None),
    "one picture each": ((2, 3, 5, 4), 0.5, 2.0, 0.1),
    "one value each": ((2, 3, 1, 1), 0.5, 2.0, 0.1),
    "large mean": ((2, 3, 8, 8), 1e4, 1e-1, 0.1),
}


def batchnorm_batches(name: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Two batches of pictures and of gradients, of all processes."""
    shape, mean, spread, _ = BATCHNORMS[name]
    generator = torch.Generator().manual_seed(3)
    draw = lambda: torch.randn(shape, generator=generator, dtype=torch.float64)  # noqa: E731
    return [(mean + spread * draw(), draw()) for _ in range(2)]


def batchnorm_of(name: str) -> nn.BatchNorm2d:
    """A module with weights that are not those it starts with."""
    module = nn.BatchNorm2d(3, momentum=BATCHNORMS[name][3]).double()
    with torch.no_grad():
        module.weight.copy_(torch.tensor([0.5, 1.0, -2.0]))
        module.bias.copy_(torch.tensor([0.1, 0.0, -0.3]))
    return module


def batchnorm_passes(module: nn.BatchNorm2d, name: str, processes: Processes) -> dict[str, Any]:
    """Two training passes and one in eval mode over this process's share of the pictures."""
    found: dict[str, Any] = {"y": [], "dx": []}
    for pictures, gradient in batchnorm_batches(name):
        x = pictures[processes.rank :: processes.count].clone().requires_grad_()
        y = module(x)
        y.backward(gradient[processes.rank :: processes.count])
        found["y"].append(y.detach())
        found["dx"].append(x.grad)
    for key in ("weight", "bias"):
        found["d" + key] = sum_over(getattr(module, key).grad.clone(), processes)
    module.eval()
    found["eval"] = module(batchnorm_batches(name)[0][0]).detach()
    return found | {"state": {key: value.clone() for key, value in module.state_dict().items()}}


def batchnorm(processes: Processes, data: Path) -> Any:
    return {name: batchnorm_passes(AllReduceBatchNorm2d.of(batchnorm_of(name)), name, processes) for name in BATCHNORMS}


# --- what one process tells the others


def told(processes: Processes, data: Path) -> Any:
    """Values and errors of the first process."""

    def fail() -> None:
        raise DataError(f"process {processes.rank} found nothing")

    values = torch.full((2,), float(processes.rank))
    found: dict[str, Any] = {
        "value": from_first(lambda: {"rank": processes.rank, "tensor": torch.ones(2)}, processes),
        "gathered": gather({"rank": processes.rank}, processes),
        "mean": mean_over(values, processes),
        "own": values,
    }
    try:
        from_first(fail, processes)
    except DataError as error:
        found["error"] = str(error)
    return found


def patient(processes: Processes, data: Path) -> Any:
    """What the first process gives when it takes longer than one otherwise waits for another: when the others wait for
    what it makes, for its part of a validation, and for the end of a save.
    """

    def slowly() -> int:
        time.sleep(TIMEOUT + 1)
        return processes.rank

    made = from_first(slowly, processes)
    parts = gather(slowly() if processes.first else processes.rank, processes)
    if processes.first:
        slowly()
    wait_for_all(processes)
    return {"made": made, "parts": parts}


def shared(processes: Processes, data: Path) -> Any:
    """Parameters and buffers behind `share_model`, of networks that differ."""
    torch.manual_seed(processes.rank)
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))
    model[1].running_mean.fill_(processes.rank + 1.0)
    share_model(model, CPU, same_buffers=True)
    return {key: value.clone() for key, value in model.state_dict().items()}


# --- training


def pictures_and_labels(batches: int, size: int = BATCH) -> list[Sample]:
    """Batches of all processes. Of the even pictures, which the first of two gets, only a strip is labelled."""
    generator = torch.Generator().manual_seed(5)
    found = []
    for _ in range(batches):
        images = torch.randint(0, 256, (size, 3, SIZE, SIZE), generator=generator, dtype=torch.uint8)
        labels = torch.randint(0, CLASSES, (size, SIZE, SIZE), generator=generator)
        labels[::2, :3], labels[::2, 3:] = 0, 255
        found.append(((images,), {"segmentation": labels}))
    return found


def with_motion(batches: list[Sample]) -> list[Sample]:
    """The same with a second target, of two classes, that every picture has in its lower half only."""
    found = []
    for images, targets in batches:
        motion = (targets["segmentation"] % 2).flip(1)
        motion[:, : SIZE // 2] = 255
        found.append((images, {**targets, "motion": motion}))
    return found


def share_of(batches: list[Sample], processes: Processes) -> list[Sample]:
    own = slice(processes.rank, None, processes.count)
    return [(tuple(x[own] for x in images), {k: y[own] for k, y in targets.items()}) for images, targets in batches]


def each_alone(outputs: Any, targets: Any) -> dict[str, torch.Tensor]:
    """The mean over this process's own labelled pixels: wrong where processes have different numbers of them."""
    return {name: cross_entropy(logits, targets[name]) for name, logits in outputs.items()}


def make_float64(
    processes: Processes, *, losses: Losses | None = None, accumulate: int = 1, balance: str | None = None
) -> Learner:
    """A real network without dropout, in float64, so that only a wrong sum makes a difference."""
    torch.manual_seed(7)
    outputs = {"segmentation": CLASSES} | ({"motion": 2} if balance else {})
    model = create_model(MODEL, outputs=outputs).double()
    for module in model.modules():
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.p = 0.0
    model.register_forward_pre_hook(lambda module, inputs: tuple(x.double() for x in inputs))
    return make_learner(
        model,
        Loop(optimizer="sgd", lr=0.05, amp="off", accumulate=accumulate),
        losses=losses or make_losses(TaskOptions(), processes),
        balance=make_balance(balance or "fixed", list(outputs), reduce=lambda values: mean_over(values, processes)),
        preprocessing=PLAIN,
        place=Place(CPU, processes),
    )


def trained(
    processes: Processes, *, updates: int, size: int = BATCH, accumulate: int = 1, losses: Losses | None = None
) -> Any:
    """Losses of the updates and the state after them."""
    learner = make_float64(processes, losses=losses, accumulate=accumulate)
    data = share_of(pictures_and_labels(updates * accumulate, size), processes)
    portion = Portion(0.0, accumulate, processes.rank, processes.count)
    batches = EpochBatches(size * len(data), size, seed=1, portion=portion)
    steps: list[float] = []
    learner.train()
    train_epoch(learner, data, batches, schedule=lambda epoch: 1.0, on_step=lambda step: steps.append(step.loss))
    return {"losses": steps, "state": {key: value.clone() for key, value in learner.model.state_dict().items()}}


def five_updates(processes: Processes, data: Path) -> Any:
    return trained(processes, updates=5)


def two_of_two(processes: Processes, data: Path) -> Any:
    return trained(processes, updates=2, accumulate=2)


def one_picture_each(processes: Processes, data: Path) -> Any:
    """Where BatchNorm behind a global pooling sees one value of this process."""
    return trained(processes, updates=2, size=2)


BALANCES = ("uncertainty", "grad_norm")


def balanced(processes: Processes, data: Path) -> Any:
    """Losses and weights of two outputs, by balance."""
    return {name: balanced_by(name, processes) for name in BALANCES}


def balanced_by(name: str, processes: Processes) -> list[dict[str, float]]:
    learner = make_float64(processes, balance=name)
    steps: list[dict[str, float]] = []
    learner.train()
    train_epoch(
        learner,
        share_of(with_motion(pictures_and_labels(3)), processes),
        EpochBatches(3 * BATCH, BATCH, seed=1, portion=Portion(0.0, 1, processes.rank, processes.count)),
        schedule=lambda epoch: 1.0,
        on_step=lambda step: steps.append({**step.parts, "weight": learner.balance.weights()["motion"]}),
    )
    return steps


def naive(processes: Processes, data: Path) -> Any:
    return trained(processes, updates=2, losses=each_alone)


# --- validation

PARTS = {"odd": 5, "fewer than processes": 1}


def measured(processes: Processes, data: Path) -> Any:
    """Tallies of class maps and depth over some pictures of the validation split."""
    torch.manual_seed(7)
    source = open_dataset("streets_depth_semantic_motion_multi_input", data, "val")
    model = create_model(MODEL, outputs=output_channels(source), inputs=2)
    learner: Any = SimpleNamespace(model=model, preprocessing=PLAIN, processes=processes)
    watch: Any = SimpleNamespace(checked=lambda done, total: None)
    tasks = {name: None if name == "depth" else count for name, count in model.outputs.items()}
    found = {}
    for name, count in PARTS.items():
        validation = Validation(source, tuple(range(count)), tasks, EvalTransform((SIZE, SIZE)), 0, 0)
        tally = measure(learner, validation, watch)
        found[name] = {
            "confusion": torch.from_numpy(tally["segmentation"].confusion),
            "depth": tally["depth"].scores().__dict__,
            "miou": tally["segmentation"].scores().miou,
        }
    return found


FUNCTIONS = (
    batchnorm, told, patient, shared, five_updates, two_of_two, one_picture_each, balanced, naive, measured,
)  # fmt: skip
CASES: dict[str, Callable[[Processes, Path], Any]] = {function.__name__: function for function in FUNCTIONS}


# --- starting them


def of_ranks(count: int, cases: list[str], folder: Path, *, data: Path) -> list[dict[str, Any]]:
    """What each of `count` processes found in `cases`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    task = json.dumps({"cases": cases, "folder": str(folder), "data": str(data)})
    common = {**os.environ, "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    started = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.ranks", task],
            cwd=ROOT,
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]
    ends = [(process.communicate(timeout=300)[1], process.returncode) for process in started]
    assert all(code == 0 for _, code in ends), "\n".join(text for text, _ in ends)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(count)]


def main(task: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    processes = start_processes(CPU, timeout=TIMEOUT if task["cases"] == ["patient"] else 60.0)
    found = {name: CASES[name](processes, Path(task["data"])) for name in task["cases"]}
    torch.save(found, Path(task["folder"]) / f"{processes.rank}.pt")
    end_processes(processes)


def alone(case: str, data: Path) -> Any:
    """What one process finds by itself."""
    return CASES[case](ALONE, data)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
