"""Oracle top-p against its definition in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparse_attention.maskers import Local, OracleTopP, Sink
from sparse_attention.testing.calls import make_operation


def dense_weights(operation):
    """Attention weights of every query over all keys that it sees, float64 (R, H, G, Q, K)."""
    keys = operation.keys.double()[:, :, None]
    scores = operation.call.queries.double() @ keys.mT * operation.call.scaling
    return (scores + operation.invisible.double()).softmax(-1)


@settings(max_examples=40, deadline=None)
@given(
    top_p=st.floats(0.01, 0.999),
    scale=st.floats(0, 6),
    queries=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_reads_the_fewest_keys_that_hold_the_share(top_p, scale, queries, seed):
    edges = (Sink(sink_size=3), Local(window_size=4))
    setting = {"scale": scale, "queries": queries, "seed": seed}
    operation = make_operation(*edges, OracleTopP(top_p=top_p), **setting)
    before = make_operation(*edges, **setting).select().reads.expand(operation.call.shape)
    reads = operation.select().reads
    weights = dense_weights(operation)
    held = (weights * reads).sum(-1)
    assert (held >= top_p - 1e-5).all()
    added = reads & ~before
    smallest = weights.masked_fill(~added, torch.inf).amin(-1)
    assert (held - smallest < top_p + 1e-5).all()  # where nothing was added, smallest is infinite
    largest_left = weights.masked_fill(reads, 0).amax(-1)
    assert (largest_left <= smallest + 1e-7).all()


def test_more_is_read_for_a_larger_share_and_a_share_of_one_is_everything():
    counts = [
        int(make_operation(OracleTopP(top_p=p), scale=2.0).select().reads.sum())
        for p in (0.1, 0.5, 0.9, 0.99, 1.0)
    ]
    assert counts == sorted(counts)
    assert counts[-1] == 4 * 128


def test_adds_nothing_where_earlier_methods_hold_enough():
    operation = make_operation(Sink(sink_size=0.9), OracleTopP(top_p=0.05))
    assert (operation.select().reads.sum(-1) == 115).all()


@pytest.mark.parametrize("pool", ["mean", "max"])
def test_query_heads_that_choose_together_hold_the_share_of_their_pooled_weights(pool):
    method = OracleTopP(top_p=0.7, group_scores=pool)
    operation = make_operation(method, heads=(2, 3), queries=2, scale=3.0)
    reads = operation.select().reads
    assert reads.shape[2] == 1
    weights = dense_weights(operation)
    weights = weights.mean(2) if pool == "mean" else weights.amax(2)
    weights = weights / weights.sum(-1, keepdim=True)
    chosen = reads[:, :, 0]
    held = (weights * chosen).sum(-1)
    assert (held >= 0.7 - 1e-6).all()
    assert (held - weights.masked_fill(~chosen, torch.inf).amin(-1) < 0.7).all()


def test_rows_with_different_shares_are_handled_together():
    operation = make_operation(OracleTopP(top_p=0.3), rows=2, scale=2.0)
    operation.call.stack = [(OracleTopP(top_p=0.3),), (OracleTopP(top_p=1.0),)]
    counts = operation.select().reads.sum(-1)
    assert (counts[1] == 128).all()
    assert (counts[0] < 128).all()
