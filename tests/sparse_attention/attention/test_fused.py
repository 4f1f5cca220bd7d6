"""Selections of methods through the kernels, against plain attention over all keys."""

from __future__ import annotations

import pytest
import torch

from sparse_attention.attention.paths import reference_attention
from sparse_attention.attention.scores import sink_share
from sparse_attention.maskers import Local, MagicPig, OracleTopK, RandomSampling, Sink
from sparse_attention.testing.calls import make_operation
from sparse_attention.testing.device import DEVICE

pytest.importorskip("triton")
from sparse_attention.attention.fused import fused_attention, fused_pays

EDGES = (Sink(sink_size=3), Local(window_size=12))
METHODS = {
    "edges": EDGES,
    "one list": (OracleTopK(heavy_size=9),),
    "together": (*EDGES, OracleTopK(heavy_size=9, group_scores="mean")),
    "drawn": (*EDGES, RandomSampling(sampling_rate=0.1)),
    "hashed": (*EDGES, MagicPig(lsh_k=4, lsh_l=20)),
}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("sinks", [True, False])
def test_what_methods_select_is_what_is_read(name, sinks):
    operation = make_operation(*METHODS[name], rows=2, heads=(2, 3), softcap=3.0 if sinks else None)
    call, selection = operation.call, operation.select()
    learned = torch.linspace(-1, 1, 6, device=DEVICE).view(2, 3) if sinks else None
    got = torch.empty(*call.shape[:4], operation.values.shape[-1], device=DEVICE)
    fused_attention(call, selection, learned, out=got)
    logits = call.scores.double() + selection.log_weights
    exact = logits.softmax(-1) @ operation.values.double()[:, :, None]
    if learned is not None:
        exact = exact * sink_share(logits, learned)
    torch.testing.assert_close(got.double(), exact, atol=1e-5, rtol=1e-5)
    if not sinks:
        plain = reference_attention(
            call.queries, operation.keys, operation.values, selection.log_weights, call.scaling
        )
        torch.testing.assert_close(got, plain, atol=1e-5, rtol=1e-5)


def test_kernels_are_for_a_gpu_and_for_few_keys():
    few = make_operation(*EDGES)
    assert fused_pays(few.call, few.select()) == (DEVICE.type == "cuda")
    everything = make_operation(Sink(sink_size=1.0), rows=8)
    assert not fused_pays(everything.call, everything.select())
    several = make_operation(*EDGES, queries=2)
    assert not fused_pays(several.call, several.select())
