"""The doctor of data sets on whole data sets: CamVid corrupted in 30 seeded ways, 100,000 entries, cleaned lists."""

import ast
import importlib
import os
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edgeailite.data import DATASETS
from edgeailite.data import check as checks
from edgeailite.data.check import CODES, check_dataset, splits_of
from edgeailite.data.check.findings import CAUSES, KEPT_PER_CODE, Finding, Findings, from_error
from edgeailite.data.check.masks import check_depth
from edgeailite.data.check.pictures import ItemReport
from edgeailite.data.check.summary import summary, write_lists
from edgeailite.data.check.survey import enet_weights, median_frequency_weights, survey
from edgeailite.data.files.images import write_png
from edgeailite.data.source import DepthTarget, Item, segmentation
from edgeailite.errors import DataError, UsageError
from tests.data.corruption import WAYS, encoded, mask, picture, smooth

CAMVID = os.environ.get("EDGEAILITE_CAMVID", "")
needs_camvid = pytest.mark.skipif(not CAMVID, reason="EDGEAILITE_CAMVID names no folder")
SPLITS = ("train", "val", "test")


def write_pairs(root: Path, counts: dict[str, int], *, height: int = 48, width: int = 64) -> Path:
    """A small data set in CamVid's layout without a fault: pictures that differ, masks of six classes."""
    for place, (split, count) in enumerate(counts.items()):
        for index in range(count):
            stem = f"{'abcdefgh'[index % 8]}{place}x{index}x"
            write_png(mask(root, split, stem), np.arange(width, dtype=np.uint8)[None].repeat(height, 0) // 6)
            path = picture(root, split, stem)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(".jpg", smooth(height, width, 1000 * place + index)))
    return root


def check(root: Path, splits: tuple[str, ...] = SPLITS, *, workers: int = 0, name: str = "camvid"):
    """Findings, their counts by level, and the cleaned lists' lengths."""
    with check_dataset(name, DATASETS[name], root, splits, workers=workers) as checkup:
        kept = {split: len(one.source.items) - len(one.bad) for split, one in checkup.surveys.items()}
        return checkup.findings, checkup.exit_code, kept


# --- CamVid


def copy_of_camvid(root: Path, counts: dict[str, int] | None) -> Path:
    """All of CamVid, or so many evenly spread pictures of each split."""
    for split in SPLITS:
        stems = sorted(path.stem for path in (Path(CAMVID) / "images" / split).glob("*.jpg"))
        step = 1 if counts is None else len(stems) // counts[split]
        for stem in stems[::step]:
            for path in (picture(root, split, stem), mask(root, split, stem)):
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(Path(CAMVID) / path.relative_to(root), path)
    if counts is None:
        shutil.copytree(Path(CAMVID) / "splits", root / "splits")
    return root


def corrupt(root: Path, seed: int) -> list[tuple[Path, str]]:
    """Each way of WAYS once, on a training picture of its own."""
    rng = np.random.default_rng(seed)
    stems = sorted(path.stem for path in (root / "images" / "train").iterdir())
    chosen = rng.choice(stems, len(WAYS), replace=False).tolist()
    return [way(root, "train", stem) for way, stem in zip(WAYS.values(), chosen, strict=True)]


def assert_all_found(root: Path, *, seed: int, workers: int) -> None:
    planted = corrupt(root, seed)
    findings, code, _ = check(root, workers=workers)
    found = {(finding.file, finding.code) for finding in findings.kept}
    missed = [way for way, (file, kind) in zip(WAYS, planted, strict=True) if (str(file), kind) not in found]
    assert missed == []
    assert code == 3
    touched = {file.stem for file, _ in planted}
    strangers = [f for f in findings.kept if f.level != "note" and Path(f.file).stem not in touched]
    assert strangers == []


def test_thirty_ways_span_the_groups():
    assert len(WAYS) == 30
    assert {way[0] for way in WAYS} == {"A", "B", "C"}


@needs_camvid
@pytest.mark.parametrize("seed", [1, 2])
def test_thirty_corruptions_of_a_part_of_camvid_are_found(tmp_path, seed):
    root = copy_of_camvid(tmp_path / "camvid", {"train": 45, "val": 5, "test": 5})
    findings, code, _ = check(root)
    assert [f for f in findings.kept if f.level != "note"] == []
    assert code == 0
    assert_all_found(root, seed=seed, workers=0)


@needs_camvid
@pytest.mark.slow
def test_all_of_camvid_clean_and_corrupted_within_a_minute(tmp_path):
    root = copy_of_camvid(tmp_path / "camvid", None)
    began = time.monotonic()
    findings, code, kept = check(root, workers=2)
    clean = time.monotonic() - began
    assert (code, findings.count("error"), findings.count("warning")) == (0, 0, 0)
    assert kept == {"train": 367, "val": 101, "test": 173}
    # what it has of neighbours across splits: three sequences are cut in two
    assert {Path(f.file).stem for f in findings.kept} == {"0001TP_008580", "0016E5_07959", "0016E5_08190"}
    assert set(findings.counts) == {"sequence-split"}
    began = time.monotonic()
    assert_all_found(root, seed=3, workers=2)
    corrupted = time.monotonic() - began
    print(f"clean {clean:.1f} s, corrupted {corrupted:.1f} s")
    assert max(clean, corrupted) < 60


# --- a small clean data set


def test_clean_data_set_has_no_findings_but_absent_classes(tmp_path):
    findings, code, kept = check(write_pairs(tmp_path, {"train": 4, "val": 2, "test": 1}))
    assert [str(f) for f in findings.kept if f.code != "class-absent"] == []
    assert (code, kept) == (0, {"train": 4, "val": 2, "test": 1})


def test_processes_find_what_one_finds(tmp_path):
    root = write_pairs(tmp_path, {"train": 20, "val": 2, "test": 1})
    for way, stem in zip(list(WAYS)[:8], sorted(p.stem for p in (root / "images/train").iterdir()), strict=False):
        WAYS[way](root, "train", stem)
    alone, together = (check(root, workers=workers)[0] for workers in (0, 2))
    assert alone.kept == together.kept
    assert alone.counts == together.counts


def test_cleaned_lists_name_what_is_whole_and_nothing_is_written_over(tmp_path):
    root = write_pairs(tmp_path / "data", {"train": 4, "val": 2})
    broken = picture(root, "train", "a0x0x")
    broken.write_bytes(b"")
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    with check_dataset("camvid", DATASETS["camvid"], root, ("train", "val")) as checkup:
        written = write_lists(checkup.surveys, root, tmp_path / "lists")
        with pytest.raises(UsageError, match="is there already"):
            write_lists(checkup.surveys, root, tmp_path / "lists")
    assert written["train"].read_text() == "".join(
        f"images/train/{n}.jpg labels/train/{n}.png\n" for n in ("b0x1x", "c0x2x", "d0x3x")
    )
    assert len(written["val"].read_text().splitlines()) == 2
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_cleaned_list_can_be_trained_on(tmp_path):
    root = write_pairs(tmp_path / "data", {"train": 4})
    picture(root, "train", "a0x0x").write_bytes(b"")
    with check_dataset("camvid", DATASETS["camvid"], root, ("train",)) as checkup:
        write_lists(checkup.surveys, root, tmp_path / "lists")
    shutil.copyfile(tmp_path / "lists/train.txt", tmp_path / "data/clean.txt")
    source = DATASETS["folder"](root, "clean")
    assert [item.image.stem for item in source.items] == ["b0x1x", "c0x2x", "d0x3x"]


# --- 100,000 entries


def test_memory_is_flat_over_100_000_entries(tmp_path):
    """The files are never opened: what is measured is what the doctor keeps, 50 bytes or so per entry."""
    items = tuple(Item((tmp_path / f"{n}.jpg",), {"segmentation": tmp_path / f"{n}.png"}) for n in range(100_000))
    source = segmentation("many", "train", items, ("a", "b"), ((0, 0, 0), (1, 1, 1)), {0: 0, 1: 1})
    counts = np.zeros(256, np.int64)
    counts[:2] = 3, 4
    rng = np.random.default_rng(1)

    def stub(item, targets, main):
        bad = item is items[0] or rng.random() < 0.1
        found = (Finding("truncated", str(item.image), "cut off"),) if bad else ()
        return ItemReport(found, (10, 20), b"d" * 16, b"f" * 32, counts, (1.0, 2.0, 3.0), (1.0, 4.0, 9.0))

    findings = Findings()
    before = sys.getallocatedblocks()
    one = survey(source, findings, workers=0, check=stub)
    objects = sys.getallocatedblocks() - before
    assert objects < 3 * len(one.bad) + 5 * KEPT_PER_CODE + 5000  # an index and a hash per bad item, nothing per item
    assert len(one.digests) + len(one.fingerprints) == 48 * len(items)
    assert (one.pixels[0], one.pixels[1]) == (300_000, 400_000)
    assert findings.counts["truncated"] == len(one.bad) > KEPT_PER_CODE
    assert len(findings.kept) == KEPT_PER_CODE


def touch_nothing(item, targets, main):
    """A check for processes, which cannot get a function of a function."""
    return ItemReport(size=(1, 1))


def test_no_more_than_a_few_chunks_are_under_way(tmp_path, monkeypatch):
    module = importlib.import_module("edgeailite.data.check.survey")
    under_way, most = 0, 0

    class Pool(module.ProcessPoolExecutor):
        def submit(self, *args):
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            future = super().submit(*args)
            result = future.result

            def take(timeout=None):
                nonlocal under_way
                under_way -= 1
                return result(timeout)

            future.result = take
            return future

    monkeypatch.setattr(module, "ProcessPoolExecutor", Pool)
    items = tuple(Item((tmp_path / f"{n}.jpg",), {"segmentation": tmp_path / f"{n}.png"}) for n in range(2000))
    source = segmentation("many", "train", items, ("a",), ((0, 0, 0),), {0: 0})
    one = survey(source, Findings(), workers=1, check=touch_nothing)
    assert one.sizes == {(1, 1): 2000}
    assert most == module.AHEAD


# --- splits against each other


def listed(root: Path, **lists: tuple[str, ...]) -> Path:
    """One folder of pictures and lists of splits."""
    names = sorted({name for list_ in lists.values() for name in list_})
    for seed, name in enumerate(names):
        write_png(root / "images" / f"{name}.png", smooth(48, 64, seed))
        write_png(root / "labels" / f"{name}.png", np.arange(64, dtype=np.uint8)[None].repeat(48, 0) // 16)
    for split, list_ in lists.items():
        (root / f"{split}.txt").write_text("".join(f"{name}\n" for name in list_))
    return root


def test_a_picture_in_two_lists_is_a_leak(tmp_path):
    findings, code, kept = check(
        listed(tmp_path, train=("ax", "bx", "cx"), val=("cx", "dx")), ("train", "val"), name="folder"
    )
    assert (code, findings.counts) == (3, {"leak": 1})
    assert findings.kept[0].file.endswith("images/cx.png")
    assert kept == {"train": 3, "val": 1}


def test_a_split_inside_another_is_no_leak_but_said(tmp_path):
    splits = ("train", "val", "trainval")
    root = listed(tmp_path, train=("ax", "bx"), val=("cx",), trainval=("ax", "bx", "cx"))
    findings, code, kept = check(root, splits, name="folder")
    assert (code, findings.counts) == (0, {"split-within": 2})
    assert kept == {"train": 2, "val": 1, "trainval": 3}


# --- depth


@pytest.mark.parametrize(
    "values, code, message",
    [
        ([[1.0, 0.0]], None, ""),
        ([[0.0, 0.0]], "all-ignore", "no known depth"),
        ([[1.0, np.nan]], "bad-label-file", "depth nan at x=1 y=0"),
        ([[np.inf, 1.0]], "bad-label-file", "depth inf at x=0 y=0"),
    ],
)
def test_depth(values, code, message):
    found, depth = check_depth(DepthTarget(lambda label: np.array(values, np.float32)), "depth.png")
    assert depth is not None
    assert [finding.code for finding in found] == ([] if code is None else [code])
    assert all(message in finding.message for finding in found)


# --- numbers


def test_class_weights():
    pixels, where = np.array([60, 30, 10, 0]), np.array([100, 100, 50, 0])
    # frequencies .6, .3, .2: the median is .3
    assert median_frequency_weights(pixels, where).tolist() == pytest.approx([0.5, 1.0, 1.5, 0.0])
    assert enet_weights(pixels).tolist() == pytest.approx([1 / np.log(1.02 + s) for s in (0.6, 0.3, 0.1, 0.0)])
    assert median_frequency_weights(np.zeros(3, np.int64), np.zeros(3, np.int64)).tolist() == [0, 0, 0]


def test_summary_counts_pixels_pictures_sizes_and_colours(tmp_path):
    root = tmp_path
    for index, value in enumerate((10, 30)):
        stem = f"{'ab'[index]}x"
        write_png(picture(root, "train", stem, ".png"), np.full((40, 50, 3), value, np.uint8))
        label = np.full((40, 50), index, np.uint8)
        label[:4] = 11
        write_png(mask(root, "train", stem), label)
    with check_dataset("camvid", DATASETS["camvid"], root, ("train",)) as checkup:
        values = summary(checkup.surveys["train"])
    assert values["sizes"] == [{"width": 50, "height": 40, "pictures": 2}]
    assert values["mean_rgb"] == [20, 20, 20]
    assert values["std_rgb"] == [10, 10, 10]
    assert (values["labelled_pixels"], values["ignored_pixels"]) == (2 * 1800, 2 * 200)
    assert [(row["pixels"], row["pictures"]) for row in values["classes"]][:3] == [(1800, 1), (1800, 1), (0, 0)]


def test_splits_are_those_that_the_data_set_names(tmp_path):
    assert splits_of(DATASETS["camvid"], tmp_path) == SPLITS
    write_pairs(tmp_path / "own", {"train": 2, "holdout": 1})
    assert set(splits_of(DATASETS["folder"], tmp_path / "own")) == {"train", "holdout"}


# --- findings


def raised_codes() -> set[str]:
    """The codes that the readers of data sets give their errors, as they stand in the source."""
    folder = Path(checks.__file__).parents[1]
    trees = [ast.parse(path.read_text()) for part in ("files", "sets") for path in (folder / part).glob("*.py")]
    keywords = [
        node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "code"
    ]
    return {node.value for word in keywords for node in ast.walk(word.value) if isinstance(node, ast.Constant)} - {""}


def test_every_code_of_an_error_is_in_the_table():
    no_findings_of_their_own = {"folder-missing", "not-two-classes", "too-many-classes", "gaps", "palettes-differ"}
    no_findings_of_their_own |= {"unknown-name", "unwritable", "changed-data"}  # of options, caches, resumed runs
    no_findings_of_their_own |= {"no-fit"}  # of a network's classes
    codes = raised_codes()
    assert len(codes) > 15
    assert codes - set(CODES) - set(CAUSES) == no_findings_of_their_own
    assert set(CAUSES.values()) <= set(CODES)


def test_an_error_becomes_a_finding_by_its_fields():
    error = DataError("truncated picture (3 bytes)", fix="replace it", path="a/b.png", code="truncated")
    found = from_error(error, default="listing")
    assert (found.file, found.code, found.level) == ("a/b.png", "truncated", "error")
    assert found.message == "truncated picture (3 bytes); replace it"
    told = from_error(DataError("data set x: no pictures in y", code="empty-split"), default="listing")
    assert (told.file, told.code, told.message) == ("", "empty-split", "data set x: no pictures in y")
    odd = from_error(DataError("empty file", path="C: d.png", code="empty-file"), default="listing", file="C: d.png")
    assert (odd.file, odd.message) == ("C: d.png", "empty file")
    two = DataError("two files of one name 'a'", fix="remove one", path="b/a.png", other="a.png", code="duplicate-stem")
    assert str(from_error(two, default="listing")) == (
        "error: duplicate-stem: b/a.png: two files of one name 'a'; remove one (the other is a.png)"
    )
    unknown = from_error(DataError("odd", path="x", code="odd"), default="listing", file="mask.png")
    assert (unknown.file, unknown.code, unknown.message) == ("mask.png", "listing", "x: odd")


def test_killed_process_is_a_data_error(tmp_path):
    items = tuple(Item((tmp_path / f"{n}.jpg",), {"segmentation": tmp_path / f"{n}.png"}) for n in range(64))
    source = segmentation("many", "train", items, ("a",), ((0, 0, 0),), {0: 0})
    with pytest.raises(DataError, match="a checking process was killed"):
        survey(source, Findings(), workers=1, check=die)


def die(item, targets, main):
    os._exit(9)
