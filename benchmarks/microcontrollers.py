"""Memory of networks on a microcontroller: of TensorFlow Lite Micro's interpreter, and of the tensors alone.

    tools/microcontrollers.sh TOOLS
    PYTHONPATH=. python benchmarks/microcontrollers.py TOOLS

Weights are random; memory does not depend on them. Each file is compiled with examples/tflite_micro on this machine and
its golden cases are run, so a row is also a network whose bits are right. Pointers of this machine have 64 bits: a
board with 32 needs less for the interpreter's own records. Prints rows for docs/microcontrollers.md.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import tempfile
from pathlib import Path

from edgeailite.export.c_array import c_files, live_bytes
from edgeailite.export.to_tflite import to_tflite
from tests.sweep import golden_sweep_model, quantized, sweep_card

ROOT = Path(__file__).resolve().parents[1]
NETWORKS = (
    ("deeplabv3plus_mobilenetv2_tv_edgeailite", (64, 96)),
    ("deeplabv3plus_mobilenetv2_tv_edgeailite", (96, 160)),
    ("unet_aspp_mobilenetv2_tv_edgeailite", (64, 96)),
)
README = (ROOT / "examples/tflite_micro/README.md").read_text()
COMPILE, BUILD, CHECK = re.findall(r"^    (\S.*)$", README, re.MULTILINE)[2:5]


def measure(name: str, size: tuple[int, int], folder: Path, tools: Path) -> str:
    """Return a row of the table. Raises CalledProcessError where the golden cases differ."""
    network = golden_sweep_model(name)
    written = to_tflite(quantized(network), sweep_card(network), size=size, head="codes")
    for end, text in zip((".h", ".c"), c_files(written, "model_int8"), strict=True):
        (folder / f"model_int8{end}").write_text(text)
    environment = os.environ | {"TOOLS": str(tools.resolve())}
    for command in (COMPILE, BUILD, CHECK):
        done = subprocess.run(
            command.replace(" examples/", f" {ROOT}/examples/").replace("-Iexamples/", f"-I{ROOT}/examples/"),
            shell=True,
            cwd=folder,
            env=environment,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    arena = re.search(r"equal; arena (\d+) bytes", done.stdout)
    assert arena is not None, done.stdout
    kilobytes = [f"{int(count) / 1000:,.0f}" for count in (len(written.data), live_bytes(written.program), arena[1])]
    return f"| `{name}` | {size[0]}x{size[1]} | {' | '.join(kilobytes)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tools", type=Path, help="folder of tools/microcontrollers.sh")
    tools = parser.parse_args().tools
    print("| network | input | file, kB | tensors alive at once, kB | arena, kB |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, size in NETWORKS:
            print(measure(name, size, Path(folder), tools), flush=True)


if __name__ == "__main__":
    main()
