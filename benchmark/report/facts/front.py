"""Which configurations are worth a look: the front of score and cost, and the one to take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmark.objectives import pareto_front
from benchmark.report.facts.groups import (
    Configuration,
    GroupFacts,
    honest_difference,
    honest_score,
)

TOLERANCE = 0.02
"""How far below dense attention a score may be that still counts as kept."""


def front(group: GroupFacts, panel: str, cost: str) -> list[Configuration]:
    """Configurations that no other beats in one of score and cost and equals in the other.

    By cost; tuned ones with their score on samples held out.  Oracles, which cannot be deployed,
    are on no front.
    """
    found = []
    for one in group.configurations:
        cell = one.cells.get(panel)
        if one.oracle or cell is None or cell[cost] is None:
            continue
        if score := honest_score(cell):
            found.append((one, score[0], cell[cost]))
    places = pareto_front([score for _, score, _ in found], [cost for _, _, cost in found])
    return [found[place][0] for place in places]


@dataclass(frozen=True)
class Verdict:
    """The configuration that reads least of those that keep the score."""

    chosen: Configuration
    cell: Mapping[str, object]
    considered: int


def verdict(group: GroupFacts) -> Verdict | None:
    """What to take, of those that can be deployed and were measured on every task.

    Kept is a score within ``TOLERANCE`` of dense attention, on samples held out where settings were
    tuned.  None if there is no such configuration, or no dense attention to compare with.
    """
    panel = "" if len(group.subsets) > 1 else group.subsets[0]
    measured, kept = 0, []
    for one in group.configurations:
        cell = one.cells.get(panel)
        if cell is None or one.is_dense or one.oracle or cell["density"] is None:
            continue
        difference = honest_difference(cell)
        if difference is not None:
            measured += 1
            if difference[0] >= -TOLERANCE:
                kept.append((cell["density"], one.label, one, cell))
    if not kept:
        return None
    _, _, chosen, cell = min(kept, key=lambda entry: entry[:2])
    return Verdict(chosen, cell, measured)
