"""YAML: settings of a data set, a run's config.yaml, --config, device profiles."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from edgeailite.cost.devices.profile import FOLDER
from tests.fuzz.case import Call, Group, World
from tests.fuzz.mutate import damage_text, wreck
from tests.fuzz.seeds import QUIET, SETTINGS, TRAIN
from tests.fuzz.verbs import ONE, data, of_data, picture

BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


def _bomb(key: str) -> str:
    """Aliases that unfold to a thousand million values under `key`."""
    rows = ["- &a [x,x,x,x,x,x,x,x,x,x]"]
    rows += [f"- &{new} [{','.join([f'*{old}'] * 10)}]" for old, new in zip("abcdefgh", "bcdefghi", strict=True)]
    return f"{key}:\n" + "\n".join(rows) + "\n"


def _texts(key: str) -> dict[str, str]:
    """What YAML can do, under a key that is known."""
    return {
        "aliases": _bomb(key),
        "aliases as a mapping": f"x: &x {{{key}: 1}}\n<<: *x\n",
        "an alias that holds itself": f"{key}: &a [*a]\n",
        "a mapping that holds itself": f"{key}: &a {{a: *a}}\n",
        "alias to nothing": f"{key}: *gone\n",
        "aliases beside": BOMB,
        "deep": f"{key}: " + "[" * 3000 + "]" * 3000,
        "deep by indentation": "\n".join(" " * n + "a:" for n in range(2000)),
        "code": f"{key}: !!python/object/apply:os.system ['touch ../canary/owned']\n",
        "unknown tag": f"{key}: !evil 5\n",
        "binary": f"{key}: !!binary AAAA\n",
        "set": f"{key}: !!set {{a, b}}\n",
        "date": f"{key}: 2020-01-01\n",
        "date that cannot be": f"{key}: 2020-13-45\n",
        "time": f"{key}: 2001-12-14t21:59:43.10-05:00\n",
        "sixties": f"{key}: 190:20:30\n",
        "octal": f"{key}: 0o17\n",
        "endless number": f"{key}: {'9' * 6000}\n",
        "hexadecimal number": f"{key}: 0x{'f' * 6000}\n",
        "not a number": f"{key}: .nan\n",
        "infinite": f"{key}: -.inf\n",
        "key twice": f"{key}: 1\n{key}: [a]\n",
        "key a list": "? [a, b]\n: 1\n",
        "key a mapping": "? {a: b}\n: 1\n",
        "key a number": "5: 1\n",
        "key null": "null: 1\n",
        "no mapping": "- a\n- b\n",
        "a word": "hello\n",
        "a number": "7\n",
        "documents": f"{key}: 1\n---\n{key}: 2\n",
        "tabs": f"\t{key}: 1\n",
        "directive": f"%YAML 9.9\n---\n{key}: 1\n",
        "escape in quotes": f'{key}: "\\e[2J\\0"\n',
        "escapes in a list": f'{key}: ["\\e[2J\\nerror: a", b, c]\n',
        "escape in a key": '"\\e[2J": 1\n',
        "no colon": f"{key}\n",
        "colon of two lines": f"{key}: |\n  a\n  b\n",
    }


def _yaml(value: Any) -> str:
    try:
        return yaml.safe_dump(value, sort_keys=False)
    except (yaml.YAMLError, ValueError):
        return "key: " + "9" * 5000


def _altered(world: World, honest: str, key: str) -> tuple[bytes, str]:
    """A text made wrong: as text, in its values, or one that uses what YAML has."""
    way = world.pick(("values", "text", "YAML"))
    if way == "text":
        return damage_text(honest, world.rng)
    if way == "values":
        values, about = wreck(yaml.safe_load(honest), world.rng, str(world.canary), times=world.rng.choice((1, 1, 2)))
        return _yaml(values).encode("utf-8", "surrogatepass"), about
    texts = _texts(key)
    about = world.pick(list(texts), after=3)
    return texts[about].encode(), about


# --- settings of a data set

DATA_SETS = {
    "plain": SETTINGS,
    "everything": "classes: [road, sky, car]\nignore: [11, 12]\n"
    "label_map: {0: road, 1: sky, 2: car, 34: ignore}\nbackground: false\n",
    "colors": 'colors: {"128,64,128": road, "#0000ff": sky, car: [0, 0, 142]}\n',
    "zero": "classes: [a, b]\nreduce_zero_label: true\n",
}


def _dataset(world: World) -> Call:
    root = world.seeds.copy("data", world.box / "data")
    if world.number < 2:
        return Call("honest", of_data(Path("data"))[world.number], honest=True)
    honest = world.rng.choice(list(DATA_SETS.values()))
    key = world.rng.choice(("classes", "palette", "ignore", "label_map", "colors", "reduce_zero_label", "background"))
    content, about = _altered(world, honest, key)
    (root / "dataset.yaml").write_bytes(content)
    lines = of_data(Path("data"))
    ids = ["infer", world.seeds / "files/model.onnx", picture(world), "--original_ids", "True", "--data_path", "data"]
    line = world.rng.choice([*lines[:3], *lines, ids])
    return Call(about, line)


NAMES = {
    "classes.txt": "road\nsky\ncar\n",
    "labels.txt": "road\n__ignore__\nsky\ncar\n",
    "labelmap.txt": "# label:color_rgb:parts:actions\nroad:128,64,128::\nsky:70,130,180::\ncar:0,0,142::\n",
    "obj_class_to_machine_color.json": '{"road": [1, 1, 1], "sky": [2, 2, 2], "car": [3, 3, 3]}',
}


def _names(world: World) -> Call:
    """Plain files of names, as labelling tools write them."""
    root = world.seeds.copy("data", world.box / "data")
    (root / "dataset.yaml").unlink()
    name = world.pick(list(NAMES))
    content, about = damage_text(NAMES[name], world.rng)
    (root / name).write_bytes(content)
    return Call(f"{name}: {about}", world.rng.choice(of_data(Path("data"))[:3]))


# --- config.yaml of a run


def _config(world: World) -> Call:
    """Of a run that is shown, and of one that goes on."""
    goes_on = world.pick((False, False, True), after=2)
    run = world.seeds.copy("trained" if goes_on else "bare", world.box / "run")
    honest = (run / "config.yaml").read_text()
    keys = ("data_path", "epochs", "milestones", "img_resize", "device", "run", "freeze_bn_epoch", "scheduler")
    content, about = _altered(world, honest, world.rng.choice(keys))
    (run / "config.yaml").write_bytes(content)
    line: list[object] = ["report", "run", "--data_path", world.seeds / "data", "--forms", "none", *ONE]
    return Call(about, ["train", "--resume", "run"] if goes_on else line)


# --- options from a file

OPTIONS: list[tuple[str, Callable[[World], list[object]]]] = [
    (
        "epochs: 1\nimg_resize: [32, 48]\nlr: 0.001\nflip: true\nclass_weights: none\nshort_edges: [300, 375]\n",
        lambda world: ["train", *data(world), "--save_path", "new", *TRAIN, "--dry_run", "True"],
    ),
    (
        "alpha: 0.3\nwrite: [labels, colors]\njson: true\nthreads: 1\n",
        lambda world: ["infer", world.seeds / "files/model.onnx", picture(world), "--save_path", "out"],
    ),
    (
        "split: val\nscales: [1.0]\nflip: false\nbatch_size: 1\nwindow: null\n",
        lambda world: ["validate", world.seeds / "files/model.onnx", *data(world), *QUIET],
    ),
    (
        "dataset_name: folder\nshow: 3\njson: true\n",
        lambda world: ["data", "check", "--data_path", world.seeds / "data"],
    ),
    ("max_gmacs: 3.0\nlimit: 2\nsize: [64, 96]\n", lambda world: ["choose"]),
]


def _options(world: World) -> Call:
    honest, line = world.pick(OPTIONS)
    if world.number < len(OPTIONS):
        return Call("honest", [*line(world), "--config", world.write("o.yaml", honest)], honest=True)
    key = world.rng.choice(list(yaml.safe_load(honest)))
    content, about = _altered(world, honest, key)
    return Call(f"{key}: {about}", [*line(world), "--config", world.write("options.yaml", content)])


# --- devices


def _profile_text(rng: random.Random) -> str:
    return rng.choice(sorted(FOLDER.glob("*.yaml"))).read_text()


def _device(world: World) -> Call:
    text = _profile_text(world.rng)
    honest = world.number == 0
    content, about = (
        (text.encode(), "honest")
        if honest
        else _altered(world, text, world.rng.choice(("rates", "bandwidth", "band", "fused")))
    )
    file = world.write("board.yaml", content)
    model = world.seeds / "files/model.onnx"
    lines: list[list[object]] = [
        ["devices", "list", file],
        ["bench", model, "--rounds", 1, "--warmup", 0, "--device", file, *ONE],
        ["devices", "list", file, "--json", "True"],
        ["choose", "--device", file, "--max_ms", 50, "--size", 64, 96, "--limit", 2],
        ["report", model, "--data_path", world.seeds / "data", "--output", "r.html", "--devices", file, *ONE],
    ]
    return Call(about, lines[0] if honest else world.rng.choice([*lines[:2], *lines]), honest=honest)


GROUPS = (
    Group("yaml-dataset", 16, _dataset, ("data", "files")),
    Group("yaml-names", 6, _names, ("data",)),
    Group("yaml-config", 8, _config, ("data", "bare", "trained")),
    Group("yaml-options", 9, _options, ("data", "files")),
    Group("yaml-device", 8, _device, ("data", "files")),
)
