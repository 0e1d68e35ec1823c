"""litert-torch for the float .tflite file, then ai-edge-quantizer on that file, and litert-torch's own PT2E quantizer.

litert_float.tflite     litert-torch, channels last
litert_aeq.tflite       the same, quantized by ai-edge-quantizer: static_wi8_ai8, ranges from the calibration pictures
litert_pt2e.tflite      quantized as a torch graph by litert-torch's PT2E quantizer, then converted; that graph is its
                        simulation (litert_pt2e-labels.npy)

A form that fails leaves its reason in NAME.failed.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path

import litert_torch
import torch
from files import folder, network, pictures, save_labels
from torch import nn


def main() -> None:
    """Write the files."""
    place = folder()
    examples = (torch.from_numpy(pictures(place)[0]),)
    attempt(place, "litert_float", lambda: convert_float(place, examples))
    attempt(place, "litert_aeq", lambda: quantize_file(place))
    attempt(place, "litert_pt2e", lambda: quantize_graph(place, examples))


def attempt(place: Path, name: str, write: Callable[[], None]) -> None:
    """Write one file; the reason is kept if that fails."""
    try:
        write()
    except Exception as error:  # noqa: BLE001 - a peer may fail in any way, and that is a result
        traceback.print_exc()
        (place / f"{name}.failed").write_text(f"{type(error).__name__}: {str(error).strip().splitlines()[0]}")


def channels_last(module: nn.Module) -> nn.Module:
    """The network with pictures and scores (N,H,W,C), as .tflite files have them."""
    return litert_torch.to_channel_last_io(module, args=[0], outputs=[0])


def convert_float(place: Path, examples: tuple[torch.Tensor]) -> None:
    """Write litert_float.tflite."""
    last = (examples[0].permute(0, 2, 3, 1).contiguous(),)
    litert_torch.convert(channels_last(network(place)).eval(), last).export(str(place / "litert_float.tflite"))


def quantize_file(place: Path) -> None:
    """Write litert_aeq.tflite."""
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer, recipe

    source = str(place / "litert_float.tflite")
    [(signature, ports)] = Interpreter(source).get_signature_list().items()
    data = [{ports["inputs"][0]: picture.transpose(0, 2, 3, 1).copy()} for picture in pictures(place)]
    tool = quantizer.Quantizer(source, recipe.static_wi8_ai8())
    tool.quantize(tool.calibrate({signature: data})).export_model(str(place / "litert_aeq.tflite"))


def quantize_graph(place: Path, examples: tuple[torch.Tensor]) -> None:
    """Write litert_pt2e.tflite and what the quantized graph answers."""
    from litert_torch.quantize.pt2e_quantizer import PT2EQuantizer, get_symmetric_quantization_config
    from litert_torch.quantize.quant_config import QuantConfig
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    quantizer = PT2EQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True, is_dynamic=False))
    exported = torch.export.export(network(place, folded=True), examples).module()
    prepared = prepare_pt2e(exported, quantizer)
    for picture in pictures(place):
        prepared(torch.from_numpy(picture))
    converted = convert_pt2e(prepared, fold_quantize=False)
    save_labels(place, "litert_pt2e", converted)
    made = litert_torch.convert(converted, examples, quant_config=QuantConfig(pt2e_quantizer=quantizer))
    made.export(str(place / "litert_pt2e.tflite"))


if __name__ == "__main__":
    main()
