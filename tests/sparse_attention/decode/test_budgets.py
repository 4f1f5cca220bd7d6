"""What was read, as measured: by query head, by key-value head, and to choose."""

from __future__ import annotations

import pytest
from methods import METHODS
from models import random_model, tokens, word_tokenizer

from sparse_attention import AttentionConfig, HuggingFaceAdapter, Protocol, make_config
from sparse_attention.maskers import (
    DoubleSparsity,
    HashAttention,
    Local,
    MagicPig,
    OracleTopK,
    PQCache,
    Quest,
    Sink,
)
from sparse_attention.testing.calls import make_operation


@pytest.fixture(scope="module")
def adapter():
    return HuggingFaceAdapter(random_model("llama"), word_tokenizer(), "llama")  # 2 KV heads of 2


@pytest.mark.parametrize("name", METHODS)
def test_the_union_counts_a_key_once_for_all_query_heads(name):
    operation = make_operation(METHODS[name], heads=(2, 3), queries=2, rows=2)
    selection = operation.select()
    reads = selection.reads.expand(operation.call.shape)
    united = selection.united_counts.expand(2, 2, 1, 2, 1)
    for row in range(2):
        for head in range(2):
            for query in range(2):
                keys = {int(k) for g in range(3) for k in reads[row, head, g, query].nonzero()}
                assert int(united[row, head, 0, query]) == len(keys)


def test_heads_that_choose_together_read_no_more_keys_than_one_head(adapter):
    prefix = adapter.prefill(tokens(200, seed=1))
    configs = [
        AttentionConfig((OracleTopK(heavy_size=20, group_scores=how),))
        for how in ("separate", "max", "mean")
    ]
    configs.append(make_config("sink_local", sink_size=4, window_size=8))
    configs.append(make_config("dense"))
    separate, *others = adapter.answer(prefix, tokens(4, seed=2), configs, max_new_tokens=1)
    assert separate.density < separate.union_density <= 2 * separate.density
    for answer in others:
        assert answer.union_density == pytest.approx(answer.density, rel=1e-9)
    assert others[0].density == pytest.approx(separate.density, rel=1e-9)


def test_dense_layers_count_as_read_and_choose_nothing(adapter):
    prefix = adapter.prefill(tokens(100, seed=1))
    config = AttentionConfig((OracleTopK(heavy_size=10),))
    sparse, mixed = (
        adapter.answer(prefix, [5], [config], max_new_tokens=1, protocol=protocol)[0]
        for protocol in (Protocol(), Protocol(dense_layers=(0, 1)))
    )
    assert sparse.selection_share == pytest.approx(0.5)
    assert mixed.selection_share == pytest.approx(0.25)
    assert mixed.union_density > 0.5


WIDTH, GROUP, KEYS = 16, 3, 128
KEY_AND_VALUE = 2 * WIDTH * 4
"""Bytes in float32."""


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (Sink(), 0),
        (Local(), 0),
        (OracleTopK(), WIDTH * 4),
        (Quest(page_size=16), KEY_AND_VALUE / 16),
        (Quest(page_size=8, label_bits=4), 2 * (WIDTH / 2 + 4) / 8),
        (DoubleSparsity(group_factor=4, label_bits=16), GROUP * 4 * 4),
        (DoubleSparsity(group_factor=4, label_bits=2), GROUP * (1 + 4)),
        (PQCache(subspaces=2, pq_bits=6), 2 * 6 / 8 + 64 * WIDTH * 4 / KEYS),
        (HashAttention(), 32 / 8),  # one network per key-value head
        (MagicPig(lsh_k=8, lsh_l=75), 75),
        (MagicPig(lsh_k=10, lsh_l=75), 150),
    ],
)
def test_bytes_that_choosing_reads(method, expected):
    operation = make_operation(method, heads=(2, GROUP), width=WIDTH)
    bound = operation.call.methods[0]
    assert bound.selection_bytes(operation.call) == pytest.approx(expected)
    assert operation.call.view.segment.bytes_per_key == KEY_AND_VALUE
