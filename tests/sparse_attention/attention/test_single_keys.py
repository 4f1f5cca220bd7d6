"""Products with single keys."""

from __future__ import annotations

import pytest
import torch

from sparse_attention.attention.single_keys import single_dots
from sparse_attention.testing.calls import make_operation


@pytest.mark.parametrize("alike", [(False, False, False), (True, False, True), (True, True, True)])
@pytest.mark.parametrize("count", [0, 1, 30])
@pytest.mark.parametrize("last", [40, 60])
def test_products_with_single_keys_are_those_of_all_scores(alike, count, last):
    operation = make_operation(heads=(2, 3), rows=2, prefix=40, tail=20)
    call = operation.call
    lines = [1 if same else size for same, size in zip(alike, call.shape[:3], strict=True)]
    keys = torch.rand(*lines, 1, last).argsort(-1)[..., :count]
    dots = single_dots(call.queries, call.view, keys.to(call.device)) * call.scaling
    expected = call.scores.gather(-1, keys.to(call.device).expand(*call.shape[:4], -1))
    torch.testing.assert_close(dots, expected, atol=1e-5, rtol=1e-5)
