"""The contract of an int8 file of any tool: as `export.contract` writes it for a run's file, from the file alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeailite import __version__
from edgeailite.data.files.images import read_image
from edgeailite.environment import environment, machine_arithmetic
from edgeailite.errors import DataError
from edgeailite.export.contract import GOLDEN_PICTURES, difference, small
from edgeailite.export.int8_files.evaluate import Evaluation, Outcome
from edgeailite.export.int8_files.placement import Placement, placement_of
from edgeailite.export.int8_files.prove import Picture, Proof
from edgeailite.files import sha256_of
from edgeailite.modelcard import ModelCard
from edgeailite.preprocessing import preprocess
from edgeailite.quantization.arithmetic import ONNXRUNTIME_ROWS, arithmetic_of
from edgeailite.runtime import Golden, Layer
from edgeailite.runtime.contract import described
from edgeailite.runtime.contract_file import (
    BASE,
    FLOAT_LOGIT_TOLERANCE,
    FLOAT_PARTS_PROMISE,
    FLOAT_TOLERANCE,
    FORMAT,
)
from edgeailite.untrusted import printable

SIDES = (2, 4)  # of outputs that a contract can hold: (N,C) and (N,C,H,W)


def file_contract(proof: Proof, items: Sequence[Path], card: ModelCard, *, describes_itself: bool) -> dict[str, Any]:
    """Return the values of the contract of a file that was proven on `items`, pictures.

    `card` tells the preprocessing; a file that does not describe itself (`describes_itself`) has no other card.
    Raises DataError for outputs that a contract cannot hold.
    """
    step = max(1, len(items) // GOLDEN_PICTURES)
    chosen = [small(read_image(path)) for path in items[::step][:GOLDEN_PICTURES]]
    placement = placement_of(proof.file, "EXTENDED")
    return {
        "format": FORMAT,
        "edgeailite": __version__,
        "file": proof.file.path.name,
        "kind": "int8",
        "exact": proof.exact,
        "sha256": sha256_of(proof.file.path),
        "tolerance": {
            "int8": "every bit" if proof.exact else FLOAT_PARTS_PROMISE,
            "float_logits_std": FLOAT_LOGIT_TOLERANCE,
            "float_layer_std": FLOAT_TOLERANCE,
        },
        "preprocessing": card.to_dict()["preprocessing"],
        **({"card": described(card)} if describes_itself else {"describes_itself": False}),
        "environment": environment(),
        "results": proof.results,
        "golden": [_case(proof, placement, picture, card) for picture in chosen],
    }


def _case(proof: Proof, placement: Placement, picture: Picture, card: ModelCard) -> dict[str, Any]:
    """Return the golden case of a picture; of an exact file in every arithmetic in which its operators are exact."""
    file = proof.file
    image = preprocess(picture, card.preprocessing)
    given = placement.codes(file, image)

    def case(arithmetic: str) -> tuple[dict[str, Any], Outcome]:
        outcome = Evaluation(file, placement, arithmetic_of(arithmetic)).run(image, given)
        outputs = {name: value.array for name, value in outcome.outputs.items()}
        for name, value in outputs.items():
            if value.ndim not in SIDES:
                sides = "x".join(map(str, value.shape))
                raise DataError(
                    f"output {printable(name)}: {sides}; a contract holds outputs NxC and NxCxHxW",
                    path=file.name,
                    fix="end the file there",
                )
        readable = all(value.dtype.kind == "u" for value in outcome.codes.values())  # see `placement`
        codes = outcome.codes if readable else {}
        layers = tuple((Layer(name, (name,)), value) for name, value in codes.items())
        return Golden((picture,), (image,), outputs, layers).to_dict(), outcome

    if not proof.exact:
        return case(machine_arithmetic())[0]
    base, found = case(BASE)[0], {}
    signed = any(codes.dtype.kind == "i" for codes in given.values())
    for name in ONNXRUNTIME_ROWS if not signed else ():  # which kernels take signed codes depends on the processor
        other, outcome = case(name)
        if name != BASE and not outcome.parts:
            found[name] = difference(base, other)
    return base | {"arithmetics": found}
