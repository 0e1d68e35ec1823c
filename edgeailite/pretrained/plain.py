"""Values of a file of weights as plain values and plain tensors, whatever a pickle made of them.

A pickle without code can still hold tensors whose values are nowhere (meta, repeated by stride) or of kinds that no
network here has (sparse, quantized), lists that hold themselves, and mappings whose methods are replaced.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from edgeailite.errors import DataError
from edgeailite.untrusted import DEEPEST, MOST_VALUES, printable, shown

REPEATED = 4  # times the file's bytes that tensors may have together: several may share their values
KEYS = (str, int, float, bytes, tuple, type(None))
ROOM = 1 << 20  # bytes that they may have in any file


def plain_values(values: Any, *, where: str, size: int) -> Any:
    """Rebuild values with dict, list and tuple as containers and detached tensors.

    `size` is that of the file, in bytes. Raises DataError for values that are nested deeply or endlessly, and for
    tensors of other kinds or larger than their file.
    """
    return _Plain(where, size).copied(values, "")[0]


def not_finite(weights: Mapping[str, Tensor]) -> str | None:
    """Describe the first tensor with values that are NaN or infinite, or a variance below 0; None without one."""
    for key, value in weights.items():
        if not value.is_floating_point():
            continue
        values = value if value.dtype in (torch.float32, torch.float64) else value.float()
        wrong = ~torch.isfinite(values)
        if key.endswith("running_var"):
            wrong |= values < 0
        count = int(wrong.sum())
        if count:
            first = float(values[wrong][0])
            return f"{printable(key)[:120]} holds {first:g} ({count} of its {value.numel()} values are none to use)"
    return None


class _Plain:
    """Copies containers; one that is used several times is copied once and counted as often as it is used."""

    def __init__(self, where: str, size: int) -> None:
        self.where, self.most_bytes, self.bytes = where, REPEATED * size + ROOM, 0
        self._done: dict[int, tuple[Any, int, int]] = {}
        self._kept: list[Any] = []  # so that no id is given twice

    def copied(self, value: Any, place: str, depth: int = 0) -> tuple[Any, int, int]:
        """The copy, the number of values in it, and how deep they are nested."""
        if isinstance(value, Tensor):
            return self._tensor(value, place), 1, 0
        if not isinstance(value, dict | list | tuple):
            return value, 1, 0
        if id(value) in self._done:
            copy, count, height = self._done[id(value)]
        else:
            if depth > DEEPEST:
                raise self._refuse(f"values nested more than {DEEPEST} deep")
            copy, count, height = self._container(value, place, depth)
            self._done[id(value)] = copy, count, height
            self._kept.append(value)
        if count > MOST_VALUES or depth + height > DEEPEST:
            raise self._refuse(f"more than {MOST_VALUES} values, or nested more than {DEEPEST} deep")
        return copy, count, height

    def _container(self, value: Any, place: str, depth: int) -> tuple[Any, int, int]:
        count, height, copies = 1, 0, []
        for key, part in self._parts(value):
            copy, inside, below = self.copied(part, f"{place}.{key}" if place else str(key), depth + 1)
            count, height = count + inside, max(height, below + 1)
            if count > MOST_VALUES:
                raise self._refuse(f"more than {MOST_VALUES} values")
            copies.append((key, copy))
        if isinstance(value, dict):
            return dict(copies), count, height
        parts = [copy for _, copy in copies]
        return (parts if isinstance(value, list) else tuple(parts)), count, height

    def _parts(self, value: Any) -> Iterable[tuple[Any, Any]]:
        """Names or numbers, and what they stand for: by the types' own methods, which a pickle cannot replace."""
        if not isinstance(value, dict):
            return enumerate(list.__iter__(value) if isinstance(value, list) else tuple.__iter__(value))
        wrong = [key for key in dict.keys(value) if not isinstance(key, KEYS)]
        if wrong:
            raise self._refuse(f"a {type(wrong[0]).__name__} as a name")
        return dict.items(value)

    def _tensor(self, value: Tensor, place: str) -> Tensor:
        """Detached, and so without what a pickle may have set on it."""
        kind = _kind(value)
        if kind is not None:
            raise self._refuse(f"{printable(place)[:120]} is a {kind} tensor")
        plain = torch.Tensor.detach(value)
        self.bytes += plain.numel() * plain.element_size()
        if self.bytes > self.most_bytes or plain.untyped_storage().nbytes() > self.most_bytes:
            shape = shown(list(plain.shape))
            raise self._refuse(f"{printable(place)[:120]} has the shape {shape}, more than the file holds")
        return plain

    def _refuse(self, what: str) -> DataError:
        return DataError(
            f"refused, {what}", path=self.where, fix="take one that holds plain weights only", code="unsafe"
        )


def _kind(value: Tensor) -> str | None:
    """Name a tensor's kind if it is not one of plain numbers in memory; else None."""
    if type(value) not in (Tensor, torch.nn.Parameter):
        return type(value).__name__
    if value.is_nested or value.layout != torch.strided:
        return "nested" if value.is_nested else "sparse"
    if value.device.type != "cpu":
        return f"{value.device.type} (without values)" if value.is_meta else value.device.type
    if value.is_quantized:
        return "quantized"
    return "complex" if value.is_complex() else None
