"""The header of a GGUF file, read without loading anything.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

from sparse_attention.errors import UserError, first_line

_STRING, _ARRAY = 8, 9
_NUMBERS = {
    **{0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f"},
    **{7: "<?", 10: "<Q", 11: "<q", 12: "<d"},
}
"""``struct`` formats of the types of single values."""

Value = int | float | bool | str


@dataclass(frozen=True)
class Header:
    """What a GGUF file says about itself."""

    values: dict[str, Value]
    """Its metadata; of an array, how many elements it has."""
    tensors: frozenset[str]
    """Names of its tensors."""

    def of_architecture(self, key: str) -> Value | None:
        """A value that is kept under the name of the architecture."""
        return self.values.get(f"{self.values['general.architecture']}.{key}")


def read_header(path: Path) -> Header:
    """Read the header of a GGUF file, and check that the file holds all that it announces.

    Raises:
        UserError: if it cannot be read, is damaged or no GGUF file.
    """
    try:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            return _Reader(content).header()
    except OSError as error:
        raise UserError(f"model: cannot read {path}: {error.strerror or error}.") from error
    except _CutOff as error:
        raise UserError(
            f"{path} is cut off or damaged: it ends before {error}. Download or copy it again."
        ) from error
    except ValueError as error:  # also the one of mmap for an empty file
        raise UserError(f"{path} cannot be read as a GGUF file: {first_line(error)}.") from error


class _CutOff(ValueError):
    """A file that ends too early."""


class _Reader:
    """Walks through a header; whatever the file claims, only what it holds is read."""

    def __init__(self, content: mmap.mmap) -> None:
        self._content, self._size = content, len(content)
        self._at, self._part = 0, "its header"

    def header(self) -> Header:
        if self._bytes(4) != b"GGUF":
            raise ValueError("it does not begin with GGUF")
        version = self._number("<I")
        if version not in (2, 3):
            raise ValueError(f"its version is {version}; little-endian files of 2 and 3 are read")
        tensors, entries = self._number("<Q"), self._number("<Q")
        values: dict[str, Value] = {}
        self._part = "the end of its metadata"
        for _ in range(int(entries)):
            key = self._string()
            values[key] = self._value(int(self._number("<I")))
        if not isinstance(values.get("general.architecture"), str):
            raise ValueError("it does not say its architecture")
        self._part = "the end of its table of tensors"
        table = [self._tensor() for _ in range(int(tensors))]
        alignment = values.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1:
            raise ValueError(f"its alignment is {alignment!r}")
        start = math.ceil(self._at / alignment) * alignment
        for name, end in table:
            if start + end > self._size:
                raise _CutOff(f"the end of the tensor {name!r}")
        return Header(values, frozenset(name for name, _ in table))

    def _tensor(self) -> tuple[str, int]:
        """Name, and where its bytes end, from the beginning of all tensors on."""
        from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

        name = self._string()
        dimensions = [int(self._number("<Q")) for _ in range(int(self._number("<I")))]
        kind, offset = int(self._number("<I")), int(self._number("<Q"))
        try:
            block, size = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
        except ValueError:
            raise ValueError(
                f"the tensor {name!r} is quantised in a way ({kind}) that the package gguf does "
                "not know; a newer one may"
            ) from None
        return name, offset + math.prod(dimensions) // block * size

    def _value(self, kind: int) -> Value:
        if kind in _NUMBERS:
            return self._number(_NUMBERS[kind])
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY:
            raise ValueError(f"its metadata have a value of the unknown type {kind}")
        element, count = int(self._number("<I")), int(self._number("<Q"))
        if element in _NUMBERS:
            self._skip(count * struct.calcsize(_NUMBERS[element]))
        elif element == _STRING:
            for _ in range(count):
                self._skip(int(self._number("<Q")))
        else:
            raise ValueError(f"its metadata have an array of the unknown type {element}")
        return count

    def _string(self) -> str:
        return self._bytes(int(self._number("<Q"))).decode("utf-8", "replace")

    def _number(self, form: str) -> int | float | bool:
        start = self._at
        self._skip(struct.calcsize(form))
        number: int | float | bool = struct.unpack_from(form, self._content, start)[0]
        return number

    def _bytes(self, count: int) -> bytes:
        start = self._at
        self._skip(count)
        return self._content[start : self._at]

    def _skip(self, count: int) -> None:
        if count > self._size - self._at:
            raise _CutOff(self._part)
        self._at += count
