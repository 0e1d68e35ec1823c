"""JSON and CSV: annotations, files of a run folder, plans, results of `infer`, measurements of other machines."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fuzz.case import Call, Group, World
from tests.fuzz.mutate import ESCAPES, damage_text, wreck
from tests.fuzz.seeds import HEIGHT, NETWORK, QUIET, TRAIN, WIDTH, command
from tests.fuzz.verbs import ONE, of_data

Values = dict[str, Any]


def _text(value: Any) -> str:
    try:
        return json.dumps(value)
    except ValueError:  # more digits than Python writes
        return '{"a": ' + "9" * 5000 + "}"


def _altered(world: World, honest: Any) -> tuple[bytes, str]:
    """JSON made wrong, in its values or as text."""
    if world.rng.random() < 0.65:
        values, about = wreck(honest, world.rng, str(world.canary), times=world.rng.choice((1, 1, 2)))
        return _text(values).encode(), about
    return damage_text(json.dumps(honest, indent=1), world.rng)


# --- COCO

SQUARE = [2.0, 2.0, 20.0, 2.0, 20.0, 20.0, 2.0, 20.0]


def annotations(numbers: range) -> Values:
    """An honest file of the pictures of these numbers."""
    images = [{"id": n, "file_name": f"p{n}.png", "height": HEIGHT, "width": WIDTH} for n in numbers]
    shapes = [
        {"id": 10 * n + kind, "image_id": n, "category_id": kind, "segmentation": [SQUARE], "area": 324, "iscrowd": 0}
        for n in numbers
        for kind in (1, 2)
    ]
    shapes[0]["segmentation"] = {"size": [HEIGHT, WIDTH], "counts": [100, 20, HEIGHT * WIDTH - 120]}
    return {"images": images, "annotations": shapes, "categories": [{"id": 1, "name": "car"}, {"id": 2, "name": "sky"}]}


def _shape(segmentation: Any) -> Callable[[Values], None]:
    return lambda content: content["annotations"][1].update(segmentation=segmentation)


def _image(**values: Any) -> Callable[[Values], None]:
    return lambda content: content["images"][0].update(values)


COCO: dict[str, Callable[[Values], None]] = {
    "polygon of huge numbers": _shape([[1e30, 1e30, -1e30, 1e30, 0, -1e30]]),
    "polygon of NaN": _shape([[float("nan")] * 6]),
    "polygon of infinities": _shape([[float("inf"), 0, 0, float("-inf"), 5, 5]]),
    "polygon of text": _shape([["a", "b", "c", "d", "e", "f"]]),
    "polygon of lists": _shape([[[1, 2], [3, 4], [5, 6]]]),
    "polygon of nothing": _shape([[]]),
    "polygon of null": _shape([None]),
    "polygon of a million corners": _shape([[1.0, 2.0] * 500_000]),
    "no polygon": _shape([]),
    "run lengths negative": _shape({"counts": [-5, HEIGHT * WIDTH + 5]}),
    "run lengths huge": _shape({"counts": [2**62, 2**62, 2**62]}),
    "run lengths beyond": _shape({"counts": [10**30]}),
    "run lengths of floats": _shape({"counts": [1.5, float("nan")]}),
    "run lengths missing": _shape({"size": [1, 1]}),
    "run lengths text": _shape({"counts": "§§§"}),
    "run lengths text endless": _shape({"counts": "o" * 100_000}),
    "run lengths text long": _shape({"counts": "00" * 200_000}),
    "run lengths nested": _shape({"counts": {"a": 1}}),
    "picture of 10^9 rows": _image(height=10**9, width=10**9),
    "picture of 20,000 rows": _image(height=20_000, width=20_000),
    "picture of no row": _image(height=0, width=0),
    "picture of negative rows": _image(height=-5),
    "picture of other size": _image(height=16),
    "size NaN": _image(height=float("nan")),
    "size infinite": _image(height=float("inf")),
    "name outside": _image(file_name="../../../canary/victim.txt"),
    "name absolute": _image(file_name="/etc/passwd"),
    "name of Windows": _image(file_name="C:\\data\\p0.png"),
    "name with back-slash": _image(file_name="train\\p0.png"),
    "name a number": _image(file_name=5),
    "name null": _image(file_name=None),
    "name a list": _image(file_name=["p0.png"]),
    "name empty": _image(file_name=""),
    "name with zero byte": _image(file_name="p0\0.png"),
    "name that writes": _image(file_name=ESCAPES + "\nerror: x"),
    "name surrogate": _image(file_name="\ud800.png"),
    "name long": _image(file_name="x" * 5000),
    "id a list": _image(id=[1]),
    "id twice": lambda content: content["images"].append(content["images"][0]),
    "category without name": lambda content: content["categories"][0].pop("name"),
    "category a list": lambda content: content.update(categories=[[1, 2]]),
    "category that writes": lambda content: content["categories"][0].update(name=ESCAPES),
    "300 categories": lambda content: content.update(categories=[{"id": n, "name": f"c{n}"} for n in range(300)]),
    "category twice": lambda content: content["categories"].append({"id": 1, "name": "dog"}),
    "category NaN": lambda content: content["categories"][0].update(id=float("nan")),
    "category infinite": lambda content: content["categories"][0].update(id=float("inf")),
    "annotation of no picture": lambda content: content["annotations"][0].update(image_id=99),
    "annotation of no category": lambda content: content["annotations"][0].update(category_id=99),
    "annotation of a list": lambda content: content["annotations"][0].update(category_id=[1]),
    "annotation null": lambda content: content.update(annotations=[None]),
    "area NaN": lambda content: content["annotations"][0].update(area=float("nan")),
    "area text": lambda content: content["annotations"][0].update(area="x"),
    "no annotation": lambda content: content.update(annotations=[]),
    "no picture": lambda content: content.update(images=[]),
}


def _coco(world: World) -> Call:
    root = world.box / "data"
    world.seeds.copy("data/images", root / "images")
    about, content = "honest", {"train": annotations(range(4)), "val": annotations(range(4, 6))}
    texts = {split: _text(values).encode() for split, values in content.items()}
    way = world.pick(("kinds", "values"))
    if world.number == 0:
        pass
    elif way == "kinds":
        about = world.pick(list(COCO), after=2)
        COCO[about](content["train"])
        texts["train"] = _text(content["train"]).encode()
    else:
        texts["train"], about = _altered(world, content["train"])
    (root / "annotations").mkdir()
    for split, text in texts.items():
        (root / f"annotations/instances_{split}.json").write_bytes(text)
    lines = of_data(Path("data"))
    return Call(
        about, lines[2] if world.number == 0 else world.rng.choice([*lines[:3], *lines]), honest=world.number == 0
    )


def _streets(world: World) -> Call:
    """Camera files and the record of generated scenes."""
    root = world.seeds.copy("streets", world.box / "streets")
    name = world.pick(("camera", "streets.json"))
    if name == "camera":
        file = world.rng.choice(sorted((root / "camera").rglob("*.json")))
        content, about = _altered(world, json.loads(file.read_text()))
        line = world.rng.choice(of_data(Path("streets"), "streets_depth")[:3])
    else:
        file = root / "streets.json"
        content, about = _altered(world, json.loads(file.read_text()))
        line = ["demo", "--data_path", "streets", "--train_images", 3, "--val_images", 1, "--save_path", "demo", *ONE]
        if b'"train": 2' in content and b'"val": 1' in content:
            line = [
                "train",
                "--dataset_name",
                "streets",
                "--data_path",
                "streets",
                "--save_path",
                "new",
                *TRAIN,
                "--dry_run",
                "True",
            ]
    file.write_bytes(content)
    return Call(f"{name}: {about}", line)


# --- files of a run folder


def _folder(world: World) -> Call:
    """JSON of a run folder, shown in the report or read to go on."""
    way = world.pick(("sensitivity.json", "env.json", "pretrained.json", "plan.json", "index.json"))
    if way == "index.json":
        return _cache(world)
    run = world.seeds.copy("bare", world.box / "run")
    honest = _HONEST[way]
    content, about = _altered(world, honest)
    (run / way).write_bytes(content)
    line: list[object] = ["report", "run", "--data_path", world.seeds / "data", "--forms", "none", *ONE]
    if way == "plan.json":
        new = ["--data_path", world.seeds / "data", "--save_path", "new", "--images", 1, *QUIET]
        line = ["calibrate", "run", "--plan", "run/plan.json", *new]
    return Call(f"{way}: {about}", line)


def _cache(world: World) -> Call:
    """A cache of decoded pictures whose index somebody else wrote."""
    where: list[object] = ["--dataset_name", "folder", "--data_path", world.seeds / "data", "--cache", "cache"]
    command("data", "cache", *where, "--img_resize", HEIGHT, WIDTH)
    index = next((world.box / "cache").rglob("index.json"))
    content, about = _altered(world, json.loads(index.read_text()))
    index.write_bytes(content)
    return Call(f"cache: {about}", ["train", *where, "--save_path", "new", *TRAIN, "--dry_run", "True"])


_ROW = {"kind": "weights", "name": "a.b", "tensor": "a.b", "macs": 5, "sqnr_db": {"segmentation": 30.5},
"drop": {"miou": 0.1}, "tensors": {"x": 3.0}}  # fmt: skip
_HONEST: dict[str, Any] = {
    "sensitivity.json": {
        "format": 1, "network": NETWORK, "scheme": "ort_u8s8", "data": "folder val", "pictures": 2,
        "float": {"miou": 13.9}, "sections": [_ROW], "layers": [_ROW, _ROW], "runs": {"seconds": 3.5},
    },
    "env.json": {"python": "3.11", "packages": {"torch": "2"}, "cpu": "x", "commit": "0" * 40, "argv": ["a"],
        "job": None},
    "pretrained.json": {"source": "w.pth", "loaded": 5, "missing": ["a"], "unexpected": [], "notes": ["x"]},
    "plan.json": {"format": 1, "scheme": "ort_u8s8", "weights": {"decoders.0.pred.1.0": 16}, "activations": {}},
}  # fmt: skip


# --- tables

METRICS = (
    "epoch,lr,loss,miou,pixel_accuracy,seconds\n"
    "1,0.0001,1.5,0.25,0.5,1.0\n2,0.00009,1.25,0.3,0.55,1.1\n3,0.00008,1.125,0.35,0.6,1.0\n"
)
ROWS = (
    "epoch,lr,loss\n1,2\n", "epoch,lr,loss\n1,2,3,4,5\n", "lr,loss\n1,2\n", "epoch\n1.0\n", "epoch\nnan\n",
    "epoch\n-5\n", "epoch\n\n",
    "epoch,miou\n1e400,x\n", "epoch,epoch\n1,2\n", "epoch,miou\n1,inf\n", '"epoch\n',
    "epoch,miou\n" + "1,0.5\n" * 200_000,
    "epoch," + ",".join(f"c{n}" for n in range(20_000)) + "\n1\n", "epoch,seconds,loss\n1,nan,x\n2,1e308,inf\n",
    f"epoch,{ESCAPES}\n1,{ESCAPES}\n",
    "epoch,miou\n" + "9" * 6000 + ",1\n", "epoch,miou\n1," + "x" * 200_000 + "\n", "\n", "epoch", "EPOCH,MIOU\n1,2\n",
    "epoch,lr\n1,,,,\n",
)  # fmt: skip


def _metrics(world: World) -> Call:
    goes_on = world.pick((False, True), after=2)
    run = world.seeds.copy("trained" if goes_on else "bare", world.box / "run")
    if world.pick((True, False)):
        content, about = damage_text(METRICS, world.rng)
    else:
        text = world.pick(ROWS, after=4)
        content, about = text.encode(), f"rows {text[:30]!r}"
    (run / "metrics.csv").write_bytes(content)
    line: list[object] = ["report", "run", "--data_path", world.seeds / "data", "--forms", "none", *ONE]
    return Call(about, ["train", "--resume", "run"] if goes_on else line)


RESULTS = {
    "results.csv": "network,miou,size,data,classes,type\n"
    f"{NETWORK},55.5,384x768,cityscapes,19,float\n{NETWORK},50,64x96,folder,3,int8\n",
    "results.json": [{"network": NETWORK, "miou": 55.5, "size": [384, 768], "data": "x", "classes": 19,
        "type": "float", "iou": {"a": 1.0}}],
    "nested.json": {"network": NETWORK, "segmentation": {"miou": 50.0, "iou": {"a": 1.0}}, "depth": {"ard": 0.1}},
}  # fmt: skip
TIMES = {
    "times.csv": "model,ms\nMODEL,12.5\n",
    "times.json": {
        "machine": {"cpu": "x", "threads": 1, "onnxruntime": "1.20", "features": ["avx2"], "torch": "2"},
        "models": [
            {
                "model": "MODEL", "runtime": "onnxruntime", "minimum_ms": 5.0, "size": [HEIGHT, WIDTH],
                "operators": [{"name": "first", "kind": "Conv", "milliseconds": 3.0, "minimum": 2.5}],
            },
        ],
    },
}  # fmt: skip


def _measured(world: World) -> Call:
    """Accuracies for `choose`, times for `devices fit`."""
    model = str(world.seeds / "files/model.onnx")
    name = world.pick((*RESULTS, *TIMES))
    honest = {**RESULTS, **TIMES}[name]
    if isinstance(honest, str):
        content, about = damage_text(honest.replace("MODEL", model), world.rng)
    else:
        content, about = _altered(world, json.loads(json.dumps(honest).replace("MODEL", model)))
    file = world.write(name, content)
    if name in TIMES:
        return Call(f"{name}: {about}", ["devices", "fit", model, "--measured", file, "--base", "tda4vm", *ONE])
    return Call(f"{name}: {about}", ["choose", "--results", file, "--max_gmacs", 1, "--size", 64, 96, "--limit", 2])


def _labelled(world: World) -> Call:
    """Tables and records of `infer`, to go on with."""
    world.seeds.copy("labelled/out", world.box / "out")
    name = world.pick(("shares.csv", "infer.json", "skipped.csv", "shares.json"))
    file = world.box / "out" / name
    if name == "infer.json":
        content, about = _altered(world, json.loads(file.read_text()))
    else:
        text = file.read_text() if file.is_file() else "input,reason\na.png,truncated\n"
        content, about = damage_text(text, world.rng)
    file.write_bytes(content)
    line: list[object] = [
        "infer",
        world.seeds / "labelled/model.onnx",
        world.seeds / "data/images/val",
        "--save_path",
        "out",
        *ONE,
    ]
    return Call(f"{name}: {about}", [*line, "--resume", world.rng.choice(("True", "True", "False"))])


GROUPS = (
    Group("json-coco", 14, _coco, ("data",)),
    Group("json-streets", 5, _streets, ("streets",)),
    Group("json-folder", 14, _folder, ("data", "bare")),
    Group("csv-metrics", 10, _metrics, ("data", "bare", "trained")),
    Group("csv-measured", 8, _measured, ("data", "files")),
    Group("csv-labelled", 6, _labelled, ("data", "labelled")),
)
