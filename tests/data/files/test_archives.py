"""Archives that attack, lie, or are cut: nothing is written outside, nothing half is left."""

import io
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgeailite.data.files import archives
from edgeailite.data.files.archives import ArchiveError, install, install_file
from edgeailite.errors import DataError

ROOT = Path(__file__).resolve().parents[2]
MOVES = (("set/images", "images"), ("set/labels", "labels"))
FILES = {"set/images/a.jpg": b"a" * 3000, "set/labels/a.png": b"b" * 10, "set/readme.txt": b"no", "other/x": b"x"}


def zip_of(path: Path, files: dict[str, bytes], *, links: dict[str, str] | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
        for name, target in (links or {}).items():
            info = zipfile.ZipInfo(name)
            info.external_attr = 0o120777 << 16
            packed.writestr(info, target)
    return path


def tar_of(path: Path, files: dict[str, bytes], *extra: tarfile.TarInfo, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as rolled:
        for info in extra:
            rolled.addfile(info)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            rolled.addfile(info, io.BytesIO(content))
    return path


def entry(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() or path.is_symlink()}


def refused(archive: Path, root: Path, match: str) -> None:
    """The archive is refused, and neither the root nor the folder around it has a new file."""
    around = {path for path in root.parent.rglob("*") if not path.is_relative_to(root)}
    with pytest.raises(ArchiveError, match=match) as caught:
        install(archive, root, MOVES)
    assert str(archive) in str(caught.value)
    assert list(root.iterdir()) == []
    assert {path for path in root.parent.rglob("*") if not path.is_relative_to(root)} == around


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.xz"])
def test_wanted_parts_are_unpacked_and_nothing_else(kind, tmp_path):
    path, seen = tmp_path / f"a.{kind}", []
    archive = zip_of(path, FILES) if kind == "zip" else tar_of(path, FILES, mode=f"w:{kind[4:]}")
    install(archive, tmp_path / "root", MOVES, advance=lambda done, total: seen.append((done, total)))
    assert below(tmp_path / "root") == {"images/a.jpg", "labels/a.png"}
    assert (tmp_path / "root/images/a.jpg").read_bytes() == FILES["set/images/a.jpg"]
    assert seen[-1] == (3010, 3010)


def test_what_is_there_is_left(tmp_path):
    archive = zip_of(tmp_path / "a.zip", FILES)
    (tmp_path / "root/images").mkdir(parents=True)
    (tmp_path / "root/images/own.jpg").write_text("mine")
    install(archive, tmp_path / "root", MOVES)
    assert below(tmp_path / "root") == {"images/own.jpg", "labels/a.png"}
    install(tmp_path / "not needed any more.zip", tmp_path / "root", MOVES)


def test_leading_dot_and_windows_separators(tmp_path):
    archive = tar_of(tmp_path / "a.tar", {"./set/images/a.jpg": b"a", "set\\labels\\a.png": b"b"})
    install(archive, tmp_path / "root", MOVES)
    assert below(tmp_path / "root") == {"images/a.jpg", "labels/a.png"}


NAMES = ["../evil", "set/images/../../../evil", "/tmp/evil", "C:\\evil", "set\\..\\..\\evil", "\\\\host\\evil", "a\nb"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("make", [zip_of, tar_of])
def test_name_that_leaves_the_folder(make, name, tmp_path):
    """Zip-slip: also where the member is none of those wanted."""
    refused(make(tmp_path / "a", FILES | {name: b"evil"}), tmp_path / "root", "outside of the folder")


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../secret", "a.jpg"])
def test_links_are_refused(target, tmp_path):
    root = tmp_path / "root"
    refused(zip_of(tmp_path / "a.zip", FILES, links={"set/images/l.jpg": target}), root, "is a link")
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        refused(tar_of(tmp_path / "a.tar", FILES, entry("set/images/l.jpg", kind, target)), root, "is a link")


def test_folder_that_is_a_link_is_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    wanted = tar_of(tmp_path / "a.tar", FILES, entry("set/images", tarfile.SYMTYPE, str(outside)))
    refused(wanted, tmp_path / "root", "is a link")
    above = tar_of(tmp_path / "b.tar", FILES, entry("set", tarfile.SYMTYPE, str(outside)))
    install(above, tmp_path / "root", MOVES)  # never written, so never followed
    assert list(outside.iterdir()) == []
    assert not (tmp_path / "root/images").is_symlink()


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_are_refused(kind, tmp_path):
    refused(tar_of(tmp_path / "a.tar", FILES, entry("set/images/d", kind)), tmp_path / "root", "is a device")


def test_file_that_is_there_twice(tmp_path):
    path = tar_of(tmp_path / "a.tar", FILES)
    with tarfile.open(path, "a") as rolled:
        rolled.addfile(entry("set/images/a.jpg", tarfile.REGTYPE))
    refused(path, tmp_path / "root", "twice")


def test_file_and_folder_of_one_name(tmp_path):
    archive = zip_of(tmp_path / "a.zip", FILES | {"set/images/a.jpg/b": b"", "set/images/a.jpg/c/d": b""})
    refused(archive, tmp_path / "root", "twice|one name")


def test_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "SLACK", 0)
    archive = zip_of(tmp_path / "a.zip", {"set/images/a.jpg": bytes(10**6), "set/labels/a.png": b""})
    refused(archive, tmp_path / "root", "would unpack to 1000000 bytes")


def test_bomb_among_what_is_not_wanted(tmp_path):
    """A packed tar is unpacked to be read: what lies before the wanted files counts, too."""
    huge = tarfile.TarInfo("unwanted")
    huge.size = 10**12
    archive = tar_of(tmp_path / "a.tar.gz", FILES, huge, mode="w:gz")
    refused(archive, tmp_path / "root", "refused, it would unpack to 1000000000000 bytes")


@pytest.mark.parametrize("size", [10, 10**6])
def test_member_with_a_lying_size(size, tmp_path):
    path = zip_of(tmp_path / "a.zip", FILES)
    true, false = (3000).to_bytes(4, "little"), size.to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(true, false))
    refused(path, tmp_path / "root", "damaged or cut short")


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_archive_cut_short(kind, share, tmp_path):
    path = tmp_path / f"a.{kind}"
    files = FILES | {f"set/images/{number}.jpg": os.urandom(2000) for number in range(20)}
    archive = zip_of(path, files) if kind == "zip" else tar_of(path, files, mode=f"w:{kind[4:]}")
    os.truncate(archive, int(archive.stat().st_size * share))
    refused(archive, tmp_path / "root", "cut short")


def test_tar_cut_between_two_members(tmp_path):
    """To tarfile, this is a whole archive of one member."""
    path = tar_of(tmp_path / "a.tar", {"set/images/a.jpg": b"a" * 512, "set/labels/a.png": b"b" * 512})
    os.truncate(path, 1024)
    refused(path, tmp_path / "root", "the end of the archive is missing")


def test_flipped_byte(tmp_path):
    path = zip_of(tmp_path / "a.zip", {"set/images/a.jpg": os.urandom(3000), "set/labels/a.png": b""})
    content = bytearray(path.read_bytes())
    content[1500] ^= 255
    path.write_bytes(content)
    refused(path, tmp_path / "root", "damaged")


def test_encrypted_zip(tmp_path):
    path = zip_of(tmp_path / "a.zip", FILES)
    content = path.read_bytes()
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        where = content.index(mark) + at
        content = content[:where] + b"\x01" + content[where + 1 :]
    path.write_bytes(content)
    refused(path, tmp_path / "root", "encrypted")


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><title>Sign in</title>", b"\n<html>", b"", b"plain"])
def test_no_archive(content, tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    match = "a web page, perhaps of a sign-in" if b"html" in content.lower() else "no zip or tar archive"
    refused(path, tmp_path / "root", match)


def test_archive_of_something_else(tmp_path):
    refused(zip_of(tmp_path / "a.zip", {"set/images/a.jpg": b""}), tmp_path / "root", "has no set/labels")


# --- the folder


def test_little_space_is_said_before(tmp_path, monkeypatch):
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda path: SimpleNamespace(free=9))
    with pytest.raises(DataError, match=r"needs 0\.0 GB and 0\.0 GB are free"):
        install(zip_of(tmp_path / "a.zip", FILES), tmp_path / "root", MOVES)
    assert below(tmp_path / "root") == set()


def test_full_disk(tmp_path):
    """A limit on file sizes stands for the full disk; in a process of its own."""
    archive = zip_of(tmp_path / "a.zip", FILES | {"set/images/z.jpg": os.urandom(10**6)})
    code = (
        "import resource, signal, sys; from pathlib import Path; from edgeailite.errors import DataError\n"
        "from edgeailite.data.files.archives import install\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))\n"
        f"try: install(Path(sys.argv[1]), Path(sys.argv[2]), {MOVES})\n"
        "except DataError as error: print(error)\n"
    )
    words = [sys.executable, "-c", code, str(archive), str(tmp_path / "root")]
    out = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "cannot be written (File too large); free disk space" in out
    assert list((tmp_path / "root").iterdir()) == []


def test_root_that_is_a_file(tmp_path):
    (tmp_path / "root").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        install(zip_of(tmp_path / "a.zip", FILES), tmp_path / "root", MOVES)


def test_killed_process_leaves_nothing_that_looks_whole(tmp_path, monkeypatch):
    archive, root = zip_of(tmp_path / "a.zip", FILES), tmp_path / "root"

    def killed(*_) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(archives, "_write", killed)
        patched.setattr(archives, "_remove", lambda part: None)  # as if it had no time to
        with pytest.raises(KeyboardInterrupt):
            install(archive, root, MOVES)
    assert [path.name for path in root.iterdir()] == [archives.PART]
    install(archive, root, MOVES)
    assert below(root) == {"images/a.jpg", "labels/a.png"}


def test_two_processes_at_once(tmp_path):
    files = FILES | {f"set/images/{number}.jpg": os.urandom(20_000) for number in range(200)}
    archive, root = zip_of(tmp_path / "a.zip", files), tmp_path / "root"
    code = "import sys; from pathlib import Path; from edgeailite.data.files.archives import install\n"
    code += f"install(Path(sys.argv[1]), Path(sys.argv[2]), {MOVES})"
    words = [sys.executable, "-c", code, str(archive), str(root)]
    both = [subprocess.Popen(words, cwd=ROOT) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    assert len(below(root)) == 202


def test_single_file(tmp_path):
    (tmp_path / "list").write_text("a\n")
    install_file(tmp_path / "list", tmp_path / "root", "sets/list.txt")
    (tmp_path / "list").write_text("b\n")
    install_file(tmp_path / "list", tmp_path / "root", "sets/list.txt")
    assert below(tmp_path / "root") == {"sets/list.txt"}
    assert (tmp_path / "root/sets/list.txt").read_text() == "a\n"
