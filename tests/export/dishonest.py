"""Dishonest files against the proof, and honest ones: `python -m tests.export.dishonest` prints the table of all.

Words after it choose among file, conversion, contract, answers and honest.

A run is a small network with seeded weights, calibrated on two pictures; what opens runs and data sets is replaced, all
else is the verb's own code. A case passes the attack where `verify` ends with 0 and calls it proven or kept.
"""

from __future__ import annotations

import functools
import importlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import cv2
import numpy as np
import onnx
import torch
from torch import nn

from edgeailite.commands import verify
from edgeailite.config import VerifyConfig
from edgeailite.errors import EdgeailiteError
from edgeailite.export import identity, to_onnx
from edgeailite.export.contract import contract_values
from edgeailite.export.parity import Subject, prove
from edgeailite.export.self_test import CLASSES, random_images, small_card, small_network
from edgeailite.export.self_test import quantized as rehearsed
from edgeailite.modelcard import ModelCard
from edgeailite.quantization import modules
from edgeailite.runtime import load_onnx, recheck
from edgeailite.runtime.contract_file import load_contract
from tests.export.dishonest_contracts import CONTRACTS, wrong_files
from tests.export.dishonest_files import rows
from tests.export.toy import SIZE, toy, toy_card, toy_quantized
from tests.golden import golden_card, smooth_pictures
from tests.quantization.tiny import quantized as tiny_quantized
from tests.quantization.tiny import tiny

converting = importlib.import_module("edgeailite.quantization.convert")  # the package has a function of this name
KINDS = ("float", "int8")
FILES = {"float": "model.onnx", "int8": "model_int8.onnx"}
CONTRACT_FILES = {"float": "contract.json", "int8": "contract_int8.json"}
QUIET = {"sizes": (), "images": 1, "json": True, "threads": 1}


@dataclass(frozen=True)
class Run:
    """A run folder with its file and the contract that the proof wrote."""

    folder: Path
    kind: str
    module: nn.Module
    card: ModelCard
    file: bytes
    contract: str

    def changed(self, folder: Path, change: Callable[[onnx.ModelProto], None]) -> Path:
        """A copy of the run in `folder` whose file was changed."""
        model = onnx.load_from_string(self.file)
        change(model)
        path = folder / FILES[self.kind]
        path.write_bytes(model.SerializeToString(deterministic=True))
        return path


def module_of(kind: str, scheme: str = "ort_u8s8") -> nn.Module:
    """The network of every run here."""
    return toy() if kind == "float" else toy_quantized(scheme)


def make_run(folder: Path, kind: str) -> Run:
    """Export and prove; everything later starts from these bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    module, card = module_of(kind), toy_card()
    path = folder / FILES[kind]
    model = _kept(kind, module, card, argmax="none", simplify=True, opset=21, kernels="plain", size=SIZE)
    path.write_bytes(model.SerializeToString(deterministic=True))
    write_pictures(folder)
    run = Run(folder, kind, module, card, path.read_bytes(), "")
    with opened(run, folder):
        verify.run(VerifyConfig(folder, **QUIET))
    return replace(run, contract=(folder / CONTRACT_FILES[kind]).read_text())


def write_pictures(folder: Path) -> None:
    for index, picture in enumerate(smooth_pictures(2, (40, 60))):
        cv2.imwrite(str(folder / f"{index}.png"), picture)


@contextmanager
def opened(run: Run, folder: Path) -> Iterator[None]:
    """The verb opens this network and these pictures; what it exports again is kept, for export is reproducible."""
    checkpoint = SimpleNamespace(card=run.card, quantization=None if run.kind == "float" else {"scheme": "ort_u8s8"})
    items = [SimpleNamespace(images=(run.folder / f"{index}.png",)) for index in range(2)]
    source = SimpleNamespace(items=items, name="pictures", split="val")
    with (
        mock.patch("edgeailite.export.verification.load_network", lambda _: (checkpoint, run.module)),
        mock.patch("edgeailite.export.verification.pictures_or_dataset", lambda *_: source),
        mock.patch.object(identity, "to_onnx", functools.partial(_kept, run.kind)),
    ):
        yield


_written: dict[str, onnx.ModelProto] = {}


def _kept(kind: str, module: nn.Module, card: ModelCard, **options: Any) -> onnx.ModelProto:
    key = f"{kind} {id(module)} {card} {sorted(options.items())}"
    if key not in _written:
        _written[key] = to_onnx(module, card, **options)
    return _written[key]


def ended(action: Callable[[], object]) -> tuple[int, str]:
    """Exit code and message of a verb, as the command line would give them."""
    try:
        action()
    except EdgeailiteError as error:
        return error.exit_code, str(error)
    return 0, ""


def verify_run(run: Run, folder: Path) -> tuple[int, str]:
    """`edgeailite verify RUN`."""
    with opened(run, folder):
        return ended(lambda: verify.run(VerifyConfig(folder, **QUIET)))


def verify_file(file: Path, contract: Path, *, skip_hash: bool = False) -> tuple[int, str]:
    """`edgeailite verify FILE contract.json`; 0 only where it is called kept."""

    def act() -> None:
        results = recheck(file, load_contract(contract), skip_hash=skip_hash, threads=1)
        if not skip_hash:
            assert results["same_file"]

    return ended(act)


def dishonest_file(run: Run, name: str, folder: Path) -> tuple[int, str]:
    """A row of `dishonest_files`."""
    run.changed(folder, rows()[name].change)
    return verify_run(run, folder)


def dishonest_contract(run: Run, name: str, folder: Path) -> tuple[int, str]:
    """A row of CONTRACTS: the file is the honest one."""
    contract = json.loads(run.contract)
    CONTRACTS[name].edit(contract)
    path = folder / "contract.json"
    path.write_text(json.dumps(contract))
    return verify_file(run.folder / FILES[run.kind], path)


def dishonest_answers(run: Run, name: str, folder: Path) -> tuple[int, str]:
    """A wrong file against the honest contract, hash left out."""
    path = folder / "contract.json"
    path.write_text(run.contract)
    return verify_file(run.changed(folder, wrong_files((1, CLASSES, *SIZE))[name]), path, skip_hash=True)


# --- a conversion that is wrong: export and proof are made by the same wrong code


def _parameters(how: Callable[[modules.IntegerParameters], modules.IntegerParameters]) -> Any:
    whole = modules.QuantConv2d.integer_parameters

    def changed(self: modules.QuantConv2d, *tensors: torch.Tensor) -> modules.IntegerParameters:
        return how(whole(self, *tensors))

    return mock.patch.object(modules.QuantConv2d, "integer_parameters", changed)


def _bias(factor: float) -> Any:
    return _parameters(lambda p: replace(p, bias=torch.round(p.bias * factor).to(p.bias.dtype)))


def _one_filter(p: modules.IntegerParameters) -> modules.IntegerParameters:
    codes = p.weight.clone()
    codes[0] = -codes[0]
    return replace(p, weight=codes)


def _pair(how: Callable[[Any], None]) -> Any:
    whole = converting._pair

    def changed(*values: Any, **options: Any) -> Any:
        pair = whole(*values, **options)
        how(pair)
        return pair

    return mock.patch.object(converting, "_pair", changed)


def _no_activation(node: torch.fx.Node, form: object) -> None:
    node.replace_all_uses_with(node.args[0])
    node.graph.erase_node(node)


CONVERSIONS: dict[str, Callable[[], Any]] = {
    "biases halved": lambda: _bias(0.5),
    "biases left out": lambda: _bias(0.0),
    "biases 5 % small": lambda: _bias(0.95),
    "weights of 6 bits": lambda: _parameters(lambda p: replace(p, weight=p.weight // 4 * 4)),
    "weights rounded down": lambda: _parameters(lambda p: replace(p, weight=(p.weight - 1).clamp(min=-127))),
    "a filter negated": lambda: _parameters(_one_filter),
    "weight scales 2 % large": lambda: _parameters(lambda p: replace(p, weight_scale=p.weight_scale * 1.02)),
    "zero points one off": lambda: _pair(lambda q: q.zero_point.add_(1) if int(q.zero_point) else None),
    "scales of activations 2 % large": lambda: _pair(lambda q: q.scale.mul_(1.02)),
    "activations left out": lambda: mock.patch.object(converting, "_settle_activation", _no_activation),
}


def dishonest_conversion(run: Run, name: str, folder: Path) -> tuple[int, str]:
    """A row of CONVERSIONS."""
    with CONVERSIONS[name]():
        model = to_onnx(run.module, run.card, size=SIZE)
        (folder / FILES["int8"]).write_bytes(model.SerializeToString(deterministic=True))
        return verify_run(run, folder)


ATTACKS: dict[str, tuple[Callable[[Run, str, Path], tuple[int, str]], list[tuple[str, str, str]]]] = {
    "file": (dishonest_file, [(n, k, row.word) for n, row in rows().items() for k in row.kinds]),
    "conversion": (dishonest_conversion, [(n, "int8", "conversion") for n in CONVERSIONS]),
    "contract": (dishonest_contract, [(n, k, row.word) for n, row in CONTRACTS.items() for k in row.kinds]),
    "answers": (
        dishonest_answers,
        [(n, k, "") for n in wrong_files((1, 1, 9, 9)) for k in KINDS if (n, k) != ("kind", "float")],
    ),
}


# --- honest files


@dataclass(frozen=True)
class Honest:
    """A network and how it is exported."""

    network: str = "toy"
    scheme: str | None = "ort_u8s8"
    argmax: str = "none"
    size: tuple[int, int] | None = (32, 48)
    opset: int = 21
    kernels: str = "plain"
    simplify: bool = True

    def __str__(self) -> str:
        size = "open" if self.size is None else "x".join(map(str, self.size))
        plain = "" if self.simplify else " not simplified"
        return f"{self.network} {self.scheme or 'float'} {self.argmax} {size} {self.opset} {self.kernels}{plain}"


SCHEMES = (None, "ort_u8s8", "ort_u8s7", "ort_u8s8_tensor", "s8s8", "tidl_pow2")
HONEST = [
    *(Honest(network, scheme) for network in ("toy", "tiny") for scheme in SCHEMES),
    *(Honest("rehearsal", scheme, size=(45, 68)) for scheme in (None, "ort_u8s8")),
    *(Honest(network, scheme, argmax) for network in ("toy", "tiny") for scheme in (None, "ort_u8s8", "tidl_pow2")
      for argmax in ("full", "before_upsampling")),
    *(Honest(scheme=scheme, opset=opset) for scheme in (None, "ort_u8s8") for opset in (17, 18, 20, 23)),
    *(Honest(scheme=scheme, size=size) for scheme in (None, "ort_u8s8") for size in (None, (64, 64), (33, 47))),
    *(Honest(scheme=scheme, kernels="onnxruntime") for scheme in ("ort_u8s8", "s8s8")),
    *(Honest(scheme=scheme, simplify=False) for scheme in (None, "ort_u8s8")),
    Honest(scheme="ort_u8s8", kernels="onnxruntime", argmax="full", size=None, opset=19),
]  # fmt: skip


def honest(case: Honest, folder: Path) -> tuple[int, str]:
    """Export, prove and re-check it."""
    module, card = _network(case)
    size = case.size or (32, 48)
    card = replace(card, preprocessing=replace(card.preprocessing, height=size[0], width=size[1]))
    options = {"opset": case.opset, "argmax": case.argmax, "kernels": case.kernels, "simplify": case.simplify}
    path = folder / "model.onnx"
    path.write_bytes(to_onnx(module, card, size=case.size, **options).SerializeToString(deterministic=True))
    write_pictures(folder)
    pictures = [(folder / f"{index}.png",) for index in range(2)]

    def act() -> None:
        subject = Subject(module, identity.at_size_of(card, load_onnx(path)), path, case.argmax)
        results = prove(subject, smooth_pictures(2, (40, 60)), threads=1)
        assert results["export"] == identity.SAME_BYTES
        contract = folder / "contract.json"
        contract.write_text(json.dumps(contract_values(subject, pictures, results)))
        assert recheck(path, load_contract(contract), threads=1)["same_file"]

    return ended(act)


@functools.cache
def _module(network: str, scheme: str | None) -> nn.Module:
    if network == "toy":
        return toy() if scheme is None else toy_quantized(scheme)
    if network == "tiny":
        return tiny() if scheme is None else tiny_quantized(tiny(), scheme)
    return small_network() if scheme is None else rehearsed(small_network(), random_images(2))


def _network(case: Honest) -> tuple[nn.Module, ModelCard]:
    cards = {
        "toy": toy_card(),
        "tiny": replace(golden_card(SIZE, num_classes=4), outputs={"segmentation": 4, "depth": 1}),
        "rehearsal": small_card(),
    }
    return _module(case.network, case.scheme), cards[case.network]


def main() -> int:
    """Print a line per case; 1 if a dishonest one passes or an honest one fails."""
    wrong, count = 0, 0
    only = sys.argv[1:] or [*ATTACKS, "honest"]
    with tempfile.TemporaryDirectory() as root, mock.patch("builtins.print", lambda *_: None):
        runs = {kind: make_run(Path(root) / kind, kind) for kind in KINDS}
        for attack, (act, cases) in ((name, ATTACKS[name]) for name in only if name in ATTACKS):
            for name, kind, word in cases:
                code, message = act(runs[kind], name, _empty(Path(root)))
                bad = code not in (3, 4) or not any(part in message for part in word.split("|"))
                wrong, count = wrong + bad, count + 1
                sys.stdout.flush()
                sys.stdout.write(f"{attack:10} {kind:5} {code} {'PASSES' if bad else ''} {name}: {message}\n")
        sys.stdout.write(f"{count} dishonest, {wrong} not refused as expected\n")
        failed, chosen = 0, HONEST if "honest" in only else []
        for case in chosen:
            code, message = honest(case, _empty(Path(root)))
            failed += code != 0
            sys.stdout.write(f"honest     {code} {case} {message[-200:]}\n")
            sys.stdout.flush()
        sys.stdout.write(f"{len(chosen)} honest, {failed} fail\n")
    return int(wrong + failed > 0)


def _empty(root: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=root))


if __name__ == "__main__":
    np.seterr(all="ignore")
    sys.exit(main())
