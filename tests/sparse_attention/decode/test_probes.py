"""Running sums of what was read, for all rows of a batch."""

from __future__ import annotations

import pickle

import pytest
import torch

from sparse_attention import Protocol, make_config
from sparse_attention.cache.prefix import Prefix, PrefixLayer
from sparse_attention.cache.shared import SharedPrefixCache
from sparse_attention.decode.decoder import LayerSettings, SparseDecoder
from sparse_attention.decode.probes import Probes


def test_what_is_held_does_not_grow_with_steps():
    rows, layers, heads, width = 3, 2, 2, 8
    torch.manual_seed(0)
    prefix = Prefix(
        20, tuple(PrefixLayer(*torch.randn(2, heads, 20, width), start=0) for _ in range(layers))
    )
    configs = [make_config("sink_local", sink_size=1, window_size=2 + row) for row in range(rows)]
    decoder = SparseDecoder(
        SharedPrefixCache(prefix, rows), configs, [""] * rows, Protocol(), measure_error=True
    )

    def held_after(steps: int) -> int:
        for _ in range(steps):
            for layer in range(layers):
                fresh = torch.randn(rows, heads, 1, width)
                decoder.cache.layers[layer].append(fresh, fresh)
                decoder.attend(layer, fresh[:, :, None], LayerSettings(width**-0.5))
        return len(pickle.dumps(decoder.probes))

    before = held_after(5)
    assert held_after(200) <= before + 20 * rows  # numbers of more digits


def test_rows_that_share_are_dropped_or_stop():
    probes = Probes(3, torch.device("cpu"))
    first, second, third = (probes[row] for row in range(3))

    def add(*counts: int) -> None:
        read = torch.tensor(counts)
        probes.add_reads(range(len(counts)), read, 2 * read, 100, [0.5] * len(counts))

    add(10, 20, 30)
    probes.keep_rows([2, 1])
    add(2, 4)
    assert [p.density for p in (first, second, third)] == [0.1, 24 / 200, 32 / 200]
    probes.stop(1)
    add(8, 100)
    assert [p.density for p in (first, second, third)] == [0.1, 24 / 200, 40 / 300]
    assert third.union_density == 80 / 300
    assert third.selection_share == 0.5
    probes = Probes(2, torch.device("cpu"))
    probes.share()
    add(10, 20)
    probes.stop(0)
    add(10, 40)
    assert probes[1].density == 70 / 300


def test_errors_are_summed_by_row():
    probes = Probes(2, torch.device("cpu"))
    assert probes[0].attention_error is None
    dense = torch.randn(2, 2, 3, 4, 8)
    for scale in (1.5, 2.0):
        probes.add_errors(torch.stack([dense[0] * scale, dense[1]]), dense)
    assert probes[0].attention_error == pytest.approx((0.25 + 1) / 2)
    assert probes[1].attention_error == 0
