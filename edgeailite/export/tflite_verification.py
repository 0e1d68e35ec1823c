"""The proof of a run's .tflite file, on pictures of the data set it was trained on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from torch import fx

from edgeailite.config import VerifyConfig
from edgeailite.device import set_threads
from edgeailite.errors import DataError, EdgeailiteError, ParityError
from edgeailite.export.files import FILE_NAMES, TFLITE_NAME
from edgeailite.export.tflite_contract import tflite_contract
from edgeailite.export.tflite_parity import prove_tflite, tflite_subject
from edgeailite.export.verification import Verification, on_data_set, verify_run, write_contract
from edgeailite.runs.folder import run_folder
from edgeailite.runs.network import load_network
from edgeailite.runs.weights import chosen_weights

TFLITE_CONTRACT = "contract_int8_tflite.json"


def verify_files(
    config: VerifyConfig, on_proof: Callable[[Verification], None] = lambda found: None
) -> list[Verification]:
    """Prove every file of a run: the ONNX file, unless there is a .tflite file alone, and the .tflite file if there is.

    Each is proven whatever comes of the other, and handed to `on_proof` once it is. Raises what `verify_run` or
    `verify_tflite` raised after the last one; where both did, an error with both sentences, a ParityError if one is.
    """
    folder = run_folder(config.model)
    has_tflite = (folder / TFLITE_NAME).exists()
    has_onnx = any((folder / name).exists() for name in FILE_NAMES.values())
    proofs = [verify_run] if has_onnx or not has_tflite else []
    found, failed = list[Verification](), list[EdgeailiteError]()
    for prove in [*proofs, verify_tflite] if has_tflite else proofs:
        try:
            found.append(prove(config))
        except EdgeailiteError as error:
            failed.append(error)
        else:
            on_proof(found[-1])
    if failed:
        raise _together(failed)
    return found


def _together(failed: Sequence[EdgeailiteError]) -> EdgeailiteError:
    """Return one error for several; that something departs counts more than that something is missing."""
    first = next((error for error in failed if isinstance(error, ParityError)), failed[0])
    sentences = list(dict.fromkeys(map(str, failed)))
    return first if len(sentences) == 1 else type(first)("; ".join(sentences))


def verify_tflite(config: VerifyConfig) -> Verification:
    """Prove that a run's model_int8.tflite gives what its network gives, in both arithmetics; write the contract.

    `config.model` is the run folder or checkpoint. Raises UsageError where LiteRT is not installed; ParityError, naming
    the first tensor, entry or operator that departs; DataError for what is missing or damaged. Nothing is written then.
    """
    set_threads(config.threads)
    checkpoint, module = load_network(chosen_weights(config.model, config.weights))
    file = run_folder(config.model) / TFLITE_NAME
    if not isinstance(module, fx.GraphModule):
        raise DataError(
            "a float run, which has no .tflite file",
            path=file,
            fix="remove it, or verify the run it is of",
            code="wrong-kind",
        )
    subject = tflite_subject(module, checkpoint.card, file, skip_hash=config.skip_hash)
    items, results = on_data_set(partial(prove_tflite, subject), checkpoint.card, config, label="verify .tflite")
    path = file.with_name(TFLITE_CONTRACT)
    write_contract(path, json.dumps(tflite_contract(subject, items, results), indent=1) + "\n")
    return Verification(Path(file), results, path, subject.card.preprocessing.size, config.export_again)
