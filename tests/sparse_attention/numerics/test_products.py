"""Products by torch and by NumPy, against products in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparse_attention.numerics import products
from sparse_attention.testing.device import DEVICE


@pytest.fixture(params=[True, False], ids=["numpy", "torch"], autouse=True, scope="module")
def by_numpy(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "_has_faster_numpy", lambda: request.param)
        patch.setattr(torch, "get_num_threads", lambda: 1)
        yield


@given(
    batch=st.integers(1, 3),
    lines=st.sampled_from([0, 1, 2, 7, 8, 9, 40, 100, 130]),
    inner=st.integers(0, 20),
    columns=st.integers(0, 40),
    turned=st.booleans(),
    written=st.booleans(),
)
def test_products_are_exact(batch, lines, inner, columns, turned, written):
    generator = torch.Generator().manual_seed(0)
    room = torch.randn(batch, lines + 1, inner + 2, generator=generator).to(DEVICE)
    left = room[:, 1:, 2:]
    if turned:
        right = torch.randn(batch, columns, inner, generator=generator).to(DEVICE).mT
    else:
        right = torch.randn(batch, inner, columns + 3, generator=generator).to(DEVICE)[..., 3:]
    target = torch.full((batch, lines, columns + 5), 77.0, device=DEVICE)
    out = target[..., :columns] if written else None
    got = products.product(left, right, out)
    assert got.shape == (batch, lines, columns)
    exact = left.double() @ right.double()
    torch.testing.assert_close(got.double(), exact, atol=1e-5, rtol=1e-5)
    if written:
        torch.testing.assert_close(target[..., :columns].double(), exact, atol=1e-5, rtol=1e-5)
        assert (target[..., columns:] == 77).all()
    else:
        assert got.is_contiguous()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_not_rounded_again(dtype):
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(2, 3, 40, generator=generator).to(DEVICE, dtype)
    right = torch.randn(2, 40, 50, generator=generator).to(DEVICE, dtype)
    got = products.product(left, right)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), left.double() @ right.double(), atol=1e-5, rtol=1e-5)


def test_what_is_learned_from_can_be_multiplied():
    left, right = torch.randn(1, 2, 3, device=DEVICE), torch.randn(1, 3, 4, device=DEVICE)
    left.requires_grad_()
    with torch.inference_mode():
        got = products.product(left, right)
    torch.testing.assert_close(got, (left @ right).detach(), atol=1e-6, rtol=1e-6)


def test_several_threads_are_those_of_torch():
    assert products.numpy_is_faster(1, 64, 4096) == products._has_faster_numpy()
    assert not products.numpy_is_faster(30, 64, 4096)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "get_num_threads", lambda: 2)
        assert not products.numpy_is_faster(1, 64, 4096)
