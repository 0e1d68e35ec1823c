"""Each verb's options: documented, immutable, and checked when they are built."""

import ast
import dataclasses
import inspect
import re
from itertools import pairwise
from pathlib import Path

import pytest

from edgeailite import config as configs
from edgeailite.errors import UsageError
from edgeailite.verbs import VERBS

KINDS = [row.config for row in VERBS.values()]
REQUIRED = {
    "checkpoint": ("w.pth",),
    "a": Path("a"),
    "b": Path("b"),
    "file": Path("f.onnx"),
    "model": Path("m"),
    "run": Path("r"),
    "input": (Path("i"),),
    "models": ("m.onnx",),
    "data_path": Path("d"),
}


def build(kind: str, **values: object):
    """A configuration with something for every option that has no default."""
    cls = getattr(configs, kind)
    names = [field.name for field in dataclasses.fields(cls) if field.default is dataclasses.MISSING]
    return cls(**{name: REQUIRED[name] for name in (*names, *getattr(cls, "needed", ()))} | values)


@pytest.mark.parametrize("kind", KINDS)
def test_every_option_is_documented_and_none_can_be_changed(kind):
    cls = getattr(configs, kind)
    options = [name for part in reversed(cls.__mro__[:-1]) for name in documented(part)]
    options = list(dict.fromkeys(options))  # an option with a text of its own in one verb keeps its place
    assert options == [field.name for field in dataclasses.fields(cls)]
    assert cls.__doc__
    if options:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(build(kind), options[0], None)


def documented(cls: type) -> list[str]:
    """Names of the fields that a class itself defines with a text below."""
    body = ast.parse(inspect.getsource(cls)).body[0].body
    return [first.target.id for first, second in pairwise(body) if isinstance(first, ast.AnnAssign) and is_text(second)]


def is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


WRONG = [
    ("BenchConfig", "models", ()),
    ("BenchConfig", "runtimes", ()),
    ("BenchConfig", "rounds", 0),
    ("BenchConfig", "warmup", -1),
    ("BenchConfig", "operators", -1),
    ("BenchConfig", "num_classes", 0),
    ("BenchConfig", "img_resize", (16, 64)),
    ("BenchConfig", "threads", 0),
    ("ChooseConfig", "max_gmacs", 0.0),
    ("ChooseConfig", "max_ms", -1.0),
    ("ChooseConfig", "num_classes", 0),
    ("ChooseConfig", "rows", 0),
    ("ChooseConfig", "img_resize", (16, 64)),
    ("DevicesFitConfig", "output", Path("device.txt")),
    ("DevicesFitConfig", "alignment", 0),
    ("DevicesFitConfig", "rounds", 0),
    ("DevicesFitConfig", "num_classes", 0),
    ("ComplexityConfig", "img_resize", ((31, 64),)),
    ("ComplexityConfig", "img_resize", ((64, 64), (64, 64))),
    ("ComplexityConfig", "num_classes", 0),
    ("ComplexityConfig", "inputs", 0),
    ("TrainConfig", "epochs", 0),
    ("TrainConfig", "epochs", -3),
    ("TrainConfig", "batch_size", 0),
    ("TrainConfig", "lr", 0.0),
    ("TrainConfig", "img_resize", (31, 64)),
    ("TrainConfig", "rand_crop", (64, 16)),
    ("TrainConfig", "rand_scale", (2.0, 1.0)),
    ("TrainConfig", "rand_scale", (0.0, 1.0)),
    ("TrainConfig", "color_jitter", 1.0),
    ("TrainConfig", "blur", -1.0),
    ("TrainConfig", "cutout", 1.5),
    ("TrainConfig", "balanced_crops", 0),
    ("TrainConfig", "short_edges", ()),
    ("TrainConfig", "short_edges", (300, 16)),
    ("TrainConfig", "max_size", 16),
    ("TrainConfig", "padding", 0),
    ("TrainConfig", "evaluate_every", 0),
    ("TrainConfig", "workers", -1),
    ("TrainConfig", "lr", float("nan")),
    ("TrainConfig", "warmup_epochs", -1.0),
    ("TrainConfig", "seed", -1),
    ("TrainConfig", "threads", 0),
    ("ValidateConfig", "batch_size", 0),
    ("ValidateConfig", "workers", -1),
    ("ValidateConfig", "max_size", 16),
    ("CompareConfig", "draws", 10),
    ("CompareConfig", "images", 0),
    ("CompareConfig", "epoch_size", -1.0),
    ("CompareConfig", "sheet", Path("sheet.jpg")),
    ("CalibrateConfig", "calibration_images", 0),
    ("CalibrateConfig", "percentile", 101.0),
    ("AnalyzeConfig", "images", -1),
    ("AnalyzeConfig", "max_drop", -0.1),
    ("AnalyzeConfig", "bits_macs_budget", 0.0),
    ("AnalyzeConfig", "bits_macs_budget", 0.9),
    ("AnalyzeConfig", "plan", Path("plan.json")),
    ("AnalyzeConfig", "weight_bits", (5, 8)),
    ("AnalyzeConfig", "weight_bits", (4, 16)),
    ("AnalyzeConfig", "calibration_images", 0),
    ("AnalyzeConfig", "rows", 0),
    ("AnalyzeConfig", "percentile", 50.0),
    ("QuantizeConfig", "epochs", 0),
    ("QuantizeConfig", "lr", -1.0),
    ("QuantizeConfig", "freeze_bn_epoch", 1.5),
    ("QuantizeConfig", "freeze_ranges_epoch", -0.5),
    ("QuantizeConfig", "batch_size", 0),
    ("QuantizeConfig", "evaluate_every", 0),
    ("QuantizeConfig", "percentile", 50.0),
    ("QuantizeConfig", "percentile", 101.0),
    ("QuantizeConfig", "save_every", -1),
    ("QuantizeConfig", "timeout", 0.0),
    ("QuantizeConfig", "epoch_size", -1.0),
    ("QuantizeConfig", "epoch_size_val", -0.5),
    ("QuantizeConfig", "weight_decay", -1e-4),
    ("QuantizeConfig", "accumulate", 0),
    ("ExportConfig", "opset", 13),
    ("ExportConfig", "img_resize", (16, 64)),
    ("VerifyConfig", "images", -1),
    ("VerifyConfig", "sizes", ((96, 160), (8, 8))),
    ("InferConfig", "alpha", 1.5),
    ("InferConfig", "input", ()),
    ("InferConfig", "write", ()),
    ("InferConfig", "smooth", 1.0),
    ("InferConfig", "max_frames", -1),
    ("InferConfig", "fps", 0.0),
    ("InferConfig", "camera_input", -2),
    ("InferConfig", "data_path", Path("d")),
    ("ReportConfig", "images", -1),
    ("DemoConfig", "epochs", 0),
    ("DemoConfig", "train_images", 0),
    ("DemoConfig", "val_images", 0),
    ("ModelsConfig", "img_resize", (8, 8)),
    ("ModelsConfig", "num_classes", 0),
]


@pytest.mark.parametrize("kind, option, value", WRONG, ids=[f"{k}-{o}-{v}" for k, o, v in WRONG])
def test_wrong_value_names_flag_value_and_what_is_expected(kind, option, value):
    with pytest.raises(UsageError) as caught:
        build(kind, **{option: value})
    start, _, expected = str(caught.value).partition(": expected ")
    assert start.startswith(f"--{option} ")
    assert expected
    assert str(value if option != "sizes" else (8, 8)) in start


@pytest.mark.parametrize("option, value", [("equalize", True), ("correct_bias", True), ("adaround", 10)])
def test_a_published_checkpoint_is_not_refined(option, value):
    with pytest.raises(UsageError, match=f"--{option} {value}: expected none beside pretrained"):
        build("CalibrateConfig", scheme="tidl_pow2", pretrained=Path("qat.pth"), **{option: value})


@pytest.mark.parametrize("kind", ["TrainConfig", "QuantizeConfig"])
def test_every_option_of_a_training_is_used_in_some_test(kind):
    """By a flag or a keyword, in another file than this one, which only builds configurations."""
    tests = Path(__file__).parent
    files = [path for path in tests.rglob("*.py") if path.name != Path(__file__).name]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    names = [field.name for field in dataclasses.fields(getattr(configs, kind))]
    assert not [name for name in names if not re.search(rf"--{name}\b|\b{name}=|[\"']{name}[\"']", text)]
