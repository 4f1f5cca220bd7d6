"""Matrix products in float32, by whatever multiplies fast on the device.

On processors of AMD the library behind torch (MKL) is often slower than the one behind NumPy
(OpenBLAS), most where lines of the result do not begin at round places, as those of scores with
tails do not: with one thread, NumPy takes about half of the time there for many lines, and less
time for a few (``perf/products.py``).
"""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from torch import Tensor

_FEW = 8
"""Lines up to which NumPy is faster, the factors the other way round where columns are many."""
_MANY = 100
"""Lines from which on NumPy is faster again."""


def product(left: Tensor, right: Tensor, out: Tensor | None = None) -> Tensor:
    """Batched matrix product (n, i, j) @ (n, j, k) with float32 sums and a float32 result.

    Half-precision inputs are not rounded again: CUDA sums and writes float32 itself, other devices
    get float32 copies.

    Args:
        left: (n, i, j).
        right: (n, j, k).
        out: float32 (n, i, k), where to write the result; only for factors in float32.
    """
    if left.dtype == torch.float32 and right.dtype == torch.float32:
        if left.device.type == "cpu" and numpy_is_faster(left.shape[1], *right.shape[1:]):
            return _by_numpy(left, right, out)
        return torch.bmm(left, right, out=out)
    assert out is None, "half precision is not written to a given place"
    if left.is_cuda and left.dtype == right.dtype:
        return torch.bmm(left, right, out_dtype=torch.float32)
    return product(left.float(), right.float())


def segmented_product(queries: Tensor, prefix: Tensor, tail: Tensor) -> Tensor:
    """Products of queries with what is kept of a shared prefix and of each row's tail, all float32.

    Args:
        queries: (R, H, n, D).
        prefix: (1, H, D, m); one matrix product for all rows.
        tail: (R, H, D, t).

    Returns:
        (R, H, n, m + t), heads first in memory.
    """
    rows, heads, count, width = queries.shape
    shared, own = prefix.shape[-1], tail.shape[-1]
    products = queries.new_empty(heads, rows * count, shared + own)
    flat = queries.transpose(0, 1).reshape(heads, rows * count, width)
    product(flat, prefix[0], out=products[..., :shared])
    products = products.view(heads, rows, count, shared + own).transpose(0, 1)
    if own:
        last = product(queries.reshape(rows * heads, count, width), tail.flatten(0, 1))
        products[..., shared:] = last.view(rows, heads, count, own)
    return products


def numpy_is_faster(lines: int, inner: int, columns: int) -> bool:
    """Whether NumPy multiplies (lines, inner) and (inner, columns) faster than torch does."""
    some = lines <= _FEW or lines >= _MANY or columns <= inner
    return some and torch.get_num_threads() == 1 and _has_faster_numpy()


@cache
def _has_faster_numpy() -> bool:
    """Whether it ever does on this processor with one thread."""
    # NumPy's threads are its own and bounded by these alone, when it is loaded.
    bound = os.environ.get("OPENBLAS_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS")
    built = np.show_config(mode="dicts").get("Build Dependencies", {})
    library = built.get("blas", {}).get("name", "")
    return (
        (bound == "1" or os.cpu_count() == 1)
        and "openblas" in library
        and torch.backends.mkl.is_available()
        and "AMD" in _maker()
    )


def _maker() -> str:
    """Who made the processor; empty where that cannot be found out."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith("vendor_id")), "")


def _by_numpy(left: Tensor, right: Tensor, out: Tensor | None) -> Tensor:
    first, second = left.detach().numpy(), right.detach().numpy()
    if 1 < left.shape[1] <= _FEW and right.shape[2] > right.shape[1]:
        turned = np.matmul(second.swapaxes(1, 2), first.swapaxes(1, 2)).swapaxes(1, 2)
        out = left.new_empty(turned.shape) if out is None else out
        np.copyto(out.numpy(), turned)
        return out
    if out is None:
        return torch.from_numpy(np.matmul(first, second))
    np.matmul(first, second, out=out.numpy())
    return out
