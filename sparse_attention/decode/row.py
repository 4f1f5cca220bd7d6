"""One row of a batch: all that goes with it when rows leave, move or are copied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

from torch import Tensor

from sparse_attention.cache.context import Context
from sparse_attention.cache.view import TailFeatures
from sparse_attention.config import AttentionConfig
from sparse_attention.decode.probes import Probe
from sparse_attention.presses.decoding import Decoding


@dataclass(eq=False)
class Row:
    """One sequence that is decoded with one configuration."""

    config: AttentionConfig
    sample_key: str
    """Names the sample; random draws depend on it, and on nothing in the batch."""
    probe: Probe
    context: Context
    """What the row reads of the context: all of it, or what its presses left."""
    features: TailFeatures = field(default_factory=dict)
    """What methods keep of the row's tail."""
    last_queries: dict[int, Tensor] = field(default_factory=dict)
    """By layer, (H, G, n, D): what presses that act while decoding rank keys by."""

    @cached_property
    def decoding(self) -> Decoding | None:
        """When presses act while an answer is generated; None if they do not."""
        last = self.config.presses[-1] if self.config.presses else None
        return last if isinstance(last, Decoding) else None

    def copy(self) -> Row:
        """A row that goes on from here by itself; tensors are shared until they are replaced."""
        return replace(self, features=dict(self.features), last_queries=dict(self.last_queries))

    def read(self, context: Context) -> None:
        """Go on with another context; what is kept of the tail belongs to the old one."""
        self.context, self.features = context, {}

    @property
    def tensors(self) -> Iterator[Tensor]:
        """All that the row holds by itself."""
        for encoded in self.features.values():
            yield from encoded
        yield from self.last_queries.values()
