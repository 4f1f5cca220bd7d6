"""What a method may need to know of a model before it runs on it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_TOLERANCE = 0.01
"""Relative difference up to which weights are the same, for models loaded in half precision."""


@dataclass(frozen=True)
class ModelProfile:
    """A model's name, its shape and a few of its weights, by which it is recognised."""

    name: str
    folder: Path | None
    """Where it lies; None for a model on the hub or in memory alone."""
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    weights: tuple[float, ...] | None
    """Two numbers of each matrix; None where the model is not loaded."""

    def to_json(self) -> dict[str, Any]:
        """All that tells the model from others, as JSON values."""
        return {name: value for name, value in asdict(self).items() if name != "folder"}

    def difference(self, document: Mapping[str, Any]) -> str | None:
        """In which way ``document``, from ``to_json``, is of another model; None if it is not."""
        for name in ("layers", "heads", "kv_heads", "head_dim"):
            ours, theirs = getattr(self, name), document.get(name)
            if ours != theirs:
                return f"{name} is {theirs!r} there and {ours} here"
        theirs = document.get("weights")
        if self.weights is None or theirs is None:
            return None
        if len(theirs) != len(self.weights) or not all(
            math.isclose(a, b, rel_tol=_TOLERANCE, abs_tol=1e-6)
            for a, b in zip(self.weights, theirs, strict=True)
        ):
            return f"the weights differ from those of {document.get('name')!r}"
        return None
