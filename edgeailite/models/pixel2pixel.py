"""A pixel-to-pixel network: one encoder, one decoder per output, predictions resized to the image.

The published edgeailite network returns a list and takes the argmax inside; this one returns raw logits by
name in every mode. Argmax, softmax and palettes belong to whoever needs them.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from edgeailite.models.layers import initialize_weights, resize_like

PREDICTION_STD = 0.01  # the published value gives logits of std 6, which cost the first hundreds of steps


class Pixel2Pixel(nn.Module):
    """`model(image)` -> {output name: (N,C,H,W)} for a normalised image (N,3,H,W), H and W at least 32.

    Attributes: `name`, `outputs` (output name -> channels, in decoder order).
    """

    def __init__(self, name: str, encoder: nn.Module, decoders: Mapping[str, nn.Module], outputs: Mapping[str, int]):
        super().__init__()
        self.name = name
        self.outputs = dict(outputs)
        self.encoder = encoder
        self.decoders = nn.ModuleList(decoders[output] for output in outputs)  # list: the published key layout
        initialize_weights(self)
        for decoder in decoders.values():
            nn.init.normal_(decoder.get_parameter("pred.1.0.weight"), std=PREDICTION_STD)

    def decode(self, *images: Tensor) -> dict[str, Tensor]:
        """Predictions at the decoder's stride, before the last up-sampling."""
        return self._decode(images[0])

    def forward(self, *images: Tensor) -> dict[str, Tensor]:
        return {output: resize_like(x, images[0]) for output, x in self._decode(images[0]).items()}

    def _decode(self, image: Tensor) -> dict[str, Tensor]:
        # takes tensors one by one: torch.fx cannot unpack `*images`
        features = self.encoder(image)
        return {output: decoder(features) for output, decoder in zip(self.outputs, self.decoders, strict=True)}
