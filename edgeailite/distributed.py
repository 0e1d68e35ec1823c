"""Several processes that train one network: who they are, sums over all of them, BatchNorm over all of them.

Processes are started by torchrun, on one host or several; every function here does nothing in a process that is alone.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed import PrefixStore, rendezvous  # type: ignore[attr-defined]  # public, but not named in stubs
from torch.nn.parallel import DistributedDataParallel

from edgeailite.errors import EdgeailiteError, UsageError

T = TypeVar("T")
# Words of torch for a process that is gone: gloo raises a plain RuntimeError, without a type or field that tells it.
LOST_PROCESS = ("gloo", "nccl", "connection closed by peer", "connection reset", "timed out")
PATIENCE = timedelta(days=1)  # for what one does for all, such as making a data set; a process that ends is noticed


@dataclass(frozen=True)
class Processes:
    """Rank of this process, number of processes, and rank on this host (which selects its device).

    `patient` is a process group for waits that may exceed the usual timeout.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    patient: dist.ProcessGroup | None = None

    @property
    def first(self) -> bool:
        """True in the process that writes files."""
        return self.rank == 0


ALONE = Processes()


def start_processes(device: torch.device, *, timeout: float = 60.0) -> Processes:
    """Join the processes that torchrun started (nccl on GPUs, gloo on CPUs); ALONE where there is no torchrun.

    `timeout` is how many seconds one waits for another. Raises UsageError for more processes than GPUs.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return ALONE
    local_rank = int(os.environ["LOCAL_RANK"])
    if device.type == "cuda":
        if local_rank >= torch.cuda.device_count():
            raise UsageError(
                f"torchrun started process {local_rank + 1} of this host but torch sees "
                f"{torch.cuda.device_count()} GPUs; lower --nproc-per-node"
            )
        torch.cuda.set_device(local_rank)
    if not dist.is_initialized():
        _join("nccl" if device.type == "cuda" else "gloo", timedelta(seconds=timeout))
    patient = dist.new_group(backend="gloo", timeout=PATIENCE)
    assert isinstance(patient, dist.ProcessGroup)  # else this process would be in no group
    return Processes(int(os.environ["RANK"]), count, local_rank, patient)


def _join(backend: str, timeout: timedelta) -> None:
    """Return torch's group of all processes, which meet under a new name at each start.

    torchrun keeps one store over all starts, in which a restarted process may find the address of a dead one. On
    several hosts the number of starts differs between hosts, so the name must stay torch's.
    """
    store, rank, count = next(rendezvous("env://", timeout=timeout))
    if os.environ.get("GROUP_WORLD_SIZE", "1") == "1":
        store = PrefixStore(f"start {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=timeout)


def restarted() -> bool:
    """Tell if torchrun has restarted this host's processes after one of them was lost."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def named_job() -> str | None:
    """Return the name of torchrun's job (--rdzv-id, or one that --standalone makes up); None without one."""
    name = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    return None if name in ("", "none") else name


def job() -> str | None:
    """Return a name for torchrun's job that stays the same when it restarts its processes; None without torchrun.

    If torchrun gives no name, the number of its own process serves.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    return named_job() or f"process {os.getppid()}"


def end_processes(processes: Processes) -> None:
    """Leave the group."""
    if processes.count > 1 and dist.is_initialized():
        dist.destroy_process_group()


def sum_over(values: Tensor, processes: Processes) -> Tensor:
    """Add `values` over all processes, in place."""
    if processes.count > 1:
        dist.all_reduce(values)
    return values


def mean_over(values: Tensor, processes: Processes) -> Tensor:
    """Return the mean of `values` over all processes; `values` themselves are left as they are."""
    return values if processes.count == 1 else sum_over(values.clone(), processes) / processes.count


def gather(value: Any, processes: Processes) -> list[Any]:
    """Return the values of all processes (anything that can be pickled) in the order of their ranks, on every one.

    They wait for the slowest as long as it takes.
    """
    if processes.count == 1:
        return [value]
    values: list[Any] = [None] * processes.count
    dist.all_gather_object(values, value, group=processes.patient)
    return values


def share_state(model: nn.Module, processes: Processes) -> None:
    """Give every process the first one's parameters and buffers."""
    if processes.count > 1:
        for value in model.state_dict().values():
            dist.broadcast(value, 0)


def from_first(make: Callable[[], T], processes: Processes) -> T:
    """Call `make` in the first process; its result is returned, or its EdgeailiteError raised, in all processes.

    The other processes wait as long as it takes.
    """
    if processes.count == 1:
        return make()
    message: list[Any] = [None]  # (value, error)
    if processes.first:
        try:
            message[0] = make(), None
        except EdgeailiteError as error:
            message[0] = None, error
    dist.broadcast_object_list(message, 0, group=processes.patient)
    value, raised = message[0]
    if raised is not None:
        raise raised
    result: T = value
    return result


def lost_process(error: BaseException) -> bool:
    """Tell if an error was caused by losing the connection to another process."""
    text = str(error).lower()
    return isinstance(error, dist.DistError) or any(words in text for words in LOST_PROCESS)


def wait_for_all(processes: Processes) -> None:
    """Return when every process got here, as long as it takes."""
    if processes.count > 1:
        dist.barrier(group=processes.patient)


def share_model(model: nn.Module, device: torch.device, *, same_buffers: bool) -> DistributedDataParallel:
    """Copy the first process's parameters and buffers to all, and average gradients over all processes.

    Unless buffers stay the same anyway (`same_buffers`, BatchNorm over all processes), every step starts with those of
    the first process.
    """
    # torch stores a 1x1 convolution's gradient in another of its equal layouts, and says so once per process
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    devices = [torch.cuda.current_device()] if device.type == "cuda" else None
    shared = DistributedDataParallel(model, device_ids=devices)
    shared.broadcast_buffers = not same_buffers  # not as argument: that would leave out the first exchange too
    return shared


def synchronise_batchnorm(model: nn.Module, device: torch.device) -> nn.Module:
    """Make BatchNorm compute its statistics over all processes; key names stay, forward hooks of the modules are lost.

    GPUs use torch's SyncBatchNorm, CPUs, which it refuses, `AllReduceBatchNorm2d`.
    """
    if device.type == "cuda":
        synchronised: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return synchronised
    for name, module in list(model.named_modules()):
        if type(module) is nn.BatchNorm2d:
            model.set_submodule(name, AllReduceBatchNorm2d.of(module))
    return model


class _SumOverProcesses(torch.autograd.Function):
    """all_reduce with the gradient of a sum: the sum of the gradients."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        gradient = grad_outputs[0].clone()
        dist.all_reduce(gradient)
        return gradient


class AllReduceBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d whose training statistics are those of the pictures of all processes, for CPUs.

    Mean first, then the mean squared distance from it: two sums per call, exact also where the mean is large. Running
    variance is unbiased, as torch's.
    """

    @classmethod
    def of(cls, module: nn.BatchNorm2d) -> AllReduceBatchNorm2d:
        """Take over the parameters and buffers of `module`."""
        new = cls.__new__(cls)
        new.__dict__ = module.__dict__.copy()
        new._forward_hooks, new._forward_pre_hooks = type(module._forward_hooks)(), type(module._forward_pre_hooks)()
        return new

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N,C,H,W) with the statistics of all processes in training, the running ones in evaluation."""
        if not self.training:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        wide = x if x.dtype == torch.float64 else x.float()
        count = torch.full((1,), wide.numel() / wide.shape[1], dtype=wide.dtype, device=x.device)
        sums = _SumOverProcesses.apply(torch.cat([wide.sum((0, 2, 3)), count]))
        total = sums[-1].detach()
        mean = sums[:-1] / total
        centred = wide - mean.view(1, -1, 1, 1)
        variance = _SumOverProcesses.apply(centred.square().sum((0, 2, 3))) / total
        self._move_statistics(mean.detach(), variance.detach(), total.item())
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)).to(x.dtype)

    def _move_statistics(self, mean: Tensor, variance: Tensor, count: float) -> None:
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        rate = self.momentum if self.momentum is not None else 1 / (int(self.num_batches_tracked) + 1)
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), rate)
        self.running_var.lerp_((variance * (count / max(count - 1, 1))).to(self.running_var.dtype), rate)
