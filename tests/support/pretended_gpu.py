"""A plugin of pytest: what the library would do on a GPU, on a processor.

    PYTHONPATH=tests/support pytest -p pretended_gpu tests/sparse_attention/maskers

Tensors say that they are on a GPU, so that its forms of everything run, and plain torch stands in
for the kernels; what the kernels themselves compute has tests of its own.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from sparse_attention.attention import fused
from sparse_attention.decode import probes
from sparse_attention.numerics import heaviest as places_of
from sparse_attention.numerics import simhash, tensors

_of_processor = places_of.heaviest, places_of.largest, places_of.true_places
_kernels: dict[str, SimpleNamespace] = {}
_calls: list[str] = []


def _stands_in(kind: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """For the kernel of the same name; inside, tensors are what they are."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*args: Any, **options: Any) -> Any:
            _calls.append(function.__name__)
            with pretending(False):
                return function(*args, **options)

        setattr(_kernels.setdefault(kind, SimpleNamespace()), function.__name__, run)
        return run

    return register


@contextmanager
def pretending(on_gpu: bool) -> Iterator[None]:
    """Inside, tensors say that they are on a GPU, or that they are not."""
    before = torch.Tensor.is_cuda
    torch.Tensor.is_cuda = property(lambda _: on_gpu)
    try:
        yield
    finally:
        torch.Tensor.is_cuda = before


@_stands_in("choosing")
def heaviest(values: Tensor, counts: Tensor, most: int, first: int = 0) -> tuple[Tensor, Tensor]:
    places, found = _of_processor[0](values, counts)
    lines = places.shape[:-1]
    places = torch.nn.functional.pad(places, (0, most - places.shape[-1]))
    if found is None:
        found = counts.clamp(max=values.shape[-1])
    return places + first, found.expand(*lines, 1)


@_stands_in("choosing")
def largest(values: Tensor, counts: Tensor) -> Tensor:
    return _of_processor[1](values, counts)


@_stands_in("choosing")
def true_places(mask: Tensor, most: int) -> Tensor:
    places = _of_processor[2](mask)[0]
    assert places.shape[-1] == most
    return places


@_stands_in("hashing")
def pack_signs(products: Tensor, codes: Tensor) -> None:
    assert products.is_contiguous()
    assert codes.is_contiguous()
    lines, tables, length = codes.shape
    powers = 1 << torch.arange(products.shape[0]).view(-1, 1, 1)
    packed = ((products >= 0) * powers).sum(0)
    codes.copy_(packed.view(tables, lines, length).transpose(0, 1))


@_stands_in("hashing")
def mark_meetings(asked: Tensor, codes: Tensor, limits: Tensor, least: int, marked: Tensor) -> None:
    codes = codes.expand(asked.shape[0], -1, -1, -1)
    for row, (mask, tables) in enumerate(limits.tolist()):
        own, theirs = (part[row, :, :tables].long() & mask for part in (asked, codes))
        marked[row] = (own[..., None] == theirs[:, :, None]).sum(1) >= least


@_stands_in("counting")
def count_reads(
    keys: Tensor,
    counts: Tensor | None,
    length: int,
    group: int,
    sums: Tensor,
    places: Tensor,
    *,
    by_query: bool,
) -> None:
    lists = keys.shape[2]
    reads = _spread(keys, counts, length, torch.ones(keys.shape), 0.0) > 0
    if by_query:
        sums[0].index_add_(0, places, reads.sum((1, 2, 3)) * (group // lists))
    sums[1].index_add_(0, places, reads.any(2).sum((1, 2)) * group)


@_stands_in("attention")
def attend(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    tail_keys: Tensor,
    tail_values: Tensor,
    spans: Any,
    index: Tensor | None,
    counts: Tensor | None,
    log_weights: Tensor | None,
    *,
    scaling: float,
    softcap: float | None,
    sinks: Tensor | None,
    out: Tensor,
) -> None:
    keys, values = (
        torch.cat(pair, 2).float() for pair in ((keys, tail_keys), (values, tail_values))
    )
    logits = tensors.soft_cap(queries.float() @ keys.mT * scaling, softcap)
    added = torch.full_like(logits, -torch.inf)
    for start, end in spans:
        added[..., start:end] = 0
    if index is not None:
        listed = torch.zeros(index.shape) if log_weights is None else log_weights
        added = torch.maximum(added, _spread(index, counts, keys.shape[2], listed, -torch.inf))
    logits += added
    if sinks is not None:
        own = sinks.float()[None, :, :, None].expand(*logits.shape[:3], 1)
        logits, values = torch.cat([logits, own], -1), torch.nn.functional.pad(values, (0, 0, 0, 1))
    out.copy_(logits.softmax(-1) @ values)


def _spread(
    keys: Tensor, counts: Tensor | None, length: int, values: Tensor, elsewhere: float
) -> Tensor:
    """Values of listed keys (R, H, lists, n) at the keys: (R, H, lists, length)."""
    if counts is not None:
        taken = torch.arange(keys.shape[-1]) < counts[..., None]
        keys = torch.where(taken, keys, length)
    room = torch.full((*keys.shape[:-1], length + 1), elsewhere)
    return room.scatter_(-1, keys, values)[..., :length]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch, pretending(True):
        for module in (places_of, simhash, probes):
            patch.setattr(module, "gpu_kernels", _kernels.get)
        patch.setattr(fused, "has_triton", lambda: True)
        attention = _kernels["attention"]
        patch.setitem(sys.modules, "sparse_attention.attention.triton_kernel", attention)
        patch.setattr("sparse_attention.attention.triton_kernel", attention, raising=False)
        yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for name in sorted(set(_calls)):
        terminalreporter.write_line(f"instead of {name}: {_calls.count(name)} calls")
