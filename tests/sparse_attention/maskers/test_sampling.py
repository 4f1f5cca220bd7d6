"""What a residual draws, in the form for processors and in the one for GPUs."""

from __future__ import annotations

import pytest
import torch

from sparse_attention.attention.selection import Selection
from sparse_attention.maskers import Local, OracleTopK, Sink
from sparse_attention.maskers.sampling import Residual, _ByNumbers, _InOrder
from sparse_attention.testing.calls import make_operation

SAMPLES = {"one sample": ["a", "a", "a"], "samples": ["a", "b", "c"]}
PRIORS = {"positions": (Sink(sink_size=3), Local(window_size=5)), "top keys": (OracleTopK(),)}


@pytest.mark.skipif(torch.cuda.is_available(), reason="both forms on one processor")
@pytest.mark.parametrize("samples", SAMPLES)
@pytest.mark.parametrize("methods", PRIORS)
@pytest.mark.parametrize("queries", [1, 4])
def test_the_order_and_the_largest_numbers_draw_the_same(samples, methods, queries):
    operation = make_operation(
        *PRIORS[methods], rows=3, queries=queries, samples=SAMPLES[samples], window=90
    )
    if queries == 1:
        operation = make_operation(*PRIORS[methods], rows=3, samples=SAMPLES[samples])
    call, prior = operation.call, operation.select()
    ordered, numbered = (kind(call, prior, 7) for kind in (_InOrder, _ByNumbers))
    assert (ordered.compact is None) == (queries > 1)
    of_rows = torch.tensor([0, 5, 60]).view(3, 1, 1, 1, 1)
    of_lines = torch.randint(0, 40, (3, 2, 2, queries, 1))
    for count in (torch.tensor(4), of_rows, of_lines):
        count = torch.minimum(count, ordered.size)
        expected = numbered.first(count).expand(call.shape)
        assert torch.equal(ordered.first(count).expand(call.shape), expected)
        assert (expected.sum(-1, keepdim=True) == count).all()
        if ordered.compact is not None:
            for residual in (ordered, numbered):
                found = residual.listed(count).scattered(call.shape[-1])
                assert torch.equal(found.expand(call.shape), expected)
        sampled = [
            residual.sample(count).log_weights.expand(call.shape)
            for residual in (ordered, numbered)
        ]
        assert torch.equal(*(torch.where(expected, part, 0) for part in sampled))


def test_nothing_is_drawn_where_everything_is_read():
    call = make_operation(Sink(sink_size=4), rows=2, samples=["a", "a"]).call
    residual = Residual.of(call, Selection.everything(call.shape[-1], call.device), 7)
    assert int(residual.size) == 0
    assert residual.listed(torch.tensor(0)).keys.shape[-1] == 0
    assert not residual.first(torch.tensor(0)).any()
