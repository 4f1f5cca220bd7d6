"""Selections that are as small as what they select, against one entry for each key."""

from __future__ import annotations

from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparse_attention import Selection
from sparse_attention.attention import single_keys
from sparse_attention.attention.compact import Compact, merged
from sparse_attention.attention.indices import Indices
from sparse_attention.attention.paths import (
    add_selection,
    gathered_attention,
    reference_attention,
)
from sparse_attention.cache.context import Segment
from sparse_attention.maskers import Local, OracleTopK, Quest, Sink
from sparse_attention.numerics import heaviest as choosing
from sparse_attention.testing.calls import make_operation
from sparse_attention.testing.device import DEVICE

KEYS = 60


def random_compact(
    generator: torch.Generator,
    lines: tuple[int, int, int],
    spans: tuple[tuple[int, int], ...],
    ragged: bool,
    weighted: bool,
) -> Compact:
    """Spans and up to nine random keys outside of them for each line."""
    spans = merged(spans)
    ranks = torch.rand(*lines, 1, KEYS, generator=generator)
    for start, end in spans:
        ranks[..., start:end] = -1
    keys = ranks.topk(9, dim=-1).indices
    counts = torch.randint(1, 10, (*lines, 1, 1), generator=generator) if ragged else None
    weights = torch.rand(keys.shape, generator=generator) if weighted else None
    parts = (part if part is None else part.to(DEVICE) for part in (keys, counts, weights))
    return Compact(KEYS, DEVICE, spans, Indices(*parts))


def plain(selection: Selection) -> Selection:
    """The same with an entry for each key."""
    return Selection(selection.reads, selection.weights)


SPANS = st.lists(
    st.tuples(st.integers(0, KEYS), st.integers(0, KEYS)).map(lambda two: (min(two), max(two))),
    max_size=4,
)


@given(spans=SPANS)
def test_merged_spans_hold_the_same_keys_and_lie_apart(spans):
    compact = Compact(KEYS, DEVICE, merged(tuple(spans)))
    expected = {key for start, end in spans for key in range(start, end)}
    assert set(compact.scattered().flatten().nonzero().flatten().tolist()) == expected
    assert compact.size == len(expected) == int(compact.counts)
    gaps = {key for start, end in compact.gaps for key in range(start, end)}
    assert gaps == set(range(KEYS)) - expected
    assert all(one[1] < two[0] for one, two in zip(compact.spans, compact.spans[1:], strict=False))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shared=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    spans=st.sampled_from([(), ((0, 3),), ((0, 3), (38, 45)), ((0, 3), (35, 60)), ((44, 60),)]),
    ragged=st.booleans(),
    weighted=st.booleans(),
    scored=st.booleans(),
    room=st.sampled_from([0, 1 << 20]),
)
def test_attention_and_counts_are_those_of_the_mask(
    seed, shared, spans, ragged, weighted, scored, room
):
    generator = torch.Generator().manual_seed(seed)
    operation = make_operation(heads=(2, 3), rows=2, prefix=40, tail=20, seed=seed)
    call = operation.call
    full = call.shape[:3]
    lines = tuple(1 if same else size for same, size in zip(shared, full, strict=True))
    selection = Selection(random_compact(generator, lines, spans, ragged, weighted))
    mask = plain(selection)
    assert torch.equal(selection.counts, mask.counts)
    assert torch.equal(
        selection.united_counts.expand(*full[:2], 1, 1, 1),
        mask.united_counts.expand(*full[:2], 1, 1, 1),
    )
    values = torch.rand(call.shape, generator=generator).to(DEVICE)
    barred = selection.compact.barred(values)
    assert torch.equal(barred, values + mask.bar)
    if scored:
        assert call.scores.isfinite().all()
    exact = reference_attention(
        call.queries.double(),
        operation.keys.double(),
        operation.values.double(),
        mask.log_weights.double(),
        call.scaling,
    )
    with mock.patch.object(single_keys, "_ROOM", room):
        got = gathered_attention(call, selection, None)
    torch.testing.assert_close(got.double(), exact, atol=1e-5, rtol=1e-5)
    masked, expected = torch.empty_like(values), torch.empty_like(values)
    add_selection(values, selection, out=masked)
    add_selection(values, mask, out=expected)
    assert torch.equal(masked.softmax(-1), expected.softmax(-1))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    ragged=st.tuples(st.booleans(), st.booleans()),
    weighted=st.booleans(),
)
def test_unions_are_those_of_the_masks(seed, ragged, weighted):
    generator = torch.Generator().manual_seed(seed)
    one = random_compact(generator, (1, 2, 3), ((0, 4),), ragged[0], False)
    ranks = torch.rand(2, 2, 3, 1, KEYS, generator=generator).to(DEVICE)
    start, left = one.open(ranks)
    keys, _ = choosing.heaviest(left, torch.full((1, 1, 1, 1, 1), 7))
    counts = torch.randint(0, 8, (2, 2, 3, 1, 1), generator=generator) if ragged[1] else None
    weights = torch.rand(keys.shape, generator=generator) if weighted else None
    parts = (part if part is None else part.to(DEVICE) for part in (keys + start, counts, weights))
    other = Compact(KEYS, DEVICE, (), Indices(*parts), one)
    united = Selection(one).union(Selection(other))
    assert united.compact is not None
    expected = plain(Selection(one)).union(plain(Selection(other)))
    assert torch.equal(united.log_weights, expected.log_weights)
    # Without the promise that they are apart, what both read is looked up.
    unsure = Selection(one).union(Selection(replace(other, beyond=None)))
    assert unsure.compact is None
    assert torch.equal(unsure.log_weights, expected.log_weights)


def test_keys_may_lie_at_any_distance_in_memory_and_values_be_narrower():
    operation = make_operation(OracleTopK(heavy_size=6), heads=(2, 2), prefix=50, tail=3)
    call, selection = operation.call, operation.select()
    room = torch.zeros(2, 70, 16, device=DEVICE)
    room[:, :50] = call.view.segment.keys
    narrow = operation.values[..., :10]
    call.view = replace(
        call.view,
        segment=Segment(room[:, :50], call.view.segment.values[..., :10]),
        tail_values=call.view.tail_values[..., :10],
    )
    assert not call.view.segment.keys.is_contiguous()
    got = gathered_attention(call, selection, None)
    log_weights = selection.log_weights
    expected = reference_attention(call.queries, operation.keys, narrow, log_weights, call.scaling)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


VALUES = st.one_of(
    st.floats(-5, 5, width=32), st.just(-torch.inf), st.sampled_from([0.0, -0.0, 1.0])
)


def by_sorting(values, counts):
    places, found = choosing._by_sorting(values, int(counts.max()))
    rows = max(len(values), len(counts))
    return places.expand(rows, *places.shape[1:]), torch.minimum(counts, found)


@pytest.mark.parametrize("choose", [choosing.heaviest, by_sorting])
@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.lists(VALUES, min_size=6, max_size=6), min_size=4, max_size=4),
    counts=st.lists(st.integers(0, 6), min_size=4, max_size=4),
    shape=st.sampled_from([(1, 1), (2, 1), (1, 2), (2, 2)]),
)
def test_heaviest_places_are_the_first_of_a_stable_order(choose, rows, counts, shape):
    values = torch.tensor(rows).view(2, 2, 6)
    counts = torch.tensor(counts).view(2, 2, 1)[: shape[0], : shape[1]]
    places, found = choose(values, counts)
    order = values.sort(dim=-1, descending=True, stable=True).indices
    taken = (torch.arange(6) < counts) & (values.gather(-1, order) > -torch.inf)
    expected = torch.zeros_like(taken).scatter_(-1, order, taken)
    found = None if found is None else found[:, :, None, None]
    marked = Indices(places[:, :, None, None], found)
    assert torch.equal(marked.scattered(6)[:, :, 0, 0], expected)


@settings(max_examples=40, deadline=None)
@given(
    size=st.sampled_from([40, 1000, 5000]),
    share=st.sampled_from([0.002, 0.03, 0.1, 0.6]),
    kind=st.sampled_from(["normal", "ties", "every 16th", "others", "barred"]),
    seed=st.integers(0, 5),
    alike=st.booleans(),
)
def test_heaviest_of_long_lines(size, share, kind, seed, alike):
    """Whatever a part of the line says of all of it."""
    random = np.random.default_rng(seed)
    values = random.standard_normal((2, 3, size)).astype(np.float32)
    if kind == "ties":
        values = np.round(values)
    elif kind == "barred":
        values[random.random(values.shape) < 0.95] = -np.inf
    elif kind != "normal":
        here = (np.arange(size) % 16 == 0) == (kind == "every 16th")
        values += np.float32(9) * here
    counts = np.full((2, 1, 1), int(share * size))
    if not alike:
        counts = random.integers(0, int(share * size) + 2, (2, 3, 1))
    given = torch.from_numpy(values), torch.from_numpy(counts)
    (places, found), marked = choosing.heaviest(*given), choosing.largest(*given)
    for row, line in np.ndindex(2, 3):
        wanted = min(counts[row, line if counts.shape[1] > 1 else 0, 0], size)
        order = np.argsort(-values[row, line], kind="stable")[:wanted]
        expected = sorted(order[values[row, line][order] > -np.inf])
        own = places[row, line].tolist()
        assert own[: len(own) if found is None else int(found[row, line])] == expected
        assert marked[row, line].nonzero()[:, 0].tolist() == expected


def test_rows_may_differ_in_the_spans_that_are_left():
    local = [Local(window_size=size) for size in (3, 200, 20, 1, 1.0)]
    operation = make_operation(Sink(sink_size=5), local[0], rows=5)
    operation.call.stack = [(Sink(sink_size=5), method) for method in local]
    selection = operation.select()
    assert selection.compact is not None
    assert selection.compact.sizes == (8, 128, 25, 6, 128)
    for row, method in enumerate(local):
        alone = make_operation(Sink(sink_size=5), method).select()
        assert torch.equal(selection.reads[row], alone.reads[0])
    assert selection.counts[:, 0, 0, 0, 0].tolist() == [8, 128, 25, 6, 128]


def test_methods_stay_compact_and_compute_no_scores():
    for method in (Local(window_size=7), Quest(heavy_size=16, page_size=8)):
        operation = make_operation(Sink(sink_size=5), method, heads=(2, 2))
        selection = operation.select()
        assert selection.compact is not None
        assert operation.call.known_scores is None
