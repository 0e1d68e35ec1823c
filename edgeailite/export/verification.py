"""The proof of a run's exported file, on pictures of the data set it was trained on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from edgeailite.config import VerifyConfig
from edgeailite.console import progress
from edgeailite.device import set_threads
from edgeailite.errors import DataError
from edgeailite.export.contract import contract_values, read_pictures
from edgeailite.export.files import FILE_NAMES
from edgeailite.export.identity import at_size_of
from edgeailite.export.parity import Subject, prove
from edgeailite.files import write_atomic
from edgeailite.modelcard import ModelCard
from edgeailite.runs.dataset import pictures_or_dataset
from edgeailite.runs.folder import run_folder
from edgeailite.runs.network import load_network
from edgeailite.runs.weights import chosen_weights
from edgeailite.runtime import load_onnx
from edgeailite.runtime.contract_file import but_for

CONTRACT_NAMES = {"float": "contract.json", "int8": "contract_int8.json"}


@dataclass(frozen=True)
class Verification:
    """The result of `verify_run` or `verify_tflite`.

    `results` are the numbers by level and size, as they stand in the file `contract`; `size` is the (height, width) of
    the exported input. `proven` is False where only pictures were compared, not the file's content.
    """

    run: Path
    results: Mapping[str, Any]
    contract: Path
    size: tuple[int, int]
    proven: bool

    @property
    def verdict(self) -> str:
        """Say in a sentence what was shown; nothing is called proven of which only pictures were compared."""
        levels = [part for part in self.results.values() if isinstance(part, Mapping) and "pictures" in part]
        seen = f"{self.results['data']}, {levels[0]['pictures']} pictures"
        if self.proven and "float_parts" in self.results:
            return f"{self.run} is {but_for(list(self.results['float_parts']), self.results['integer_macs'])}: {seen}"
        if self.proven and "promise" in self.results:
            return f"{self.run} keeps its promise, {self.results['promise']}: {seen}"
        if self.proven:
            return f"{self.run} is proven: {seen}"
        return f"{self.run} agrees with its file on pictures; nothing else was compared: {seen}"


def verify_run(config: VerifyConfig) -> Verification:
    """Prove that a run's exported file gives what its network gives in torch, and write the contract beside it.

    `config.model` is the run folder or checkpoint. Raises ParityError, naming the first layer, entry or node that
    departs; DataError where the run, its file or its data set is missing or damaged. Nothing is written then.

    >>> found = verify_run(VerifyConfig(Path("runs/night"), images=1, sizes=()))
    >>> found.verdict, str(found.contract)
    ('runs/night is proven: streets val, 1 pictures', 'runs/night/contract.json')
    """
    set_threads(config.threads)
    checkpoint, module = load_network(chosen_weights(config.model, config.weights))
    folder = run_folder(config.model)
    file = folder / FILE_NAMES[checkpoint.quantization is not None]
    model = load_onnx(file)
    subject = Subject(module, at_size_of(checkpoint.card, model), file, argmax=model.argmax)
    proof = partial(prove, subject, skip_hash=config.skip_hash)
    items, results = on_data_set(proof, checkpoint.card, config, label="verify")
    path = folder / CONTRACT_NAMES[subject.kind]
    write_contract(path, json.dumps(contract_values(subject, items, results), indent=1) + "\n")
    return Verification(config.model, results, path, subject.card.preprocessing.size, config.export_again)


def on_data_set(
    proof: Callable[..., dict[str, Any]], card: ModelCard, config: VerifyConfig, *, label: str
) -> tuple[list[tuple[Path, ...]], dict[str, Any]]:
    """Run a proof on pictures of the data set of a card; return their files, and the results with the data set's name.

    `proof` is `prove` or `prove_tflite` of a subject; it takes the pictures and the options of `config`. `label` stands
    beside the progress bar.
    """
    source = pictures_or_dataset(card, config.data_path, config.split)
    items = [item.images for item in source.items][:: stride(len(source.items), config.images)]
    with progress(label, len(items)) as (bar, task):
        results = proof(
            read_pictures(items),
            sizes=config.sizes,
            threads=config.threads,
            export_again=config.export_again,
            min_fake_quant=config.min_fake_quant,
            on_picture=lambda: bar.advance(task),
        )
    return items, {"data": f"{source.name} {source.split}", **results}


def stride(total: int, count: int) -> int:
    """Return the step at which at most `count` of `total` are taken, evenly spaced; 0 takes all."""
    return 1 if count == 0 else max(1, -(-total // count))


def write_contract(path: Path, text: str) -> None:
    """Write a contract. Raises DataError where that cannot be."""
    try:
        write_atomic(path, text)
    except OSError as error:
        raise DataError(
            f"{path}: the contract cannot be written ({error.strerror}); make room there", code="unwritable"
        ) from None
