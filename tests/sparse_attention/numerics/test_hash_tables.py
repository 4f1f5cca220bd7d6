"""Keys looked up by their codes."""

from __future__ import annotations

import pytest
import torch

from sparse_attention.numerics import hash_tables
from sparse_attention.numerics.hash_tables import add_meetings, sort_by_code
from sparse_attention.numerics.simhash import count_meetings, narrow

BITS, TABLES, KEYS = 10, 12, 700


def drawn(*shape, high=1 << BITS):
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, high, shape, generator=random, dtype=torch.int16)


@pytest.mark.parametrize("block", [1 << 21, 40])
def test_keys_of_the_same_code_are_those_that_comparing_finds(block, monkeypatch):
    monkeypatch.setattr(hash_tables, "_BLOCK", block)
    codes, asked = drawn(1, 2, TABLES, KEYS), drawn(3, 2, TABLES, 2, 4)
    asked[0, :, :, 0, 0] = codes[0, :, :, 17]
    asked[1, :, :, 0, 0] = codes[0, :, :, KEYS - 1]
    sizes = [(10, 12), (8, 5), (7, 1)]
    hits = torch.zeros(3, 2, 2, 4, KEYS + 3, dtype=torch.uint8)
    assert add_meetings(asked, *sort_by_code(codes, BITS), sizes, hits) == [True] * 3
    for row, size in enumerate(sizes):
        own = narrow(asked[row : row + 1], *size, "int64")
        expected = count_meetings(own, narrow(codes, *size, "int64"), "int64")
        assert torch.equal(hits[row : row + 1, ..., :KEYS], expected)
    assert hits[0, 0, 0, 0, 17] == TABLES
    assert not hits[..., KEYS:].any()


def test_one_size_serves_all_rows():
    codes, asked = drawn(1, 2, TABLES, KEYS), drawn(3, 2, TABLES, 1, 1)
    hits = torch.zeros(3, 2, 1, 1, KEYS, dtype=torch.uint8)
    assert add_meetings(asked, *sort_by_code(codes, BITS), [(9, 11)], hits) == [True]
    own, theirs = (narrow(wide, 9, 11, "int64") for wide in (asked, codes))
    assert torch.equal(hits, count_meetings(own, theirs, "int64"))


def test_rows_with_too_many_hits_are_left_to_comparing():
    codes, asked = drawn(1, 1, TABLES, KEYS), drawn(2, 1, TABLES, 1, 1)
    codes[..., : KEYS // 2] = 5
    asked[1] = 5
    hits = torch.zeros(2, 1, 1, 1, KEYS, dtype=torch.uint8)
    order = sort_by_code(codes, BITS)
    assert add_meetings(asked, *order, [(10, 12), (10, 12)], hits) == [True, False]
    assert not hits[1].any()
    assert add_meetings(asked, *order, [(10, 12)], hits) == [False]


def test_every_key_is_in_every_table_once():
    order, starts = sort_by_code(drawn(1, 2, TABLES, KEYS, high=3), BITS)
    assert torch.equal(order.int().sort(-1).values, torch.arange(KEYS).int().expand(2, TABLES, -1))
    assert (starts[:, 0] == 0).all()
    assert (starts[:, -1] == TABLES * KEYS).all()


def test_a_context_without_keys_has_no_meetings():
    asked, hits = drawn(1, 2, TABLES, 1, 1), torch.zeros(1, 2, 1, 1, 4, dtype=torch.uint8)
    order = sort_by_code(drawn(1, 2, TABLES, 0), BITS)
    assert add_meetings(asked, *order, [(10, 12)], hits) == [True]
    assert not hits.any()
