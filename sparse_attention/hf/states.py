"""What layers keep of their past beside keys and values: states of recurrences and convolutions."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, PreTrainedModel
from transformers.cache_utils import LinearAttentionCacheLayerMixin, LinearAttentionLayer

from sparse_attention.cache.context import States
from sparse_attention.hf.layers import decoder_of, key_layers, new_cache

_at_once: weakref.WeakKeyDictionary[PreTrainedModel, bool] = weakref.WeakKeyDictionary()
_LINEAR = "linear_cache"
"""Where a cache that a model has for itself (MiniMax) has its states."""
_KINDS = ("conv_states", "recurrent_states")


def states_of(cache: Cache) -> States:
    """What a cache of one row holds of these; copies, so that nothing changes them."""
    linear = {
        (place, _LINEAR, 0): state.clone()
        for place, state in enumerate(getattr(cache, _LINEAR, ()))
        if isinstance(state, Tensor)
    }
    return linear | {
        (place, kind, number): state.clone()
        for place, layer in enumerate(cache.layers)
        if isinstance(layer, LinearAttentionCacheLayerMixin)
        for kind in _KINDS
        for number, state in getattr(layer, kind).items()
        if state is not None
    }


@torch.inference_mode()
def goes_on_at_once(model: PreTrainedModel) -> bool:
    """Whether a model can read several tokens at once after it has read others.

    Some recurrent layers of transformers then begin anew; such a model has to read them one by one.
    Found out by trying.
    """
    if model not in _at_once:
        _at_once[model] = not key_layers(model.config).has_states or _try_at_once(model)
    return _at_once[model]


def _try_at_once(model: PreTrainedModel) -> bool:
    vocabulary = int(model.config.get_text_config().vocab_size)
    ids = torch.tensor([[(3 + 7 * index) % vocabulary for index in range(6)]], device=model.device)

    def last(*parts: int) -> Tensor:
        cache, first, hidden = new_cache(model), 0, ids
        for part in parts:
            places = torch.arange(first, first + part, device=ids.device)
            hidden = decoder_of(model)(
                input_ids=ids[:, places],
                position_ids=places[None],
                past_key_values=cache,
                use_cache=True,
            ).last_hidden_state
            first += part
        return hidden[:, -1].float()

    whole, two = last(6), last(3, 3)
    tolerance = 1e-3 if model.dtype == torch.float32 else 0.1
    return bool((two - whole).norm() <= tolerance * whole.norm())


class RowStates:
    """The states of rows that go on from frozen ones, as layers of transformers' caches."""

    def __init__(self, frozen: Sequence[States]) -> None:
        """Begin with copies of the states of each row."""
        self.layers: dict[int, LinearAttentionLayer] = {}
        self.linear: list[Tensor | list[Tensor]] = []
        """By layer, of a model with a cache of its own; no tensor where a layer has none."""
        self.rows = len(frozen)
        numbers: dict[int, int] = {}
        for place, kind, number in frozen[0]:
            if kind == _LINEAR:
                self.linear += [[] for _ in range(len(self.linear), place + 1)]
                self.linear[place] = torch.cat([states[place, kind, 0] for states in frozen])
            else:
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
        for place, state in enumerate(self.linear):
            if isinstance(state, Tensor):
                self.linear[place] = state[list(rows)]


def _set(layer: LinearAttentionLayer, kind: str, number: int, state: Tensor) -> None:
    """Give a layer a state, as if it had read the tokens that made it."""
    if kind == "conv_states":
        layer.lazy_initialization(conv_states=state, state_idx=number)
        layer.conv_states[number] = state
    else:
        layer.lazy_initialization(recurrent_states=state, state_idx=number)
        layer.recurrent_states[number] = state
        known: Any = layer
        known.device = layer.device or state.device
    layer.has_previous_state[number] = True
