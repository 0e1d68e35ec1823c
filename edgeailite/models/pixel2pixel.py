"""A pixel-to-pixel network: one encoder, one decoder per output, predictions resized to the image.

The published edgeailite network returns a list and takes the argmax inside; this one returns raw logits by
name in every mode. Argmax, softmax and palettes belong to whoever needs them.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from edgeailite.errors import UsageError
from edgeailite.models.encoders.chain import Encoder
from edgeailite.models.layers import resize_like
from edgeailite.models.single_values import use_running_statistics_for_single_values

DEEP_SUPERVISION = "_deepsup"  # suffix of the second prediction that training adds


class Pixel2Pixel(nn.Module):
    """`model(image, ...)` -> {output name: (N,C,H,W)} for normalised images (N,3,H,W), H and W at least 32.

    In training, a network with deep supervision adds `<output>_deepsup`. Attributes: `name`, `family`, `inputs`
    (number of images), `outputs` (output name -> channels, in decoder order), `options` (what `create_model` was
    given besides name and outputs).
    """

    def __init__(
        self,
        name: str,
        encoder: Encoder,
        decoders: Mapping[str, nn.Module],
        outputs: Mapping[str, int],
        *,
        family: str = "edgeailite",
        ranges: Mapping[str, tuple[float, float]] | None = None,
        align_corners: bool = False,
        options: Mapping[str, object] | None = None,
    ) -> None:
        """`ranges` clamps the named outputs before they are resized."""
        super().__init__()
        self.name, self.family, self.inputs = name, family, encoder.inputs
        self.outputs, self.options = dict(outputs), dict(options or {})
        self.align_corners = align_corners
        self.encoder = encoder
        self.decoders = nn.ModuleList(decoders[output] for output in outputs)  # list: the published key layout
        self.limits = nn.ModuleDict({output: nn.Hardtanh(low, high) for output, (low, high) in (ranges or {}).items()})
        use_running_statistics_for_single_values(self)

    def decode(self, *images: Tensor) -> dict[str, Tensor]:
        """Return predictions at the decoder's stride, before the last up-sampling."""
        return self._decode(self._each(images))

    def forward(self, *images: Tensor) -> dict[str, Tensor]:
        """Return every output (N,C,H,W) by name at the images' size."""
        predictions = self._decode(self._each(images))
        return {
            output: resize_like(x, images[0], align_corners=self.align_corners) for output, x in predictions.items()
        }

    def _decode(self, images: list[Tensor]) -> dict[str, Tensor]:
        features = self.encoder(*images)
        predictions = {}
        for output, decoder in zip(self.outputs, self.decoders, strict=True):
            predictions[output] = self._limited(output, decoder(features))
            auxiliary = getattr(decoder, "auxiliary", None)
            if self.training and auxiliary is not None:
                predictions[output + DEEP_SUPERVISION] = self._limited(output, auxiliary(features))
        return predictions

    def _each(self, images: tuple[Tensor, ...]) -> list[Tensor]:
        """The images by fixed numbers: torch.fx traces with a stand-in for the tuple, which has no length."""
        if type(images) is tuple and not torch.compiler.is_compiling():
            if len(images) != self.inputs:
                given = f"{len(images)} (one argument each)"
                raise UsageError(
                    f"{self.name} takes {self.inputs} image(s), got {given}: see create_model(inputs=...)",
                    code="no-fit",
                )
            sizes = {tuple(image.shape[2:]) for image in images}
            if len(sizes) > 1:
                raise UsageError(
                    f"images of different sizes (H, W): {sorted(sizes)}",
                    path=self.name,
                    fix="resize them to one",
                    code="no-fit",
                )
        return [images[index] for index in range(self.inputs)]

    def _limited(self, output: str, x: Tensor) -> Tensor:
        return self.limits[output](x) if output in self.limits else x
