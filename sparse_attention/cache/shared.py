"""A context and the tails of a batch of rows, as a model's forward sees a cache."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor

from sparse_attention.cache.prefix import (
    Prefix,
)
from sparse_attention.cache.tails import (
    LayerCache,
)


class SharedPrefixCache:
    """A prefix and the tails of a batch of rows, as the model's forward sees a cache."""

    def __init__(self, prefix: Prefix, rows: int) -> None:
        self.prefix = prefix
        self.row_ids = list(range(rows))
        self.context_nbytes = prefix.kv_nbytes
        """Bytes of all keys and values of the context, also after ``release_context``."""
        self.layers = [
            LayerCache(index, layer, self.row_ids) for index, layer in enumerate(prefix.layers)
        ]

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        """Append to the tails of a layer; returns what was given, which is not the whole cache."""
        self.layers[layer_idx].append(key_states, value_states)
        return key_states, value_states

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens of the prefix and of the tail."""
        return self.prefix.length + self.layers[layer_idx].tail_length

    def keep_rows(self, rows: Sequence[int]) -> dict[int, int]:
        """Go on with these rows of the batch only, so that finished ones cost nothing.

        A row that is given several times goes on as several rows, of which the first has its name.

        Returns:
            The names that the rows had, by those that they have now.
        """
        before = [self.row_ids[row] for row in rows]
        unused = itertools.count(max(self.row_ids) + 1)
        names = [
            next(unused) if name in before[:place] else name for place, name in enumerate(before)
        ]
        self.row_ids[:] = names
        old_names = dict(zip(names, before, strict=True))
        for layer in self.layers:
            layer.keep_rows(rows, old_names)
        return old_names

    def expand(self, rows: int) -> None:
        """Turn the only row into ``rows`` equal ones."""
        assert len(self.row_ids) == 1, "only a single row can be expanded"
        self.keep_rows([0] * rows)

    def release_context(self) -> None:
        """Hold no more of the context than what presses left of it."""
        layers = tuple(layer.without_keys() for layer in self.prefix.layers)
        self.prefix = Prefix(self.prefix.length, layers)
        for cache, layer in zip(self.layers, layers, strict=True):
            cache.prefix = layer
