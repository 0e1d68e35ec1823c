"""Adds the losses of several outputs: with fixed weights, or with weights found in training.

`balance(losses, shared)` gives the scalar to call `backward` on. A balance is an `nn.Module`: its state dict (plain
tensors) belongs in the checkpoint, its parameters (of `uncertainty` alone) in the optimizer, without weight decay.

Several processes: each gives its own losses, such that their *mean* over processes is the loss, and `reduce` gives the
mean over processes of a tensor. Then weights, and gradients of parameters here, come out equal everywhere without
DistributedDataParallel, whose hooks `torch.autograd.grad` does not trigger.

The published edgeailite code names `learned` (its default, pseudo_grad_norm), `uncertainty`, `grad_norm` and
`dwa_grad_norm`. As its source reads, only the first works: two raise, the last is compared with another
spelling and leaves the weights at 1. Its names are accepted here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from edgeailite.errors import UsageError

Reduce = Callable[[Tensor], Tensor]


def alone(tensor: Tensor) -> Tensor:
    """Return the value unchanged: `reduce` of a single process."""
    return tensor


class Balance(nn.Module):
    """Fixed weights (default 1 each): the sum of weight * loss. Base of the others, which change `factors`."""

    factors: Tensor

    def __init__(
        self, outputs: Sequence[str], *, weights: Mapping[str, float] | None = None, reduce: Reduce = alone
    ) -> None:
        super().__init__()
        self.outputs, self.reduce = tuple(outputs), reduce
        self.register_buffer("factors", torch.tensor([(weights or {}).get(output, 1.0) for output in self.outputs]))

    def forward(self, losses: Mapping[str, Tensor], shared: Sequence[nn.Parameter] = ()) -> Tensor:
        """Return the scalar to differentiate, from scalar losses by output.

        `shared` are parameters that all outputs depend on; only gradient normalisation uses their gradients.
        """
        return (self.factors * self.stacked(losses)).sum()

    def epoch_done(self, mean_losses: Mapping[str, float]) -> None:
        """Note the mean losses of an epoch, over all processes."""

    def weights(self) -> dict[str, float]:
        """Return the present weight of each output, to report."""
        return dict(zip(self.outputs, self.factors.tolist(), strict=True))

    def stacked(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return (T,) losses in the order of the outputs."""
        return torch.stack([losses[output] for output in self.outputs])


class Uncertainty(Balance):
    """exp(-s) * loss + s/2 with a learned log variance s per output.

    Kendall et al. (2018, https://arxiv.org/abs/1705.07115), equation 10. Regressions take the same form as classes:
    their factor 1/2 only shifts s. An output that has no labels in a step leaves its s alone.
    """

    def __init__(self, outputs: Sequence[str], *, reduce: Reduce = alone) -> None:
        super().__init__(outputs, reduce=reduce)
        self.log_variances = nn.Parameter(torch.zeros(len(self.outputs)))

    def forward(self, losses: Mapping[str, Tensor], shared: Sequence[nn.Parameter] = ()) -> Tensor:
        """Return the scalar as `Balance` does; log variances learn from all processes' mean losses."""
        values = self.stacked(losses)
        everywhere = self.reduce(values.detach())
        precision = torch.exp(-self.log_variances)
        seen = everywhere > 0
        learned = ((precision * everywhere + self.log_variances / 2) * seen).sum()
        own = (precision.detach() * (values - everywhere)).sum()  # this process's share of the value and the gradient
        return own + learned

    def weights(self) -> dict[str, float]:
        """Return the present weights, exp(-s)."""
        return dict(zip(self.outputs, torch.exp(-self.log_variances).tolist(), strict=True))


class GradNorm(Balance):
    """Weights that keep each output's gradient at the shared parameters at a common size, more where it learns slowly.

    Chen et al. (2018, https://arxiv.org/abs/1711.02257): the norm of weight * gradient aims at the mean of these norms
    times (relative training rate)^alpha, where the rate is the loss relative to its first; weights add up to their
    number. Changed: steps go along the *logarithm* of target over norm, not along the sign of their difference, so
    that weights stay above 0, come to rest and do not depend on the scale of a loss. An output without labels, or
    whose gradient overflowed, is left out of a step. Costs one backward pass per output down to `shared`:
    with three decoders on a MobileNetV2 a training step takes 1.9 times as long.
    """

    first: Tensor
    alpha = 1.5  # of the paper's experiments on NYUv2
    rate = 0.025  # of the way in logarithms per step: settled after some hundred steps

    def __init__(self, outputs: Sequence[str], *, reduce: Reduce = alone) -> None:
        super().__init__(outputs, reduce=reduce)
        self.register_buffer("first", torch.zeros(len(self.outputs)))

    def forward(self, losses: Mapping[str, Tensor], shared: Sequence[nn.Parameter] = ()) -> Tensor:
        """Return the scalar as `Balance` does, with the weights before this step's update.

        Raises UsageError without `shared`.
        """
        if not shared:
            raise UsageError(
                "grad_norm needs parameters that all outputs share and that are trained: is the encoder frozen?"
            )
        values = self.stacked(losses)
        balanced = (self.factors * values).sum()
        self._update(self._norms(values, shared), self.reduce(values.detach()))
        return balanced

    def _norms(self, values: Tensor, shared: Sequence[nn.Parameter]) -> Tensor:
        """Return (T,) norms of the gradients of all processes together, of the unweighted losses."""
        rows = [torch.autograd.grad(v, shared, retain_graph=True, materialize_grads=True) for v in values.unbind()]
        flat = torch.stack([torch.cat([gradient.flatten() for gradient in row]) for row in rows])
        return torch.linalg.vector_norm(self.reduce(flat).float(), dim=1)

    def _update(self, norms: Tensor, values: Tensor) -> None:
        live = (norms > 0) & torch.isfinite(norms) & (values > 0)
        self.first = torch.where(live & (self.first == 0), values.float(), self.first)
        sizes = self.factors * norms
        rates = self._rates(values.float())
        targets = _mean_of(sizes, live) * (rates / _mean_of(rates, live)) ** self.alpha
        step = torch.where(live, torch.log(targets / sizes), torch.zeros_like(sizes))
        factors = self.factors * torch.exp(self.rate * step)
        self.factors = factors * len(self.outputs) / factors.sum()

    def _rates(self, values: Tensor) -> Tensor:
        return values / torch.where(self.first > 0, self.first, torch.ones_like(self.first))


class DynamicWeightAverage(Balance):
    """Softmax of how losses fell from the last epoch but one to the last: slower outputs weigh more.

    Liu et al. (2019, https://arxiv.org/abs/1803.10704), equation 7, temperature 2; 1 each in the first two epochs.
    """

    history: Tensor
    temperature = 2.0

    def __init__(self, outputs: Sequence[str], *, reduce: Reduce = alone) -> None:
        super().__init__(outputs, reduce=reduce)
        self.register_buffer("history", torch.zeros(2, len(self.outputs)))  # last epoch but one, last

    def epoch_done(self, mean_losses: Mapping[str, float]) -> None:
        """Shift the history and set the weights of the next epoch."""
        self.history = _shifted(self.history, self.outputs, mean_losses)
        self.factors = len(self.outputs) * torch.softmax(_falls(self.history) / self.temperature, 0)


class DynamicGradNorm(GradNorm):
    """Gradient normalisation whose training rates are those of dynamic weight average, and not since the first step."""

    history: Tensor

    def __init__(self, outputs: Sequence[str], *, reduce: Reduce = alone) -> None:
        super().__init__(outputs, reduce=reduce)
        self.register_buffer("history", torch.zeros(2, len(self.outputs)))

    def epoch_done(self, mean_losses: Mapping[str, float]) -> None:
        """Shift the history that the rates are computed from."""
        self.history = _shifted(self.history, self.outputs, mean_losses)

    def _rates(self, values: Tensor) -> Tensor:
        return _falls(self.history)


BALANCES: dict[str, type[Balance]] = {
    "fixed": Balance,
    "uncertainty": Uncertainty,
    "grad_norm": GradNorm,
    "dwa": DynamicWeightAverage,
    "dwa_grad_norm": DynamicGradNorm,
    "learned": GradNorm,  # the published name of what runs there by default
    "pseudo_grad_norm": GradNorm,
}


def make_balance(
    kind: str, outputs: Sequence[str], *, weights: Mapping[str, float] | None = None, reduce: Reduce = alone
) -> Balance:
    """Build a balance of BALANCES for the named outputs; one output has nothing to balance: its fixed weight.

    `weights` by output belong to `fixed`; default 1. Raises UsageError for unknown names and for weights elsewhere.
    """
    if kind not in BALANCES:
        problem = f"balance {kind!r} is unknown; known are {', '.join(BALANCES)}"
        raise UsageError(problem, value=kind, known=tuple(BALANCES), code="unknown-name")
    unknown = sorted(set(weights or {}) - set(outputs))
    if unknown:
        problem = f"loss weight of {', '.join(unknown)}, but the outputs are {', '.join(outputs)}"
        raise UsageError(problem, value=unknown, known=tuple(outputs), code="unknown-name")
    for output, weight in (weights or {}).items():
        if not weight >= 0:
            raise UsageError(f"loss weight of {output} is {weight}; expected 0 or more")
    if weights and kind != "fixed":
        raise UsageError(f"loss weights {dict(weights)} with balance {kind!r}, which finds its own; use 'fixed'")
    if kind == "fixed" or len(outputs) == 1:
        return Balance(outputs, weights=weights, reduce=reduce)
    return BALANCES[kind](outputs, reduce=reduce)


def last_weight(encoder: nn.Module) -> list[nn.Parameter]:
    """Return an encoder's last trained weight, no scale or offset: where gradient norms are taken; [] if frozen."""
    return [p for p in encoder.parameters() if p.requires_grad and p.ndim > 1][-1:]


def _mean_of(values: Tensor, live: Tensor) -> Tensor:
    """Mean of the values where `live`; 0 where nothing is."""
    return torch.where(live, values, torch.zeros_like(values)).sum() / live.sum().clamp(min=1)


def _shifted(history: Tensor, outputs: Sequence[str], mean_losses: Mapping[str, float]) -> Tensor:
    return torch.stack([history[1], history.new_tensor([mean_losses[output] for output in outputs])])


def _falls(history: Tensor) -> Tensor:
    """Return (T,) the loss of the last epoch over the one before; 1 where one of them is not known."""
    before, last = history
    return torch.where((before > 0) & (last > 0), last / torch.where(before > 0, before, 1.0), torch.ones_like(last))
