"""What layers keep of their past beside keys and values: states of recurrences and convolutions."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import torch
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import LinearAttentionCacheLayerMixin, LinearAttentionLayer

_KINDS = ("conv_states", "recurrent_states")

States = Mapping[Hashable, Tensor]
"""By layer of the model's cache, kind and number, each (1, ...)."""


def states_of(cache: Cache) -> dict[Hashable, Tensor]:
    """What a cache of one row holds of these; copies, so that nothing changes them."""
    return {
        (place, kind, number): state.clone()
        for place, layer in enumerate(cache.layers)
        if isinstance(layer, LinearAttentionCacheLayerMixin)
        for kind in _KINDS
        for number, state in getattr(layer, kind).items()
        if state is not None
    }


class RowStates:
    """The states of rows that go on from frozen ones, as layers of transformers' caches."""

    def __init__(self, frozen: Sequence[States]) -> None:
        """Begin with copies of the states of each row."""
        self.layers: dict[int, LinearAttentionLayer] = {}
        self.rows = len(frozen)
        numbers: dict[int, int] = {}
        for place, _, number in frozen[0]:  # type: ignore[misc]
            numbers[place] = max(numbers.get(place, 0), number + 1)
        for place, count in numbers.items():
            layer = self.layers[place] = LinearAttentionLayer(number_of_states=count)
            for kind in _KINDS:
                for number in range(count):
                    key = place, kind, number
                    if key in frozen[0]:
                        state = torch.cat([states[key] for states in frozen])
                        _set(layer, kind, number, state)

    def take(self, rows: Sequence[int]) -> None:
        """Go on with these rows; one that is named several times is copied."""
        self.rows = len(rows)
        for layer in self.layers.values():
            layer.reorder_cache(torch.tensor(rows))  # type: ignore[arg-type]


def _set(layer: LinearAttentionLayer, kind: str, number: int, state: Tensor) -> None:
    """Give a layer a state, as if it had read the tokens that made it."""
    if kind == "conv_states":
        layer.lazy_initialization(conv_states=state, state_idx=number)
        layer.conv_states[number].copy_(state)
    else:
        layer.lazy_initialization(recurrent_states=state, state_idx=number)
        layer.recurrent_states[number].copy_(state)
        layer.device = layer.device or state.device
    layer.has_previous_state[number] = True
