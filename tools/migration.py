"""The text about flags in docs/migrate_*.md, from the same tables: `python tools/migration.py` prints it.

The whole tables are in docs/published_commands.md. This text groups the flags: those that keep their names, have
another name, take one value only, or do nothing; and gives whole commands as verbs of this package.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgeailite.compat import ade20k, ade20k_reading, pixel2pixel
from edgeailite.compat.ade20k_weights import first_weights
from edgeailite.compat.flags import Flag, FlagError, GivenFlag, shown

EDGEAILITE = "docs/migrate_edgeailite.md"
CSAIL = "docs/migrate_csail.md"
WIDTH = 110

# commands whose training is shown in options of `edgeailite train`: page, script, words
COMMANDS: tuple[tuple[str, str, str], ...] = (
    (
        EDGEAILITE,
        "train_segmentation_main",
        "--model_name deeplabv3plus_mobilenetv2_tv_edgeailite --dataset_name cityscapes_segmentation "
        "--data_path ./data/datasets/cityscapes/data --img_resize 384 768 --output_size 1024 2048 "
        "--pretrained https://download.pytorch.org/models/mobilenet_v2-b0353104.pth",
    ),
    (EDGEAILITE, "train_depth_main", "--data_path ./data/datasets/kitti"),
    (EDGEAILITE, "train_pixel2pixel_multitask_main", "--data_path ./data/datasets/cityscapes/data --epochs 100"),
    (CSAIL, "train", "--arch_encoder resnet34_dilated8 --arch_decoder psp_bilinear --num_gpus 1"),
    (CSAIL, "train", "--gpus 0 --arch_encoder resnet50dilated --arch_decoder ppm_deepsup --num_epoch 20"),
    (
        CSAIL,
        "train",
        "--gpus 0 MODEL.arch_encoder hrnetv2 MODEL.arch_decoder c1 DATASET.padding_constant 32 TRAIN.num_epoch 30",
    ),
)


def parts() -> list[tuple[str, str]]:
    """Return (page, text on it) of everything that this module generates."""
    made = [(page, command(page, script, words)) for page, script, words in COMMANDS]
    return made + [(EDGEAILITE, groups(pixel2pixel.FLAGS)), (CSAIL, groups(ade20k.KEYS | ade20k.OTHER))]


def command(page: str, script: str, words: str) -> str:
    """Return a published command and the same training as a verb, as a block of shell."""
    folder = "pixel2pixel" if page == EDGEAILITE else "ade20k"
    theirs = [f"python references/{folder}/{script}.py", *_pairs(words.split())]
    verb = ["edgeailite train", *_ours(page, script, words)]
    return f"```bash\n{_broken(theirs)}\n# is the same as\n{_broken(verb)}\n```"


def _ours(page: str, script: str, words: str) -> list[str]:
    if page == EDGEAILITE:
        options = {"pretrained": ["none"]} | pixel2pixel.read(script, words.split()).options
    else:
        read = ade20k_reading.read(script, words.split())
        start = {"model_name": [read.model_name], "save_path": [str(read.folder)]}
        options = start | {"pretrained": first_weights(read) or ["none"]} | dict(read.options)
        options.pop("data_path", None)  # a published default, looked for here in data/datasets
    return [" ".join((f"--{name}", *values)) for name, values in options.items()]


def _pairs(words: Sequence[str]) -> list[str]:
    """Flags (or keys) with their values."""
    found: list[str] = []
    for word in words:
        starts = word.startswith("--") or ade20k_reading.KEY.fullmatch(word)
        found = [*found, word] if starts or not found else [*found[:-1], f"{found[-1]} {word}"]
    return found


def _broken(pieces: Sequence[str]) -> str:
    """A command over several lines."""
    lines = [pieces[0]]
    for piece in pieces[1:]:
        if len(lines[-1]) + len(piece) < WIDTH:
            lines[-1] += f" {piece}"
        else:
            lines[-1] += " \\"
            lines.append(f"    {piece}")
    return "\n".join(lines)


def groups(flags: Mapping[str, Flag]) -> str:
    """Group the flags by what this package does with them."""
    same = [shown(name) for name, flag in flags.items() if flag.to == name]
    renamed = [
        (shown(name), f"--{flag.to}", flag) for name, flag in flags.items() if _is_option(flag) and flag.to != name
    ]
    idle = [(shown(name), flag) for name, flag in flags.items() if not flag.to and flag.note]
    fixed = [(shown(name), flag) for name, flag in flags.items() if not flag.to and not flag.note]
    rows = [f"The same here: {', '.join(f'`{name}`' for name in same)}."] if same else []
    rows += [
        "| flag | here |\n|---|---|\n" + "\n".join(f"| `{old}` | `{new}`{_more(flag)} |" for old, new, flag in renamed)
    ]
    rows += [
        "| taken, no effect | |\n|---|---|\n" + "\n".join(f"| `{name}` | {_reason(flag)} |" for name, flag in idle)
    ]
    if fixed:
        rows += [
            "| one value only | takes | other values are refused because |\n|---|---|---|\n"
            + "\n".join(
                f"| `{name}` | {flag.takes.replace('|', ' or ')} | {_why(name, flag)} |" for name, flag in fixed
            )
        ]
    return "\n\n".join(rows)


def _is_option(flag: Flag) -> bool:
    return flag.to not in ("", ade20k.JOINT, "several")


def _more(flag: Flag) -> str:
    text = flag.note or flag.about
    return f"; {text}" if text else ""


def _reason(flag: Flag) -> str:
    return flag.note.removeprefix("no effect").lstrip(":, ")


def _why(name: str, flag: Flag) -> str:
    """Return the rule's reason, or its message about a value that it does not take."""
    if why := getattr(flag.rule, "why", ""):
        return str(why)
    try:
        flag.rule(GivenFlag(name.removeprefix("--"), ("1",)))
    except FlagError as error:
        return error.why
    return ""


if __name__ == "__main__":
    for page, text in parts():
        print(f"<!-- {page} -->\n\n{text}\n")
