"""The kernels of a GPU against plain attention in float64, there or in Triton's interpreter."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from sparse_attention.testing.device import DEVICE

pytest.importorskip("triton")
from sparse_attention.attention import triton_kernel

# The interpreter multiplies no bfloat16.
HALF = torch.float16 if DEVICE.type == "cpu" else torch.bfloat16


def expected(queries, keys, values, index, counts, weights, scaling, softcap, sinks):
    """In float64, query head by query head; keys and values (R, H, K, ...)."""
    rows, heads, group, _ = queries.shape
    output = torch.zeros(rows, heads, group, values.shape[-1], dtype=torch.float64, device=DEVICE)
    for row in range(rows):
        for head in range(heads):
            for member in range(group):
                own = member if index.shape[2] > 1 else 0
                read = index[row, head, own, : int(counts[row, head, own])].long()
                logits = keys[row, head, read].double() @ queries[row, head, member].double()
                logits = logits * scaling
                if softcap is not None:
                    logits = softcap * (logits / softcap).tanh()
                if weights is not None:
                    logits = logits + weights[row, head, own, : len(read)].double()
                if sinks is not None:
                    logits = torch.cat([logits, sinks[head, member].double()[None]])
                shares = logits.softmax(0)[: len(read)]
                output[row, head, member] = shares @ values[row, head, read].double()
    return output


@pytest.mark.parametrize(
    ("rows", "heads", "group", "shared", "width", "value_width", "options"),
    [
        (1, 2, 4, True, 64, 64, ""),
        (2, 2, 3, False, 16, 16, "weights softcap"),
        (2, 1, 4, True, 40, 24, "weights sinks"),
        (1, 2, 1, True, 16, 32, "softcap sinks"),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, HALF])
def test_attention_over_lists(
    rows, heads, group, shared, width, value_width, options, dtype, monkeypatch
):
    if DEVICE.type == "cpu":
        # As many parts as a GPU would make of so few keys.
        monkeypatch.setattr(triton_kernel, "_facts", lambda _: (6, False))
    generator = torch.Generator().manual_seed(0)
    context, tail, longest = 300, 9, 130

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).to(DEVICE, dtype)

    keys, values = normal(heads, context, width), normal(heads, context, value_width)
    tail_keys, tail_values = (
        normal(rows, heads, tail, width),
        normal(rows, heads, tail, value_width),
    )
    queries = normal(rows, heads, group, width)
    lists = 1 if shared else group
    order = torch.rand(rows, heads, lists, context + tail, generator=generator).argsort(-1)
    index = order[..., :longest].to(DEVICE, torch.int32)
    index[..., 0] = context + tail - 1
    counts = torch.randint(1, longest + 1, (rows, heads, lists), generator=generator)
    counts[0, 0, 0] = longest
    counts = counts.to(DEVICE, torch.int32)
    index.masked_fill_(
        torch.arange(longest, device=DEVICE) >= counts[..., None], 2**31 - 1
    )  # what comes after the list is not looked at
    weights = normal(*index.shape).float() if "weights" in options else None
    sinks = normal(heads, group) if "sinks" in options else None
    room = torch.full((rows, 2 * heads, group + 1, value_width), 77.0, device=DEVICE)
    softcap = 2.0 if "softcap" in options else None
    got = triton_kernel.attend(
        queries,
        keys.expand(rows, -1, -1, -1),
        values.expand(rows, -1, -1, -1),
        tail_keys,
        tail_values,
        (),
        index,
        counts,
        weights,
        scaling=0.3,
        softcap=softcap,
        sinks=sinks,
        out=room[:, ::2, 1:],
    )
    assert (room[:, 1::2] == 77).all()
    assert (room[:, :, 0] == 77).all()
    whole_keys = torch.cat([keys.expand(rows, -1, -1, -1), tail_keys], 2)
    whole_values = torch.cat([values.expand(rows, -1, -1, -1), tail_values], 2)
    exact = expected(queries, whole_keys, whole_values, index, counts, weights, 0.3, softcap, sinks)
    tolerance = 2e-5 if dtype == torch.float32 else 1e-2
    torch.testing.assert_close(got.double(), exact, atol=tolerance, rtol=tolerance)


def test_an_empty_list_gives_nothing_and_one_list_can_serve_all_rows():
    generator = torch.Generator().manual_seed(0)
    keys, tail = torch.randn(2, 40, 16, generator=generator), torch.zeros(3, 2, 0, 16)
    keys, tail = keys.to(DEVICE), tail.to(DEVICE)
    shared = keys.expand(3, -1, -1, -1)
    queries = torch.randn(3, 2, 2, 16, generator=generator).to(DEVICE)
    index = torch.arange(20, dtype=torch.int32, device=DEVICE).expand(3, 2, 1, -1)
    for count in (20, 0):
        counts = torch.tensor(count, dtype=torch.int32, device=DEVICE).expand(3, 2, 1)
        got = triton_kernel.attend(
            queries, shared, shared, tail, tail, (), index, counts, scaling=0.25
        )
        own = keys[:, :count].double()
        exact = (queries.double() @ own.mT * 0.25).softmax(-1) @ own
        torch.testing.assert_close(got.double(), exact, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("spans", [((0, 5), (30, 43)), ((7, 8),), ((0, 43),)])
@pytest.mark.parametrize("listed", [True, False])
def test_spans_come_before_lists(spans, listed):
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).to(DEVICE)

    keys, values, queries = normal(1, 40, 16), normal(1, 40, 16), normal(2, 1, 2, 16)
    tail_keys, tail_values = normal(2, 1, 3, 16), normal(2, 1, 3, 16)
    index = torch.tensor([12, 9, 29, 20], device=DEVICE).expand(2, 1, 2, -1)
    weights = normal(2, 1, 2, 4)
    read = [key for start, end in spans for key in range(start, end)]
    whole = torch.tensor(read, dtype=torch.int64, device=DEVICE).expand(2, 1, 2, -1)
    added = torch.zeros(2, 1, 2, len(read), device=DEVICE)
    if listed:
        whole, added = torch.cat([whole, index], -1), torch.cat([added, weights], -1)
    counts = torch.full((2, 1, 2), whole.shape[-1], device=DEVICE)
    got = triton_kernel.attend(
        queries,
        keys.expand(2, -1, -1, -1),
        values.expand(2, -1, -1, -1),
        tail_keys,
        tail_values,
        spans,
        index if listed else None,
        None,
        weights if listed else None,
        scaling=0.3,
    )
    whole_keys = torch.cat([keys.expand(2, -1, -1, -1), tail_keys], 2)
    whole_values = torch.cat([values.expand(2, -1, -1, -1), tail_values], 2)
    exact = expected(queries, whole_keys, whole_values, whole, counts, added, 0.3, None, None)
    torch.testing.assert_close(got.double(), exact, atol=2e-5, rtol=2e-5)


def test_nothing_of_triton_is_imported_on_a_processor():
    if DEVICE.type != "cpu":
        pytest.skip("there is a GPU")
    code = "import sparse_attention, sys; sys.exit('triton' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
