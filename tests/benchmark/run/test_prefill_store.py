from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from benchmark.run.prefill_store import PrefillStore


@dataclass
class Entry:
    nbytes: int


@given(st.lists(st.integers(1, 8), max_size=40), st.integers(0, 200))
def test_bound_and_recency(lengths: list[int], bound: int) -> None:
    store: PrefillStore[Entry] = PrefillStore(bound)
    for length in lengths:
        tokens = tuple(range(length))
        during: list[int] = []

        def compute(size: int = 10 * length, seen: list[int] = during) -> Entry:
            seen.append(store.nbytes)
            return Entry(size)

        entry, seconds = store.get(tokens, compute)
        assert entry.nbytes == 10 * length
        assert (seconds > 0) == bool(during)
        assert store.nbytes <= bound or len(store) == 1
        assert store.get(tokens, compute)[1] == 0.0, "the newest is always kept"


def test_room_is_made_before_the_next_one_is_computed() -> None:
    store: PrefillStore[Entry] = PrefillStore(100)
    store.get((1,) * 6, lambda: Entry(60))
    kept_meanwhile: list[int] = []

    def compute() -> Entry:
        kept_meanwhile.append(len(store))
        return Entry(60)

    store.get((2,) * 6, compute)
    assert kept_meanwhile == [0]


def test_clear() -> None:
    store: PrefillStore[Entry] = PrefillStore(100)
    store.get((1,), lambda: Entry(60))
    store.clear()
    assert len(store) == 0
    assert store.nbytes == 0


def test_one_that_does_not_serve_is_computed_again() -> None:
    store: PrefillStore[Entry] = PrefillStore(100)
    store.get((1,), lambda: Entry(10))
    assert store.get((1,), lambda: Entry(20), lambda entry: entry.nbytes > 15)[0].nbytes == 20
    assert store.get((1,), lambda: Entry(30), lambda entry: entry.nbytes > 15)[0].nbytes == 20
    assert len(store) == 1
