"""`edgeailite demo`: every step of the line, on scenes it generates, through the functions that the verbs call."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from edgeailite.config import (
    CalibrateConfig,
    DemoConfig,
    ExportConfig,
    InferConfig,
    QuantizeConfig,
    ReportConfig,
    TrainConfig,
    ValidateConfig,
    VerifyConfig,
)
from edgeailite.console import log, print_result
from edgeailite.data.ensure import SIZE, make_streets
from edgeailite.errors import UsageError
from edgeailite.evaluation import validate
from edgeailite.evaluation.summary import headline
from edgeailite.export import export_run, verify_run
from edgeailite.inference.label import label_inputs
from edgeailite.report import write_report
from edgeailite.runs.folder import BEST, LAST
from edgeailite.training.calibration import calibrate_run
from edgeailite.training.float_run import train
from edgeailite.training.quantized_run import quantize_run

MARKER = "made_by_edgeailite_demo"


def run(config: DemoConfig) -> int:
    """Run all steps; print their times, the accuracies and the files made."""
    root = _empty_folder(config.save_path)
    seconds: dict[str, float] = {}

    def step(name: str, action: Callable[[], object]) -> None:
        """Run an action and keep its seconds."""
        log(f"== {name}")
        began = time.perf_counter()
        action()
        seconds[name] = round(time.perf_counter() - began, 1)

    data = config.data_path or Path("data/datasets/streets")
    scenes = {"train": config.train_images, "val": config.val_images, "seed": config.seed}
    step("generate data", lambda: make_streets(data, **scenes))
    step("train", lambda: train(train_config(config, data, root / "float")))
    step("calibrate", lambda: calibrate_run(CalibrateConfig(root / "float", root / "ptq", threads=config.threads)))
    step("quantize", lambda: quantize_run(quantize_config(config, root)))
    for name in ("float", "ptq", "qat"):
        step(f"export {name}", partial(export_run, ExportConfig(root / name)))
    for name in ("float", "qat"):
        step(f"verify {name}", partial(_verify, VerifyConfig(root / name, images=4, threads=config.threads)))
    accuracy: dict[str, float] = {}
    step("validate", lambda: accuracy.update(_accuracies(config, data, root)))
    pictures = data / "leftImg8bit/val"
    step("infer", lambda: label_inputs(InferConfig(root / "qat/model_int8.onnx", (pictures,), root / "predictions")))
    step("report", lambda: write_report(ReportConfig(root / "qat", data_path=data, threads=config.threads)))
    print_result("seconds", {**seconds, "total": round(sum(seconds.values()), 1)})
    print_result("val mIoU, per cent", accuracy)
    print_result("made", _files(root))
    return 0


def train_config(config: DemoConfig, data: Path, folder: Path) -> TrainConfig:
    """Return the demo's recipe: the preset `streets`, shorter."""
    return TrainConfig(
        dataset_name="streets",
        data_path=data,
        save_path=folder,
        pretrained=None,
        img_resize=SIZE,
        rand_scale=(1.0, 1.3),
        rotation=0.0,
        color_jitter=0.1,
        epochs=config.epochs,
        batch_size=min(8, config.train_images),
        optimizer="adamw",
        lr=5e-3,
        weight_decay=1e-2,
        scheduler="poly",
        warmup_epochs=0.2,
        evaluate_every=max(1, config.epochs // 2),
        threads=config.threads,
        seed=config.seed,
    )


def quantize_config(config: DemoConfig, root: Path) -> QuantizeConfig:
    """Return the options of quantization-aware training; BatchNorm statistics stay those of the float network."""
    return QuantizeConfig(
        root / "float",
        root / "qat",
        epochs=config.quantize_epochs,
        freeze_bn_epoch=0.0,
        threads=config.threads,
        seed=config.seed,
    )


def _verify(config: VerifyConfig) -> None:
    log(verify_run(config).verdict)


def _accuracies(config: DemoConfig, data: Path, root: Path) -> dict[str, float]:
    """Return the validation mIoU of every form of the network, in per cent."""
    models = {
        "float, torch": (root / "float", False),
        "float, ONNX": (root / "float/model.onnx", False),
        "calibrated, int8 ONNX": (root / "ptq/model_int8.onnx", False),
        "QAT, fake-quantized torch": (root / "qat", False),
        "QAT, integer-exact torch": (root / "qat", True),
        "QAT, int8 ONNX": (root / "qat/model_int8.onnx", False),
    }
    results = {}
    for name, (model, exact) in models.items():
        options = ValidateConfig(model, "streets", data, integer_exact=exact, threads=config.threads)
        results[name] = 100 * headline(validate(options).tally)["miou"]
    return results


def _empty_folder(folder: Path) -> Path:
    """Return an empty folder: that of an earlier demo is emptied, any other with content is refused."""
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARKER).exists():
            raise UsageError(
                f"--save_path {folder}: not empty and not made by the demo; choose another folder", code="not-ours"
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).touch()
    return folder


def _files(root: Path) -> dict[str, str]:
    files = {
        "float checkpoint": root / "float" / LAST,
        "float ONNX": root / "float/model.onnx",
        "best quantized checkpoint": root / "qat" / BEST,
        "int8 ONNX": root / "qat/model_int8.onnx",
        "contract": root / "qat/contract_int8.json",
        "predictions": root / "predictions",
        "report": root / "qat/report.html",
    }
    return {name: str(path) for name, path in files.items()}
