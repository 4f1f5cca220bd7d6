"""The order of presses in a configuration, and what it means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

from sparse_attention.errors import UserError
from sparse_attention.presses.base import Adjustment, Press, PressCall, Ranking, Scorer
from sparse_attention.presses.decoding import Decoding

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Stage:
    """A scorer with the adjustments that follow it: one choice of keys."""

    scorer: Scorer
    adjustments: tuple[Adjustment, ...]

    def keep(self, call: PressCall, budget: int | None = None) -> Tensor:
        """The keys that stay, bool (H, n); ``budget`` of each head if it is given."""
        ranking = self.scorer.rank(call)
        for adjustment in self.adjustments:
            ranking = adjustment.adjust(call, _with_budget(ranking, budget))
        return _with_budget(ranking, budget).keep()


def _with_budget(ranking: Ranking, budget: int | None) -> Ranking:
    return ranking if budget is None else replace(ranking, budget=budget)


def stages(presses: Sequence[Press]) -> tuple[list[Stage], Stage | None]:
    """What acts when the prefill ends, and what acts while an answer is generated."""
    found: list[Stage] = []
    for press in presses:
        if isinstance(press, Scorer):
            found.append(Stage(press, ()))
        elif isinstance(press, Adjustment):
            found[-1] = replace(found[-1], adjustments=(*found[-1].adjustments, press))
    if presses and isinstance(presses[-1], Decoding):
        return found[:-1], found[-1]
    return found, None


def check_order(presses: Sequence[Press]) -> None:
    """See that presses can follow one another in this order.

    Raises:
        UserError: naming the one that cannot be where it is.
    """
    if not presses:
        return
    if not isinstance(presses[0], Scorer):
        raise UserError(
            f"{presses[0].name} changes what a press before it keeps; put one before it, such as "
            "snapkv"
        )
    for press in presses[:-1]:
        if press.last:
            raise UserError(f"{press.name} must be the last press, {presses[-1].name} comes after")
    for place, press in enumerate(presses):
        later = [one.name for one in presses[place:] if isinstance(one, Scorer | Decoding)]
        if press.across_heads and later:
            raise UserError(
                f"{press.name} lets heads keep different numbers of keys; {later[0]} cannot come "
                "after it"
            )
    at_the_end, decoding = stages(presses)
    for stage in (*at_the_end, *([decoding] if decoding else [])):
        _check_budgets(stage)
    if decoding and not decoding.scorer.decodes:
        raise UserError(
            f"{decoding.scorer.name} ranks keys by what it saw in the prefill; while decoding, use "
            "random_press, knorm, streaming_llm, snapkv, tova, keydiff or lagkv"
        )


def _check_budgets(stage: Stage) -> None:
    for earlier, later in combinations(stage.adjustments, 2):
        if earlier.uses_budgets and later.sets_budgets:
            raise UserError(
                f"{later.name} changes how many keys are kept, on which {earlier.name} depends; "
                f"put it first: {stage.scorer.name}, {later.name}, {earlier.name}"
            )
