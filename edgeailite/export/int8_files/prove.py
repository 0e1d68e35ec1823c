"""The proof of an int8 file of any tool: onnxruntime's answers here against the file's integers, on real pictures.

At EXTENDED and ALL every code tensor and every output that follows from rules must be equal in every bit. What runs in
float or has no rule is named: the verdict is then "proven but for". Such a part, handed the same codes, must give codes
at most one step off; outputs behind the last quantizer must agree as those of float files do. Without optimization the
agreement is reported: it is what a simulation of the file in float gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.environment import machine_arithmetic
from edgeailite.errors import DataError, ParityError
from edgeailite.export.agreement import Agreement, combine, compare, holds
from edgeailite.export.int8_files.evaluate import Evaluation, Outcome, Part, in_shape
from edgeailite.export.int8_files.file import Int8File
from edgeailite.export.int8_files.placement import Placement, placement_of
from edgeailite.export.int8_files.values import Array, Plain
from edgeailite.preprocessing import Preprocessing, preprocess
from edgeailite.quantization.arithmetic import arithmetic_of
from edgeailite.runtime import open_session
from edgeailite.runtime.contract import PROVEN_LEVELS
from edgeailite.runtime.failures import check_finite, run_session
from edgeailite.untrusted import printable

Picture = NDArray[np.uint8]
PICTURES_WITHOUT_OPTIMIZATION = 2
LARGEST_STEP = 1  # of a part without a rule, handed the same codes
SIMULATION = "DISABLED"


@dataclass
class Proof:
    """What was found, over all pictures; `results` has the numbers by level as a contract keeps them."""

    file: Int8File
    pictures: int = 0
    agreements: dict[str, list[Agreement]] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)
    without_rule: dict[str, None] = field(default_factory=dict)
    inexact_outputs: dict[str, None] = field(default_factory=dict)
    macs: dict[str, int] = field(default_factory=dict)
    in_float: frozenset[str] = frozenset()
    sizes: dict[str, Any] = field(default_factory=dict)
    tensors: int = 0

    @property
    def float_layers(self) -> list[str]:
        """Layers with weights that onnxruntime computes in float, in graph order."""
        return [name for name in self.macs if name in self.in_float]

    @property
    def integer_macs(self) -> float:
        """Share of multiply-accumulates that run as integers; 1 of a file without such layers."""
        total = sum(self.macs.values())
        return 1 - sum(self.macs[name] for name in self.float_layers) / total if total else 1.0

    @property
    def exact(self) -> bool:
        """True if every output follows from rules alone."""
        return not (self.parts or self.inexact_outputs or self.float_layers)

    @property
    def results(self) -> dict[str, Any]:
        """Return the numbers by level and size, and what is not integer."""
        levels = {level: asdict(combine(found)) for level, found in self.agreements.items()}
        found = {
            **levels,
            "arithmetic": machine_arithmetic(),
            "code_tensors": self.tensors,
            "layers": {"total": len(self.macs), "in_float": [printable(name) for name in self.float_layers]},
            "integer_macs": self.integer_macs,
            "sizes": self.sizes,
        }
        if not self.exact:
            parts = {printable(part.tensor): _numbers(part) for part in self.parts.values()}
            found |= {"exact": False, "float_parts": parts, "without_rule": [printable(n) for n in self.without_rule]}
        return found


def _numbers(part: Part) -> dict[str, Any]:
    return {"largest_step": part.largest_step, "equal": part.equal} if part.read else {"read": False}


def prove_int8(
    file: Int8File,
    pictures: Iterable[Picture],
    preprocessing: Preprocessing,
    *,
    sizes: Sequence[tuple[int, int]] = (),
    threads: int | None = None,
    evaluated: Int8File | None = None,
    on_picture: Callable[[], None] = lambda: None,
) -> Proof:
    """Compare what onnxruntime computes of a file with what the file's integers say, on uint8 pictures (H,W,3).

    `sizes` are further (height, width) for the first picture, where the file leaves them open. `evaluated` is the file
    whose integers are taken, by default the same. Raises ParityError that names the first code tensor that departs.
    """
    session = _Sessions(file, evaluated or file, threads)
    proof = Proof(file, in_float=session.placements["EXTENDED"].in_float)
    first: Picture | None = None
    for index, picture in enumerate(pictures):
        first = picture if first is None else first
        levels = (*PROVEN_LEVELS, SIMULATION) if index < PICTURES_WITHOUT_OPTIMIZATION else PROVEN_LEVELS
        found = session.compare(proof, preprocess(picture, preprocessing), levels)
        for level, agreement in found.items():
            proof.agreements.setdefault(level, []).append(agreement)
        proof.pictures += 1
        on_picture()
    if first is None:
        raise ParityError("no picture was compared; give at least one")
    for size in sizes if file.size is None else ():
        name = "x".join(map(str, size))
        try:
            found = session.compare(proof, preprocess(first, preprocessing.with_size(size)), PROVEN_LEVELS)
        except DataError as error:
            proof.sizes[name] = {"refused": str(error)}
            continue
        proof.sizes |= {f"{name} {level}": asdict(agreement) for level, agreement in found.items()}
    return proof


class _Sessions:
    """A file in onnxruntime at all levels, and its evaluation."""

    def __init__(self, file: Int8File, evaluated: Int8File, threads: int | None) -> None:
        self.file = file
        self.placements = {level: placement_of(file, level, threads=threads) for level in PROVEN_LEVELS}
        self.evaluation = Evaluation(evaluated, self.placements["EXTENDED"], arithmetic_of())
        levels = (*PROVEN_LEVELS, SIMULATION)
        self.models = {level: open_session(file.path, threads=threads, level=level) for level in levels}

    def compare(self, proof: Proof, image: Array, levels: Sequence[str]) -> dict[str, Agreement]:
        """Compare one input (1,3,H,W) at some levels; return the agreements. Raises ParityError."""
        found: dict[str, Agreement] = {}
        given: dict[str, Array] = {}
        outcome: Outcome | None = None
        for level in levels:
            answers = run_session(self.models[level], {self.file.input: image}, where=self.file.name)
            check_finite(answers, where=self.file.name)
            if level in PROVEN_LEVELS:
                inner = given | self._codes(self.placements[level], image, outcome)
                if outcome is None or _differ(outcome, inner):
                    outcome = self.evaluation.run(image, inner)
                given = inner
                self._check(proof, outcome, inner, answers, level)
            assert outcome is not None
            parts = [compare(outcome.outputs[name].array, answers[name]) for name in self.file.outputs]
            found[level] = combine(parts)
        assert outcome is not None
        _keep(proof, outcome)
        return {level: Agreement(**{**asdict(part), "pictures": 1}) for level, part in found.items()}

    def _codes(self, placement: Placement, image: Array, known: Outcome | None) -> dict[str, Array]:
        """Return the file's code tensors; at a second level those that have a known shape."""
        found = placement.codes(self.file, image)
        if known is None:
            return found
        shaped = {name: in_shape(codes, known.codes[name]) for name, codes in found.items() if name in known.codes}
        return {name: codes for name, codes in shaped.items() if codes is not None}

    def _check(
        self, proof: Proof, outcome: Outcome, inner: Mapping[str, Array], answers: Mapping[str, Array], level: str
    ) -> None:
        """Raise ParityError at the first code tensor, part or output that departs."""
        for what, part in outcome.parts.items():
            if part.largest_step > LARGEST_STEP:
                raise self._departs(what, part.tensor, level, f"it is {part.largest_step} steps off on the same codes")
        parts = {part.tensor for part in outcome.parts.values()}
        for name, codes in outcome.codes.items():
            own = in_shape(inner.get(name), codes) if level == "EXTENDED" and name not in parts else None
            if own is not None and not np.array_equal(own, codes):
                off = np.abs(own.astype(np.int16) - codes.astype(np.int16))
                wrong = f"{int((off > 0).sum())} of {off.size} codes differ, by up to {int(off.max())}"
                raise self._departs(self._maker(name), name, level, wrong)
        for name, output in outcome.outputs.items():
            if not _holds(output, answers[name]):
                result = compare(output.array, answers[name])
                wrong = f"values differ by up to {result.max_difference:.3g} (deviation {result.std:.3g})"
                raise self._departs(self._maker(name), name, level, wrong)

    def _departs(self, layer: str, tensor: str, level: str, wrong: str) -> ParityError:
        return ParityError(
            f"departs at {printable(layer)} (tensor {printable(tensor)}), {level}: {wrong}",
            path=self.file.name,
            fix="onnxruntime does not compute here what the file says; another version or processor may",
        )

    def _maker(self, tensor: str) -> str:
        """Name the layer whose result a tensor holds, before quantizers and activations."""
        makers = {name: node for node in self.file.model.graph.node for name in node.output}
        node = makers.get(tensor)
        while node is not None and node.op_type in ("QuantizeLinear", "DequantizeLinear", "Relu", "Clip"):
            before = makers.get(node.input[0])
            if before is None:
                break
            node = before
        return tensor if node is None else str(node.name)


def _differ(outcome: Outcome, inner: Mapping[str, Array]) -> bool:
    """Tell if a level has other codes than those that were taken for parts without a rule."""
    tensors = [part.tensor for part in outcome.parts.values()]
    return any(name in inner and not np.array_equal(inner[name], outcome.codes[name]) for name in tensors)


def _holds(output: Plain, answer: Array) -> bool:
    if output.array.shape != answer.shape:
        return False
    if output.exact:
        return bool(np.array_equal(output.array, answer))
    labels = answer.size if answer.ndim == 3 and answer.dtype.kind != "f" else 0
    return holds(compare(output.array, answer), "float", label_map=labels)


def _keep(proof: Proof, outcome: Outcome) -> None:
    """Add one picture's findings."""
    for what, part in outcome.parts.items():
        known = proof.parts.setdefault(what, part)
        known.largest_step = max(known.largest_step, part.largest_step)
        known.equal, known.read = min(known.equal, part.equal), known.read and part.read
    proof.without_rule |= dict.fromkeys(outcome.without_rule)
    proof.inexact_outputs |= {name: None for name, output in outcome.outputs.items() if not output.exact}
    proof.macs = proof.macs or dict(outcome.macs)
    proof.tensors = len(outcome.codes)
