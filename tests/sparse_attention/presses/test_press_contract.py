"""What every press must do, whatever it is."""

from __future__ import annotations

import pytest
import torch
from layers import make_layer

from sparse_attention.presses import (
    PRESSES,
    AdaKV,
    Adjustment,
    ChunkKV,
    CriticalKV,
    ExpectedAttention,
    KeyDiff,
    KNorm,
    LagKV,
    LayerRatios,
    ObservedAttention,
    Press,
    PressCall,
    PyramidKV,
    RandomPress,
    Ranking,
    Scorer,
    SnapKV,
    StreamingLLM,
    Tova,
)
from sparse_attention.presses.compress import compress_layer
from sparse_attention.presses.order import stages

SCORERS: dict[str, Scorer] = {
    "random_press": RandomPress(),
    "knorm": KNorm(),
    "streaming_llm": StreamingLLM(n_sink=3),
    "snapkv": SnapKV(observation_window=8),
    "expected_attention": ExpectedAttention(n_future_positions=50, epsilon=0.01),
    "observed_attention": ObservedAttention(),
    "tova": Tova(),
    "pyramidkv": PyramidKV(observation_window=4, beta=2),
    "keydiff": KeyDiff(),
    "lagkv": LagKV(n_sink=2, lag=12),
}
"""Every scorer once, with settings that fit a hundred keys."""

STACKS: dict[str, tuple[Press, ...]] = {name: (scorer,) for name, scorer in SCORERS.items()} | {
    "criticalkv": (SnapKV(observation_window=8), CriticalKV()),
    "chunkkv": (SnapKV(observation_window=8), ChunkKV(chunk_length=7)),
    "adakv": (ExpectedAttention(epsilon=0.01), AdaKV()),
    "criticalkv after adakv": (SnapKV(observation_window=8), AdaKV(), CriticalKV()),
    "layer_ratios": (SnapKV(observation_window=8), LayerRatios()),
}
"""Every press once, adjustments after a scorer."""

EVERY_SCORER = pytest.mark.parametrize("name", SCORERS)
EVERY = pytest.mark.parametrize("name", STACKS)


def with_ratio(name: str, ratio: float) -> tuple[Press, ...]:
    scorer, *others = STACKS[name]
    return (scorer.model_copy(update={"compression_ratio": ratio}), *others)


def ranked(call: PressCall, presses: tuple[Press, ...]) -> Ranking:
    ranking = presses[0].rank(call)
    for press in presses[1:]:
        if isinstance(press, Adjustment):
            ranking = press.adjust(call, ranking)
    return ranking


def kept_positions(call: PressCall, presses: tuple[Press, ...]) -> list[list[int]]:
    """Positions that are kept, by head."""
    layer = compress_layer(call, stages(presses)[0], 0)
    if layer is None:
        return call.positions.tolist()
    return [line for part in layer.segments for line in part.places.tolist()]


def test_every_press_is_in_the_suite():
    # These two rank nothing; tests of their own are in test_press_answers.py.
    others = {"key_rerotation", "decoding"}
    assert {press.name for stack in STACKS.values() for press in stack} | others == set(PRESSES)


@EVERY_SCORER
@pytest.mark.parametrize(
    ("length", "ratio", "kept"),
    [
        (100, 0.9, 10),
        (1000, 0.9, 100),
        (10, 0.9, 1),
        (100, 0.29, 71),
        (7, 0.5, 3),
        (3, 0.99, 1),
        (1, 0.5, 1),
    ],
)
def test_exact_counts(name, length, ratio, kept):
    presses = with_ratio(name, ratio)
    call, _ = make_layer(*presses, length=length)
    if name != "pyramidkv":
        assert presses[0].budget(call) == kept
    assert [len(line) for line in kept_positions(call, presses)] == [presses[0].budget(call)] * 2


@EVERY
@pytest.mark.parametrize("ratio", [0.25, 0.9])
def test_kept_scores_are_at_least_dropped_scores_and_forced_keys_stay(name, ratio):
    presses = with_ratio(name, ratio)
    call, _ = make_layer(*presses)
    ranking = ranked(call, presses)
    keep = ranking.keep()
    groups = [slice(None)] if ranking.across_heads else [slice(h, h + 1) for h in range(2)]
    for heads in groups:
        kept, forced, scores = keep[heads], ranking.forced[heads], ranking.scores[heads]
        budget = int(ranking.budgets[heads].sum())
        assert int(kept.sum()) == budget
        if int(forced.sum()) <= budget:
            assert kept[forced].all()
            others = scores[kept & ~forced]
            assert others.numel() == 0 or others.min() >= scores[~kept].max()
        else:
            assert not (kept & ~forced).any()
            assert scores[kept].min() >= scores[forced & ~kept].max()


@EVERY
def test_kept_rows_are_bit_identical_and_in_order(name):
    presses = with_ratio(name, 0.6)
    call, _ = make_layer(*presses)
    layer = compress_layer(call, stages(presses)[0], 0)
    assert layer is not None
    for part in layer.segments:
        assert (part.places.diff(dim=-1) > 0).all()
        for offset, line in enumerate(part.places):
            head = part.heads.start + offset
            assert torch.equal(part.keys[offset], call.keys[head, line])
            assert torch.equal(part.values[offset], call.values[head, line])


@EVERY
def test_ratio_zero_is_the_identity(name):
    presses = with_ratio(name, 0.0)
    call, _ = make_layer(*presses)
    assert compress_layer(call, stages(presses)[0], 0) is None


@EVERY
@pytest.mark.parametrize("length", [1, 2, 3, 9])
@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.9])
def test_contexts_shorter_than_any_window(name, length, ratio):
    presses = with_ratio(name, ratio)
    call, _ = make_layer(*presses, length=length)
    ranking = ranked(call, presses)
    assert ranking.scores.isfinite().all()
    lines = kept_positions(call, presses)
    assert all(lines)
    assert sum(map(len, lines)) == 2 * ranking.budget


TOGETHER = {"tova", "chunkkv", "adakv", "criticalkv after adakv"}
"""Presses that look at all heads of a layer together."""


@pytest.mark.parametrize("name", sorted(set(STACKS) - TOGETHER))
@pytest.mark.parametrize("group", [1, 4])
def test_other_heads_do_not_matter(name, group):
    presses = with_ratio(name, 0.6)
    call, _ = make_layer(*presses, heads=2, group=group)
    first = ranked(call, presses).keep()[0]
    other, _ = make_layer(*presses, heads=2, group=group)
    other.keys[1], other.values[1] = 0.5, 0.5
    assert torch.equal(ranked(other, presses).keep()[0], first)


@EVERY
@pytest.mark.parametrize("chunk", [1, 13, 64])
def test_a_prefill_in_chunks_keeps_the_same(name, chunk):
    presses = with_ratio(name, 0.7)
    whole, _ = make_layer(*presses)
    parts, _ = make_layer(*presses, chunk=chunk)
    torch.testing.assert_close(
        ranked(parts, presses).scores, ranked(whole, presses).scores, atol=1e-5, rtol=1e-4
    )
    assert kept_positions(parts, presses) == kept_positions(whole, presses)


@EVERY
def test_composition_ranks_what_is_left(name):
    first = KNorm(compression_ratio=0.5) if name != "knorm" else StreamingLLM()
    if name == "random_press":
        first = SnapKV(observation_window=8)
    presses = with_ratio(name, 0.5)
    call, _ = make_layer(first, *presses)
    before = kept_positions(call, (first,))
    after = kept_positions(call, (first, *presses))
    for many, few in zip(before, after, strict=True):
        assert set(few) < set(many)
    if len(presses) == 1 and name != "pyramidkv":
        assert {len(line) for line in after} == {25}
