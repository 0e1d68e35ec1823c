"""Which contract in a folder is a file's."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeailite.runtime.beside import contract_beside
from tests.onnxfile import made
from tests.test_without_torch import write_contract


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(made.own())
    return path


@pytest.mark.parametrize("name", ["contract.json", "contract_int8.json", "contract_int8_tflite.json"])
def test_it_is_found_by_the_files_hash_whatever_its_name(file, name):
    assert contract_beside(file) is None
    write_contract(file.with_name(name), file)
    assert contract_beside(file) == file.with_name(name)


def test_contracts_of_other_files_and_damaged_ones_are_passed_over(file, tmp_path):
    (tmp_path / "contract.json").write_text("{")
    (tmp_path / "contract_a.json").mkdir()
    other = tmp_path / "other.onnx"
    other.write_bytes(made.own(edgeailite_note="another"))
    write_contract(tmp_path / "contract_b.json", other)
    assert contract_beside(file) is None
    write_contract(tmp_path / "contract_int8.json", file)
    assert contract_beside(file) == tmp_path / "contract_int8.json"
