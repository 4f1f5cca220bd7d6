from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.objectives import OBJECTIVES, Measured, Objective, pareto_front
from benchmark.suite.base import Sample
from benchmark.tuning.splits import rung_levels, rung_sizes, split_samples

# In thousandths, which rounding cannot make equal.
share = st.integers(0, 1000).map(lambda number: number / 1000)
measured = st.builds(
    Measured, score=share, density=share, attention_error=share, samples=st.just(3)
)


def test_the_documented_formulas():
    found = Measured(score=0.75, density=0.2, attention_error=0.05, samples=4)
    expected = {
        "combined_score": (0.05 + 2 * 0.25,),
        "benchmark_score": (0.25,),
        "attention_error": (0.05,),
        "density": (0.2,),
        "score_at_density": (1.1,),
        "density_at_score": (1 + (1.0 - 0.1 - 0.75),),
        "pareto": (0.25, 0.2),
    }
    assert set(expected) == set(OBJECTIVES)
    for name, losses in expected.items():
        objective = Objective(name=name, penalty=2, density_budget=0.1, tolerance=0.1)
        assert objective.losses(found, 1.0) == pytest.approx(losses)
        assert objective.dimensions == len(losses)
    assert Objective(name="score_at_density", density_budget=0.2).losses(found, None) == (0.25,)
    assert Objective(name="density_at_score", tolerance=0.25).losses(found, 1.0) == (0.2,)


def test_what_is_clear_is_kept_by_one_standard_error() -> None:
    def found(difference: float | None, error: float | None) -> Measured:
        compared = {"dense_difference": difference, "dense_error": error}
        return Measured(score=0.5, density=0.5, samples=3, **compared)

    quality = Objective(name="density_at_score", tolerance=0.125)
    assert quality.is_clear([0.5], found(-0.0625, 0.0625))
    assert not quality.is_clear([0.5], found(-0.0625, 0.125))
    assert not quality.is_clear([0.5], found(0.0, None))
    assert not quality.is_clear([1.1], found(0.0, 0.0))
    assert quality.can_be_clear(found(-0.5, 0.125))
    assert not quality.can_be_clear(found(0.0, 0.25))
    assert not quality.can_be_clear(found(0.0, None))
    budget = Objective(name="score_at_density")
    assert budget.is_clear([0.5], found(None, None))
    assert not budget.is_clear([1.1], found(None, None))
    assert budget.can_be_clear(found(None, None))


@given(st.lists(measured, min_size=1, max_size=8), share)
def test_a_kept_constraint_wins(found, dense):
    budget = Objective(name="score_at_density", density_budget=0.3)
    keeps = [one.density <= 0.3 for one in found]
    winner = budget.best([budget.losses(one, None) for one in found], [m.density for m in found])
    assert keeps[winner] == any(keeps)
    quality = Objective(name="density_at_score", tolerance=0.1)
    keeps = [dense - 0.1 - one.score <= 0 for one in found]
    winner = quality.best([quality.losses(one, dense) for one in found], [m.density for m in found])
    assert keeps[winner] == any(keeps)
    if any(keeps):
        lowest = min(one.density for one, kept in zip(found, keeps, strict=True) if kept)
        assert found[winner].density == lowest


@given(st.lists(measured, min_size=1, max_size=8))
def test_the_sparsest_of_equals_wins_and_the_front_is_not_beaten(found):
    scores, densities = [m.score for m in found], [m.density for m in found]
    objective = Objective(name="benchmark_score")
    winner = objective.best([objective.losses(one, None) for one in found], densities)
    rivals = [one for one in found if one.score == found[winner].score]
    assert found[winner].density == min(one.density for one in rivals)
    front = pareto_front(scores, densities)
    for place in front:
        assert not [
            one
            for one in found
            if one.score >= scores[place]
            and one.density <= densities[place]
            and (one.score, one.density) != (scores[place], densities[place])
        ]
    for one in found:
        assert any(scores[p] >= one.score and densities[p] <= one.density for p in front)
    pareto = Objective(name="pareto", tolerance=0)
    chosen = pareto.best([pareto.losses(one, None) for one in found], densities)
    assert scores[chosen] == max(scores)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_never_enters_a_comparison(bad):
    with pytest.raises(ValueError, match="not finite"):
        Objective().best([(0.1,), (bad,)], [0.1, 0.1])


def samples(contexts: list[tuple[int, int]]) -> list[Sample]:
    return [
        Sample(f"{context}-{question}", f"context {context}", "?", "", ("a",), 1, f"task {kind}")
        for context, (kind, questions) in enumerate(contexts)
        for question in range(questions)
    ]


contexts = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3)), min_size=2, max_size=30)


@given(contexts, st.floats(0.05, 0.95), st.one_of(st.none(), st.integers(1, 20)), st.integers(0, 9))
def test_a_split_is_disjoint_by_context_and_complete(drawn, share, limit, seed):
    everything = samples(drawn)
    split = split_samples(everything, share, limit, seed)
    assert sorted(split.tuning_ids + split.held_out_ids) == sorted(s.id for s in everything)
    seen = {sample.context for context in split.tuning for sample in context}
    unseen = {sample.context for context in split.held_out for sample in context}
    assert seen
    assert unseen
    assert not seen & unseen
    assert split == split_samples(everything, share, limit, seed)
    if limit is not None:
        assert len(split.tuning_ids) < limit + len(split.tuning[-1])


@given(contexts, st.integers(0, 9))
def test_tasks_are_mixed_from_the_start(drawn, seed):
    split = split_samples(samples(drawn), 0, None, seed)
    kinds = [context[0].task for context in split.tuning]
    for size in range(1, len(kinds) + 1):
        counts = [kinds[:size].count(kind) for kind in set(kinds)]
        exhausted = [kinds[:size].count(kind) == kinds.count(kind) for kind in set(kinds)]
        assert all(max(counts) - n <= 1 or e for n, e in zip(counts, exhausted, strict=True))
    assert not split.held_out


@given(st.integers(1, 200), st.integers(1, 5), st.integers(2, 4))
def test_rungs_grow_to_everything(count, smallest, factor):
    levels = rung_levels(count, smallest, factor)
    sizes = rung_sizes(count, levels, factor)
    assert sizes[-1] == count
    assert sizes == sorted(set(sizes))
    assert levels == 1 or sizes[0] >= smallest
