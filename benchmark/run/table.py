"""Results as tables: printed, in a notebook, and as frames to go on with."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import pandas as pd

from sparse_attention.printable import terminal_text

_NONE = "-"


class Table(ABC):
    """What is shown as a table wherever it is shown."""

    @abstractmethod
    def to_frame(self) -> pd.DataFrame:
        """A row for each result; what there is no value of is missing (NaN)."""

    def __str__(self) -> str:
        shown = self._shown()
        return shown.to_string(index=False) if len(shown) else "no results"

    def _repr_html_(self) -> str:
        return self._shown().to_html(index=False)

    def _shown(self) -> pd.DataFrame:
        """Texts: numbers with their intervals, and no column in which nothing stands."""
        frame = self.to_frame()
        columns: dict[str, list[str]] = {}
        for name in frame:
            if name in _PATHS or name.removesuffix("_low").removesuffix("_high") in columns:
                continue
            values = frame[name]
            if values.map(lambda value: value in ("", None) or value != value).all():
                continue
            low, high = frame.get(f"{name}_low"), frame.get(f"{name}_high")
            columns[name] = [
                _text(value, None if low is None else (low[row], high[row]))
                for row, value in values.items()
            ]
        return pd.DataFrame(columns)


_PATHS = {"folder", "file"}
"""Columns that are long and for programs."""


def _text(value: Any, interval: tuple[float, float] | None) -> str:
    if not isinstance(value, float):
        return terminal_text(str(value))
    if math.isnan(value):
        return _NONE
    return f"{value:.3f}" + (f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else "")


def estimate_columns(name: str, estimate: Mapping[str, Any] | None) -> dict[str, float]:
    """``name``, ``name_low`` and ``name_high`` of an estimate of ``metrics.json``."""
    low, high = (math.nan, math.nan) if estimate is None else estimate["interval"]
    mean = math.nan if estimate is None else estimate["mean"]
    return {name: mean, f"{name}_low": low, f"{name}_high": high}
