"""Budgets that differ from head to head."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from pydantic import Field

from sparse_attention.method import Choices
from sparse_attention.presses.base import Adjustment, PressCall, Ranking, share_of


class AdaKV(Adjustment):
    """Let the key-value heads of a layer compete for its budget by the scores of the press before.

    Each head first keeps its best ``max(1, floor(alpha_safeguard * budget))`` keys; the rest of
    the layer's budget goes to the highest scores of all heads together.  Heads that look at few
    tokens give way to heads that look at many.  What is kept lies in a ragged layout, so that
    memory really shrinks.  ``criticalkv`` comes after it: it chooses within these budgets.

    Cost: heads are handled one after the other when attention is computed.

    Fails after presses whose scores cannot be compared between heads, such as norms of keys.

    Source: Feng et al., Ada-KV: Optimizing KV Cache Eviction by Adaptive Budget Allocation for
    Efficient LLM Inference (2024).
    """

    name = "adakv"
    across_heads = True
    sets_budgets = True
    uses_budgets = True

    alpha_safeguard: Annotated[float, Field(ge=0, le=1), Choices(0.1, 0.2, 0.4, 0.6)] = 0.2
    """Share of the budget that every head keeps for itself."""

    def adjust(self, call: PressCall, ranking: Ranking) -> Ranking:
        """The safeguard is forced, the rest is shared."""
        own = max(1, share_of(ranking.budget, self.alpha_safeguard))
        safe = replace(ranking, budget=min(own, ranking.budget)).keep()
        return replace(ranking, forced=ranking.forced | safe, across_heads=True)
