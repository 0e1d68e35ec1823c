"""The table of docs/ethos_u.md: what Vela estimates for int8 networks on Ethos-U NPUs, and TFLite Micro's arena.

    python benchmarks/vela_table.py

Networks have random weights and 19 classes, and give the decoder's codes (no last up-sampling). Each cell is
milliseconds, SRAM in KiB, and the number of operators left to the CPU if there are any. The arena is the smallest with
which TFLite Micro's interpreter (x86-64, reference kernels, no NPU) allocates the tensors, to 1 KiB. Where tflite_micro
is not installed the column is left out. Rows are printed as they are made.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec

from edgeailite.cost.count import count_network
from edgeailite.cost.ethos_u import untrained_tflite
from edgeailite.export.vela import PACKAGE, compile_tflite
from edgeailite.runtime.tflite_micro import MICRO

DECODERS = ("unet_aspp", "fpn_aspp", "deeplabv3plus")
ENCODERS = (
    "mobilenetv4_conv_small_050",
    "mobilenetv4_conv_small",
    "mobilenetv2_tv",
    "efficientnet_lite0",
    "regnetx400mf",
)
NETWORKS = [f"{decoder}_{encoder}_edgeailite" for encoder in ENCODERS for decoder in DECODERS]
SIZES = (96, 160, 192, 320)
ACCELERATORS = ("ethos-u55-256", "ethos-u65-512", "ethos-u85-256")
CLASSES = 19
KIBIBYTE = 1024
LARGEST_ARENA = 2**29


def least_arena(data: bytes) -> int:
    """Bytes of the smallest arena, in whole KiB, with which TFLite Micro's interpreter can be made."""
    low, high = 1, LARGEST_ARENA // KIBIBYTE
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _fits(data, middle * KIBIBYTE) else (middle + 1, high)
    return low * KIBIBYTE


def _fits(data: bytes, arena: int) -> bool:
    from tflite_micro.python.tflite_micro import runtime

    with _quiet():
        try:
            runtime.Interpreter.from_bytes(data, arena_size=arena)
        except Exception:  # noqa: BLE001 - the interpreter raises RuntimeError for a small arena, and says no more
            return False
    return True


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Send what the interpreter writes to stderr for each arena that is too small to nowhere."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def row(name: str, size: tuple[int, int], accelerators: list[str]) -> str:
    """One line of the table."""
    cost = count_network(name, (size,), num_classes=CLASSES, inputs=1, int8=False)[size]
    data = untrained_tflite(name, size, classes=CLASSES)
    cells = [name.removesuffix("_edgeailite"), f"{size[0]}x{size[1]}", f"{cost.giga_macs:.3f}"]
    for accelerator in accelerators:
        found = compile_tflite(data, accelerator, name=name).estimate
        left = f" / {len(found.cpu_operators)} CPU" if found.cpu_operators else ""
        cells.append(f"{found.milliseconds:.1f} / {found.sram_bytes / KIBIBYTE:.0f}{left}")
    if find_spec(MICRO) is not None:
        cells.append(f"{least_arena(data) // KIBIBYTE}")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES, help="pairs of height and width")
    parser.add_argument("--accelerators", nargs="+", default=list(ACCELERATORS))
    words = parser.parse_args()
    arena = ["TFLite Micro arena, KiB"] if find_spec(MICRO) is not None else []
    columns = ["network", "size", "GMACs", *(f"{name}: ms / SRAM KiB" for name in words.accelerators), *arena]
    print(f"Vela {version(PACKAGE)}" + (f", tflite-micro {version('tflite-micro')}" if arena else ""))
    print(f"\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)
    for size in zip(words.sizes[::2], words.sizes[1::2], strict=True):
        for name in words.networks:
            print(row(name, size, words.accelerators), flush=True)


if __name__ == "__main__":
    main()
