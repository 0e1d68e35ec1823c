"""Does a device's profile, fitted to 8 networks, tell the latency of 6 others? On this CPU, float and int8.

    python benchmarks/device_fit.py --threads 2 --seeds 0 1 2 3 4

All 14 networks are measured once, in turns, by onnxruntime; each seed then draws which 6 are held out. Weights are
random: speed does not depend on them. Printed per seed: rank correlation (Spearman), median and largest relative error
of the 12 held-out files, and the same for GigaMACs times a constant (one for float, one for int8, fitted to the same 8
networks). Exported files go to a fresh folder, unless --cache keeps them: whoever keeps them answers for their being of
this version. --write fits all 14 and writes the profile that comes with the package, texts included. With --totals
operators the time of a network is the sum of its operators' least disturbed rounds, which other work on the machine
disturbs less than whole runs.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from edgeailite.cost.candidates import open_subjects
from edgeailite.cost.device_fit import NETWORKS, blank_profile, write_profile
from edgeailite.cost.devices import MeasuredNetwork, Profile, estimate, fit
from edgeailite.cost.latency import measure_networks
from edgeailite.environment import machine_facts

FURTHER = (
    "fpn_aspp_mobilenetv2_tv_edgeailite",
    "unet_aspp_mobilenetv2_tv_1p4_edgeailite",
    "fpn_aspp_regnetx800mf_edgeailite",
    "deeplabv3plus_regnetx400mf_edgeailite",
    "fpn_aspp_regnetx800mf_fd_edgeailite",
    "fpn_aspp_resnet50_p5_edgeailite",
)
HELD_OUT = 6


def main() -> None:
    """Measure, fit, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=(192, 384))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2, 3, 4))
    parser.add_argument("--alignment", type=int, default=8)
    parser.add_argument("--totals", choices=("network", "operators"), default="network")
    parser.add_argument("--cache", type=Path, help="folder to keep exported files in; default a fresh one")
    parser.add_argument("--other_size", type=int, nargs=2, help="also estimate networks at this size by the fit of all")
    parser.add_argument("--write", type=Path, help="fit all 14 networks and write the profile here (.yaml)")
    args = parser.parse_args()
    if args.cache is not None:
        run(args)
        return
    with tempfile.TemporaryDirectory(prefix="edgeailite-device-fit-") as folder:
        args.cache = Path(folder)
        run(args)


def run(args: argparse.Namespace) -> None:
    """All of it, with exported files in `args.cache`."""
    facts = machine_facts(args.threads)
    print(f"{facts['cpu']} ({' '.join(facts['features'])}), {args.threads} threads, onnxruntime {facts['onnxruntime']}")
    networks = measure(args)
    print(f"times: {args.totals}, least disturbed of {args.rounds} rounds; {args.size[0]}x{args.size[1]}\n")
    print("| seed | estimate by | Spearman | median error % | largest error % |\n|---|---|---|---|---|")
    for seed in args.seeds:
        report(seed, networks, args.alignment)
    held_out = {seed: draw(seed, networks)[1] for seed in args.seeds}
    print("\n" + "\n".join(f"seed {seed} held out: {', '.join(names)}" for seed, names in held_out.items()))
    if args.other_size:
        report_other_size(args, fit(list(networks.values()), blank_profile(args.alignment), "benchmark"))
    if args.write:
        profile = shipped(args, networks)
        write_profile(args.write, profile)
        print(f"written: {args.write}, band {profile.band[0]:.2f}..{profile.band[1]:.2f}, {profile.band_source}")


def shipped(args: argparse.Namespace, networks: dict[str, MeasuredNetwork]) -> Profile:
    """The fit of all networks with the texts of a profile that comes with the package."""
    facts = machine_facts(args.threads)
    what = f"{len(networks)} files ({len(networks) // 2} networks, float and int8, {args.size[0]}x{args.size[1]})"
    rounds = {"network": f"the least disturbed of {args.rounds} rounds"}
    rounds["operators"] = f"{rounds['network']} of their operators"
    source = f"fitted to {what} by {rounds[args.totals]}, {datetime.now(UTC):%Y-%m-%d}"
    threads = f"{args.threads} thread{'' if args.threads == 1 else 's'}"
    return replace(
        fit(list(networks.values()), blank_profile(args.alignment), source),
        name=args.write.stem,
        title=f"x86-64 server CPU with {' '.join(facts['features'])}, {threads}",
        runtime=f"onnxruntime {facts['onnxruntime']}",
    )


def measure(args: argparse.Namespace) -> dict[str, MeasuredNetwork]:
    """All networks, by `name` (float) and `name int8`."""
    return measure_at(tuple(args.size), (*NETWORKS, *FURTHER), args)


def measure_at(size: tuple[int, int], names: Sequence[str], args: argparse.Namespace) -> dict[str, MeasuredNetwork]:
    """Networks at a size, with their times printed."""
    args.cache.mkdir(parents=True, exist_ok=True)
    subjects = open_subjects(names, args.cache, size=size, classes=19, kinds=("float32", "int8"))
    files = {subject.name: (subject.file, subject.layers, subject.height_width) for subject in subjects}
    measured = measure_networks(files, threads=args.threads, rounds=args.rounds)
    for network in measured:
        operators = sum(value or 0 for value in network.layer_milliseconds)
        print(f"{network.name:<50} {network.milliseconds:8.2f} ms, its operators {operators:8.2f} ms")
    if args.totals == "operators":
        measured = [replace(m, milliseconds=sum(value or 0 for value in m.layer_milliseconds)) for m in measured]
    return {network.name: network for network in measured}


def report_other_size(args: argparse.Namespace, profile: Profile) -> None:
    """Does a profile fitted at one size hold at another? Eight of the networks."""
    height, width = args.other_size
    print(f"\nat {height}x{width}, by the profile of {args.size[0]}x{args.size[1]}:")
    networks = measure_at((height, width), NETWORKS, args)
    ratios = [estimate(n.layers, profile).milliseconds / n.milliseconds for n in networks.values()]
    rows = [f"{name}: estimate / measured {ratio:.2f}" for name, ratio in zip(networks, ratios, strict=True)]
    print("\n".join(rows))
    print(f"median error {100 * np.median(np.abs(np.array(ratios) - 1)):.1f} %")


def draw(seed: int, networks: dict[str, MeasuredNetwork]) -> tuple[list[str], list[str]]:
    """Names to fit, names held out; a network's two files stay together."""
    names = sorted(name for name in networks if not name.endswith(" int8"))
    held_out = sorted(random.Random(seed).sample(names, HELD_OUT))
    return [name for name in names if name not in held_out], held_out


def report(seed: int, networks: dict[str, MeasuredNetwork], alignment: int) -> None:
    """Two rows of the table."""
    fitted, held_out = draw(seed, networks)
    known = [networks[name + kind] for name in fitted for kind in ("", " int8")]
    others = [networks[name + kind] for name in held_out for kind in ("", " int8")]
    profile = fit(known, blank_profile(alignment), "benchmark")
    constants = {integer: constant(known, integer=integer) for integer in (False, True)}
    by_profile = [estimate(network.layers, profile).milliseconds for network in others]
    by_macs = [constants[network.name.endswith(" int8")] * macs(network) for network in others]
    truth = [network.milliseconds for network in others]
    for name, found in (("profile", by_profile), ("GMACs x constant", by_macs)):
        errors = np.abs(np.array(found) / np.array(truth) - 1)
        row = f"{spearman(found, truth):.3f} | {100 * np.median(errors):.1f} | {100 * errors.max():.1f}"
        print(f"| {seed} | {name} | {row} |")


def macs(network: MeasuredNetwork) -> int:
    """Multiply-accumulates of a network."""
    return sum(layer.macs for layer in network.layers)


def constant(networks: Sequence[MeasuredNetwork], *, integer: bool) -> float:
    """The ms per MAC with the least relative error (median) on these networks."""
    ratios = [n.milliseconds / macs(n) for n in networks if n.name.endswith(" int8") == integer]
    return float(np.median(ratios))


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Correlation of ranks; without ties, as times have none."""
    ranks = [np.argsort(np.argsort(values)) for values in (first, second)]
    return float(np.corrcoef(*ranks)[0, 1])


if __name__ == "__main__":
    main()
