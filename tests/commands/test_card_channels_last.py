"""Files of TensorFlow's, whose pictures and maps have channels last: the copy with a card takes them as all files."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

from edgeailite.runtime import load_onnx
from tests.foreign.onnx_models import model, weights

RULES = ("--mean", 128, 128, 128, "--scale", 0.015625, 0.015625, 0.015625)
MACHINE = ("--workers", 0, "--device", "cpu", "--threads", 1)
TO_LAST, TO_FIRST = {"perm": [0, 2, 3, 1]}, {"perm": [0, 3, 1, 2]}
CONSTANTS = {
    "m": weights(3),
    "w": weights(8, 3, 3, 3),
    "v": weights(8, 8, 3, 3, scale=0.1),
    "k": weights(4, 8, 1, 1),
    "o": weights(4),
}
BODY = [
    ("Sub", "input_1 m", "n", {}),
    ("Transpose", "n", "first", TO_FIRST),
    ("Conv", "first w", "c", {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ("Transpose", "c", "l", TO_LAST),
    ("Relu", "l", "r", {}),
    ("Transpose", "r", "again", TO_FIRST),
    ("Conv", "again v", "d", {"pads": [1] * 4}),
    ("Transpose", "d", "e", TO_LAST),
    ("Add", "e r", "a", {}),
    ("Relu", "a", "s", {}),
    ("Transpose", "s", "t", TO_FIRST),
    ("Conv", "t k", "g", {}),
    ("Transpose", "g", "h", TO_LAST),
    ("Add", "h o", "y", {}),
]


def file_of(shape: tuple[object, ...]) -> onnx.ModelProto:
    return model(BODY, CONSTANTS, shape=shape, name="input_1")


@pytest.mark.parametrize(
    ("shape", "classes"),
    [((1, 64, 96, 3), "abcd"), ((1, 33, 47, 3), "abcd"), ((1, 64, 96, 3), ""), ((1, 8, 4, 3), "abcd")],
)
def test_the_copy_takes_channels_first_and_gives_what_the_file_gives(shape, classes, tmp_path, command):
    """Also where a side is as long as there are classes."""
    onnx.save(file_of(shape), tmp_path / "tf.onnx")
    before = (tmp_path / "tf.onnx").read_bytes()
    ended = command("card", tmp_path / "tf.onnx", *(("--classes", *classes) if classes else ()), *RULES)
    assert ended.code == 0, ended.err
    loaded = load_onnx(tmp_path / "tf_card.onnx")
    name = "segmentation" if classes else "features"
    assert (loaded.card.outputs, loaded.card.preprocessing.size) == ({name: 4}, shape[1:3])
    x = np.random.default_rng(0).normal(size=(1, 3, *shape[1:3])).astype(np.float32)
    session = onnxruntime.InferenceSession(tmp_path / "tf.onnx", providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"input_1": x.transpose(0, 2, 3, 1).copy()})
    np.testing.assert_allclose(loaded.run(x)[name], expected.transpose(0, 3, 1, 2), atol=1e-6)
    assert (tmp_path / "tf.onnx").read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("size", [(64, 96), (33, 47)])
def test_it_goes_the_whole_line(size, miniature, tmp_path, command):
    onnx.save(file_of((1, *size, 3)), tmp_path / "tf.onnx")
    pictures, run = miniature / "leftImg8bit" / "val", tmp_path / "tf_card_ptq"
    for words in (
        ("card", tmp_path / "tf.onnx", "--classes", *"abcd", *RULES),
        ("infer", tmp_path / "tf_card.onnx", pictures, "--save_path", tmp_path / "float"),
        ("calibrate", tmp_path / "tf_card.onnx", "--pictures", pictures, *MACHINE),
        ("export", run),
        ("verify", run, "--images", 1, "--threads", 1),
        ("infer", run / "model_int8.onnx", pictures, "--save_path", tmp_path / "int8"),
        ("verify", run / "model_int8.onnx", run / "contract_int8.json", "--threads", 1),
    ):
        ended = command(*words)
        assert ended.code == 0, (words, ended.err)
    operators = [node.op_type for node in onnx.load(run / "model_int8.onnx").graph.node]
    assert "Transpose" not in operators  # all of them met


class Noise(CalibrationDataReader):
    """One random picture."""

    def __init__(self) -> None:
        self.left = [{"input_1": np.random.default_rng(0).normal(size=(1, 64, 96, 3)).astype(np.float32)}]

    def get_next(self):
        return self.left.pop() if self.left else None


@pytest.mark.slow
def test_an_int8_file_of_another_tool_is_proven_with_a_card(miniature, tmp_path, command):
    nodes = [("Transpose", "input_1", "first", TO_FIRST), BODY[2], ("Relu", "c", "t", {}), ("Conv", "t k", "y", {})]
    constants = {name: CONSTANTS[name] for name in ("w", "k")}
    onnx.save(model(nodes, constants, shape=(1, 64, 96, 3), name="input_1"), tmp_path / "tf.onnx")
    int8, carded, pictures = tmp_path / "int8.onnx", tmp_path / "int8_card.onnx", miniature / "leftImg8bit" / "val"
    quantize_static(str(tmp_path / "tf.onnx"), str(int8), Noise(), weight_type=QuantType.QInt8, per_channel=True)
    ended = command("verify", int8, "--pictures", pictures, "--img_resize", 64, 96)
    assert (ended.code, "; `edgeailite card` writes a copy that takes them" in ended.err) == (3, True)
    assert command("card", int8, "--classes", *"abcd", *RULES).code == 0
    ended = command("verify", carded, "--pictures", pictures, "--images", 1)
    assert (ended.code, f"{carded} is proven" in ended.out) == (0, True), ended.err
