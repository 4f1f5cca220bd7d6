"""Attention over selections beside dense attention, against the plainest form of both."""

from __future__ import annotations

import pytest
import torch

from sparse_attention.attention.beside import attend_beside_dense
from sparse_attention.attention.compact import Compact
from sparse_attention.attention.indices import Indices
from sparse_attention.attention.paths import reference_attention
from sparse_attention.attention.scores import SharedScores
from sparse_attention.attention.selection import Selection
from sparse_attention.model_facts import LayerSettings
from sparse_attention.testing.calls import make_operation

HEADS, KEYS = (2, 3), 48
CPU = torch.device("cpu")


def shared_of(scale=1.0, sinks=None):
    """Four rows with room for four, their keys and their values."""
    operation = make_operation(heads=HEADS, rows=4, prefix=40, tail=8, scale=scale)
    call = operation.call
    settings = LayerSettings(call.scaling, sink_logits=sinks)
    shared = SharedScores(call.queries.cpu(), call.view, call.geometry, settings, None, 4)
    return shared, operation.keys, operation.values


def listed(rows):
    """First and last keys of all, and others with weights; one line has none of them."""
    random = torch.Generator().manual_seed(1)
    keys = 4 + torch.rand(rows, *HEADS, 1, KEYS - 8, generator=random).argsort(-1)[..., :9]
    counts = torch.randint(1, 10, (rows, *HEADS, 1, 1), generator=random)
    counts[0, 0, 0] = 0
    weights = torch.rand(rows, *HEADS, 1, 9, generator=random)
    indices = Indices(keys, counts, weights)
    return Selection(Compact(KEYS, CPU, ((0, 4), (KEYS - 4, KEYS)), indices))


def marked(rows):
    random = torch.Generator().manual_seed(2)
    reads = torch.rand(rows, *HEADS, 1, KEYS, generator=random) < 0.3
    reads[..., -1] = True
    return Selection(reads, torch.rand(rows, 1, 1, 1, 1, generator=random) * reads)


@pytest.mark.skipif(torch.cuda.is_available(), reason="processors only")
@pytest.mark.parametrize("sinks", [None, torch.linspace(-1, 2, 6).view(HEADS)])
def test_both_are_those_of_the_plainest_form(sinks):
    shared, keys, values = shared_of(sinks=sinks)
    spans = Selection(Compact(KEYS, CPU, ((0, 5), (30, KEYS))))
    chosen = [(range(0, 1), listed(1)), (range(1, 3), marked(2)), (range(3, 4), spans)]
    dense, sparse = attend_beside_dense(shared, chosen)
    order = [0, 1, 2, 3]
    log_weights = torch.cat(
        [part.log_weights.expand(len(rows), *HEADS, 1, KEYS) for rows, part in chosen]
    )
    for found, weights in ((dense, torch.zeros_like(log_weights)), (sparse, log_weights)):
        expected = expected_attention(shared, keys, values, weights[order], sinks)
        torch.testing.assert_close(found.double(), expected, atol=2e-6, rtol=2e-5)


def expected_attention(shared, keys, values, log_weights, sinks):
    queries, keys, values = (tensor.double() for tensor in (shared.queries, keys, values))
    if sinks is None:
        return reference_attention(
            queries, keys, values, log_weights.double(), shared.settings.scaling
        )
    logits = queries @ keys[:, :, None].mT * shared.settings.scaling + log_weights
    sink = sinks.double()[None, :, :, None, None].expand(*logits.shape[:-1], 1)
    return torch.cat([logits, sink], -1).softmax(-1)[..., :-1] @ values[:, :, None]


@pytest.mark.skipif(torch.cuda.is_available(), reason="processors only")
def test_rows_in_another_order_keep_their_tails():
    shared, keys, values = shared_of()
    chosen = [(range(3, 4), marked(1)), (range(1, 2), listed(1))]
    _, sparse = attend_beside_dense(shared, chosen)
    for place, (rows, selection) in enumerate(chosen):
        log_weights = selection.log_weights.double()
        own = slice(rows.start, rows.stop)
        expected = reference_attention(
            shared.queries[own].double(),
            keys[own].double(),
            values[own].double(),
            log_weights,
            shared.settings.scaling,
        )
        torch.testing.assert_close(
            sparse[place : place + 1].double(), expected, atol=2e-6, rtol=2e-5
        )


@pytest.mark.skipif(torch.cuda.is_available(), reason="processors only")
def test_a_selection_without_dense_weight_is_left_to_its_own_softmax():
    shared, *_ = shared_of(scale=300.0)
    scores = shared.scores(range(4))
    reads = torch.zeros_like(scores, dtype=torch.bool)
    reads.scatter_(-1, scores.argmin(-1, keepdim=True), True)
    dense, sparse = attend_beside_dense(shared, [(range(4), Selection(reads))])
    assert sparse is None
    assert torch.equal(dense, SharedScores.dense_output(shared))


@pytest.mark.skipif(torch.cuda.is_available(), reason="processors only")
def test_rows_may_all_read_everything():
    shared, *_ = shared_of()
    dense, sparse = attend_beside_dense(shared, [])
    assert sparse is not None
    assert not len(sparse)
    torch.testing.assert_close(dense, shared.dense_output())
