"""A decoder as transformers' models see a cache."""

from __future__ import annotations

from torch import Tensor

from sparse_attention.decode.decoder import Decoder


class DecoderCache:
    """Takes new keys and values, and gives back only these: what attention reads is ours."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        """Append to the tails of a layer."""
        self.decoder.tails[layer_idx].append(key_states, value_states)
        return key_states, value_states

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens that were read."""
        return self.decoder.context.length + self.decoder.tails[layer_idx].length
