"""`edgeailite verify FILE.onnx --pictures FOLDER`: proves an int8 file of any tool and writes its contract."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeailite.config import VerifyConfig
from edgeailite.console import progress
from edgeailite.data.files.images import read_image
from edgeailite.device import set_threads
from edgeailite.errors import DataError, UsageError, option, some_of
from edgeailite.export.int8_files.contract import file_contract
from edgeailite.export.int8_files.file import Int8File, int8_file
from edgeailite.export.int8_files.prove import Proof, prove_int8
from edgeailite.export.verification import CONTRACT_NAMES, stride, write_contract
from edgeailite.modelcard import ModelCard
from edgeailite.onnxfile import OnnxFile
from edgeailite.preprocessing import Preprocessing
from edgeailite.runs.dataset import PICTURES, pictures_in
from edgeailite.runtime.metadata import card_of_metadata
from edgeailite.runtime.session import admit
from edgeailite.runtime.trial import check_file
from edgeailite.untrusted import printable

NAMED = 3  # of many, in a sentence


@dataclass(frozen=True)
class FileVerification:
    """The result of `verify_int8_file`: numbers as the file `contract` keeps them, and what they mean in sentences."""

    proof: Proof
    results: Mapping[str, Any]
    contract: Path
    size: tuple[int, int]

    @property
    def verdict(self) -> str:
        """Say in a sentence what was shown."""
        proof = self.proof
        but = "" if proof.exact else f" but for {_listed(_exceptions(proof))}"
        return f"{proof.file.name} is proven{but}: {self.results['data']}, {proof.pictures} pictures"

    @property
    def remarks(self) -> list[str]:
        """Say which layers run in float, and how near the rest is."""
        proof, lines = self.proof, []
        layers = len(proof.macs)
        lines.append(
            f"layers: {layers - len(proof.float_layers)} of {layers} run as integers, {_percent(proof.integer_macs)} "
            f"of the multiply-accumulates; {proof.tensors} code tensors, all that follow from rules equal in every bit"
        )
        if proof.float_layers:
            lines.append(f"in float: {_named(proof.float_layers)}")
        if proof.without_rule:
            lines.append(f"without a rule in integers: {_named(list(proof.without_rule))}")
        steps = [part.largest_step for part in proof.parts.values() if part.read]
        if steps:
            lines.append(
                f"{len(steps)} tensors behind those, handed the same codes: at most {max(steps)} step off, the file's "
                f"codes taken"
            )
        unread = [part.tensor for part in proof.parts.values() if not part.read]
        if unread:
            lines.append(f"not readable in onnxruntime's graph: {_named(unread)}")
        lines += [f"{size}: refused ({value['refused']})" for size, value in proof.sizes.items() if "refused" in value]
        return lines


def verify_int8_file(config: VerifyConfig) -> FileVerification:
    """Prove the int8 file `config.model` on `config.pictures`, and write its contract.

    Raises ParityError, naming the first tensor that departs; DataError for a file or folder that cannot be used.
    Nothing is written then.

        found = verify_int8_file(VerifyConfig(Path("theirs_int8.onnx"), pictures=Path("photos")))
        found.verdict  # theirs_int8.onnx is proven: pictures all, 8 pictures
        found.contract.name  # contract_int8.json
    """
    assert config.pictures is not None
    set_threads(config.threads)
    read = check_file(config.model, height_width=config.img_resize, threads=config.threads or 1)
    file = int8_file(read)
    card, describes_itself = _card(read, file, config.img_resize)
    source = pictures_in(card, config.pictures)
    paths = [item.images[0] for item in source.items][:: stride(len(source.items), config.images)]
    with progress("verify", len(paths)) as (bar, task):
        proof = prove_int8(
            file,
            map(read_image, paths),
            card.preprocessing,
            sizes=config.sizes,
            threads=config.threads,
            on_picture=lambda: bar.advance(task),
        )
    contract = config.contract or config.model.with_name(CONTRACT_NAMES["int8"])
    values = file_contract(proof, paths, card, describes_itself=describes_itself)
    results = {"data": f"{source.name} {source.split}", **proof.results}
    write_contract(contract, json.dumps(values | {"results": results}, indent=1) + "\n")
    return FileVerification(proof, results, contract, card.preprocessing.size)


def _card(read: OnnxFile, file: Int8File, size: tuple[int, int] | None) -> tuple[ModelCard, bool]:
    """Return the file's card and whether it describes itself; else one with our range of pixel values.

    A file of ours that another tool quantized keeps our metadata, but they are of the float file.
    """
    if read.is_own:
        card = card_of_metadata(read.graph.metadata, where=read.name)
        with contextlib.suppress(DataError):
            admit(read)
            return card, True
        return (card if file.size is None else card.with_size(file.size)), False
    if file.size is None and size is None:
        raise UsageError(
            "leaves height and width of its pictures open", path=read.name, fix=f"give {option('img_resize')} H W"
        )
    if file.size is not None and size not in (None, file.size):
        found = "x".join(map(str, file.size))
        raise UsageError(
            f"expected {found}, as the file takes", about="img_resize", value=size, fix="leave it out", code="no-fit"
        )
    height, width = file.size or size or (0, 0)
    return ModelCard("", {}, (), (), Preprocessing(height, width), PICTURES), False


def _exceptions(proof: Proof) -> list[str]:
    """Say what keeps a file from being proven whole."""
    found = []
    if proof.float_layers:
        found.append(f"{len(proof.float_layers)} layers in float ({_percent(1 - proof.integer_macs)} of the MACs)")
    kinds: dict[str, int] = {}
    for label in proof.without_rule:
        name = label.partition(" ")
        if name[2] not in proof.in_float:
            kinds[name[0]] = kinds.get(name[0], 0) + 1
    found += [f"{count} {printable(kind)}" for kind, count in kinds.items()]
    return found or ["functions with results next to a tie"]


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _named(names: list[str]) -> str:
    return some_of([printable(name) for name in names], NAMED)


def _percent(share: float) -> str:
    """Write a share in per cent; less than all never rounds up to 100."""
    return "100 %" if share == 1 else f"{min(100 * share, 99.99):.2f} %"
