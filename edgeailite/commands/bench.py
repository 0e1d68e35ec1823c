"""`edgeailite bench`: networks timed in turns on this machine, their operators, and an estimate for a device beside."""

from __future__ import annotations

from rich.table import Table

from edgeailite.config import BenchConfig
from edgeailite.console import print_json, print_table
from edgeailite.cost.latency import OperatorTime
from edgeailite.cost.latency.networks import NetworkTime, NetworkTimes, time_networks
from edgeailite.environment import machine_title


def run(config: BenchConfig) -> int:
    """Measure and print."""
    times = time_networks(config)
    if config.json:
        print_json(times.as_json())
        return 0
    print_table(_table(times, config.device))
    for network in times.networks:
        if network.operators is not None:
            print_table(_operator_table(network, network.operators, config.operators))
    return 0


def _table(times: NetworkTimes, device: str | None) -> Table:
    versions = f"onnxruntime {times.machine['onnxruntime']}, torch {times.machine['torch']}"
    table = Table(title=f"{machine_title(times.machine)}; {versions}; in turns, {times.rounds} rounds")
    table.add_column("model", no_wrap=True)
    for name in ("runtime", "type", "size"):
        table.add_column(name)
    for name in ("GMACs", "parameters", "median ms", "10..90 %", "min ms", *([f"ms on {device}"] if device else [])):
        table.add_column(name, justify="right")
    for network in times.networks:
        table.add_row(*_cells(network, estimated=times.device is not None))
    return table


def _cells(network: NetworkTime, *, estimated: bool) -> list[str]:
    counted = ["-" if network.size is None else "x".join(map(str, network.size)), "-", "-"]
    if network.giga_macs is not None:
        counted[1:] = [f"{network.giga_macs:.3f}", f"{network.parameters:,}"]
    timing = network.timing
    low, high = timing.spread
    cells = [network.model, network.runtime, network.type, *counted]
    cells += [f"{timing.median:.2f}", f"{low:.2f}..{high:.2f}", f"{timing.minimum:.2f}"]
    if estimated:
        found = network.estimate
        cells.append("-" if found is None else f"{found.ms:.1f} ({found.low:.1f}..{found.high:.1f})")
    return cells


def _operator_table(network: NetworkTime, operators: tuple[OperatorTime, ...], count: int) -> Table:
    slowest = sorted(operators, key=lambda operator: -operator.milliseconds)
    total = sum(operator.milliseconds for operator in slowest) or 1.0
    title = f"{network.model}, {network.runtime}: {min(count, len(slowest))} slowest of {len(slowest)} operators"
    table = Table(title=title)
    table.add_column("operator", no_wrap=True)
    table.add_column("kind")
    for name in ("ms", "%"):
        table.add_column(name, justify="right")
    for operator in slowest[:count]:
        share = 100 * operator.milliseconds / total
        table.add_row(operator.name, operator.kind, f"{operator.milliseconds:.3f}", f"{share:.1f}")
    return table
