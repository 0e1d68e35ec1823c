"""A network as a function of pictures, from torch or from a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeailite.preprocessing import Preprocessing, normalize_batch
from edgeailite.runtime import Compute, ExportedModel
from edgeailite.runtime.failures import not_finite
from edgeailite.runtime.metadata import LABEL_SUFFIX

if TYPE_CHECKING:
    from torch import nn

Predict = Callable[[tuple[Any, ...]], dict[str, Any]]
"""uint8 RGB pictures (N,3,H,W), one per input stream, as arrays or tensors -> every output by name: numpy arrays of a
file, torch tensors of a network, on its device.

Classes are logits (N,C,H,W) float32, depth is (N,1,H,W) float32, and files with ArgMax give class maps (N,H,W) of an
integer type under the output's plain name.
"""


def torch_predictor(
    model: nn.Module, preprocessing: Preprocessing, *, where: str | None = None, one_at_a_time: bool = False
) -> Predict:
    """Return a function that runs a torch network on pictures, in eval mode, those of a batch together or each alone.

    With `where`, the name of the opened file or run, outputs that are not finite raise DataError; training omits it,
    since it notices divergence itself. Auxiliary outputs of training do not occur in eval mode.
    """
    import torch

    from edgeailite.data.tensors import to_input

    model.eval()
    device = next(iter(model.state_dict().values())).device

    def predict(images: tuple[Any, ...]) -> dict[str, Any]:
        """Run the network on uint8 pictures, one per input; return float32 outputs by name."""
        with torch.inference_mode():
            outputs = model(*(to_input(torch.as_tensor(image).to(device), preprocessing) for image in images))
            results = {name: value.float() for name, value in outputs.items()}
        if where is not None:
            for name, value in results.items():
                _check_finite(name, value, where)
        return results

    def predict_each(images: tuple[Any, ...]) -> dict[str, Any]:
        """Run the network on one picture of each input after the other."""
        parts = [predict(tuple(image[i : i + 1] for image in images)) for i in range(len(images[0]))]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    return predict_each if one_at_a_time else predict


def _check_finite(name: str, value: Any, where: str) -> None:
    import torch

    if not torch.isfinite(value.sum()) and (bad := int((~torch.isfinite(value)).sum())):
        raise not_finite(where, name, bad, value.numel())


def file_predictor(model: ExportedModel, compute: Compute | None = None) -> Predict:
    """Return an exported file as a function of pictures, one at a time if its batch is 1.

    `compute` runs it in another runtime than the one that loaded it.
    """
    outputs_of = compute or model.run

    def predict(images: tuple[Any, ...]) -> dict[str, Any]:
        """Run the file on uint8 pictures, one per input; return outputs by name."""
        inputs = [normalize_batch(np.asarray(image), model.card.preprocessing) for image in images]
        steps = [slice(index, index + 1) for index in range(len(inputs[0]))] if model.one_at_a_time else [slice(None)]
        parts = [outputs_of(*(x[step] for x in inputs)) for step in steps]
        return {name.removesuffix(LABEL_SUFFIX): np.concatenate([part[name] for part in parts]) for name in parts[0]}

    return predict
