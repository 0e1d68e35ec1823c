"""Label what a camera sees, a video or a folder of pictures: numpy, onnxruntime and OpenCV, nothing of edgeailite.

python camera.py model_int8.onnx 0                     # camera 0, in a window; q ends
python camera.py model_int8.onnx drive.mp4 --save out  # every frame with its classes in colour, as out/000000.jpg ...
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime

EXACT_SUMS = {"session.x64quantprecision": "1"}  # heeded on x86 alone; needed there without VNNI
BACKGROUND = ("background", "bg", "void", "unlabelled", "unlabeled", "ignored", "ignore")  # names of classes


def frames(source: str) -> Iterator[Any]:
    """Yield pictures (H,W,3) BGR: of a folder in the order of names, else of a camera's number or a video."""
    if Path(source).is_dir():
        yield from (image for path in sorted(Path(source).iterdir()) if (image := cv2.imread(str(path))) is not None)
        return
    capture = cv2.VideoCapture(int(source) if source.isdigit() else source)
    while (read := capture.read())[0]:
        yield read[1]


def network_input(frame: Any, about: dict[str, str]) -> Any:
    """Resize and normalise a picture as in training; the file's metadata says how."""
    height, width = map(int, about["input_size"].split("x"))
    shrinks = height < frame.shape[0] or width < frame.shape[1]
    rule = cv2.INTER_AREA if about["interpolation"] == "area" and shrinks else cv2.INTER_LINEAR_EXACT
    image = cv2.resize(frame, (width, height), interpolation=rule) if frame.shape[:2] != (height, width) else frame
    image = image if about["channel_order"] == "BGR" else image[..., ::-1]
    mean, scale = (np.array(json.loads(about[name]), np.float32) for name in ("mean", "scale"))
    return np.ascontiguousarray(((image.astype(np.float32) - mean) * scale).transpose(2, 0, 1)[None])


def overlay(frame: Any, labels: Any, about: dict[str, str]) -> Any:
    """Draw the classes in their colours over a picture (H,W,3) BGR; background stays as it is: so named, or black."""
    palette = np.array(json.loads(about["palette"]), np.uint8)[:, ::-1]  # RGB -> BGR
    plain = ~palette.any(1)
    plain[[index for index, name in enumerate(about["classes"].split(",")) if name.lower() in BACKGROUND]] = True
    shown = cv2.addWeighted(frame, 0.5, palette[labels], 0.5, 0)
    return np.where(plain[labels][..., None], frame, shown)


def opened(model: str, threads: int, *, exact: bool = True) -> onnxruntime.InferenceSession:
    """Open a file, with the session entries that its metadata asks for, else those of exact sums."""

    def session(entries: dict[str, str]) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        for key, value in entries.items():
            options.add_session_config_entry(key, value)
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    plain = session({})
    asked = json.loads(plain.get_modelmeta().custom_metadata_map.get("edgeailite.session", "{}"))
    entries = asked or (EXACT_SUMS if exact else {})
    return session(entries) if entries else plain


def main() -> None:
    """Read the command line, then label frame after frame."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="exported .onnx file of a network that takes one picture")
    parser.add_argument("source", help="number of a camera, video file, or folder of pictures")
    parser.add_argument("--save", type=Path, help="folder for the pictures, instead of a window")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; default all")
    parser.add_argument("--fast", action="store_true", help="x86: faster, but labels change on CPUs without VNNI")
    words = parser.parse_args()
    session = opened(words.model, words.threads, exact=not words.fast)
    about = session.get_modelmeta().custom_metadata_map
    for index, frame in enumerate(frames(words.source)):
        began = time.perf_counter()
        result = session.run(None, {"image": network_input(frame, about)})[0][0]  # of several outputs the first
        labels = (result.argmax(0) if result.ndim == 3 else result).astype(np.uint8)
        labels = cv2.resize(labels, frame.shape[1::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        shown = overlay(frame, labels, about)
        print(f"frame {index}: {1000 * (time.perf_counter() - began):.1f} ms", flush=True)
        if words.save:
            words.save.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(words.save / f"{index:06d}.jpg"), shown)
        else:
            cv2.imshow("q ends", shown)
            if cv2.waitKey(1) == ord("q"):
                return


if __name__ == "__main__":
    main()
