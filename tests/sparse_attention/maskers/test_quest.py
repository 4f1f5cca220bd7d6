"""Quest against its formula, and its page bounds across steps."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparse_attention.maskers import Local, OracleTopK, Quest, Sink
from sparse_attention.numerics.quantization import round_to_levels
from sparse_attention.testing.calls import make_operation, shortened
from sparse_attention.testing.device import DEVICE


def reference(operation, method, before):
    """Reads of one query per head by loops over pages in float64, (H, G, K)."""
    call, size = operation.call, method.page_size
    _, heads, group, _, keys = call.shape
    own = (keys - 1) // size
    expected = before.expand(1, heads, group, 1, keys)[0, :, :, 0].clone()
    budget = method.heavy_size
    budget = budget if isinstance(budget, int) else int(budget * keys)
    for head in range(heads):
        for query_head in range(group):
            query = call.queries[0, head, query_head, 0].double()
            bounds = {}
            for page in range(own):
                part = operation.keys[0, head, page * size : (page + 1) * size].double()
                if not expected[head, query_head, page * size : (page + 1) * size].all():
                    low, high = part.amin(0), part.amax(0)
                    bounds[page] = float(torch.maximum(query * low, query * high).sum())
            chosen = sorted(bounds, key=bounds.get, reverse=True)[: max(1, budget // size)]
            for page in [*chosen, own]:
                expected[head, query_head, page * size : (page + 1) * size] = True
    return expected


@pytest.mark.parametrize("prefix", [3, 60, 64, 120])
@pytest.mark.parametrize("size", [1, 4, 7, 16, 200])
@pytest.mark.parametrize("heavy", [0.2, 1, 30])
def test_reads_the_pages_with_the_highest_bounds(prefix, size, heavy):
    method = Quest(heavy_size=heavy, page_size=size)
    edges = (Sink(sink_size=9), Local(window_size=3))
    operation = make_operation(*edges, method, prefix=prefix, heads=(2, 2))
    before = make_operation(*edges, prefix=prefix, heads=(2, 2)).select().reads
    reads = operation.select().reads.expand(operation.call.shape)
    assert torch.equal(reads[0, :, :, 0], reference(operation, method, before))


@settings(max_examples=40, deadline=None)
@given(
    size=st.integers(1, 20),
    bits=st.integers(1, 16),
    prefix=st.integers(1, 70),
    seed=st.integers(0, 99),
)
def test_the_bound_of_a_page_is_at_least_every_score_in_it(size, bits, prefix, seed):
    method = Quest(page_size=size, label_bits=bits)
    operation = make_operation(method, prefix=prefix, scale=3.0, seed=seed)
    bounds = method._bounds(operation.call)
    scores = operation.call.scores
    assert bounds.shape[-1] == scores.shape[-1] // size
    spread = bounds.repeat_interleave(size, -1)
    scores = scores[..., : spread.shape[-1]]
    assert (spread >= scores - 1e-4 * (1 + scores.abs())).all()


def test_pages_of_one_key_are_exact_top_k():
    quest = make_operation(Quest(heavy_size=20, page_size=1), heads=(2, 3)).select().reads
    oracle = make_operation(OracleTopK(heavy_size=20), heads=(2, 3)).select().reads
    oracle = oracle.clone()
    oracle[..., -1] = True  # the query's own page is read on top
    best = quest.clone()
    assert ((oracle ^ best).sum(-1) <= 1).all()


def test_query_heads_that_choose_together_share_pages():
    for pool in ("max", "mean"):
        method = Quest(heavy_size=16, page_size=4, group_scores=pool)
        reads = make_operation(method, heads=(2, 3), scale=3.0).select().reads
        assert reads.shape[2] == 1
        assert (reads.sum(-1) == 4 * 4 + 4).all()


@pytest.mark.parametrize("prefix", [2, 61, 64])
@pytest.mark.parametrize("size", [1, 4, 16])
def test_bounds_extended_step_by_step_equal_recomputed_ones(prefix, size):
    method = Quest(page_size=size, label_bits=4)
    operation = make_operation(method, prefix=prefix, tail=40)
    call, view = operation.call, operation.call.view
    for length in (1, 2, 9, 10, 31, 40):
        call.view = shortened(view, length)
        _, prefix_pages, tail_pages = call.key_features(
            "pages", lambda keys: (), method._extremes, block=size
        )
        fresh = method._extremes((), operation.keys[:, :, : prefix + length])
        for kept_prefix, kept_tail, whole in zip(prefix_pages, tail_pages, fresh, strict=True):
            assert torch.equal(torch.cat([kept_prefix, kept_tail], -1), whole)


@given(
    st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=20),
    st.integers(1, 15),
    st.sampled_from(["round", "floor", "ceil"]),
)
def test_rounding_stays_within_a_step(values, bits, rounding):
    exact = torch.tensor(values, device=DEVICE)
    rounded = round_to_levels(exact, bits, 0, getattr(torch, rounding))
    step = float(exact.max() - exact.min()) / (2**bits - 1)
    slack = 1e-4
    difference = rounded - exact
    low = {"round": -step / 2, "floor": -step, "ceil": 0}[rounding] - slack
    high = {"round": step / 2, "floor": 0, "ceil": step}[rounding] + slack
    assert ((difference >= low) & (difference <= high)).all()
    assert len(rounded.unique()) <= 2**bits
