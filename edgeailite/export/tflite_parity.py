"""The proof of a .tflite file: what LiteRT and TensorFlow Lite Micro compute, against the network it came from.

1. LiteRT's reference kernels must give every output and every inner tensor of the program in the arithmetic
   `tflite_reference`, bit for bit; LiteRT as it is by default must do so in `xnnpack`; TensorFlow Lite Micro, if it is
   installed, must give the outputs of `tflite_reference`. Inner tensors are read on the first pictures, and where an
   output departs.
2. The program must be the network: each operator, handed the codes of the integer-exact network, may be one step off.
   That network stands behind the gates of `conversion`, which compare it with what was validated.
3. The file must be what export writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import fx

from edgeailite.console import log
from edgeailite.errors import ParityError, UsageError
from edgeailite.export import conversion, identity
from edgeailite.export.agreement import Agreement, Array, combine, compare
from edgeailite.export.inner_tensors import integer_tensors
from edgeailite.export.parity import (
    CONTROL_PICTURES,
    Picture,
    as_tuple,
    count_additions,
    outputs_of,
    training_input,
)
from edgeailite.export.targets.tflite import micro_lacks
from edgeailite.export.tflite_identity import compare_with_export
from edgeailite.export.to_tflite import WrittenProgram, file_hash, to_tflite
from edgeailite.modelcard import ModelCard
from edgeailite.preprocessing import preprocess, quantized_input
from edgeailite.quantization import convert, scheme_of
from edgeailite.quantization.lowered import channels_first
from edgeailite.quantization.program import Program, Value
from edgeailite.quantization.program_builder import CHANNELS_LAST, PICTURE
from edgeailite.quantization.tflite_rules import run_operator, run_program
from edgeailite.runtime.tflite_file import TfliteFile, read_tflite
from edgeailite.runtime.tflite_metadata import admit_tflite
from edgeailite.runtime.tflite_micro import MICRO, run_micro
from edgeailite.runtime.tflite_recheck import ARITHMETICS, LEVELS
from edgeailite.runtime.tflite_session import TfliteModel, load_tflite, tensors_of
from edgeailite.untrusted import printable

MICRO_LEVEL = "TensorFlow Lite Micro"
LARGEST_STEP = 1
MIDDLE = 128  # of the codes of uint8


@dataclass(frozen=True)
class TfliteSubject:
    """A prepared and calibrated network with its card, and the .tflite file to be proven equal to it."""

    module: fx.GraphModule
    card: ModelCard
    file: Path
    head: str

    @cached_property
    def converted(self) -> fx.GraphModule:
        """The network with integer parameters."""
        return convert(self.module)

    @cached_property
    def written(self) -> WrittenProgram:
        """The program of the network at the card's size, and its file."""
        return self.at(self.card.preprocessing.size, self.head)

    @cached_property
    def scores(self) -> Program:
        """The program that ends with logits at full size."""
        return (
            self.written.program if self.head == "logits" else self.at(self.card.preprocessing.size, "logits").program
        )

    def at(self, size: tuple[int, int], head: str) -> WrittenProgram:
        """Return the program and file for pictures of a size, with a head."""
        return to_tflite(self.module, self.card, size=size, head=head, converted=self.converted)


def tflite_subject(module: fx.GraphModule, card: ModelCard, file: Path, *, skip_hash: bool = False) -> TfliteSubject:
    """Read a file of a network's; check its metadata and the hash of its weights. Raises DataError and ParityError."""
    read = read_tflite(file)
    about, head = admit_tflite(read)
    subject = TfliteSubject(module, card.with_size(about.card.preprocessing.size), file, head)
    if not skip_hash:
        _check_description(subject, read)
    return subject


def _check_description(subject: TfliteSubject, read: TfliteFile) -> None:
    texts = read.texts()
    written = texts.get("edgeailite.weights_sha256", "none")
    if file_hash(read) != written:
        raise ParityError(
            f"{subject.file}: weights changed since export (hash {printable(written[:16])}…); export this run again"
        )
    identity.check_description(subject.file, texts, subject.card)


def prove_tflite(
    subject: TfliteSubject,
    pictures: Iterable[Picture | tuple[Picture, ...]],
    *,
    sizes: Sequence[tuple[int, int]] = (),
    threads: int | None = None,
    export_again: bool = True,
    min_fake_quant: float | None = None,
    on_picture: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Prove a file: compare it with its network on `pictures` and, written anew, on one of them at `sizes`.

    Returns the numbers by level and size. The options are those of `parity.prove`. Raises ParityError, naming the first
    tensor, entry or operator that departs.
    """
    data = read_tflite(subject.file).data
    models = {kernels: load_tflite(subject.file, threads=threads, kernels=kernels) for kernels in ARITHMETICS}
    agreements, parts = conversion.Agreements(), dict[str, list[Agreement]]()
    kept: list[tuple[Picture, ...]] = []
    inner = 0
    for item in pictures:
        picture = as_tuple(subject.card, item)
        first = len(kept) < CONTROL_PICTURES
        kept = [*kept, picture] if first else kept
        images = [training_input(each, subject.card.preprocessing) for each in picture]
        _check_preprocessing(subject, picture, images)
        for level, (result, count) in _compare(subject, data, models, images, inner=first).items():
            parts.setdefault(level, []).append(result)
            inner = max(inner, count)
        agreements.add(outputs_of(subject.module.eval(), *images), _scores(subject, images))
        on_picture()
    if not kept:
        raise ParityError("no picture was compared; give at least one")
    results: dict[str, Any] = {level: asdict(combine(values)) for level, values in parts.items()}
    results["inner_tensors"] = {"compared": inner, "departing": 0}
    results["additions"] = count_additions(subject.module)
    results["conversion"] = _check_conversion(subject, agreements, kept, least=min_fake_quant)
    results["sizes"] = _prove_sizes(subject, kept[0], sizes, threads=threads)
    results["export"] = identity.NOT_COMPARED
    if export_again:
        results["export"] = compare_with_export(subject.file, subject.written.data)
    return results


def _check_preprocessing(subject: TfliteSubject, pictures: Sequence[Picture], images: Sequence[Array]) -> None:
    for name, picture, image in zip(subject.card.inputs, pictures, images, strict=True):
        if not np.array_equal(preprocess(picture, subject.card.preprocessing), image):
            raise ParityError(f"{subject.file}: departs first at {name} (preprocessing)")


def program_codes(program: Program, images: Sequence[Array]) -> list[Array]:
    """Return the program's inputs (1,H,W,3) of normalised pictures (1,3,H,W)."""
    return [quantized_input(image, *_quantization(value)) for image, value in zip(images, program.inputs, strict=True)]


def _quantization(value: Value) -> tuple[Any, int, str]:
    return value.scale, value.zero_point, value.type


def _scores(subject: TfliteSubject, images: Sequence[Array]) -> dict[str, Array]:
    """Logits (1,C,H,W) of the program, in the arithmetic `tflite_reference`."""
    found = run_program(subject.scores, program_codes(subject.scores, images), "tflite_reference")
    return {name: channels_first(value) for name, value in found.items()}


def _compare(
    subject: TfliteSubject,
    data: bytes,
    models: Mapping[str, TfliteModel],
    images: Sequence[Array],
    *,
    inner: bool,
    program: Program | None = None,
) -> dict[str, tuple[Agreement, int]]:
    """Return the agreement by level, and how many inner tensors were equal. Raises ParityError where one departs."""
    program = program or subject.written.program
    codes, results, reference = program_codes(program, images), {}, dict[str, Array]()
    for kernels, arithmetic in ARITHMETICS.items():
        model, tensors = models[kernels], dict[str, Array]()
        expected = run_program(
            program, codes, arithmetic, seen=lambda value, found, to=tensors: to.update({value.name: found})
        )
        found = model.compute(codes)
        result = _agreement(model, expected, found)
        departs = any(not np.array_equal(value, found[name]) for name, value in expected.items())
        count = 0
        if inner or departs:
            theirs = tensors_of(data, codes, kernels=kernels, threads=1, name=model.name)
            place, count = first_departure(program, tensors, theirs)
            if place is not None or departs:
                raise ParityError(_sentence(subject, place or "an output alone", result, LEVELS[kernels]))
        results[LEVELS[kernels]] = result, count
        if kernels == "reference":
            reference = expected
    if find_spec(MICRO) is not None and not micro_lacks(program):
        results[MICRO_LEVEL] = _compare_micro(subject, data, models["reference"], codes, reference), 0
    return results


def _compare_micro(
    subject: TfliteSubject, data: bytes, model: TfliteModel, codes: Sequence[Array], expected: Mapping[str, Array]
) -> Agreement:
    found = dict(zip(expected, run_micro(data, codes, name=model.name), strict=True))
    result = _agreement(model, expected, found)
    if any(not np.array_equal(value, found[name]) for name, value in expected.items()):
        raise ParityError(_sentence(subject, "an output", result, MICRO_LEVEL))
    return result


def _agreement(model: TfliteModel, expected: Mapping[str, Array], found: Mapping[str, Array]) -> Agreement:
    parts = [compare(model.values(name, value), model.values(name, found[name])) for name, value in expected.items()]
    return replace(combine(parts), pictures=1)


def first_departure(
    program: Program, expected: Mapping[str, Array], found: Mapping[str, Array]
) -> tuple[str | None, int]:
    """Name the first tensor of a program that is not the same, with its operator, and how many are the same.

    A tensor that the runtime does not keep is passed over, unless it is an output.
    """
    equal = 0
    for operator in program.operators:
        name = operator.output.name
        theirs = found.get(name)
        if theirs is None or theirs.shape != operator.output.shape:
            if operator.output in program.outputs.values():
                return f"{name} ({operator.kind}), which is missing or of another shape", equal
            continue
        if not np.array_equal(expected[name], theirs):
            gap = np.abs(expected[name].astype(np.float64) - theirs)
            return f"{name} ({operator.kind}; {(gap > 0).mean():.2%} of values, by up to {gap.max():g})", equal
        equal += 1
    return None, equal


def _sentence(subject: TfliteSubject, place: str, result: Agreement, level: str) -> str:
    equal = result.equal_argmax
    share = "" if equal is None else f"argmax equal on {100 * equal:.3f} % of pixels, "
    numbers = f"({level}: {share}max |difference| {result.max_difference:.4g})"
    return f"{subject.file}: departs first at {place} {numbers}"


def _check_conversion(
    subject: TfliteSubject,
    agreements: conversion.Agreements,
    kept: Sequence[tuple[Picture, ...]],
    *,
    least: float | None,
) -> dict[str, Any]:
    """Apply the gates of `conversion` to the pictures that were kept, and that of the program; return their figures."""
    pre, name = subject.card.preprocessing, str(subject.file)
    small = conversion.size_for_layers(subject.module, pre, inputs=len(kept[0]))
    images = [training_input(picture, small) for picture in kept[0]]
    figures = conversion.check_layers(subject.module, images, name=name)
    program = subject.at(small.size, "logits").program
    figures |= {"operators": check_operators(subject, program, images)}
    unsteady = None
    if agreements.least[0] < conversion.SHARE:
        unsteady = conversion.Agreements()
        for pictures in kept:
            still, moved = ([training_input(p, pre, moved=moved) for p in pictures] for moved in (False, True))
            unsteady.add(outputs_of(subject.module, *still), outputs_of(subject.module, *moved))
    return figures | conversion.check_answers(agreements, unsteady, least=least, name=name)


def check_operators(subject: TfliteSubject, program: Program, images: Sequence[Array]) -> int:
    """Compare each operator of a program, handed the codes of the integer-exact network, with that network's result.

    Tensors of 16 bits, whose scale is another one, are taken as the program has them. Returns how many were compared.
    Raises ParityError, naming the first that is more than a step off or, on average, shifted.
    """
    exact, name = integer_tensors(subject.converted, *map(torch.from_numpy, images)), str(subject.file)
    known = {tensor.removesuffix("_quantized"): _channels_last(codes) for tensor, codes in exact.items()}
    values: dict[Value, Array] = dict(zip(program.inputs, program_codes(program, images), strict=True))
    compared, shifts_count = 0, not scheme_of(subject.module).half_up
    for operator in program.operators:
        inputs = [values[value] if value.data is None else value.data for value in operator.inputs]
        found = run_operator(operator, inputs, "tflite_reference")
        values[operator.output] = found
        wanted = known.get(operator.output.name)
        if wanted is None or found.dtype != np.int8 or wanted.dtype != np.int8:
            continue
        gap = found.astype(np.int64) - wanted
        shifted = shifts_count and gap.size >= conversion.ENOUGH_VALUES and abs(gap.mean()) > conversion.LARGEST_SHIFT
        if np.abs(gap).max() > LARGEST_STEP or shifted:
            raise ParityError(
                f"{name}: the program departs at {operator.output.name} ({operator.kind}): handed the same codes, it "
                f"is off by up to {np.abs(gap).max()} steps from the integer-exact network, on average {gap.mean():.2g}"
            )
        values[operator.output], compared = wanted, compared + 1
    if not compared:
        raise ParityError(f"{name}: no tensor of the program is known to the integer-exact network")
    return compared


def _channels_last(codes: Array) -> Array:
    """Codes (1,C,H,W) as a program has them: int8 and NHWC; those of no picture in their own order."""
    last = codes.transpose(CHANNELS_LAST) if codes.ndim == PICTURE else codes
    return (last.astype(np.int16) - MIDDLE).astype(np.int8) if codes.dtype == np.uint8 else last


def _prove_sizes(
    subject: TfliteSubject, pictures: tuple[Picture, ...], sizes: Sequence[tuple[int, int]], *, threads: int | None
) -> dict[str, Any]:
    """Write the network for each of `sizes` and compare one picture; those that it has no file of are left out."""
    results: dict[str, Any] = {}
    for height, width in sizes:
        card = subject.card.with_size((height, width))
        try:
            written = subject.at((height, width), subject.head)
        except UsageError as error:
            if error.code != "no-fit":
                raise
            log(f"{height}x{width} is left out: {error}")
            continue
        models = {kernels: load_tflite(written.data, threads=threads, kernels=kernels) for kernels in ARITHMETICS}
        images = [training_input(picture, card.preprocessing) for picture in pictures]
        found = _compare(subject, written.data, models, images, inner=True, program=written.program)
        results |= {f"{height}x{width} {level}": asdict(result) for level, (result, _) in found.items()}
    return results
