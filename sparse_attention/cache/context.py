"""A context that was read: keys and values, which never change, and what presses left of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from sparse_attention.cache.pair import both, pair_nbytes
from sparse_attention.cache.statistics import PrefillStatistics

if TYPE_CHECKING:
    from torch import Tensor

Features = tuple["Tensor", ...]
"""Tensors that a method keeps about keys; see ``AttentionCall.key_features`` for their shapes."""


States = Mapping[tuple[int, str, int], "Tensor"]
"""What a model keeps of its past beside keys and values, such as the states of recurrent layers, by
layer of the model, kind and number: each (1, ...)."""


@dataclass(frozen=True)
class Segment:
    """Keys and values of neighbouring key-value heads of a layer, in the order of the sequence."""

    keys: Tensor
    """(H, n, D)."""
    values: Tensor
    """(H, n, d); where they are the first channels of the keys, a view of these."""
    first_head: int = 0
    """Which of the layer's key-value heads comes first here."""
    start: int = 0
    """The number of the first key.  Above 0 where a sliding window has dropped the keys before."""
    positions: Tensor | None = None
    """(H, n) int64: where the keys were in the sequence; None where that is their number."""
    features: dict[Hashable, tuple[Features, Features]] = field(default_factory=dict, repr=False)
    """By the name that a method gives them: what holds for all keys, and what is kept of each."""

    def on(self, device: torch.device) -> Segment:
        """The same on a device; what methods keep of the keys stays where it was computed."""
        if self.keys.device == device:
            return self

        def moved(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=True)  # to a CPU: into memory that is pinned

        keys, values = both(self.keys, self.values, moved)
        positions = None if self.positions is None else moved(self.positions)
        return replace(self, keys=keys, values=values, positions=positions)

    @cached_property
    def heads(self) -> slice:
        """The key-value heads of the layer that are here."""
        return slice(self.first_head, self.first_head + self.keys.shape[0])

    @cached_property
    def end(self) -> int:
        """The number of the key that would come next."""
        return self.start + self.keys.shape[1]

    @cached_property
    def places(self) -> Tensor:
        """``positions``, also where these are the numbers of the keys: (H, n) int64."""
        if self.positions is not None:
            return self.positions
        numbers = torch.arange(self.start, self.end, device=self.keys.device)
        return numbers.expand(self.keys.shape[0], -1)

    @cached_property
    def bytes_per_key(self) -> int:
        """Bytes of a key and its value in one key-value head."""
        return pair_nbytes(self.keys[:1, :1], self.values[:1, :1])

    @property
    def tensors(self) -> Iterator[Tensor]:
        """All that is held."""
        yield self.keys
        yield self.values
        if self.positions is not None:
            yield self.positions
        for fitted, encoded in self.features.values():
            yield from (*fitted, *encoded)

    def known(
        self,
        name: Hashable,
        fit: Callable[[Tensor], Features],
        encode: Callable[[Features, Tensor], Features],
        block: int,
    ) -> tuple[Features, Features]:
        """What ``fit`` and ``encode`` make of the keys (1, H, n, D), computed when first asked for.

        Only complete blocks of keys are encoded.
        """
        if name not in self.features:
            keys = self.keys[None]
            fitted = fit(keys)
            whole = keys.shape[2] // block * block
            self.features[name] = fitted, encode(fitted, keys[:, :, :whole])
        return self.features[name]


@dataclass(frozen=True)
class ContextLayer:
    """One layer of a context."""

    segments: tuple[Segment, ...]
    """One with all heads where each keeps equally many keys, else one for each head: a ragged
    layout that holds no more than what is kept."""
    sliding: bool = False
    """Whether the layer has a sliding window."""
    taken: int = 0
    """Tokens at the start of the tails that are part of this context, and not of the tails."""

    read_on: torch.device | None = None
    """The device of the model's layer, where keys and values wait in the memory of the CPU."""

    @property
    def here(self) -> ContextLayer:
        """The same on the device of the model's layer."""
        return self if self.read_on is None else self._on(self.read_on)

    def offloaded(self) -> ContextLayer:
        """The same in the memory of the CPU."""
        return replace(self._on(torch.device("cpu")), read_on=self.device)

    def waiting_as(self, other: ContextLayer) -> ContextLayer:
        """The same, in the memory of the CPU if another layer waits there."""
        return self if other.read_on is None else self.offloaded()

    @property
    def device(self) -> torch.device:
        """Of the model's layer."""
        return self.read_on or self.segments[0].keys.device

    def _on(self, device: torch.device) -> ContextLayer:
        return replace(self, segments=tuple(segment.on(device) for segment in self.segments))

    @property
    def kv_nbytes(self) -> int:
        """Bytes of keys and values."""
        return sum(pair_nbytes(one.keys, one.values) for one in self.segments)


class DerivedContexts:
    """What was made of one context, the most recently used of them."""

    def __init__(self) -> None:
        self._entries: OrderedDict[Hashable, Context] = OrderedDict()

    def get(self, key: Hashable, compute: Callable[[], Context]) -> Context:
        """The entry of this key, computed if it is not there."""
        if key not in self._entries:
            self._entries[key] = compute()
        self._entries.move_to_end(key)
        return self._entries[key]

    def shrink(self, max_bytes: int, apart_from: Iterable[Tensor]) -> None:
        """Forget the least recently used ones until all take ``max_bytes`` at most."""
        others = list(apart_from)
        while self._entries and held_nbytes(self.tensors, others) > max_bytes:
            self._entries.popitem(last=False)

    @property
    def tensors(self) -> Iterator[Tensor]:
        """All that is held; layers that were left alone are those of the whole context."""
        for entry in self._entries.values():
            yield from entry.tensors


@dataclass(frozen=True)
class Context:
    """Keys and values of a context in all layers, as the model read it or as presses left it."""

    length: int
    """Tokens that were read, also where fewer are kept."""
    layers: tuple[ContextLayer, ...]
    shift: int = 0
    """How much lower the positions of new tokens are than their places in the sequence."""
    statistics: PrefillStatistics = field(default_factory=PrefillStatistics)
    """What presses may want to know of the prefill; nothing of it in a compressed context."""
    derived: DerivedContexts = field(default_factory=DerivedContexts, repr=False)
    """What presses left of it, by the presses and the layers that they leave alone; and the same
    context as it is read in a longer sequence, where the model then reads it in another way."""
    tokens: tuple[int, ...] = field(default=(), repr=False)
    """What was read; nothing in a compressed context."""
    states: States = field(default_factory=dict, repr=False)
    """Nothing in a compressed context."""

    @property
    def is_offloaded(self) -> bool:
        """Whether keys and values wait in the memory of the CPU until they are read."""
        return any(layer.read_on is not None for layer in self.layers)

    @property
    def kv_nbytes(self) -> int:
        """Bytes of keys and values."""
        return sum(layer.kv_nbytes for layer in self.layers)

    @property
    def tensors(self) -> Iterator[Tensor]:
        """Keys, values, what is kept about them, and states."""
        for layer in self.layers:
            for segment in layer.segments:
                yield from segment.tensors
        yield from self.states.values()

    @property
    def nbytes(self) -> int:
        """Bytes of all that is held: keys, values, features, statistics and what was made of it."""
        return held_nbytes([*self.tensors, *self.derived.tensors]) + self.statistics.nbytes

    def trim(self) -> None:
        """Bound what was made of it by the bytes of the context itself."""
        self.derived.shrink(self.kv_nbytes, self.tensors)

    def without_keys(self) -> Context:
        """The same places in the sequence, and no keys at all."""
        return Context(self.length, tuple(_without_keys(layer) for layer in self.layers))


def _without_keys(layer: ContextLayer) -> ContextLayer:
    whole = layer.segments[0]
    keys, values = both(whole.keys, whole.values, lambda tensor: tensor[:, :0].clone())
    empty = Segment(keys, values, start=whole.start)
    return ContextLayer((empty,), layer.sliding, read_on=layer.read_on)


def held_nbytes(tensors: Iterable[Tensor], apart_from: Iterable[Tensor] = ()) -> int:
    """Bytes of memory behind ``tensors`` and not behind ``apart_from``, shared memory once."""
    storages = [tensor.untyped_storage() for tensor in tensors]
    counted = {tensor.untyped_storage().data_ptr() for tensor in apart_from}
    total = 0
    for storage in storages:
        if storage.data_ptr() not in counted:
            counted.add(storage.data_ptr())
            total += storage.nbytes()
    return total
