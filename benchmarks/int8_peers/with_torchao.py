"""torchao pt2e with the quantizer for x86, post-training, exported by torch.onnx."""

from __future__ import annotations

import torch
from files import folder, network, pictures, save_labels
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86


def main() -> None:
    """Write torchao.onnx and what the converted graph answers."""
    place = folder()
    examples = (torch.from_numpy(pictures(place)[0]),)
    exported = torch.export.export(network(place, folded=True), examples).module()
    quantizer = x86.X86InductorQuantizer().set_global(x86.get_default_x86_inductor_quantization_config())
    prepared = prepare_pt2e(exported, quantizer)
    for picture in pictures(place):
        prepared(torch.from_numpy(picture))
    converted = convert_pt2e(prepared)
    save_labels(place, "torchao", converted)
    program = torch.onnx.export(
        converted, examples, dynamo=True, opset_version=21, verbose=False, input_names=["image"]
    )
    program.save(str(place / "torchao.onnx"))


if __name__ == "__main__":
    main()
