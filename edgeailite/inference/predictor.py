"""One network that labels pictures: what `infer` runs on one machine, and what each worker of a job runs.

Batches are dicts of columns, as Ray Data's `map_batches(batch_format="numpy")` hands them over; nothing here needs Ray.
So both ways give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeailite.config import Weights
from edgeailite.data.files.images import decode_image
from edgeailite.data.parallel_map import parallel_map
from edgeailite.environment import machine_arithmetic
from edgeailite.errors import DataError, UsageError
from edgeailite.evaluation import only, results_at
from edgeailite.files import sha256_of
from edgeailite.inference.drawing import Output, outputs_of, stored
from edgeailite.inference.labels import original_values
from edgeailite.inference.manifest import FIELDS, Entry, labels_sha256
from edgeailite.inference.pictures import Image, as_input, encoded, shares_of
from edgeailite.inference.whole_pictures import class_numbers, whole_outputs
from edgeailite.inference.writing import is_result
from edgeailite.runs.open import OpenModel, open_model
from edgeailite.runs.weights import chosen_weights

Batch = dict[str, NDArray[Any]]
Encoded = tuple[str, bytes, str]  # name, bytes of the file, problem
Decoded = tuple[str, str, Image | None, tuple[Any, ...], str]  # name, hash, picture, the network's inputs, problem
Predicted = tuple[str, str, Image | None, dict[str, Any], str]  # name, hash, picture, the network's outputs, problem
RESULT = "an earlier result of infer, not a picture"
MOST_TOGETHER = 16  # pictures that a thread takes at a time
BYTES_TOGETHER = 1 << 16  # of their files: no format of ours unpacks to more than some thousand times as much


@dataclass(frozen=True)
class Labelled:
    """A picture's results: `files` are PNGs by "label.png", "color.png", ...; `problem` is why there are none.

    `shares` are those of all outputs with classes; `size` is the picture's (height, width), (0, 0) with a problem.
    """

    entry: Entry
    size: tuple[int, int] = (0, 0)
    shares: tuple[float, ...] = ()
    files: Mapping[str, bytes] | None = None
    problem: str = ""

    def failed(self, problem: str) -> Labelled:
        """Return the picture without results, for this reason."""
        return Labelled(replace(self.entry, labels=""), problem=problem)


class Predictor:
    """Labels pictures with one opened network. Raises DataError or UsageError if it cannot be opened.

    `model` is a run folder, a checkpoint or an exported file. `write` has kinds of PNGs: labels, colors, overlay,
    side_by_side. `original_ids` writes the data set's own label values, which are found with `data_path`.

    >>> predictor = Predictor(Path("runs/night/model.onnx"), write=("labels",))
    >>> picture = next(Path("data/night/leftImg8bit/val").rglob("*.png")).read_bytes()
    >>> found = predictor({"name": np.array(["a"]), "bytes": np.array([picture], object)})
    >>> str(found["problem"][0]), len(found["labels"][0]), found["label.png"][0][:4]
    ('', 64, b'\\x89PNG')
    """

    def __init__(
        self,
        model: Path,
        *,
        write: Sequence[str] = ("labels",),
        alpha: float = 0.5,
        weights: Weights = "best",
        device: str = "cpu",
        threads: int | None = None,
        runtime: str = "onnxruntime",
        original_ids: bool = False,
        data_path: Path | None = None,
    ) -> None:
        self.opened: OpenModel = open_model(
            chosen_weights(model, weights), device=device, threads=threads, runtime=runtime
        )
        values = original_values(self.opened.card, data_path) if original_ids else {}
        self.outputs: tuple[Output, ...] = outputs_of(self.opened.card, values)
        self.whole = whole_outputs(self.opened.card)
        answered = [*(output.key for output in self.outputs), *(output.key for output in self.whole)]
        self.opened = replace(self.opened, predict=only(self.opened.predict, answered))
        self.kinds, self.alpha = tuple(write), alpha
        self.model_sha256 = sha256_of(self.opened.file)
        self.arithmetic = arithmetic_name(self.opened, runtime)

    def found(self, outputs: Mapping[str, Any], size: tuple[int, int]) -> dict[str, NDArray[Any]]:
        """Return what the network answered for one picture: maps at `size`, classes of the whole picture (1,1)."""
        maps = {output.key: outputs[output.key] for output in self.outputs}
        return results_at(maps, size) | class_numbers(self.whole, outputs)

    def entry(self, name: str, input_sha256: str, results: Mapping[str, NDArray[Any]] | None) -> Entry:
        """Return the manifest's line of a picture with these results; None: it could not be labelled."""
        labels = ""
        if results is not None:
            maps = {output.key: stored(output, results[output.key]) for output in self.outputs}
            labels = labels_sha256(maps | {output.key: results[output.key] for output in self.whole})
        return Entry(name, input_sha256, labels, self.model_sha256, self.arithmetic)

    def labelled(self, pictures: Iterable[Encoded]) -> Iterator[Labelled]:
        """Label encoded pictures (name, bytes, problem), in order; a problem that is given is handed on.

        A picture that cannot be read gives a problem. Raises DataError where the network itself fails.
        """
        streams = len(self.opened.card.inputs)
        if streams != 1:
            raise UsageError(
                f"the network takes {streams} pictures at a time, encoded pictures come alone", code="no-fit"
            )
        for group in parallel_map(self._encoded_group, self._predicted(pictures)):
            yield from group

    def __call__(self, batch: Batch) -> Batch:
        """Label a batch with columns `name` (N,) str and `bytes` (N,) object, encoded pictures; in the same order.

        An optional column `problem` (N,) str says of a row why its bytes are none. Returns `name`, `input` and `labels`
        (sha256; "" if there is none), `model`, `arithmetic`, `problem`, `height`, `width`, `shares`, and a column of
        PNG bytes for each file.
        """
        problems = batch["problem"] if "problem" in batch else [""] * len(batch["name"])
        rows = zip(map(str, batch["name"]), batch["bytes"], map(str, problems), strict=True)
        return self.columns(list(self.labelled(rows)))

    def columns(self, rows: Sequence[Labelled]) -> Batch:
        """Return results as columns."""
        found: Batch = {key: np.array([getattr(row.entry, key) for row in rows], object) for key in FIELDS}
        found["problem"] = np.array([row.problem for row in rows], object)
        for place, key in enumerate(("height", "width")):
            found[key] = np.array([row.size[place] for row in rows], np.int64)
        found["shares"] = np.empty(len(rows), object)
        found["shares"][:] = [np.array(row.shares, np.float64) for row in rows]
        for key in self.files:
            found[key] = np.array([(row.files or {}).get(key, b"") for row in rows], object)
        return found

    @property
    def files(self) -> list[str]:
        """Return the names of a picture's files after its own name: "label.png", or "OUTPUT_label.png" of several."""
        return [output.file_of(kind) for output in self.outputs for kind in self.kinds]

    def _predicted(self, pictures: Iterable[Encoded]) -> Iterator[list[Predicted]]:
        for group in parallel_map(self._decoded_group, small_together(pictures)):
            yield [
                (name, digest, image, {} if image is None else self.opened.predict(inputs), problem)
                for name, digest, image, inputs, problem in group
            ]

    def _decoded_group(self, rows: Sequence[Encoded]) -> list[Decoded]:
        return [self._decoded(row) for row in rows]

    def _encoded_group(self, rows: Sequence[Predicted]) -> list[Labelled]:
        return [self._encoded(row) for row in rows]

    def _decoded(self, row: Encoded) -> Decoded:
        name, data, problem = row
        if problem:
            return name, "", None, (), problem
        digest = sha256_of(data)
        if is_result(data):
            return name, digest, None, (), RESULT
        try:
            image = decode_image(Path(name), data)
            return name, digest, image, (as_input(image, self.opened.card.preprocessing),), ""
        except DataError as error:
            return name, digest, None, (), str(error)

    def _encoded(self, row: Predicted) -> Labelled:
        name, digest, image, outputs, problem = row
        if image is None:
            return Labelled(self.entry(name, digest, None), problem=problem)
        size = image.shape[0], image.shape[1]
        results = self.found(outputs, size)
        files = {
            output.file_of(kind): data
            for output, kind, data in encoded(self.outputs, self.kinds, image, results, alpha=self.alpha)
        }
        return Labelled(self.entry(name, digest, results), size, tuple(shares_of(self.outputs, results)), files)


def small_together(
    pictures: Iterable[Encoded], *, most: int = MOST_TOGETHER, size: int = BYTES_TOGETHER
) -> Iterator[list[Encoded]]:
    """Yield pictures in groups, in order: handing a small picture to a thread costs as much as decoding it.

    A group has at most `most` pictures and ends with the one that brings its files to `size` bytes; so large pictures
    come alone, and few of them are in memory.

    >>> [len(group) for group in small_together([("a", b"123", ""), ("b", b"1", ""), ("c", b"", "")], size=4)]
    [2, 1]
    """
    group: list[Encoded] = []
    together = 0
    for picture in pictures:
        group.append(picture)
        together += len(picture[1])
        if len(group) >= most or together >= size:
            yield group
            group, together = [], 0
    if group:
        yield group


def arithmetic_name(opened: OpenModel, runtime: str) -> str:
    """Name the arithmetic that computes an opened model here: a row of `quantization.arithmetic` where it is one.

    Float networks and networks in torch have none; their runtime is named, and other machines may round differently.
    """
    if opened.arithmetic is not None:
        return opened.arithmetic
    if opened.kind == "tflite":
        return "xnnpack" if opened.number_type == "int8" else "float litert"
    if opened.kind != "onnx":
        return f"{opened.kind} torch"
    if runtime == "openvino" or opened.number_type != "int8":
        return f"{opened.number_type} {runtime}"
    return machine_arithmetic()
