"""The words of wonderwords in upstream's order."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from typing import overload

from benchmark.ruler.lexicon import wonderwords


class Pairs(Sequence[str]):
    """All adjective-noun pairs, sorted, without a list of all six million of them.

    The pairs of an adjective follow each other, but for adjectives such as ``blue`` and
    ``blue-eyed``, whose pairs are mixed.
    """

    def __init__(self, adjectives: Sequence[str], nouns: Sequence[str]) -> None:
        self._nouns = sorted(set(nouns))
        self._groups: list[tuple[str, list[str] | None]] = []
        """First adjective of each group, and the pairs of groups that have several."""
        self._starts: list[int] = []
        self._size = 0
        members: list[str] = []
        for adjective in sorted(set(adjectives), key=lambda word: f"{word}-"):
            if members and not adjective.startswith(f"{members[0]}-"):
                self._add(members)
                members = []
            members.append(adjective)
        self._add(members)

    def _add(self, members: list[str]) -> None:
        mixed = None
        if len(members) > 1:
            mixed = sorted({f"{first}-{noun}" for first in members for noun in self._nouns})
        self._groups.append((members[0], mixed))
        self._starts.append(self._size)
        self._size += len(mixed or self._nouns)

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(self._size))]
        if not 0 <= place < self._size:
            raise IndexError(place)
        group = bisect_right(self._starts, place) - 1
        adjective, mixed = self._groups[group]
        inside = place - self._starts[group]
        return f"{adjective}-{self._nouns[inside]}" if mixed is None else mixed[inside]


@lru_cache(maxsize=1)
def pairs() -> Pairs:
    """Those of the installed package."""
    return Pairs(wonderwords("adjectivelist.txt"), wonderwords("nounlist.txt"))
