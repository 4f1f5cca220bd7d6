"""The numerical tools, and attention over arbitrary selections."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from methods import METHODS
from models import random_model, tokens, word_tokenizer
from pretended_gpu import pretending

from sparse_attention import HuggingFaceAdapter, Selection, make_config
from sparse_attention.attention import paths as attention
from sparse_attention.attention.paths import gathered_attention, reference_attention
from sparse_attention.decode import block
from sparse_attention.numerics import heaviest
from sparse_attention.numerics.heaviest import largest
from sparse_attention.numerics.simhash import count_meetings
from sparse_attention.numerics.tensors import keyed_generator
from sparse_attention.testing.calls import make_operation
from sparse_attention.testing.device import DEVICE

INFINITY = float("inf")
VALUES = st.one_of(st.floats(-5, 5, width=32), st.just(-INFINITY), st.sampled_from([0.0, 1.0]))


@given(
    rows=st.lists(st.lists(VALUES, min_size=6, max_size=6), min_size=1, max_size=4),
    counts=st.lists(st.integers(0, 8), min_size=4, max_size=4),
)
def test_largest_marks_exactly_the_largest_values_first_come_first(rows, counts):
    values = torch.tensor(rows, device=DEVICE)
    count = torch.tensor(counts[: len(rows)], device=DEVICE)[:, None]
    chosen = largest(values, count)
    for row, wanted, marked in zip(rows, counts, chosen.tolist(), strict=False):
        order = sorted((i for i in range(6) if row[i] > -INFINITY), key=lambda i: (-row[i], i))
        assert [i for i in range(6) if marked[i]] == sorted(order[:wanted])


@given(
    row=st.lists(VALUES, min_size=6, max_size=6),
    counts=st.lists(st.integers(0, 8), min_size=1, max_size=4),
)
def test_largest_of_values_that_rows_share_are_those_of_each_row(row, counts):
    count = torch.tensor(counts, device=DEVICE)[:, None]
    shared = largest(torch.tensor([row], device=DEVICE), count)
    each = largest(torch.tensor([row] * len(counts), device=DEVICE), count)
    assert torch.equal(shared.expand_as(each), each)


@pytest.mark.parametrize("tables", [1, 9, 300])
@pytest.mark.parametrize("keys", [0, 5, 700, 40_000])
def test_meetings_are_tables_with_the_same_code(tables, keys):
    random = torch.Generator().manual_seed(0)
    asked = torch.randint(0, 3, (2, 2, tables, 3, 2), generator=random, dtype=torch.int16)
    codes = torch.randint(0, 3, (1, 2, tables, keys), generator=random, dtype=torch.int16)
    met = sum(
        (codes[:, :, table, None, None] == asked[:, :, table, :, :, None]).int()
        for table in range(tables)
    )
    counted = count_meetings(asked.to(DEVICE), codes.to(DEVICE), "int64")
    assert torch.equal(counted.cpu().int(), met)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a pretended GPU on a processor")
@pytest.mark.parametrize("counts", [(3, 1, 1), (4, 1, 1), (4, 2, 1), (1, 1, 1)])
def test_a_gpu_without_kernels_marks_the_same(counts, monkeypatch):
    random = torch.Generator().manual_seed(0)
    values = torch.randn(counts[0], 2, 50, generator=random).round(decimals=1)
    values[values > 1.2] = -INFINITY
    wanted = torch.randint(0, 60, counts, generator=random)
    expected = largest(values, wanted)
    monkeypatch.setattr(heaviest, "gpu_kernels", lambda kind: None)
    with pretending(on_gpu=True):
        marked = largest(values, wanted)
    assert torch.equal(marked, expected)


def test_largest_leaves_its_input_alone():
    values = torch.randn(3, 50, device=DEVICE)
    before = values.clone()
    largest(values, torch.tensor([[5]], device=DEVICE))
    assert torch.equal(values, before)


def test_generators_depend_on_their_key_alone():
    draw = [
        torch.rand(4, generator=keyed_generator(DEVICE, *key), device=DEVICE)
        for key in (("a", 1, 2), ("a", 1, 2), ("a", 12), ("a1", 2), (1, 2, "a"))
    ]
    assert torch.equal(draw[0], draw[1])
    for other in draw[2:]:
        assert not torch.equal(draw[0], other)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), per_head=st.booleans(), weighted=st.booleans())
def test_gathered_attention_of_any_selection_equals_the_reference(seed, per_head, weighted):
    operation = make_operation(heads=(2, 3), rows=2, queries=2, prefix=40, tail=5, seed=seed)
    call, random = operation.call, np.random.default_rng(seed)
    shape = call.shape if per_head else (1, 1, 1, *call.shape[3:])
    reads = torch.from_numpy(random.random(shape) < 0.2).to(DEVICE) & call.visible
    drawn = torch.from_numpy(random.random(call.shape).astype(np.float32)).to(DEVICE)
    weights = drawn if weighted else None
    selection = Selection(reads, weights).or_newest_where_empty(
        call.query_positions - call.key_positions[0]
    )
    exact = reference_attention(
        call.queries.double(),
        operation.keys.double(),
        operation.values.double(),
        selection.log_weights.double(),
        call.scaling,
    )
    got = gathered_attention(call, selection, None)
    torch.testing.assert_close(got.double(), exact, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("architecture", ["llama", "mistral", "gemma2", "gpt_oss"])
@pytest.mark.parametrize("measure_error", [True, False])
def test_both_ways_of_computing_agree(architecture, measure_error, monkeypatch):
    adapter = HuggingFaceAdapter(random_model(architecture), word_tokenizer(), architecture)
    prefix = adapter.prefill(tokens(90, 1))
    edges = {"sink_size": 2, "window_size": 5}
    configs = [
        make_config("dense"),
        make_config("sink_local", **edges),
        make_config("oracle_top_k", **edges, heavy_size=0.1),
        make_config("random_sampling", **edges, sampling_rate=0.2),
        make_config("magic_pig", **edges, lsh_k=4, lsh_l=16),
        make_config("adaptive_sampling", **edges, base_rate=0.1, epsilon=0.3),
    ]
    results = {}
    for always in (True, False):
        monkeypatch.setattr(block, "gathering_pays", lambda *_, value=always: value)
        results[always] = adapter.answer(
            prefix, tokens(4, 2), configs, max_new_tokens=5, measure_error=measure_error
        )
    for gathered, masked in zip(results[True], results[False], strict=True):
        assert gathered.token_ids == masked.token_ids
        assert gathered.density == pytest.approx(masked.density, abs=1e-4)
        if measure_error:
            expected = pytest.approx(masked.attention_error, rel=1e-3, abs=1e-8)
            assert gathered.attention_error == expected


def test_gathering_pays_for_few_keys_and_not_for_many():
    for name, share in (("sink", 0.001), ("sink", 0.9)):
        method = METHODS[name].model_copy(update={"sink_size": share})
        operation = make_operation(method, prefix=20000, tail=1, heads=(8, 4), width=64)
        pays = attention.gathering_pays(operation.call, operation.select(), 1, False)
        assert pays == (share < 0.5)


def test_log_weights_and_union():
    one = Selection(torch.tensor([True, False, False, True], device=DEVICE))
    two = Selection(
        torch.tensor([True, True, False, False], device=DEVICE),
        torch.tensor([2.0, 3.0, 4.0, 5.0], device=DEVICE),
    )
    assert one.union(two).log_weights.tolist() == [0.0, 3.0, -INFINITY, 0.0]
    assert two.union(one).log_weights.tolist() == [2.0, 3.0, -INFINITY, 0.0]
    assert Selection.everything(3, DEVICE).log_weights.flatten().tolist() == [0.0] * 3
    assert int(one.counts) == 2
