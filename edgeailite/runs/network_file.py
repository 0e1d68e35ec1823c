"""Float ONNX files with a card as networks, and the copy of one that a run keeps: `network.onnx` in its folder.

A run's own networks are built by name. One that came from an ONNX file is read from the copy, which the card names by
its sha256; the checkpoint's weights and ranges then take the place of the file's.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import fx

from edgeailite.errors import DataError, UsageError
from edgeailite.files import read_regular, sha256_of, unwritable, write_atomic
from edgeailite.foreign import read_onnx
from edgeailite.modelcard import NETWORK, ModelCard
from edgeailite.onnxfile.reading import LARGEST
from edgeailite.preprocessing import Preprocessing
from edgeailite.runtime import OnnxModel, load_onnx
from edgeailite.runtime.metadata import NO_ARGMAX

NETWORK_FILE = "network.onnx"
TOLERANCE = 1e-3  # of the largest value of an output


def float_network(path: Path) -> tuple[ModelCard, fx.GraphModule]:
    """Read a float ONNX file that has a card: the card, which names the file's content, and its network.

    The network is compared with onnxruntime on one input. Raises DataError for a file without a card and where the two
    differ, UsageError for an int8 file and for operators that cannot be read.
    """
    data = _content(path)
    model = load_onnx(path)
    if model.kind != "float" or model.argmax != NO_ARGMAX:
        what = "int8" if model.kind != "float" else "ends in ArgMax"
        raise UsageError(f"is {what}, not a float file that can be quantized", path=path, code="wrong-kind")
    network = read_onnx(data)
    _check_read(network, model, path)
    options = {**model.card.options, NETWORK: sha256_of([data])}
    return replace(model.card, options=options), network


def kept_network(card: ModelCard, folder: Path | None, *, where: str) -> fx.GraphModule:
    """Read the network of a card from the copy in a run's folder. Raises DataError where it is not the card's."""
    if folder is None:
        raise DataError(f"{where}: its network is in {NETWORK_FILE} of the run's folder, which is not given")
    path = folder / NETWORK_FILE
    data = _content(path)
    if sha256_of([data]) != card.options[NETWORK]:
        raise DataError(
            f"is not the network that {where} was made from", path=path, fix="copy it from the run", code="changed-data"
        )
    with torch.device("cpu"):  # a caller may count on tensors without values
        return read_onnx(data)


def keep_network(source: Path, folder: Path) -> None:
    """Copy the ONNX file that a run starts from into its folder; nothing for other sources. Raises DataError."""
    if source.suffix != ".onnx":
        return
    try:
        write_atomic(folder / NETWORK_FILE, _content(source))
    except OSError as error:
        raise unwritable(folder / NETWORK_FILE, error, fix="free disk space") from None


def _content(path: Path) -> bytes:
    try:
        return read_regular(path, limit=LARGEST)
    except OSError as error:
        raise DataError(
            f"cannot be read ({error.strerror})", path=path, fix="give an ONNX file", code="missing-file"
        ) from None


def _check_read(network: fx.GraphModule, model: OnnxModel, path: Path) -> None:
    """Raise DataError where the network that was read does not compute what onnxruntime computes of the file."""
    images = [_noise(model.card.preprocessing, seed) for seed in range(len(model.card.inputs))]
    expected = model.run(*images)
    with torch.inference_mode():
        got = network(*map(torch.from_numpy, images))
    for name, value in expected.items():
        difference = float(np.abs(got[name].numpy() - value).max())
        if not difference <= TOLERANCE * max(float(np.abs(value).max()), 1e-6):
            raise DataError(
                f"output {name} is read otherwise than onnxruntime computes it (by up to {difference:.3g})",
                path=path,
                fix="report the file; it cannot be quantized here",
            )


def _noise(pre: Preprocessing, seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Return a normalised picture of random values."""
    pixels = np.random.default_rng(seed).integers(0, 256, (1, 3, *pre.size)).astype(np.float32)
    mean, scale = (np.array(part, np.float32).reshape(1, 3, 1, 1) for part in (pre.mean, pre.scale))
    return np.asarray((pixels - mean) * scale, np.float32)
