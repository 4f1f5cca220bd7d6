"""Query heads of one key-value head that choose their keys together."""

from __future__ import annotations

import pytest
import torch

from sparse_attention.maskers import OracleTopK, Sink
from sparse_attention.testing.calls import make_operation


@pytest.mark.parametrize("pool", ["max", "mean"])
@pytest.mark.parametrize("heads", [(4, 1), (2, 3), (1, 4)])
def test_ranks_keys_by_the_pooled_attention_weights(pool, heads):
    method = OracleTopK(heavy_size=11, group_scores=pool)
    operation = make_operation(Sink(sink_size=4), method, heads=heads, queries=2, scale=3.0)
    keys = operation.keys.double()[:, :, None]
    scores = operation.call.queries.double() @ keys.mT * operation.call.scaling
    weights = (scores + operation.invisible.double()).softmax(-1)
    pooled = weights.amax(2) if pool == "max" else weights.mean(2)
    pooled[..., :4] = 2
    best = pooled.argsort(-1, descending=True)[..., :15]
    expected = torch.zeros_like(pooled, dtype=torch.bool).scatter_(-1, best, True)
    reads = operation.select().reads
    assert reads.shape[2] == 1
    assert torch.equal(reads[:, :, 0], expected)


@pytest.mark.parametrize("pool", ["max", "mean"])
def test_weights_that_underflow_are_still_ranked(pool):
    method = OracleTopK(heavy_size=60, group_scores=pool)
    operation = make_operation(method, heads=(1, 2), scale=1e3)
    scores = operation.call.scores.double()
    logarithms = scores.log_softmax(-1)
    pooled = logarithms.amax(2) if pool == "max" else logarithms.logsumexp(2)
    best = pooled.argsort(-1, descending=True)[..., :60]
    expected = torch.zeros_like(pooled, dtype=torch.bool).scatter_(-1, best, True)
    assert torch.equal(operation.select().reads[:, :, 0], expected)


def test_a_key_that_some_query_heads_read_already_can_be_chosen():
    first = make_operation(OracleTopK(heavy_size=5), heads=(1, 3), scale=2.0).select()
    together = OracleTopK(heavy_size=5, group_scores="max")
    added = together.propose(make_operation(together, heads=(1, 3), scale=2.0).call, first).reads
    by_all = first.reads.all(2, keepdim=True)
    assert not (added & by_all).any()
    assert (added.sum(-1) == 5).all()
    assert (added & first.reads.any(2, keepdim=True)).any()
