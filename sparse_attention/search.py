"""What a tunable field may become in a search, written beside its bounds.

A field of a method is tunable when its annotation carries one of these::

    heavy_size: Annotated[Size, Choices(0.01, 0.02, 0.05, 0.1)] = 0.05
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class Choices:
    """A search tries these values."""

    def __init__(self, *values: Any) -> None:
        self.values = values

    def __repr__(self) -> str:
        return f"Choices{self.values}"


@dataclass(frozen=True)
class Range:
    """A search tries numbers between ``low`` and ``high``, both included."""

    low: float
    high: float
    log: bool = False
    """Uniform in the logarithm."""


class EachLayer:
    """The field has one value for each layer of the model; a search tries these for each."""

    def __init__(self, *values: Any) -> None:
        self.values = values

    def __repr__(self) -> str:
        return f"EachLayer{self.values}"
