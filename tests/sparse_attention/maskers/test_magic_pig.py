"""Locality-sensitive hashing against its theory."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparse_attention.attention.selection import Selection
from sparse_attention.maskers import Local, MagicPig, RandomSampling, Sink
from sparse_attention.numerics.simhash import (
    count_meetings,
    encode,
    log_meeting_probability,
    narrow,
    projections,
)
from sparse_attention.testing.calls import make_operation, shortened
from sparse_attention.testing.device import DEVICE

NOTHING = Selection.nothing(129, DEVICE)


def exact_probability(cosine: float, bits: int, tables: int, min_hits: int) -> float:
    """By the binomial distribution in exact integers of the standard library."""
    agreement = (1 - math.acos(cosine) / math.pi) ** bits
    miss = (1 - agreement) ** tables
    once = tables * agreement * (1 - agreement) ** (tables - 1)
    return 1 - miss - (once if min_hits == 2 else 0)


@pytest.mark.parametrize(
    ("cosine", "bits", "tables", "one", "two"),
    [  # from the table of the paper's formula: K, L = (8, 75), (10, 150), (4, 16)
        (0.0, 8, 75, 0.254, 0.035),
        (0.2, 8, 75, 0.538, 0.180),
        (0.4, 8, 75, 0.852, 0.565),
        (0.6, 8, 75, 0.991, 0.947),
        (0.0, 10, 150, 0.136, 0.0097),
        (0.2, 10, 150, 0.388, 0.087),
        (0.0, 4, 16, 0.644, 0.264),
    ],
)
def test_known_probabilities(cosine, bits, tables, one, two):
    for hits, expected in ((1, one), (2, two)):
        got = log_meeting_probability(
            torch.tensor([cosine], device=DEVICE), bits, tables, hits
        ).exp()
        assert float(got) == pytest.approx(expected, abs=6e-4)


@given(
    cosine=st.floats(-0.9, 0.999),
    bits=st.integers(1, 12),
    tables=st.integers(2, 300),
    min_hits=st.sampled_from([1, 2]),
)
def test_probability_equals_the_binomial_formula(cosine, bits, tables, min_hits):
    rounded = float(torch.tensor(cosine, dtype=torch.float32))
    expected = exact_probability(rounded, bits, tables, min_hits)
    if expected > 1e-6:
        got = log_meeting_probability(
            torch.tensor([rounded], device=DEVICE), bits, tables, min_hits
        ).exp()
        assert float(got) == pytest.approx(expected, rel=1e-4)


def test_probability_is_finite_at_the_ends():
    ends = torch.tensor([-1.0, -0.999999, 0.0, 0.999999, 1.0], device=DEVICE)
    for bits in (1, 10, 40, 62):
        for hits in (1, 2):
            log_p = log_meeting_probability(ends, bits, 100, hits)
            assert log_p.isfinite().all()
            assert (log_p <= 1e-6).all()
            assert float(log_p[-1]) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("bits", "tables"), [(3, 8), (8, 40), (9, 20), (20, 5)])
def test_meetings_are_counted_and_packings_agree(bits, tables):
    torch.manual_seed(0)
    planes = projections(16, bits, tables, "test").to(DEVICE)
    queries, keys = torch.randn(2, 3, 10, 16).to(DEVICE), torch.randn(2, 3, 50, 16).to(DEVICE)
    keys[:, :, :5] = queries[:, :, :5]
    counts = {}
    for packing in ("int64", "float32"):
        asked = encode(queries, planes, packing).unflatten(-1, (2, 5))
        counts[packing] = count_meetings(asked, encode(keys, planes, packing), packing)
    signs_q = torch.einsum("ktd,rhqd->rhqkt", planes, queries) >= 0
    signs_k = torch.einsum("ktd,rhmd->rhmkt", planes, keys) >= 0
    expected = (signs_q[:, :, :, None] == signs_k[:, :, None]).all(-2).sum(-1)
    for count in counts.values():
        assert torch.equal(count.flatten(2, 3).long(), expected)
    assert (expected[:, :, :5, :5].diagonal(dim1=2, dim2=3) == tables).all()


def test_hashes_for_many_bits_and_tables_contain_those_for_fewer():
    vectors = torch.randn(1, 2, 30, 16).to(DEVICE)
    for packing in ("int64", "float32"):
        wide = encode(vectors, projections(16, 11, 50, "x").to(DEVICE), packing)
        small = encode(vectors, projections(16, 6, 20, "x").to(DEVICE), packing)
        assert torch.equal(narrow(wide, 6, 20, packing), small)


@pytest.mark.parametrize("min_hits", [1, 2])
def test_hit_rate_over_redraws_matches_theory(min_hits):
    redraws, bits, tables = 400, 4, 12
    reads, operation = 0, None
    for seed in range(redraws):
        method = MagicPig(lsh_k=bits, lsh_l=tables, min_hits=min_hits, seed=seed, center=False)
        operation = make_operation(method, prefix=60, tail=4, seed=5)
        reads = reads + operation.select().reads.double()
    keys = operation.keys[:, :, None, None]
    cosine = torch.cosine_similarity(operation.call.queries[..., None, :], keys, dim=-1)
    expected = log_meeting_probability(cosine, bits, tables, min_hits).double().exp()
    error = (reads / redraws - expected).abs()
    standard_error = (expected * (1 - expected) / redraws).sqrt()
    assert (error <= 4.7 * standard_error).all()


def test_weights_are_the_inverse_probability_of_centred_keys():
    method = MagicPig(lsh_k=3, lsh_l=30)
    operation = make_operation(Sink(sink_size=4), Local(window_size=8), method)
    selection = operation.select()
    mean = operation.keys[:, :, 4:120].mean(2)  # the prefix without sink; the tail is the window
    centred = (operation.keys - mean[:, :, None])[:, :, None, None]
    cosine = torch.cosine_similarity(operation.call.queries[..., None, :], centred, dim=-1)
    expected = -log_meeting_probability(cosine, 3, 30, 2)
    drawn = selection.reads.clone()
    drawn[..., :4] = drawn[..., -8:] = False
    assert drawn.any()
    torch.testing.assert_close(
        selection.log_weights.expand(operation.call.shape)[drawn],
        expected[drawn],
        atol=1e-4,
        rtol=1e-4,
    )


def test_result_does_not_depend_on_other_hashes_in_the_batch():
    own = (Sink(sink_size=4), MagicPig(lsh_k=4, lsh_l=16))
    wide = (Sink(sink_size=4), MagicPig(lsh_k=9, lsh_l=40))
    alone = make_operation(*own).select()
    operation = make_operation(*own)
    operation.call.batch = [wide, own, (Sink(sink_size=4), RandomSampling())]
    together = operation.select()
    assert torch.equal(alone.reads, together.reads)
    torch.testing.assert_close(alone.log_weights, together.log_weights)


@pytest.mark.parametrize("packing", ["int64", "float32"])
@pytest.mark.parametrize("queries", [1, 3])
def test_rows_with_other_bits_and_tables_are_handled_together(packing, queries):
    sizes = [(4, 16), (9, 40), (3, 40)]
    rows = [
        (Sink(sink_size=4), MagicPig(lsh_k=bits, lsh_l=tables, packing=packing))
        for bits, tables in sizes
    ]
    operation = make_operation(*rows[0], rows=3, queries=queries)
    operation.call.stack = operation.call.batch = rows
    together = operation.select().log_weights
    for row, methods in enumerate(rows):
        operation = make_operation(*methods, rows=3, queries=queries)
        alone = operation.select().log_weights
        torch.testing.assert_close(together[row], alone[row])


def test_a_context_is_asked_again_with_more_hashes():
    narrow, wide = MagicPig(lsh_k=7, lsh_l=20), MagicPig(lsh_k=8, lsh_l=40)
    first, again = (make_operation(method, prefix=900) for method in (narrow, wide))
    known = again.call.view.segment.features
    for operation in (first, again):
        expected = operation.select().log_weights
        for _ in range(2):  # the second time keys are looked up by their codes
            torch.testing.assert_close(operation.select().log_weights, expected)
    assert len(known) == (1 if again.call.queries.is_cuda else 2)
    again.call.view.segment.features.clear()
    again.call.view.segment.features.update(first.call.view.segment.features)
    for _ in range(2):
        torch.testing.assert_close(again.select().log_weights, expected)


def test_incremental_hashes_equal_recomputed_ones():
    method = MagicPig(lsh_k=4, lsh_l=16)
    operation = make_operation(method, tail=9)
    call, whole = operation.call, operation.call.view
    call.view = shortened(whole, 4)
    operation.call.key_features(
        "x",
        lambda keys: method._fit(operation.call, NOTHING, method._hashes(operation.call), keys),
        method._encode,
    )
    for length in (5, 7, 9):
        call.view = shortened(whole, length)
        fitted, _, tail = operation.call.key_features("x", None, method._encode)
        fresh = method._encode(fitted, call.view.tail_keys)
        for kept, new in zip(tail, fresh, strict=True):
            torch.testing.assert_close(kept, new)


@settings(max_examples=20)
@given(st.integers(1, 62))
def test_packing_holds_every_number_of_bits(bits):
    vectors = torch.randn(1, 1, 4, 8).to(DEVICE)
    planes = projections(8, bits, 2, "b").to(DEVICE)
    codes = encode(vectors, planes, "int64")
    signs = encode(vectors, planes, "float32")
    for key in range(4):
        for table in range(2):
            value = sum(1 << k for k in range(bits) if signs[0, 0, table, k, key] > 0)
            assert int(codes[0, 0, table, key]) == value


def test_zero_key_gets_a_weight():
    operation = make_operation(MagicPig(lsh_k=1, lsh_l=64, center=False), prefix=20)
    operation.call.view.segment.keys[:, 3] = 0
    assert operation.select().log_weights[..., 3].isfinite().any()
