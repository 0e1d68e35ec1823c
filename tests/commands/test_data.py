"""`edgeailite data …`: the group, the doctor's text, JSON, page and lists, the numbers, the contact sheet."""

import json
import os
import re

import numpy as np
import pytest

from edgeailite import config as configs
from edgeailite.data.files.images import read_image, write_png
from edgeailite.errors import UsageError
from edgeailite.verbs import VERBS
from tests.data.corruption import WAYS, change_picture, encoded, mask, picture, smooth

H, W = 48, 64
STEMS = ("a <b>&x", "b x", "c x")


@pytest.fixture
def data(tmp_path):
    """Three training and two validation pictures in CamVid's layout, without a fault; one name needs escaping."""
    label = np.arange(W, dtype=np.uint8)[None].repeat(H, 0) // 6
    for split, stems in (("train", STEMS), ("val", ("d x", "e x"))):
        for seed, stem in enumerate(stems, 10 * len(split)):
            write_png(mask(tmp_path / "data", split, stem), label)
            path = picture(tmp_path / "data", split, stem)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(".jpg", smooth(H, W, seed)))
    return tmp_path / "data"


def words(verb: str, data, *more: object) -> list[object]:
    return ["data", verb, "--dataset_name", "camvid", "--data_path", data, *more]


# --- the group


def test_group_lists_its_verbs(command):
    listed = command("data", "--help")
    assert (listed.code, listed.err) == (0, "")
    assert [verb for verb in VERBS if verb.startswith("data ")]
    for verb in (verb for verb in VERBS if verb.startswith("data ")):
        assert re.search(rf"^  {verb} +{re.escape(VERBS[verb].line)}$", listed.out, re.MULTILINE)
    alone = command("data")
    assert (alone.code, alone.out) == (2, listed.out)
    assert "data check" in command("--help").out


def test_unknown_verb_of_the_group(command):
    ended = command("data", "chek")
    assert ended.code == 2
    assert "unknown verb 'data chek'; did you mean data check?" in ended.err


WRONG = [
    ("DataCheckConfig", "workers", -1),
    ("DataCheckConfig", "show", -1),
    ("DataShowConfig", "images", 0),
    ("DataShowConfig", "columns", 0),
    ("DataShowConfig", "width", 8),
    ("DataShowConfig", "alpha", 1.5),
    ("DataShowConfig", "seed", -1),
    ("DataShowConfig", "img_resize", (8, 64)),
    ("DataStatsConfig", "workers", -1),
]


@pytest.mark.parametrize("kind, option, value", WRONG, ids=[f"{k}-{o}" for k, o, _ in WRONG])
def test_wrong_values(kind, option, value):
    with pytest.raises(UsageError, match=re.escape(f"--{option} {value}: expected ")):
        getattr(configs, kind)(**{option: value})


# --- check


def test_clean_data_set(command, data):
    ended = command(*words("check", data))
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[-1] == "data check: camvid, 5 pictures: 0 errors, 0 warnings, 1 note"
    assert "split train: 3 pictures, 64x48 (3)" in ended.out
    assert re.search(r"^  Sky +\d+ +9\.375 +3 ", ended.out, re.MULTILINE)


def test_exit_code_follows_the_worst_finding(command, data):
    WAYS["B nothing labelled"](data, "train", "b x")
    assert command(*words("check", data)).code == 1
    WAYS["A empty picture"](data, "train", "c x")
    assert command(*words("check", data)).code == 3
    assert command(*words("check", data, "--split", "val")).code == 0


def test_text_shows_a_few_of_each_kind(command, data):
    for stem in STEMS:
        WAYS["A EXIF orientation 6"](data, "train", stem)
    ended = command(*words("check", data, "--show", 1))
    assert "warning: exif-rotated: a picture that is to be shown turned, and is used as stored (3)" in ended.out
    assert ended.out.count("EXIF orientation 6 is not applied") == 1
    assert "  … and 2 more" in ended.out
    assert command(*words("check", data, "--show", 0)).out.count("EXIF orientation 6 is not applied") == 3


def test_split_that_cannot_be_opened_is_said_to_hide_the_rest(command, data):
    (data / "classes.txt").write_text("\n")
    ended = command("data", "check", "--dataset_name", "folder", "--data_path", data)
    assert ended.code == 3
    assert ended.out.count("classes.txt: an empty list; write one name a line") == 1
    assert "split val: not opened; repair the above, then check again for the rest" in ended.out
    assert ended.out.splitlines()[-1] == "data check: folder, 0 pictures: 1 error, 0 warnings, 0 notes"
    values = json.loads(command("data", "check", "--dataset_name", "folder", "--data_path", data, "--json", True).out)
    assert set(values["not_opened"]) >= {"train", "val"}


def test_json_holds_everything(command, data):
    file, code = WAYS["B label 34"](data, "train", "b x")
    values = json.loads(command(*words("check", data, "--json", True)).out)
    assert (values["errors"], values["warnings"], values["counts"][code]) == (1, 0, 1)
    found = next(finding for finding in values["findings"] if finding["code"] == code)
    assert (found["level"], found["file"]) == ("error", str(file))
    assert values["splits"]["train"]["with_errors"] == 1
    assert [row["name"] for row in values["splits"]["val"]["classes"]][:2] == ["Sky", "Building"]


def test_page_is_one_file_with_escaped_names_and_the_worst_first(command, data, tmp_path):
    WAYS["B nothing labelled"](data, "train", "b x")
    WAYS["B label 34"](data, "train", STEMS[0])
    WAYS["A empty picture"](data, "train", "c x")
    page = tmp_path / "pages" / "check.html"
    ended = command(*words("check", data, "--html", page))
    text = page.read_text()
    assert (ended.code, ended.err) == (3, f"page: {page}\n")
    assert "a &lt;b&gt;&amp;x.png" in text
    assert "<b>&x" not in text
    assert not re.search(r"""(src|href)=["'](?!data:)|<script|@import|url\(""", text)
    assert text.count('<img src="data:image/jpeg;base64,') == 5  # the empty picture has a mask only
    heads = re.findall(r"<h3>(\w+)/(\w+)/(.*)</h3>", text)
    assert heads[-1] == ("labels", "train", "b x.png")  # a warning, after both errors
    assert "label 34 (6 pixels, first at x=3 y=2)" in text
    assert 'class="bar" style="width:100' in text


def test_page_that_cannot_be_written(command, data, tmp_path):
    (tmp_path / "file").touch()
    ended = command(*words("check", data, "--html", tmp_path / "file" / "check.html"))
    assert ended.code == 3
    assert "cannot be written" in ended.err


def test_fix_writes_lists_and_touches_no_data(command, data, tmp_path):
    WAYS["C missing mask"](data, "train", "b x")
    WAYS["A picture cut at 50 %"](data, "train", "c x")
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    ended = command(*words("check", data, "--fix", "list", "--output", tmp_path / "lists"))
    assert ended.code == 3
    assert (tmp_path / "lists/train.txt").read_text() == "images/train/a <b>&x.jpg labels/train/a <b>&x.png\n"
    lines = [f"images/val/{name} x.jpg labels/val/{name} x.png" for name in "de"]
    assert (tmp_path / "lists/val.txt").read_text().splitlines() == lines
    assert {path: path.read_bytes() for path in data.rglob("*") if path.is_file()} == before
    again = command(*words("check", data, "--fix", "list", "--output", tmp_path / "lists"))
    assert again.code == 2
    assert "train.txt is there already" in again.err


def test_unknown_names_and_folders(command, data, tmp_path):
    ended = command("data", "check", "--dataset_name", "camwid")
    assert (ended.code, "unknown data set; did you mean camvid?" in ended.err) == (2, True)
    ended = command(*words("check", tmp_path / "gone"))
    assert (ended.code, "does not exist; set --data_path" in ended.err) == (3, True)
    ended = command(*words("check", data, "--split", "dev"))
    assert (ended.code, "--split dev: camvid has train, val, test" in ended.err) == (2, True)


def test_names_that_are_no_text(command, data, tmp_path):
    """A name in another encoding than the system's, of a file with a fault: in text, JSON, page and list."""
    stem = os.fsdecode(b"caf\xe9 x")
    for path in (picture(data, "train", "b x"), mask(data, "train", "b x")):
        path.rename(path.with_name(stem + path.suffix))
    WAYS["A EXIF orientation 6"](data, "train", stem)
    flags = ("--html", tmp_path / "check.html", "--fix", "list", "--output", tmp_path / "lists")
    ended = command(*words("check", data, *flags))
    assert (ended.code, "caf\\udce9 x.jpg: EXIF orientation 6" in ended.out) == (1, True)
    assert b"images/train/caf\xe9 x.jpg labels/train/caf\xe9 x.png\n" in (tmp_path / "lists/train.txt").read_bytes()
    assert json.loads(command(*words("check", data, "--json", True)).out)["warnings"] == 1


# --- stats


def test_stats(command, data):
    values = json.loads(command(*words("stats", data, "--json", True, "--split", "train")).out)["splits"]["train"]
    stored = np.stack([read_image(path) for path in (data / "images/train").iterdir()]).reshape(-1, 3)
    assert values["mean_rgb"] == pytest.approx(stored.mean(0), abs=0.001)
    assert values["std_rgb"] == pytest.approx(stored.std(0), abs=0.001)
    sky = values["classes"][0]
    assert (sky["pixels"], sky["pictures"], sky["weight_median_frequency"]) == (3 * 6 * H, 3, 1.0)
    assert sky["weight_enet"] == pytest.approx(1 / np.log(1.02 + 6 / 64), abs=1e-4)


def test_stats_of_what_can_be_read(command, data):
    change_picture("", lambda content: content[:50])(data, "train", "b x")
    ended = command(*words("stats", data))
    assert ended.code == 1
    assert "split train: 3 pictures, 64x48 (2)" in ended.out
    assert "warning: 1 errors, first: error: truncated: " in ended.err


def test_stats_of_nothing(command, tmp_path):
    (tmp_path / "images" / "train").mkdir(parents=True)
    (tmp_path / "labels" / "train").mkdir(parents=True)
    ended = command("data", "stats", "--dataset_name", "camvid", "--data_path", tmp_path, "--split", "train")
    assert ended.code == 3
    assert "no pictures" in ended.err


# --- show


def test_contact_sheet(command, data, tmp_path):
    out = tmp_path / "sheet.png"
    ended = command(*words("show", data, "--output", out, "--columns", 2, "--width", 64, "--alpha", 0.0))
    assert ended.code == 0
    sheet = read_image(out)
    tiles = 2 * (H + 4) + 4
    assert sheet.shape[0] > tiles and sheet.shape[1:] == (2 * (W + 4) + 4, 3)
    assert (sheet[tiles:] != 255).any()  # the legend
    assert np.array_equal(sheet[4 : 4 + H, 4 : 4 + W], read_image(picture(data, "train", STEMS[0])))
    assert (sheet[:4] == 255).all()


def test_same_seed_same_sheet_and_views_of_the_training(command, data, tmp_path):
    flags = ("--images", 2, "--width", 64, "--augment", True, "--img_resize", 48, 64)
    sheets = []
    for number, seed in enumerate((1, 1, 2)):
        out = tmp_path / f"{number}.png"
        assert command(*words("show", data, "--output", out, "--seed", seed, *flags)).code == 0
        sheets.append(out.read_bytes())
    assert sheets[0] == sheets[1] != sheets[2]


def test_sheet_of_what_can_be_read(command, data, tmp_path):
    WAYS["A empty picture"](data, "train", "b x")
    ended = command(*words("show", data, "--output", tmp_path / "sheet.png"))
    assert ended.code == 1
    assert "skipped" in ended.err
    assert "empty file" in ended.err
    for stem in (STEMS[0], "c x"):
        WAYS["A empty picture"](data, "train", stem)
    ended = command(*words("show", data, "--output", tmp_path / "sheet.png"))
    assert ended.code == 3
    assert "none of 3 pictures can be shown" in ended.err
