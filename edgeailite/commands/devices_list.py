"""`edgeailite devices list`: the devices that estimates know, or the figures of one with their sources."""

from __future__ import annotations

from rich.table import Table

from edgeailite.config import ACCELERATORS, DevicesListConfig
from edgeailite.console import print_json, print_table
from edgeailite.cost.devices import Profile, list_devices, load_profile, profile_values

SINGLES = {
    "bandwidth": "bandwidth, GB/s",
    "on_chip_memory": "on-chip memory, bytes",
    "on_chip_bandwidth": "on-chip bandwidth, GB/s",
    "overhead": "overhead per layer, us",
    "host_bandwidth": "host bandwidth, GB/s",
    "host_overhead": "host overhead, us",
}


def run(config: DevicesListConfig) -> int:
    """Print them."""
    profiles = [load_profile(name) for name in ([config.device] if config.device else list_devices())]
    if config.json:
        print_json({profile.name: profile_values(profile) for profile in profiles})
        return 0
    table = _figures(profiles[0]) if config.device else _overview(profiles)
    print_table(table)
    if config.device is None:
        print(f"Estimated by Vela, in choose and complexity (docs/ethos_u.md): {', '.join(ACCELERATORS)}.")
    return 0


def _overview(profiles: list[Profile]) -> Table:
    table = Table(title="estimates of latency, offline (docs/devices.md)")
    table.add_column("name", no_wrap=True)
    table.add_column("device")
    table.add_column("figures")
    for name in ("float32 dense GMAC/s", "int8 dense GMAC/s", "GB/s", "band"):
        table.add_column(name, justify="right")
    for profile in profiles:
        rates = [profile.rate(element_type, "dense") for element_type in ("float32", "int8")]
        cells = ["-" if rate is None else f"{rate:.4g}" for rate in rates]
        band = f"x{profile.band[0]:.2f}..{profile.band[1]:.2f}"
        origin = "measured" if profile.measured else "datasheet"
        table.add_row(profile.name, profile.title, origin, *cells, f"{profile.bandwidth.value:.4g}", band)
    return table


def _figures(profile: Profile) -> Table:
    table = Table(title=f"{profile.name}: {profile.title}; {profile.runtime}")
    for name in ("figure", "value", "source"):
        table.add_column(name)
    for element_type, row in profile.rates.items():
        for kind, figure in row.items():
            table.add_row(f"{element_type} {kind}, 10^9/s", _number(figure.value), figure.source)
    for name, label in SINGLES.items():
        figure = getattr(profile, name)
        if figure is not None:
            table.add_row(label, _number(figure.value), figure.source)
    table.add_row("alignment, channels", str(profile.alignment), "")
    table.add_row("fused", ", ".join(profile.fused) or "-", "")
    table.add_row("computed by the host", ", ".join(profile.fallback) or "-", "")
    table.add_row("band", f"x{profile.band[0]:.2f}..{profile.band[1]:.2f}", profile.band_source)
    return table


def _number(value: float) -> str:
    """Write four digits of a number, and a large one in whole: 0.125, 12, 6,000,000."""
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
