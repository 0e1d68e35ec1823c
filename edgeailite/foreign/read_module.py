"""`read_module`: a torch module that was not made here, through torch's ONNX exporter, in normal form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, fx, nn

from edgeailite.console import exporter_silenced, log
from edgeailite.errors import EdgeailiteError, UsageError, first_line, root_cause
from edgeailite.foreign.read_onnx import read_onnx
from edgeailite.foreign.unpooling import unpooling_translations
from edgeailite.untrusted import printable

OPSET = 18
AXES = (0, 2, 3)  # batch, height and width


def read_module(module: nn.Module, example: Tensor | Sequence[Tensor]) -> fx.GraphModule:
    """Read a torch module into a network that `prepare` takes; weights keep their names where the exporter keeps them.

    `example` is a normalised picture (N,3,H,W) float32, or one per input. The module is exported to ONNX in evaluation
    mode with open batch, height and width; where it does not allow that, at the example's size, and a note says so. The
    result is a dict of its outputs: by their keys for a dict, else `output`, `output1`, ... Raises
    UsageError for a module that torch cannot export or whose operators cannot be read.
    """
    examples = (example,) if isinstance(example, Tensor) else tuple(example)
    was_training = module.training
    module.eval()
    try:
        names = _output_names(module, examples)
        try:
            return read_onnx(_exported(module, examples, names, fixed=False))
        except (_NotExportedError, EdgeailiteError):
            network = read_onnx(_exported(module, examples, names, fixed=True))
    except _NotExportedError as error:
        raise UsageError(
            f"torch cannot export {type(module).__name__} to ONNX ({printable(str(error))[:300]})",
            fix="make its forward a function of tensors alone",
            code="wrong-kind",
        ) from None
    finally:
        module.train(was_training)
    log(f"{type(module).__name__} is read at the size of its example, {_sizes(examples)}: it does not allow others")
    return network


class _NotExportedError(Exception):
    """torch's exporter failed; the text is its reason."""


def _sizes(examples: Sequence[Tensor]) -> str:
    return ", ".join("x".join(map(str, example.shape)) for example in examples)


def _output_names(module: nn.Module, examples: Sequence[Tensor]) -> list[str]:
    """Return names for the outputs of a module, from what it returns for the example."""
    with torch.no_grad():
        found = module(*examples)
    if isinstance(found, Mapping):
        names, values = list(map(str, found)), list(found.values())
    elif isinstance(found, Tensor):
        names, values = ["output"], [found]
    else:
        values = list(found) if isinstance(found, tuple | list) else [found]
        names = [f"output{index or ''}" for index in range(len(values))]
    wrong = next((value for value in values if not isinstance(value, Tensor)), None)
    if wrong is not None or not values:
        raise UsageError(
            f"{type(module).__name__} returns {type(found).__name__} of {type(wrong).__name__}",
            fix="wrap it in a module that returns a tensor, a tuple or a dict of tensors",
            code="wrong-kind",
        )
    return names


def _exported(module: nn.Module, examples: Sequence[Tensor], names: Sequence[str], *, fixed: bool) -> bytes:
    """Return the bytes of the ONNX file that torch writes. Raises _NotExportedError."""
    from onnxscript.optimizer import fold_constants  # takes a second to import

    dynamic = None if fixed else tuple(dict.fromkeys(AXES, torch.export.Dim.DYNAMIC) for _ in examples)
    if not fixed:  # torch takes a side of 1 for a fixed one
        examples = [torch.cat([example, example]) if len(example) == 1 else example for example in examples]
    try:
        with exporter_silenced(), torch.no_grad():
            program = torch.onnx.export(
                module,
                tuple(examples),
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                output_names=list(names),
                dynamic_shapes=dynamic,
                external_data=False,
                custom_translation_table=unpooling_translations(),
                optimize=False,  # keeps BatchNorm, for training
            )
            assert program is not None
            fold_constants(program.model)  # splits are written as sequences otherwise
    except Exception as error:  # noqa: BLE001 - the exporter raises many kinds, without a common base
        raise _NotExportedError(first_line(root_cause(error))) from None
    return bytes(program.model_proto.SerializeToString())
