"""Training where BatchNorm sees one value per channel (batch 1 and a 1x1 feature): running statistics are used.

One value has no variance; torch refuses it. A hook, not a class of its own, so that the modules stay torch's and
torch.fx, SyncBatchNorm and quantization know them. BatchNorm over several processes is made without the hooks: there a
channel has a value of each.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class _RunningStatistics:
    """Forward hooks of a network's BatchNorm modules; warns once."""

    def __init__(self) -> None:
        self.warned = False

    def before(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Eval mode for one call."""
        if not module.training or inputs[0].numel() != inputs[0].shape[1]:
            return
        module.training = False
        module.single_value = True  # type: ignore[assignment]
        if not self.warned and not torch.compiler.is_compiling():
            self.warned = True
            warnings.warn(
                "BatchNorm sees one value per channel (batch 1, 1x1 feature): running statistics are used there; "
                "train with a larger batch or larger pictures",
                stacklevel=2,
            )

    def after(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Back to training mode."""
        if getattr(module, "single_value", False):
            module.single_value = False  # type: ignore[assignment]
            module.training = True


def use_running_statistics_for_single_values(model: nn.Module) -> None:
    """Install the hooks on every BatchNorm module of `model`."""
    hooks = _RunningStatistics()
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.register_forward_pre_hook(hooks.before)
            module.register_forward_hook(hooks.after, always_call=True)
