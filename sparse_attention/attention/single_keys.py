"""Products of vectors with keys and values that are read one by one, wherever they lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from sparse_attention.cache.view import KeyView
from sparse_attention.numerics.products import product

if TYPE_CHECKING:
    from torch import Tensor

_ROOM = 1 << 20
"""Numbers that a processor collects at a time: what its cache keeps until they are used."""


class Lines:
    """Keys of the context that are read one by one, of each line of keys that differs."""

    def __init__(self, shape: tuple[int, ...], keys: Tensor) -> None:
        """``keys`` are int64 (R, H, G, 1, n) with ones where all are the same."""
        rows, heads, group = shape[:3]
        of_rows, _, of_group, _, count = keys.shape
        self.keys = keys
        self._numbers = keys[:, :, :, 0].expand(of_rows, heads, of_group, count)
        self._split = (of_rows, rows // of_rows, heads, of_group, group // of_group)
        self._lines = of_rows * heads * of_group
        self._alone = self._lines == rows * heads * group
        self._places: dict[int, Tensor] = {}

    def dots(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Products of the queries (R, H, G, 1, D) with the keys: float32 (R, H, G, 1, n)."""
        keys = in_steps(keys)
        asked = self._together(queries).to(keys.dtype)
        return self._apart(_multiply(asked, _flat(keys), self._places_in(keys), transposed=True))

    def weigh(self, weights: Tensor, values: Tensor) -> Tensor:
        """``weights`` (R, H, G, 1, n) times the values: float32 (R, H, G, 1, Dv)."""
        values = in_steps(values)
        return self._apart(_weigh(_flat(values), self._places_in(values), self._together(weights)))

    def _places_in(self, tensor: Tensor) -> Tensor:
        """Where the vectors of the keys are in ``_flat``: int64 (lines * n,)."""
        step = _step(tensor)
        if step not in self._places:
            self._places[step] = _places(self._numbers, step)
        return self._places[step]

    def _together(self, tensor: Tensor) -> Tensor:
        """(R, H, G, 1, n) as (lines, queries of a line, n)."""
        width = tensor.shape[-1]
        if self._alone:
            return tensor.reshape(self._lines, 1, width)
        parts = tensor.reshape(*self._split, width).permute(0, 2, 3, 1, 4, 5)
        return parts.reshape(self._lines, -1, width)

    def _apart(self, tensor: Tensor) -> Tensor:
        """The inverse of ``_together``."""
        (rows, shared, heads, group, members), width = self._split, tensor.shape[-1]
        if self._alone:
            return tensor.view(rows, heads, group, 1, width)
        parts = tensor.reshape(rows, heads, group, shared, members, width)
        parts = parts.permute(0, 3, 1, 2, 4, 5)
        return parts.reshape(rows * shared, heads, group * members, 1, width)


def single_dots(queries: Tensor, view: KeyView, keys: Tensor) -> Tensor:
    """Products of single queries (R, H, G, 1, D) with single keys.

    Args:
        queries: float32, or of the dtype of the keys.
        view: the keys.
        keys: numbers of some, int64 (R or 1, H or 1, G or 1, 1, n).

    Returns:
        float32 (R, H, G, 1, n).
    """
    context = view.segment.keys.shape[1]
    after = keys - context
    # A device would have to be waited for to know that no key is of the tails.
    in_tails = keys.is_cuda or not context or bool((after >= 0).any())
    if context:
        lines = Lines(queries.shape, keys.clamp(max=context - 1) if in_tails else keys)
        dots = lines.dots(queries, view.segment.keys)
        if not in_tails:
            return dots
    own = tail_dots(queries, view).gather(-1, after.clamp(min=0).expand(*queries.shape[:4], -1))
    return torch.where(after < 0, dots, own) if context else own


def tail_dots(queries: Tensor, view: KeyView) -> Tensor:
    """Products of the queries with the tails: float32 (R, H, G, 1, t)."""
    tail = view.tail_keys
    asked = queries.flatten(0, 1)[:, :, 0].to(tail.dtype)
    dots = product(asked, tail.flatten(0, 1).mT)
    return dots.view(*queries.shape[:4], -1)


def in_steps(tensor: Tensor) -> Tensor:
    """(H, P, D) so that the vectors of all heads lie at multiples of one step in memory."""
    if tensor.stride(2) == 1 and tensor.stride(1) and tensor.stride(0) % tensor.stride(1) == 0:
        return tensor
    return tensor.contiguous()


def _step(tensor: Tensor) -> int:
    """Vectors from one head of (H, P, D) ``in_steps`` to the next one."""
    return tensor.stride(0) // tensor.stride(1)


def _flat(tensor: Tensor) -> Tensor:
    """The vectors of (H, P, D) with what lies between them, (n, D), without a copy."""
    heads, count, width = tensor.shape
    return tensor.as_strided(((heads - 1) * _step(tensor) + count, width), (tensor.stride(1), 1))


def _places(lines: Tensor, step: int) -> Tensor:
    """Keys ``lines`` (rows, H, groups, n) of heads that lie so many vectors apart: (all lines,)."""
    heads = torch.arange(lines.shape[1], device=lines.device).view(-1, 1, 1)
    return (lines + heads * step).reshape(-1)


def collect(tensor: Tensor, lines: Tensor) -> Tensor:
    """Vectors ``lines`` (rows, H, groups, n) of a tensor (H, P, D) ``in_steps``: (all lines, D)."""
    return _collect(_flat(tensor), _places(lines, _step(tensor)))


def _collect(flat: Tensor, places: Tensor) -> Tensor:
    if _summable(flat) and places.numel():
        # Sums of one vector each: what sums them asks the memory for the next ones meanwhile.
        return torch.nn.functional.embedding_bag(
            places, flat, torch.arange(places.shape[0]), mode="sum"
        )
    return flat.index_select(0, places)


def _summable(flat: Tensor) -> bool:
    """Whether sums of its vectors are fast; of a view everything would be copied first."""
    return flat.dtype == torch.float32 and not flat.is_cuda and flat.is_contiguous()


def _weigh(flat: Tensor, places: Tensor, weights: Tensor) -> Tensor:
    """``weights`` (lines, m, n) times the vectors at ``places`` (lines * n,): (lines, m, D)."""
    lines, asking, listed = weights.shape
    if _summable(flat) and asking == 1:  # weighed while they are collected
        starts, factors = torch.arange(0, lines * listed, listed), weights.reshape(-1)
        return torch.nn.functional.embedding_bag(
            places, flat, starts, mode="sum", per_sample_weights=factors
        )[:, None]
    return _multiply(weights.to(flat.dtype) if flat.is_cuda else weights, flat, places)


def _multiply(left: Tensor, flat: Tensor, places: Tensor, transposed: bool = False) -> Tensor:
    """``left`` (lines, m, ...) times the vectors at ``places``, or their transpose: float32."""
    lines, width = left.shape[0], flat.shape[1]
    listed = places.shape[0] // lines
    some = lines if flat.is_cuda else max(1, _ROOM // max(1, listed * width))
    parts = []
    for asked, own in zip(left.split(some), places.split(some * listed), strict=True):
        vectors = _collect(flat, own).view(len(asked), listed, width)
        parts.append(product(asked, vectors.mT if transposed else vectors))
    return torch.cat(parts) if len(parts) > 1 else parts[0]
