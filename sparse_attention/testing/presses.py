"""What every press must do, whatever it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pytest
import torch

from sparse_attention.presses import (
    Adjustment,
    KNorm,
    Press,
    PressCall,
    Ranking,
    Scorer,
    SnapKV,
    StreamingLLM,
)
from sparse_attention.presses.compress import compress_layer
from sparse_attention.presses.order import stages
from sparse_attention.testing.layers import make_layer
from sparse_attention.testing.suite import Suite, check_class


class PressContract(Suite):
    """The suite; every test runs on every stack of presses.

    Layers are random: two key-value heads of three query heads each, 100 keys where nothing else is
    said, and the statistics that the presses ask for.
    """

    stacks: ClassVar[Mapping[str, tuple[Press, ...]]]
    """By label: a scorer, or one with what follows it, with settings that fit a hundred keys."""
    together: ClassVar[frozenset[str]] = frozenset()
    """Labels of presses that look at all heads of a layer together."""
    own_budgets: ClassVar[frozenset[str]] = frozenset()
    """Labels of presses that give layers budgets of their own."""

    def labels(self) -> Mapping[str, list[str]]:
        """All stacks, scorers alone, and stacks of which each head chooses for itself."""
        return {
            "name": list(self.stacks),
            "scorer": [name for name, stack in self.stacks.items() if len(stack) == 1],
            "separate": sorted(set(self.stacks) - self.together),
        }

    def with_ratio(self, name: str, ratio: float) -> tuple[Press, ...]:
        """A stack that removes this share of the keys."""
        scorer, *others = self.stacks[name]
        return (scorer.model_copy(update={"compression_ratio": ratio}), *others)

    def test_stacks_begin_with_a_scorer(self) -> None:
        """As configurations do."""
        assert self.stacks
        assert all(isinstance(stack[0], Scorer) for stack in self.stacks.values())
        assert self.together | self.own_budgets <= set(self.stacks)

    def test_its_class_can_be_registered(self, name: str) -> None:
        """It is frozen, documented, and comes back from JSON as it was."""
        for press in self.stacks[name]:
            check_class(press)

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
    def test_exact_counts(self, scorer: str, length: int, ratio: float, kept: int) -> None:
        """The ratio says how many keys stay, to the key."""
        presses = self.with_ratio(scorer, ratio)
        call = make_layer(*presses, length=length)[0]
        budget = first_scorer(presses).budget(call)
        if scorer not in self.own_budgets:
            assert budget == kept
        assert [len(line) for line in kept_positions(call, presses)] == [budget] * 2

    @pytest.mark.parametrize("ratio", [0.25, 0.9])
    def test_kept_scores_are_at_least_dropped_scores_and_forced_keys_stay(
        self, name: str, ratio: float
    ) -> None:
        """Keys stay by their scores, forced ones before all others."""
        presses = self.with_ratio(name, ratio)
        call = make_layer(*presses)[0]
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

    def test_kept_rows_are_bit_identical_and_in_order(self, name: str) -> None:
        """Compression copies keys and values, and changes none."""
        presses = self.with_ratio(name, 0.6)
        call = make_layer(*presses)[0]
        layer = compress_layer(call, stages(presses)[0], 0)
        assert layer is not None
        for part in layer.segments:
            assert (part.places.diff(dim=-1) > 0).all()
            for offset, line in enumerate(part.places):
                head = part.heads.start + offset
                assert torch.equal(part.keys[offset], call.keys[head, line])
                assert torch.equal(part.values[offset], call.values[head, line])

    def test_ratio_zero_is_the_identity(self, name: str) -> None:
        """Nothing is removed, and nothing copied."""
        presses = self.with_ratio(name, 0.0)
        call = make_layer(*presses)[0]
        assert compress_layer(call, stages(presses)[0], 0) is None

    @pytest.mark.parametrize("length", [1, 2, 3, 9])
    @pytest.mark.parametrize("ratio", [0.0, 0.3, 0.9])
    def test_contexts_shorter_than_any_window(self, name: str, length: int, ratio: float) -> None:
        """Scores are finite and a key stays however short the context is."""
        presses = self.with_ratio(name, ratio)
        call = make_layer(*presses, length=length)[0]
        ranking = ranked(call, presses)
        assert ranking.scores.isfinite().all()
        lines = kept_positions(call, presses)
        assert all(lines)
        assert sum(map(len, lines)) == 2 * ranking.budget

    @pytest.mark.parametrize("group", [1, 4])
    def test_other_heads_do_not_matter(self, separate: str, group: int) -> None:
        """What one head keeps does not depend on another."""
        presses = self.with_ratio(separate, 0.6)
        call = make_layer(*presses, heads=2, group=group)[0]
        first = ranked(call, presses).keep()[0]
        other = make_layer(*presses, heads=2, group=group)[0]
        other.keys[1], other.values[1] = 0.5, 0.5
        assert torch.equal(ranked(other, presses).keep()[0], first)

    @pytest.mark.parametrize("chunk", [1, 13, 64])
    def test_a_prefill_in_chunks_keeps_the_same(self, name: str, chunk: int) -> None:
        """Statistics do not depend on how the context was fed."""
        presses = self.with_ratio(name, 0.7)
        whole = make_layer(*presses)[0]
        parts = make_layer(*presses, chunk=chunk)[0]
        torch.testing.assert_close(
            ranked(parts, presses).scores, ranked(whole, presses).scores, atol=1e-5, rtol=1e-4
        )
        assert kept_positions(parts, presses) == kept_positions(whole, presses)

    def test_composition_ranks_what_is_left(self, name: str) -> None:
        """After another press, keys of those that it left stay."""
        presses = self.with_ratio(name, 0.5)
        first: Press = KNorm(compression_ratio=0.5)
        if presses[0].name == "knorm":
            first = StreamingLLM()
        if presses[0].name == "random_press":
            first = SnapKV(observation_window=8)
        call = make_layer(first, *presses)[0]
        before = kept_positions(call, (first,))
        after = kept_positions(call, (first, *presses))
        for many, few in zip(before, after, strict=True):
            assert set(few) < set(many)
        if len(presses) == 1 and name not in self.own_budgets:
            assert {len(line) for line in after} == {25}


def first_scorer(presses: tuple[Press, ...]) -> Scorer:
    """The scorer that a stack begins with."""
    assert isinstance(presses[0], Scorer)
    return presses[0]


def ranked(call: PressCall, presses: tuple[Press, ...]) -> Ranking:
    """The ranking of a stack: its scorer's, as the others change it."""
    ranking = first_scorer(presses).rank(call)
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
