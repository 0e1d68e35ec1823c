"""A folder for a device: an exported file, its contract, classes and colours, a camera loop, and what to type."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeailite import __version__
from edgeailite.environment import OLDEST_ONNXRUNTIME
from edgeailite.errors import DataError, UsageError, option
from edgeailite.files import write_result
from edgeailite.modelcard import ModelCard
from edgeailite.runtime.beside import contract_beside
from edgeailite.runtime.contract_file import load_contract

CAMERA = Path(__file__).with_name("camera.py")
NAMES = (
    "labels.json", "camera.py", "requirements.txt", "README.md", "contract.json", "model.onnx", "model_int8.onnx",
)  # fmt: skip
NOT_PROVEN = "**Not proven yet**: on the PC, `edgeailite verify RUN` writes the contract; then write this folder again."


def write_bundle(folder: Path, file: Path, card: ModelCard) -> list[Path]:
    """Write the folder for an exported ONNX file; return its files.

    The contract beside the file comes along if it is the file's. Raises UsageError for a .tflite file, DataError where
    the folder holds other files or cannot be written.
    """
    if file.suffix != ".onnx":
        raise UsageError("the camera loop runs .onnx files", about="bundle", value=folder, fix="see docs/tflite.md")
    if folder.is_dir() and any(path.name not in {*NAMES, file.name} for path in folder.iterdir()):
        raise DataError("holds other files", path=folder, fix=f"give {option('bundle')} a new folder", code="not-ours")
    beside = contract_beside(file)
    contract = None if beside is None else load_contract(beside)
    labels = {"classes": list(card.classes), "palette": [list(color) for color in card.palette]}
    texts: dict[str, str | bytes] = {
        "labels.json": json.dumps(labels, indent=1) + "\n",
        "camera.py": CAMERA.read_bytes(),
        "requirements.txt": f"numpy>=2\nonnxruntime>={OLDEST_ONNXRUNTIME}\nopencv-python-headless>=4.8.1.78\n",
        "README.md": _readme(file.name, card, contract),
        **({} if contract is None else {"contract.json": json.dumps(contract)}),
    }
    for name, content in texts.items():
        write_result(folder / name, content, "bundle")
    if contract is None:
        (folder / "contract.json").unlink(missing_ok=True)  # of another file, written here before
    shutil.copyfile(file, folder / file.name)
    return [folder / file.name, *(folder / name for name in texts)]


def _readme(name: str, card: ModelCard, contract: Mapping[str, Any] | None) -> str:
    height, width = card.preprocessing.size
    outputs = ", ".join(f"{key} ({count})" for key, count in card.outputs.items())
    return f"""# {name} on a device

{card.model_name}: pictures of {height}x{width} -> {outputs};
classes {", ".join(card.classes)}. Written by edgeailite {__version__}; `labels.json` has the colours.

    python3 -m venv env && . env/bin/activate         # on Windows: py -m venv env && env\\Scripts\\activate
    pip install -r requirements.txt
    python camera.py {name} pictures --save out       # a folder of pictures or a video file
    python camera.py {name} 0 --save out              # camera 0; a window instead of --save needs opencv-python

{_proof(name, contract)}
"""


def _proof(name: str, contract: Mapping[str, Any] | None) -> str:
    if contract is None:
        return NOT_PROVEN
    pictures: Sequence[Any] = contract.get("golden", ())
    return f"""`contract.json` holds {len(pictures)} pictures and what {name} answered when it was proven; the file's
sha256 is {contract["sha256"]}.
Does it give those answers here? Copy edgeailite's wheel too (`tools/package.sh dist` in its source writes it), then:

    pip install --no-deps edgeailite-{__version__}-py3-none-any.whl
    edgeailite verify {name} contract.json            # exit code 0, or 4 and the first layer that departs

Proven is what the contract lists, on the kinds of processor that it names; frame rates are not part of it."""
