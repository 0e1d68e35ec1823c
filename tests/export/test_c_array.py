"""C source of a .tflite file: the compiler's bytes are the file's, golden cases are LiteRT's reference kernels'."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest

from edgeailite.errors import UsageError
from edgeailite.export.c_array import GOLDEN_CASES, METHODS, c_files, golden_picture, live_bytes
from edgeailite.export.tflite_file import OPERATORS, write_tflite
from edgeailite.export.to_tflite import WrittenProgram
from tests.export.programs import Builder, every_operator, scale

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")


class Tensor(ctypes.Structure):
    """`struct model_int8_tensor` of the header."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("data", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("crc32", ctypes.c_uint32),
    )


@pytest.fixture(scope="module")
def written() -> WrittenProgram:
    """A program with two inputs and three outputs, of codes, values and classes."""
    program = every_operator()
    return WrittenProgram(program, write_tflite(program))


def compiled(written: WrittenProgram, folder: Path) -> ctypes.CDLL:
    for end, text in zip((".h", ".c"), c_files(written, "model_int8"), strict=True):
        (folder / f"model_int8{end}").write_text(text)
    library = folder / "model_int8.so"
    flags = ("-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror")
    subprocess.run(["cc", *flags, "-shared", "-fPIC", "model_int8.c", "-o", str(library)], cwd=folder, check=True)
    return ctypes.CDLL(str(library))


@needs_compiler
def test_the_compiler_s_bytes_are_the_file_s_and_begin_at_16(written, tmp_path):
    library = compiled(written, tmp_path)
    array = (ctypes.c_ubyte * len(written.data)).in_dll(library, "model_int8")
    assert bytes(array) == written.data
    assert ctypes.addressof(array) % 16 == 0
    size = re.search(r"MODEL_INT8_SIZE (\d+)", (tmp_path / "model_int8.h").read_text())
    assert size is not None and int(size[1]) == len(written.data)


@needs_compiler
def test_golden_cases_are_what_litert_s_reference_kernels_give(written, tmp_path):
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    library = compiled(written, tmp_path)
    kernels = interpreter.OpResolverType.BUILTIN_REF
    runtime = interpreter.Interpreter(model_content=written.data, experimental_op_resolver_type=kernels)
    runtime.allocate_tensors()
    sides = {}
    for side, names in (("inputs", ["image", "image1"]), ("outputs", ["codes", "depth", "label"])):
        rows = (Tensor * len(names) * GOLDEN_CASES).in_dll(library, f"model_int8_golden_{side}")
        assert [[row.name.decode() for row in case] for case in rows] == [names] * GOLDEN_CASES
        sides[side] = [[ctypes.string_at(row.data, row.size) for row in case] for case in rows]
        assert [[row.crc32 for row in case] for case in rows] == [
            [zlib.crc32(data) for data in case] for case in sides[side]
        ]
    for inputs, outputs in zip(sides["inputs"], sides["outputs"], strict=True):
        for detail, data in zip(runtime.get_input_details(), inputs, strict=True):
            runtime.set_tensor(detail["index"], np.frombuffer(data, np.int8).reshape(detail["shape"]))
        runtime.invoke()
        found = [runtime.get_tensor(detail["index"]).tobytes() for detail in runtime.get_output_details()]
        assert found == outputs
    assert sides["inputs"][0] != sides["inputs"][1] and sides["outputs"][0] != sides["outputs"][1]


def test_the_same_file_gives_the_same_text_under_its_own_name(written):
    assert c_files(written, "Night_2") == c_files(written, "Night_2")
    header, source = c_files(written, "Night_2")
    assert "extern const unsigned char night_2[]" in header and "#define NIGHT_2_SIZE" in header
    assert source.startswith('#include "Night_2.h"\n')
    assert "model_int8" not in header + source


@pytest.mark.parametrize("stem", ["model-int8", "8bit", "", "größe", "a b"])
def test_a_file_name_that_is_no_name_in_c_is_refused(written, stem):
    with pytest.raises(UsageError, match="is no name in C"):
        c_files(written, stem)


def test_every_operator_that_files_may_hold_has_its_method_of_the_resolver():
    assert METHODS.keys() == OPERATORS.keys()


def test_live_bytes_are_those_of_the_widest_moment():
    make = Builder((8, 8))
    stem = make.convolution(make.inputs[0], "stem", 16, scale=scale(0.1))  # 8x8x3 and 8x8x16
    small = make.convolution(stem, "small", 4, stride=2, scale=scale(0.1))  # 8x8x16 and 4x4x4
    last = make.convolution(small, "last", 4, scale=scale(0.1))
    assert live_bytes(make.program(codes=last)) == 8 * 8 * (3 + 16)
    kept = make.program(codes=last, stem=stem)  # an output lives to the end
    assert live_bytes(kept) == 8 * 8 * (3 + 16)
    joined = make.add("ADD", [last, small], "joined", last.shape)
    assert live_bytes(make.program(codes=joined, stem=stem)) == 8 * 8 * 19
    wide = make.add("QUANTIZE", [stem], "wide", stem.shape, type="int16", scale=scale(0.001), zero_point=0)
    assert live_bytes(make.program(codes=wide)) == 8 * 8 * 16 * 3


def test_golden_pictures_hold_most_codes_and_follow_the_seed():
    picture = golden_picture(Builder((96, 160)).inputs[0], 0)
    assert (picture.shape, picture.dtype) == ((1, 96, 160, 3), np.int8)
    assert len(np.unique(picture)) > 250
    np.testing.assert_array_equal(picture, golden_picture(Builder((96, 160)).inputs[0], 0))
    assert (picture != golden_picture(Builder((96, 160)).inputs[0], 1)).mean() > 0.9
