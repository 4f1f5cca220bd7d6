"""Kernels that choose keys, on a GPU or in Triton's interpreter, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sparse_attention.testing.device import DEVICE

pytest.importorskip("triton")
from sparse_attention.numerics import choosing_kernels as kernels


@pytest.mark.parametrize(
    ("kind", "counts"),
    [("normal", [5]), ("few", [40, 40, 39]), ("negative", [1, 0, 200]), ("closed", [30, 9, 9])],
)
def test_heaviest_takes_the_largest_and_of_equal_ones_the_first(kind, counts, monkeypatch):
    monkeypatch.setattr(kernels, "_SELECTED", 128)
    random = np.random.default_rng(0)
    values = random.normal(size=(3, 2, 1, 200)).astype(np.float32)
    if kind == "few":  # whole numbers from -2 to 2, with both zeros
        values = values.round()
    elif kind == "negative":
        values = -np.abs(values) * 1e30
    elif kind == "closed":
        values[random.random(values.shape) < 0.9] = -np.inf
    given = torch.from_numpy(values if len(counts) > 1 else values[:1]).to(DEVICE)
    places, found = kernels.heaviest(given, counts)
    rows = 3 if len(counts) > 1 else 1
    assert places.shape == (rows, 2, 1, max(counts))
    assert found.shape == (rows, 2, 1, 1)
    for row in range(rows):
        for line in range(2):
            own = values[row, line, 0] + 0.0  # no negative zero
            order = np.argsort(-own, kind="stable")
            wanted = [place for place in order[: counts[row]] if own[place] > -np.inf]
            count = int(found[row, line, 0])
            assert count == len(wanted)
            assert places[row, line, 0, :count].tolist() == sorted(wanted)
            assert (places[row, line, 0, count:] == 0).all()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64])
@pytest.mark.parametrize("shared", [True, False])
def test_meetings_are_counted(dtype, shared):
    generator = torch.Generator().manual_seed(0)
    asked = torch.randint(0, 4, (2, 3, 20, 11), generator=generator).to(DEVICE, dtype)
    codes = torch.randint(0, 4, (1 if shared else 2, 3, 20, 50), generator=generator)
    codes = codes.to(DEVICE, dtype)
    hits = torch.full((2, 3, 11, 50), 77, dtype=torch.uint8, device=DEVICE)
    kernels.count_meetings(asked, codes, hits)
    expected = (asked[..., None] == codes[:, :, :, None]).sum(2)
    assert torch.equal(hits.long(), expected)
