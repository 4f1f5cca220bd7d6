"""Running sums of what was read, for all rows of a batch."""

from __future__ import annotations

import pickle

import pytest
import torch

from sparse_attention import Protocol, make_config
from sparse_attention.attention.compact import Compact
from sparse_attention.attention.geometry import Geometry
from sparse_attention.attention.indices import Indices
from sparse_attention.attention.scores import SharedScores
from sparse_attention.attention.selection import Selection
from sparse_attention.cache.context import Context, ContextLayer, Segment
from sparse_attention.cache.view import KeyView
from sparse_attention.decode.decoder import Decoder
from sparse_attention.decode.probes import Probes
from sparse_attention.model_facts import LayerSettings
from sparse_attention.testing.device import DEVICE


def test_what_is_held_does_not_grow_with_steps():
    rows, layers, heads, width = 3, 2, 2, 8
    torch.manual_seed(0)
    context = Context(
        20,
        tuple(
            ContextLayer((Segment(*torch.randn(2, heads, 20, width, device=DEVICE)),))
            for _ in range(layers)
        ),
    )
    configs = [make_config("sink_local", sink_size=1, window_size=2 + row) for row in range(rows)]
    decoder = Decoder(context, configs, [""] * rows, Protocol(), measure_error=True)

    def held_after(steps: int) -> int:
        for _ in range(steps):
            for layer in range(layers):
                fresh = torch.randn(rows, heads, 1, width, device=DEVICE)
                decoder.tails[layer].append(fresh, fresh)
                decoder.attend(layer, fresh[:, :, None], LayerSettings(width**-0.5))
        return len(pickle.dumps(decoder._probes))

    before = held_after(5)
    assert held_after(200) <= before + 20 * rows  # numbers of more digits


def operation(rows: int, group: int = 1, layer: int = 0, heads: int = 1) -> SharedScores:
    """Of rows with one query over 100 keys."""
    segment = Segment(*torch.zeros(2, heads, 99, 4, device=DEVICE))
    tails = torch.zeros(2, rows, heads, 1, 4, device=DEVICE)
    geometry = Geometry.of(0, 100, 1, None, DEVICE)
    queries = torch.zeros(rows, heads, group, 1, 4, device=DEVICE)
    view = KeyView(layer, segment, *tails, heads)
    return SharedScores(queries, view, geometry, LayerSettings(1.0))


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("lists", [1, 3])
@pytest.mark.parametrize("of_rows", [1, 4])
def test_lists_count_as_the_masks_that_they_are(counted, lists, of_rows):
    generator = torch.Generator().manual_seed(0)
    order = torch.rand(of_rows, 2, lists, 1, 90, generator=generator).argsort(-1)
    counts = None
    if counted:
        counts = torch.randint(0, 41, (of_rows, 2, lists, 1, 1), generator=generator).to(DEVICE)
    indices = Indices(5 + order[..., :40].to(DEVICE), counts)
    compact = Compact(100, DEVICE, ((0, 5), (97, 99)), indices)
    found = []
    for selection in (Selection(compact), Selection(compact.scattered())):
        probes = Probes(4, 2, DEVICE)
        probes.assign([probes.probes[row] for row in (2, 0, 3, 1)])
        probes.add_reads(operation(4, 3, layer=1, heads=2), range(4), selection, visible=100)
        found.append([(probe.density, probe.union_density) for probe in probes.probes[:-1]])
    assert found[0] == found[1]
    assert all(0.07 <= by_query <= by_group < 1 for by_query, by_group in found[0])


def test_rows_that_share_are_dropped_or_stop():
    probes = Probes(3, 2, DEVICE)
    first, second, third, _ = probes.probes

    def add(*counts: int, layer: int = 0) -> None:
        keys = (
            torch.arange(100, device=DEVICE)
            < torch.tensor(counts, device=DEVICE)[:, None, None, None, None]
        )
        reads = keys.expand(-1, 1, 2, 1, -1).clone()
        reads[:, :, 1] = keys[:, :, 0].roll(50, -1)
        rows = len(counts)
        probes.add_reads(
            operation(rows, group=2, layer=layer),
            range(rows),
            Selection(reads),
            visible=100,
            selecting=[0.5] * rows,
        )

    probes.assign([first, second, third])
    add(10, 20, 30)
    probes.assign([third, second])
    add(2, 4)
    assert [p.density for p in (first, second, third)] == [0.1, 24 / 200, 32 / 200]
    probes.assign([third, probes.unread])
    add(8, 40)
    assert [p.density for p in (first, second, third)] == [0.1, 24 / 200, 40 / 300]
    assert third.union_density == 80 / 300
    assert third.selection_share == 0.5
    assert third.layer_densities == (40 / 300, 1.0)
    add(50, 100, layer=1)
    assert third.layer_densities == (40 / 300, 0.5)
    assert third.density == 90 / 400
    probes = Probes(2, 2, DEVICE)
    shared = probes.probes[0]
    probes.assign([shared, shared])
    for counts in ((10, 20), (10, 40)):
        keys = (
            torch.arange(100, device=DEVICE)
            < torch.tensor(counts, device=DEVICE)[:, None, None, None, None]
        )
        probes.add_reads(operation(2), range(2), Selection(keys), visible=100)
        probes.assign([probes.unread, shared])
    assert shared.density == 70 / 300


def test_errors_are_summed_by_row():
    probes = Probes(2, 2, DEVICE)
    one, other, _ = probes.probes
    probes.assign([one, other])
    assert one.attention_error is one.layer_errors is None
    dense = torch.randn(2, 2, 3, 4, 8, device=DEVICE)
    for layer, scale in enumerate((1.5, 2.0)):
        probes.add_errors(layer, torch.stack([dense[0] * scale, dense[1]]), dense)
    assert one.attention_error == pytest.approx((0.25 + 1) / 2)
    assert one.layer_errors == pytest.approx((0.25, 1))
    assert other.attention_error == 0


def test_a_part_of_layers_and_steps_estimates_the_error_without_bias():
    rows, layers, heads, width, every = 2, 3, 2, 8, 3
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(layers, 2, heads, 20, width, generator=generator).to(DEVICE)
    context = Context(20, tuple(ContextLayer((Segment(*pair),)) for pair in states))
    new = torch.randn(4, layers, rows, heads, 1, width, generator=generator).to(DEVICE)
    configs = [make_config("sink_local", sink_size=1, window_size=size) for size in (2, 9)]

    def errors(first: int, error_every: int) -> torch.Tensor:
        decoder = Decoder(
            context, configs, [""] * rows, Protocol(), measure_error=True, error_every=error_every
        )
        decoder._turns.step = first
        for step in new:
            for layer, fresh in enumerate(step):
                decoder.tails[layer].append(fresh, fresh)
                decoder.attend(layer, fresh[:, :, None], LayerSettings(width**-0.5))
            decoder.end_step()
        return torch.tensor([row.probe.attention_error for row in decoder.rows])

    whole, parts = errors(0, 1), [errors(first, every) for first in range(every)]
    assert not torch.allclose(parts[0], parts[1])
    torch.testing.assert_close(torch.stack(parts).mean(0), whole)
