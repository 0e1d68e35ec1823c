"""Finds the contract that lies beside an exported file, by the file's hash: names differ from folder to folder."""

from __future__ import annotations

from pathlib import Path

from edgeailite.errors import DataError
from edgeailite.files import sha256_of
from edgeailite.runtime.contract_file import load_contract

PATTERN = "contract*.json"  # contract.json, contract_int8.json, contract_int8_tflite.json


def contract_beside(file: Path) -> Path | None:
    """Return the contract of this very file in its folder, None where there is none.

    A run folder calls it by the kind of file, a bundle and an image `contract.json`; each contract holds the sha256 of
    its file. What cannot be read as a contract is passed over.
    """
    known = sha256_of(file)
    for path in sorted(file.parent.glob(PATTERN)):
        try:
            if load_contract(path).get("sha256") == known:
                return path
        except DataError:
            continue
    return None
