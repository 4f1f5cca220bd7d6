"""Prefilled contexts, kept while there is room for them."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Prefilled(Protocol):
    """A prefilled context."""

    @property
    def nbytes(self) -> int: ...  # noqa: D102


PrefilledType = TypeVar("PrefilledType", bound=Prefilled)


class PrefillStore(Generic[PrefilledType]):
    """The most recently used prefills, bounded in bytes.

    The newest one is kept even if it alone is over the bound: further questions about its context
    follow.  Room for a new one is made before it is computed, by the bytes per token of the last.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[tuple[int, ...], PrefilledType] = OrderedDict()
        self._bytes_per_token = 0.0

    @property
    def nbytes(self) -> int:
        """Bytes of all that is kept."""
        return sum(entry.nbytes for entry in self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def holds(self, tokens: tuple[int, ...]) -> bool:
        """Whether a prefill is kept."""
        return tokens in self._entries

    def get(
        self,
        tokens: tuple[int, ...],
        compute: Callable[[], PrefilledType],
        serves: Callable[[PrefilledType], bool] = lambda _: True,
    ) -> tuple[PrefilledType, float]:
        """The prefill of ``tokens``, and the seconds it took to compute; 0 if it was kept.

        One that does not serve is forgotten and computed again.
        """
        if tokens in self._entries and serves(self._entries[tokens]):
            self._entries.move_to_end(tokens)
            return self._entries[tokens], 0.0
        self._entries.pop(tokens, None)
        self._shrink(self._max_bytes - int(self._bytes_per_token * len(tokens)), keep=0)
        start = time.perf_counter()
        entry = compute()
        seconds = time.perf_counter() - start
        self._entries[tokens] = entry
        self._bytes_per_token = entry.nbytes / max(len(tokens), 1)
        self._shrink(self._max_bytes, keep=1)
        return entry, seconds

    def clear(self) -> None:
        """Give all memory back."""
        self._entries.clear()

    def _shrink(self, max_bytes: int, keep: int) -> None:
        while len(self._entries) > keep and self.nbytes > max_bytes:
            self._entries.popitem(last=False)
