"""The kernel that counts what lists name, on a GPU or in Triton's interpreter, against torch."""

from __future__ import annotations

import pytest
import torch

from sparse_attention.testing.device import DEVICE

pytest.importorskip("triton")
from sparse_attention.numerics import counting_kernels as kernels

GROUP, LENGTH = 4, 100


@pytest.mark.parametrize("by_query", [True, False])
@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("lists", [1, GROUP])
@pytest.mark.parametrize("alike", [True, False])
def test_keys_are_counted_by_query_and_by_group(by_query, counted, lists, alike, monkeypatch):
    monkeypatch.setattr(kernels, "_BLOCK", 16)
    generator = torch.Generator().manual_seed(0)
    order = torch.rand(1 if alike else 3, 2, lists, LENGTH, generator=generator).argsort(-1)
    keys = order[..., :40].expand(3, -1, -1, -1)
    counts = torch.randint(0, 41, (3, 2, lists), generator=generator) if counted else None
    sums = torch.arange(10).view(2, 5).to(DEVICE)
    places = torch.tensor([4, 0, 2])
    kernels.count_reads(
        keys.to(DEVICE),
        None if counts is None else counts.to(DEVICE),
        LENGTH,
        GROUP,
        sums,
        places.to(DEVICE),
        by_query=by_query,
    )
    expected = torch.arange(10).view(2, 5)
    for row, place in enumerate(places.tolist()):
        for head in range(2):
            ends = [40] * lists if counts is None else counts[row, head].tolist()
            read = [set(own[:end].tolist()) for own, end in zip(keys[row, head], ends, strict=True)]
            if by_query:
                expected[0, place] += sum(map(len, read)) * (GROUP // lists)
            expected[1, place] += len(set().union(*read)) * GROUP
    assert torch.equal(sums.cpu(), expected)
