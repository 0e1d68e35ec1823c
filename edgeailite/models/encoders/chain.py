"""`Encoder`: a chain of named blocks whose tapped results are the features, with a stem per input stream.

Several inputs (image, optical flow) follow the published edgeailite networks: every stream has its own copy of the
first blocks, up to and including the `stem`; the results are concatenated and fused to the channels of one stream by a
separable 3x3 convolution without activation, and one trunk goes on. Feature maps inside the stem are concatenated.
What we changed: published code knows this for some encoders with fixed numbers; here it holds for every one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgeailite.models.layers import Activation, conv_bn_act


@dataclass(frozen=True)
class Stem:
    """Last block that every input stream has a copy of, and its channels."""

    block: str
    channels: int


class Encoder(nn.Module):
    """`encoder(image, ...)` -> features, shallow to deep, read-only. Images are (N,3,H,W), H and W at least 32.

    `channels` and `strides` tell the features in order, `group_size` the channels per group of the 3x3 convolutions
    (1 = depthwise), `activation` the activation class, `inputs` the number of images. Key names: `<block>` for one
    input, `<prefix>stream<i>.<position>` and `<prefix>streamfuse` for several (the published layout).
    """

    def __init__(
        self,
        make_blocks: Callable[[], dict[str, nn.Module]],
        taps: Mapping[str, tuple[int, int]],
        *,
        stem: Stem,
        inputs: int = 1,
        prefix: str = "",
        group_size: int = 1,
        activation: Activation = nn.ReLU,
    ) -> None:
        """`make_blocks()` gives the chain, name -> block; `taps` the tapped blocks, name -> (channels, stride)."""
        super().__init__()
        self.inputs, self.group_size, self.activation = inputs, group_size, activation
        self.stem_block, self.taps = stem.block, tuple(taps)
        first = make_blocks()
        names = list(first)
        split = names.index(stem.block) + 1
        inside = set(names[: split - 1])  # concatenated over the streams
        self.channels = tuple(c * inputs if name in inside else c for name, (c, _) in taps.items())
        self.strides = tuple(stride for _, stride in taps.values())
        streams = []
        for stream in range(inputs):
            blocks = first if stream == 0 else make_blocks()
            kept = names if stream == 0 else names[:split]
            keys = {n: n if inputs == 1 else f"{prefix}stream{stream}.{i}" for i, n in enumerate(kept)}
            for name, key in keys.items():
                _attach(self, key, blocks[name])
            streams.append(keys)
        self.stems = [{name: keys[name] for name in names[:split]} for keys in streams]
        self.trunk = {name: streams[0][name] for name in names[split:]}
        self.fuse_key = f"{prefix}streamfuse"
        if inputs > 1:
            _attach(self, self.fuse_key, stream_fusion(inputs * stem.channels, stem.channels))

    def forward(self, *images: Tensor) -> list[Tensor]:
        """Return the features, shallow to deep, of one image per input stream."""
        results = [self._run(keys, images[index]) for index, keys in enumerate(self.stems)]
        x, tapped = results[0]
        if self.inputs > 1:
            tapped = {name: torch.cat([taps[name] for _, taps in results], 1) for name in tapped}
            x = self.get_submodule(self.fuse_key)(torch.cat([x for x, _ in results], 1))
        if self.stem_block in self.taps:
            tapped[self.stem_block] = x
        _, deep = self._run(self.trunk, x)
        tapped.update(deep)
        return [tapped[name] for name in self.taps]

    def _run(self, keys: Mapping[str, str], x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        tapped = {}
        for name, key in keys.items():
            x = self.get_submodule(key)(x)
            if name in self.taps and name != self.stem_block:
                tapped[name] = x
        return x, tapped


def stream_fusion(in_channels: int, out_channels: int) -> nn.Sequential:
    """Build a depthwise 3x3 and 1x1 block, BatchNorm but no activation after both."""
    return nn.Sequential(
        conv_bn_act(in_channels, in_channels, 3, groups=in_channels, activation=None),
        conv_bn_act(in_channels, out_channels, 1, activation=None),
    )


def _attach(root: nn.Module, key: str, module: nn.Module) -> None:
    """Set `root.<key> = module` for a dotted key; intermediate modules are plain containers."""
    *path, leaf = key.split(".")
    for name in path:
        if name not in root._modules:
            root.add_module(name, nn.Module())
        root = root.get_submodule(name)
    root.add_module(leaf, module)
