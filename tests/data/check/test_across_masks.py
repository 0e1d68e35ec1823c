"""The doctor on folders of one's own: advice that suits all masks, one line for one fault, all faults in one round."""

from pathlib import Path

import numpy as np
import pytest

from edgeailite.data import DATASETS
from edgeailite.data.check import check_dataset
from edgeailite.data.check.across_masks import reword
from edgeailite.data.check.findings import Finding, Findings
from edgeailite.data.files.images import write_png
from tests.data.corruption import encoded, smooth

H, W = 48, 64
MAP = "label_map: {0: back, 50: plate, 100: sign}\n"


def label(height: int = H) -> np.ndarray:
    """Three stripes: 0, 50, 100."""
    return np.array([0, 50, 100], np.uint8)[np.arange(W) * 3 // W][None].repeat(height, 0)


def plates(root: Path, settings: str = "") -> Path:
    """Four training and two validation pictures with masks that hold 0, 50 and 100."""
    for seed, name in enumerate(("train/ax", "train/bx", "train/cx", "train/dx", "val/ex", "val/fx")):
        path = root / "images" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(".jpg", smooth(H, W, seed)))
        write_png(mask(root, name), label())
    if settings:
        (root / "dataset.yaml").write_text(settings)
    return root


def mask(root: Path, name: str) -> Path:
    return root / "labels" / f"{name}.png"


def spot(root: Path, name: str, value: int, count: int = 1) -> None:
    values = label()
    values.flat[:count] = value
    write_png(mask(root, name), values)


def colour(root: Path, name: str) -> None:
    write_png(mask(root, name), np.dstack([label(), label() // 2, label() * 0]))


def check(root: Path):
    """Errors as (code, path below the root, message), and the pictures that were looked at."""
    with check_dataset("folder", DATASETS["folder"], root, ("train", "val")) as checkup:
        assert sum(checkup.findings.counts.values()) == len(checkup.findings.kept)
        errors = [f for f in checkup.findings.ordered() if f.level == "error"]
        pictures = sum(len(one.source.items) for one in checkup.surveys.values())
        return [(f.code, f.file.removeprefix(f"{root}/"), f.message) for f in errors], pictures


def test_values_without_meaning_are_said_once_with_all_of_them_and_the_masks_are_looked_at(tmp_path):
    (found,), pictures = check(plates(tmp_path))
    assert found[:2] == ("listing", "labels/train")
    assert found[2].startswith("4 masks such as ax.png hold the label values 0, 50, 100, which do not number")
    assert found[2].endswith(
        f"say in {tmp_path}/dataset.yaml what they mean: label_map: {{0: NAME, 50: NAME, 100: NAME}}"
    )
    assert pictures == 6


def test_one_round_shows_all_faults(tmp_path):
    root = plates(tmp_path)
    spot(root, "train/ax", 51)
    mask(root, "train/bx").unlink()
    write_png(mask(root, "val/ex"), label(40))
    (root / "images/train/cx.jpg").write_bytes((root / "images/train/cx.jpg").read_bytes()[:300])
    found, pictures = check(root)
    assert [(code, file) for code, file, _ in found] == [
        ("listing", "labels/train"),
        ("missing-mask", "images/train/bx.jpg"),
        ("truncated", "images/train/cx.jpg"),
        ("size-mismatch", "labels/val/ex.png"),
        ("label-out-of-range", "labels/train/ax.png"),
    ]
    assert "values 0, 50, 51 (1 pixel in 1 mask, ax.png), 100, which" in found[0][2]
    assert found[0][2].endswith("label_map: {0: NAME, 50: NAME, 100: NAME}")
    assert "label 51 (1 pixels, first at x=0 y=0)" in found[4][2]
    assert pictures == 5
    assert not (root / "dataset.yaml").exists()


def test_only_two_values_are_looked_at_too(tmp_path):
    root = plates(tmp_path)
    for path in (root / "labels").rglob("*.png"):
        write_png(path, np.where(label() > 0, 255, 0).astype(np.uint8))
    write_png(mask(root, "val/ex"), np.where(label(40) > 0, 255, 0).astype(np.uint8))
    found, pictures = check(root)
    assert [(code, file) for code, file, _ in found] == [
        ("listing", "labels/train"),
        ("size-mismatch", "labels/val/ex.png"),
    ]
    assert "not two classes" in found[0][2]
    assert pictures == 6


def test_settings_that_are_wrong_are_the_only_thing_said_of_values(tmp_path):
    root = plates(tmp_path, f"{MAP}palette: [[0, 0, 0], [1, 1, 1]]\n")
    mask(root, "train/bx").unlink()
    found, pictures = check(root)
    assert [(code, file) for code, file, _ in found] == [
        ("listing", "dataset.yaml"),
        ("missing-mask", "images/train/bx.jpg"),
    ]
    assert pictures == 5


@pytest.mark.parametrize(
    "names, count, advice",
    [
        (("train/ax",), 3, 'correct the mask, or add "51: ignore", or a class, to label_map in '),
        (("train/ax",), 4, 'add "51: NAME" (NAME a class, or ignore) to label_map in '),
        (("train/ax", "val/ex"), 3, 'add "51: NAME" (NAME a class, or ignore) to label_map in '),
    ],
    ids=["stray", "many pixels", "two masks"],
)
def test_a_value_is_a_slip_or_a_class(tmp_path, names, count, advice):
    root = plates(tmp_path, MAP)
    for name in names:
        spot(root, name, 51, count)  # of 3072 pixels
    found, _ = check(root)
    assert [code for code, _, _ in found] == ["label-out-of-range"] * len(names)
    for _, _, message in found:
        assert message.startswith(f"label 51 ({count} pixels")
        assert f"; {advice}{root}/dataset.yaml" in message


@pytest.mark.parametrize("settings", ["", MAP, "reduce_zero_label: true"])
def test_a_colour_mask_among_numbers_is_to_be_saved_again(tmp_path, settings):
    root = plates(tmp_path, settings)
    colour(root, "train/cx")
    found, _ = check(root)
    message = next(message for code, file, message in found if (code, file) == ("colour-mask", "labels/train/cx.png"))
    assert message == (
        "colour mask (3 colours), expected class indices; "
        "1 of 6 masks is in colours: save it again as class numbers like the others"
    )


def test_all_masks_in_colours_are_told_to_say_colors(tmp_path):
    root = plates(tmp_path)
    for path in (root / "labels").rglob("*.png"):
        colour(root, str(path.relative_to(root / "labels").with_suffix("")))
    found, _ = check(root)
    messages = [message for code, _, message in found if code == "colour-mask"]
    first, *others = messages
    assert f"{len(messages)} masks have 3 colours together: say in dataset.yaml which is which class" in first
    assert first.count(": CLASS") == 3
    assert others and all("among those named for" in message and "colors:" not in message for message in others)


def test_several_colour_masks_are_counted():
    findings = Findings()
    findings.add(Finding("colour-mask", f"{n}.png", "colour mask (9 colours), expected; say") for n in range(2))
    reword(findings, {f"{n}.png" for n in range(5)})
    assert [f.message.partition("; ")[2] for f in findings.kept] == [
        "2 of 5 masks are in colours: save it again as class numbers like the others"
    ] * 2


def test_one_fault_is_one_line_though_both_splits_meet_it(tmp_path):
    root = plates(tmp_path, "palette: [[0, 0, 0]]\n")
    for path in (root / "labels").rglob("*.png"):
        write_png(path, label() // 50)
    mask(root, "train/bx").unlink()
    found, _ = check(root)
    assert [(code, file) for code, file, _ in found] == [
        ("listing", "dataset.yaml"),
        ("missing-mask", "images/train/bx.jpg"),
    ]


def test_the_same_finding_is_counted_once():
    findings = Findings()
    findings.add([Finding("truncated", "a.jpg", "cut"), Finding("truncated", "a.jpg", "cut")])
    findings.add([Finding("truncated", "a.jpg", "cut"), Finding("truncated", "b.jpg", "cut")])
    assert [f.file for f in findings.kept] == ["a.jpg", "b.jpg"]
    assert findings.counts == {"truncated": 2}
