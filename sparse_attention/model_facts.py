"""What methods may need to know of a model: its shape, its layers, how they encode positions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor


_TOLERANCE = 0.01
"""Relative difference up to which weights are the same, for models loaded in half precision."""


ByLayer = int | tuple[int, ...]
"""A number where all layers are alike, else one for each layer."""


@dataclass(frozen=True)
class HeadShape:
    """The heads of one layer."""

    heads: int
    kv_heads: int
    head_dim: int


@dataclass(frozen=True)
class ModelProfile:
    """A model's name, its shape and a few of its weights, by which it is recognised."""

    name: str
    folder: Path | None
    """Where it lies; None for a model on the hub or in memory alone."""
    layers: int
    heads: ByLayer
    kv_heads: ByLayer
    head_dim: ByLayer
    weights: tuple[float, ...] | None
    """Two numbers of each matrix; None where the model is not loaded."""

    def shape(self, layer: int) -> HeadShape:
        """The heads of a layer."""
        numbers = (self.heads, self.kv_heads, self.head_dim)
        return HeadShape(*(n if isinstance(n, int) else n[layer] for n in numbers))

    @property
    def head_dims(self) -> list[int]:
        """The different widths of heads that some layer has, ascending."""
        return sorted({self.shape(layer).head_dim for layer in range(self.layers)})

    def to_json(self) -> dict[str, Any]:
        """All that tells the model from others, as JSON values."""
        return {name: value for name, value in asdict(self).items() if name != "folder"}

    def difference(self, document: Mapping[str, Any]) -> str | None:
        """In which way ``document``, from ``to_json``, is of another model; None if it is not."""
        for name in ("layers", "heads", "kv_heads", "head_dim"):
            ours, theirs = getattr(self, name), document.get(name)
            theirs = tuple(theirs) if isinstance(theirs, list) else theirs
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


@dataclass(frozen=True)
class LayerSettings:
    """What a layer of the model says about its attention."""

    scaling: float
    sliding_window: int | None = None
    """Newest keys that a query sees, its own included; None for all."""
    chunk: int | None = None
    """Length of the chunks of the sequence, of which a query sees its own one; None without."""
    softcap: float | None = None
    sink_logits: Tensor | None = None
    """(H, G); see ``sink_share``."""

    @property
    def is_local(self) -> bool:
        """Whether a query does not see all keys before it."""
        return self.sliding_window is not None or self.chunk is not None

    def of_heads(self, heads: slice) -> LayerSettings:
        """The same for some of the key-value heads, of a layer with learned sinks."""
        assert self.sink_logits is not None
        return replace(self, sink_logits=self.sink_logits[heads])


class Rotary(Protocol):
    """How a layer turns queries and keys by their positions; all in float32."""

    def rotate(self, vectors: Tensor, positions: Tensor) -> Tensor:
        """Turn vectors (n, m, D) by positions (n, m), which may be negative; lengths stay."""

    def unrotate(self, vectors: Tensor, positions: Tensor) -> Tensor:
        """What the model rotated, and scaled, to ``vectors`` (n, m, D) at positions (m,)."""

    def average(self, vectors: Tensor, positions: Tensor) -> Tensor:
        """Mean over positions (m,) of what the model makes of vectors (n, D) there."""


@dataclass(frozen=True)
class LayerFacts:
    """What the model is in one layer."""

    settings: LayerSettings
    rotary: Rotary | None
    """None where positions enter in a way that is not known to be a fixed rotation, and where
    nothing asked for it."""
    output_weight: Callable[[], Tensor | None]
    """Gives (H, G, D, hidden), what the output projection makes of each query head; None if that
    is unknown or nothing asked for it.  Called, because a quantised one is made anew each time."""
