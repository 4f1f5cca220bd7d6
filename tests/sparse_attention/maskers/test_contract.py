"""What every method must do, whatever it is."""

from __future__ import annotations

import pytest
import torch
from calls import FULL, HEADS, METHODS, make_operation, single_query

from sparse_attention.attention.paths import gathered_attention, reference_attention
from sparse_attention.maskers import MASKERS, Local, Sink

EVERY = pytest.mark.parametrize("name", METHODS)


def test_every_method_is_in_the_suite():
    assert set(METHODS) == set(FULL)
    for table in (METHODS, FULL):
        assert {method.name for method in table.values()} == set(MASKERS)


@EVERY
@pytest.mark.parametrize("heads", HEADS)
@pytest.mark.parametrize("queries", [1, 5])
def test_full_budget_is_dense(name, heads, queries):
    operation = make_operation(FULL[name], heads=HEADS[heads], queries=queries, tail=8)
    call = operation.call
    got = reference_attention(
        call.queries, operation.keys, operation.values, operation.select().log_weights, call.scaling
    )
    dense = reference_attention(
        call.queries, operation.keys, operation.values, operation.invisible, call.scaling
    )
    torch.testing.assert_close(got, dense, atol=1e-5, rtol=1e-5)


@EVERY
@pytest.mark.parametrize("heads", HEADS)
@pytest.mark.parametrize("queries", [1, 5])
@pytest.mark.parametrize("window", [None, 40])
def test_reads_only_visible_keys_and_at_least_one(name, heads, queries, window):
    operation = make_operation(METHODS[name], heads=HEADS[heads], queries=queries, window=window)
    reads = operation.select().reads.expand(operation.call.shape)
    invisible = operation.invisible == -torch.inf
    assert not (reads & invisible).any()
    assert reads.any(-1).all()
    assert not reads.all()


@EVERY
@pytest.mark.parametrize("prefix", [1, 2, 3])
def test_contexts_shorter_than_any_window(name, prefix):
    operation = make_operation(METHODS[name], prefix=prefix, tail=1)
    reads = operation.select().reads.expand(operation.call.shape)
    assert reads.any(-1).all()


@EVERY
def test_a_method_keeps_what_was_selected_before(name):
    before = make_operation(Sink(sink_size=7), Local(window_size=6), queries=3).select()
    methods = [
        method for method in (Sink(sink_size=7), Local(window_size=6)) if method.name != name
    ]
    both = make_operation(*methods, METHODS[name], queries=3)
    log_weights = both.select().log_weights.expand(both.call.shape)
    alone = make_operation(*methods, queries=3).select().reads
    assert (log_weights[alone.expand(both.call.shape)] == 0).all()
    if len(methods) == 2:
        assert (log_weights[before.reads.expand(both.call.shape)] == 0).all()


@EVERY
def test_a_row_alone_equals_the_row_in_a_batch(name):
    methods = (Sink(sink_size=2), METHODS[name]) if name != "sink" else (METHODS[name],)
    samples = ["a", "b", "c"]
    batch = make_operation(*methods, rows=3, queries=2, samples=samples)
    together = batch.select().log_weights.expand(batch.call.shape)
    for row, sample in enumerate(samples):
        alone = make_operation(*methods, rows=3, queries=2, samples=[sample] * 3)
        single = alone.select().log_weights.expand(batch.call.shape)
        torch.testing.assert_close(single[row], together[row], atol=1e-5, rtol=1e-5)


@EVERY
@pytest.mark.parametrize("queries", [1, 5])
def test_gathered_attention_equals_the_reference_in_float64(name, queries):
    operation = make_operation(METHODS[name], heads=(2, 3), queries=queries, rows=2)
    call, selection = operation.call, operation.select()
    exact = reference_attention(
        call.queries.double(),
        operation.keys.double(),
        operation.values.double(),
        selection.log_weights.double(),
        call.scaling,
    )
    got = gathered_attention(call, selection, None)
    torch.testing.assert_close(got.double(), exact, atol=2e-5, rtol=2e-5)


@EVERY
def test_finite_for_large_logits(name):
    operation = make_operation(METHODS[name], scale=1e4 * 4, queries=2)
    call, selection = operation.call, operation.select()
    assert call.scores[call.scores > -torch.inf].abs().max() > 1e4
    assert gathered_attention(call, selection, None).isfinite().all()


@EVERY
def test_several_tokens_at_once_equal_one_after_the_other(name):
    method = METHODS[name]
    together = make_operation(method, queries=4, tail=8)
    block = together.select().log_weights.expand(together.call.shape)
    for index in range(4):
        single = make_operation(method, queries=4, tail=8)
        seen = 120 + 5 + index
        alone = single_query(single.call, index, 5 + index, None)
        single.call = alone
        expected = single.select().log_weights.expand(alone.shape)[..., 0, :]
        torch.testing.assert_close(
            block[..., index, :seen], expected, atol=1e-5, rtol=1e-5, equal_nan=True
        )
        assert (block[..., index, seen:] == -torch.inf).all()
