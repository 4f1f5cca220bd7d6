"""A context that was read: its keys and values, frozen, and what presses left of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from sparse_attention.cache.statistics import PrefillStatistics

Features = tuple[Tensor, ...]
"""Tensors that a method keeps; see ``AttentionCall.key_features`` for their shapes."""


@dataclass(frozen=True)
class PrefixLayer:
    """Keys and values of one layer, each (kv_heads, P, head_dim).

    ``start`` is the position of the first key: above 0 in layers with a sliding window, which keep
    only the end of the context.
    """

    keys: Tensor
    values: Tensor
    start: int
    sliding: bool = False
    """Whether the layer has a sliding window."""
    features: dict[Hashable, tuple[Features, Features]] = field(default_factory=dict)
    """Per method: what holds for all keys, and what was computed for each key."""

    @property
    def bytes_per_key(self) -> int:
        """Bytes of a key and its value in one key-value head."""
        tensors = (self.keys, self.values)
        return sum(tensor.shape[-1] * tensor.element_size() for tensor in tensors)

    @property
    def kv_nbytes(self) -> int:
        """Bytes of keys and values."""
        return self.keys.nbytes + self.values.nbytes

    def without_keys(self) -> PrefixLayer:
        """The same place in the sequence with no keys at all."""
        return PrefixLayer(
            self.keys[:, :0].clone(), self.values[:, :0].clone(), self.start, self.sliding
        )

    @property
    def nbytes(self) -> int:
        """Bytes of keys, values and of what methods keep about them."""
        features = [t for parts in self.features.values() for tensors in parts for t in tensors]
        return self.kv_nbytes + sum(tensor.nbytes for tensor in features)


@dataclass(frozen=True)
class KeptHeads:
    """The context keys that a press left to some neighbouring heads, equally many to each."""

    heads: slice
    layer: PrefixLayer
    """In the order of the sequence, numbered from 0; ``start`` is above 0 in a whole layer."""
    positions: Tensor
    """(heads, n) int64: where the keys were in the sequence."""


@dataclass(frozen=True)
class KeptLayer:
    """What is left of a context in one layer.

    All heads together where each keeps equally many keys, else one head at a time: a ragged layout
    that holds no more than what is kept.
    """

    parts: tuple[KeptHeads, ...]
    tail_from: int
    """Tokens of the tail that were taken into the context."""

    @property
    def kv_nbytes(self) -> int:
        """Bytes of keys and values."""
        return sum(part.layer.kv_nbytes for part in self.parts)


@dataclass(frozen=True)
class KeptContext:
    """What presses left of a context."""

    layers: tuple[KeptLayer, ...]
    shift: int = 0
    """How much the positions of new tokens were lowered."""

    @property
    def kv_nbytes(self) -> int:
        """Bytes of keys and values."""
        return sum(layer.kv_nbytes for layer in self.layers)


class KeptContexts:
    """What presses left of one context, the most recently used of them."""

    def __init__(self) -> None:
        self._entries: OrderedDict[Hashable, KeptContext] = OrderedDict()

    def get(self, key: Hashable, compute: Callable[[], KeptContext]) -> KeptContext:
        """The entry of this name, computed if it is not there."""
        if key not in self._entries:
            self._entries[key] = compute()
        self._entries.move_to_end(key)
        return self._entries[key]

    def shrink(self, max_bytes: int, shared: Sequence[PrefixLayer]) -> None:
        """Forget the least recently used ones until all take ``max_bytes`` at most."""
        while self._entries and self.nbytes(shared) > max_bytes:
            self._entries.popitem(last=False)

    def nbytes(self, shared: Sequence[PrefixLayer]) -> int:
        """Bytes of all of them, but for layers that are ``shared`` with the whole context."""
        whole = {id(layer) for layer in shared}
        return sum(
            part.layer.nbytes + part.positions.nbytes
            for entry in self._entries.values()
            for layer in entry.layers
            for part in layer.parts
            if id(part.layer) not in whole
        )


@dataclass(frozen=True)
class Prefix:
    """A context that was read: ``length`` tokens in all layers."""

    length: int
    layers: tuple[PrefixLayer, ...]
    statistics: PrefillStatistics = field(default_factory=PrefillStatistics)
    kept: KeptContexts = field(default_factory=KeptContexts, repr=False)
    """By presses and the layers that they leave alone."""

    @property
    def kv_nbytes(self) -> int:
        """Bytes of keys and values."""
        return sum(layer.kv_nbytes for layer in self.layers)

    @property
    def nbytes(self) -> int:
        """Bytes of all that is held: keys, values, features, statistics and what presses left."""
        own = sum(layer.nbytes for layer in self.layers)
        return own + self.statistics.nbytes + self.kept.nbytes(self.layers)

    def trim(self) -> None:
        """Bound what presses left by the bytes of the context itself."""
        self.kept.shrink(self.kv_nbytes, self.layers)
