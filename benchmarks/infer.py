"""Pictures per second of `edgeailite infer` against a plain loop, and whether its memory stays where it is.

    python benchmarks/infer.py MODEL.onnx                              2,000 pictures, a video of 600 frames, 5 rounds
    python benchmarks/infer.py MODEL.onnx --images 40 --frames 20      a look

Pictures and video are street scenes made by the generator of `streets`; the scenes of a video are repeated back and
forth, so that few have to be made. 20 pictures (at most a tenth) are damaged: cut off, empty, text, a header alone.

- infer: `edgeailite infer` as it is, in this process: checks, names, resumable files, class shares, list of skips.
- plain: what people write: `read_image`, `label_picture`, `colorize`, `overlay`, three `cv2.imwrite`, one after the
  other, with the same network and threads and `except DataError: continue`. Both write labels, colours and overlay.

Rounds alternate which comes first, on `--part` of the pictures; the figure is the median of the rounds' ratios. Memory
is resident memory every 20 pictures (frames), from the first quarter on: a line through it, in KiB per picture.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from edgeailite.commands import infer
from edgeailite.config import InferConfig
from edgeailite.data.files.images import read_image
from edgeailite.data.streets.dataset import generate_scene
from edgeailite.drawing.plots import colorize, overlay
from edgeailite.environment import cpu_model
from edgeailite.errors import DataError
from edgeailite.inference import label
from edgeailite.inference.results import Results
from edgeailite.inference.video import Writer
from edgeailite.runs.open import OpenModel, open_model

DAMAGED = 20
SCENES = 100  # that are different
EVERY = 20
PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def main() -> None:
    """Print speed, memory, and what was skipped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--frames", type=int, default=600)
    parser.add_argument("--size", type=int, nargs=2, default=(256, 512), help="height and width of pictures and frames")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--part", type=int, default=200, help="pictures of a round")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"{cpu_model()}; {args.threads} threads; pictures {args.size[1]}x{args.size[0]}; {args.model.name}")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        scenes = list(_scenes(min(SCENES, args.images, 2 * args.frames or args.images), args.size))
        damaged = write_pictures(root / "all", scenes, args.images)
        write_pictures(root / "part", scenes, min(args.part, args.images), damage=False)
        compare(args.model, root, rounds=args.rounds, threads=args.threads)
        folder_of_pictures(args.model, root, damaged, threads=args.threads)
        if args.frames:
            video(args.model, root, scenes, args.frames, threads=args.threads)


def _scenes(count: int, size: Sequence[int]) -> Iterator[np.ndarray]:
    for index in range(count):
        yield generate_scene(7, index, height=size[0], width=size[1]).image


def write_pictures(folder: Path, scenes: list[np.ndarray], count: int, *, damage: bool = True) -> set[str]:
    """PNG and JPEG in turn, in folders of a hundred; gives the names of the damaged ones."""
    bad = {int(index) for index in np.linspace(0, count - 1, min(DAMAGED, count // 10))} if damage else set()
    names = set()
    for index in range(count):
        suffix = (".png", ".jpg")[index % 2]
        path = folder / f"{index // 100:03d}/{index:06d}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        data = cv2.imencode(suffix, scenes[index % len(scenes)][..., ::-1])[1].tobytes()
        if index in bad:
            data = _damage(data, len(names))
            names.add(path.name)
        path.write_bytes(data)
    return names


def _damage(data: bytes, way: int) -> bytes:
    ways = (
        b"",
        b"text",
        *(data[: len(data) * share // 100] for share in (10, 30, 50, 70, 99)),
        data[:20],
        b"\x89PNG\r\n\x1a\n" + data[8:40],
        data[:-2],
    )
    return ways[way % len(ways)]


def compare(model: Path, root: Path, *, rounds: int, threads: int) -> None:
    """Alternating rounds over the same pictures."""
    opened = open_model(model, device=torch.device("cpu"), threads=threads)
    pictures = sorted(path for path in (root / "part").rglob("*") if path.is_file())
    ways = {
        "infer": lambda: _infer(model, root / "part", root / "out", threads),
        "plain": lambda: _plain(opened, pictures, root / "part", root / "out"),
    }
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for name in ways:
        _timed(ways[name], root)
    for index in range(rounds):
        for name in sorted(ways, reverse=bool(index % 2)):
            speeds[name].append(len(pictures) / _timed(ways[name], root))
    ratios = [ours / plain for ours, plain in zip(speeds["infer"], speeds["plain"], strict=True)]
    for name, values in speeds.items():
        print(f"{name}: {statistics.median(values):.1f} pictures/s ({min(values):.1f} to {max(values):.1f})")
    print(f"infer / plain: {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}; {rounds} rounds)")


def _timed(action, root: Path) -> float:  # noqa: ANN001 - a function without arguments
    shutil.rmtree(root / "out", ignore_errors=True)
    began = time.perf_counter()
    seconds = action()
    return seconds or time.perf_counter() - began


def _infer(model: Path, source: Path, out: Path, threads: int, **more: object) -> float:
    """Seconds without opening the model, which the plain loop does once as well."""
    words = {"write": ("labels", "colors", "overlay", "shares"), "threads": threads, "device": "cpu", **more}
    opening = time.perf_counter()
    opened = open_model(model, device=torch.device("cpu"), threads=threads)
    opening = time.perf_counter() - opening
    original, label.open_model = label.open_model, lambda *_, **__: opened
    began = time.perf_counter()
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            infer.run(InferConfig(model, (source,), out, **words))
    finally:
        label.open_model = original
    return time.perf_counter() - began


def _plain(opened: OpenModel, pictures: list[Path], root: Path, out: Path) -> float:
    began = time.perf_counter()
    palette = opened.card.palette
    for path in pictures:
        try:
            image = read_image(path)
        except DataError:
            continue
        labels = label.label_picture(opened, image)
        colors = colorize(labels, palette)
        target = out / path.relative_to(root).with_suffix("")
        target.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(f"{target}_label.png", labels)
        cv2.imwrite(f"{target}_color.png", colors[..., ::-1])
        cv2.imwrite(f"{target}_overlay.png", overlay(image, colors, 0.5)[..., ::-1])
    return time.perf_counter() - began


class Memory:
    """Resident memory, noted at every so many rows that `infer` writes."""

    def __init__(self) -> None:
        self.notes: list[tuple[int, float]] = []
        self.count = 0

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Within it, `Results.done` notes the memory."""
        done = Results.done

        def noting(results: Results, *values: object) -> None:
            self.count += 1
            if self.count % EVERY == 0:
                self.notes.append((self.count, resident()))
            done(results, *values)  # type: ignore[arg-type]

        Results.done = noting  # type: ignore[method-assign]
        try:
            yield
        finally:
            Results.done = done  # type: ignore[method-assign]

    def line(self, what: str) -> str:
        """Slope from the first quarter on, and the largest value."""
        late = self.notes[len(self.notes) // 4 :]
        slope = float(np.polyfit(*zip(*late, strict=True), 1)[0]) if len(late) > 2 else float("nan")
        return f"memory: {slope:+.2f} KiB per {what}, largest {max(m for _, m in self.notes) / 1024:.0f} MiB"


def resident() -> float:
    """KiB, on Linux."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / 1024


def folder_of_pictures(model: Path, root: Path, damaged: set[str], *, threads: int) -> None:
    """The whole folder: memory, and whether exactly the damaged pictures were skipped."""
    memory = Memory()
    with memory.watching():
        seconds = _infer(model, root / "all", root / "everything", threads)
    listed = root / "everything/skipped.csv"
    with listed.open(newline="") if listed.exists() else io.StringIO() as file:
        skipped = {Path(row["input"]).name for row in csv.DictReader(file)}
    agree = "exactly those" if skipped == damaged else f"but {sorted(skipped ^ damaged)} differ"
    print(f"{memory.count} pictures in {seconds:.1f} s; {len(damaged)} damaged, {len(skipped)} skipped: {agree}")
    if memory.notes:
        print(memory.line("picture"))


def video(model: Path, root: Path, scenes: list[np.ndarray], frames: int, *, threads: int) -> None:
    """A video: frames per second, and memory."""
    writer = Writer(root / "film.mp4", 25)
    order = [*range(len(scenes)), *reversed(range(len(scenes)))]
    for index in range(frames):
        writer.add(scenes[order[index % len(order)]])
    writer.finish()
    memory = Memory()
    with memory.watching():
        seconds = _infer(model, root / "film.mp4", root / "film", threads, smooth=0.5)
    print(f"video: {memory.count} frames in {seconds:.1f} s, {memory.count / seconds:.1f} per second, smoothed")
    if memory.notes:
        print(memory.line("frame"))


if __name__ == "__main__":
    main()
