"""Kernels that make and compare codes, on a GPU or in Triton's interpreter, against torch."""

from __future__ import annotations

import pytest
import torch

from sparse_attention.testing.device import DEVICE

pytest.importorskip("triton")
from sparse_attention.numerics import hashing_kernels as kernels


@pytest.mark.parametrize(
    ("bits", "dtype"),
    [(1, torch.uint8), (8, torch.uint8), (10, torch.int16), (31, torch.int32), (40, torch.int64)],
)
def test_signs_are_packed(bits, dtype):
    products = torch.randn(bits, 5, 3 * 70, generator=torch.Generator().manual_seed(bits))
    products[0, 0, :4] = torch.tensor([0.0, -0.0, 1e-40, -1e-40])
    codes = torch.full((3, 5, 70), 77, dtype=dtype, device=DEVICE)
    kernels.pack_signs(products.to(DEVICE), codes)
    expected = sum((products[bit] >= 0).long() << bit for bit in range(bits))
    assert torch.equal(codes.long().cpu(), expected.view(5, 3, 70).transpose(0, 1))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64])
@pytest.mark.parametrize("shared", [True, False])
def test_keys_that_are_met_often_enough_are_marked(dtype, shared):
    generator = torch.Generator().manual_seed(0)
    asked = torch.randint(0, 4, (2, 3, 20, 11), generator=generator).to(DEVICE, dtype)
    codes = torch.randint(0, 4, (1 if shared else 2, 3, 20, 50), generator=generator)
    codes = codes.to(DEVICE, dtype)
    limits = torch.tensor([[3, 20], [2, 9]], device=DEVICE)
    room = torch.full((2, 3, 11, 60), 77, dtype=torch.uint8, device=DEVICE)
    for least in (1, 5):
        kernels.mark_meetings(asked, codes, limits, least, room[..., 10:])
        for row, (mask, count) in enumerate(limits.tolist()):
            own, theirs = (
                tensor[:, :count] & mask for tensor in (asked[row], codes[0 if shared else row])
            )
            met = (own[..., None] == theirs[:, :, None]).sum(1)
            assert torch.equal(room[row, ..., 10:] > 0, met >= least)
    assert (room[..., :10] == 77).all()
