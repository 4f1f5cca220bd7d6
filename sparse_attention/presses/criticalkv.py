"""What a key's value changes in the output counts as well."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import torch
from pydantic import Field

from sparse_attention.cache.statistics import StatisticsRequest
from sparse_attention.method import Choices
from sparse_attention.presses.base import Adjustment, PressCall, Ranking, missing, share_of

if TYPE_CHECKING:
    from torch import Tensor

_BLOCK = 1024
"""Values whose projections are held at a time: 16 MiB at a hidden size of 4096."""


class CriticalKV(Adjustment):
    """Weigh the scores of the press before it by what each value does to the layer's output.

    Two stages: the share ``first_stage`` of the budget is kept by the scores as they are; for the
    others, ``score_i <- (score_i + epsilon) * mean over the group of |W_h v_i|_1`` with the part
    W_h of the output projection that belongs to query head h.

    After ``adakv`` this is CriticalAdaKV: the scores as they are share out the budget of the layer,
    and both stages choose within the budget of each head; what AdaKV keeps of every head stays.
    The other way round, weighted scores would share out the budget, which no paper does; it is
    refused.

    Cost: one product with the output projection per token and query head.

    Fails after presses whose scores can be negative (knorm, keydiff): it is meant for attention.

    Source: Feng et al., Identify Critical KV Cache in LLM Inference from an Output Perturbation
    Perspective (2025).
    """

    name = "criticalkv"
    uses_budgets = True

    first_stage: Annotated[float, Field(ge=0, le=1), Choices(0.25, 0.5, 0.75)] = 0.5
    """Share of the budget that is kept by the scores alone."""
    epsilon: Annotated[float, Field(ge=0, le=1), Choices(0.0, 1e-4, 1e-3, 1e-2)] = 1e-4
    """Added to the scores, so that a large value counts where no attention was seen."""

    @property
    def needs(self) -> StatisticsRequest:
        """The output projection."""
        return StatisticsRequest(output_weight=True)

    def adjust(self, call: PressCall, ranking: Ranking) -> Ranking:
        """Forced keys of the first stage, weighted scores for the second."""
        if ranking.across_heads:
            shares = ranking.keep().sum(-1)
            ranking = replace(ranking, across_heads=False, head_budgets=shares)
        counts = [share_of(count, self.first_stage) for count in ranking.budgets.tolist()]
        in_first = torch.tensor(counts, device=ranking.scores.device)
        first = replace(ranking, head_budgets=in_first).keep()
        weighted = (ranking.scores + self.epsilon) * self._output_norms(call)
        forced = ranking.forced | first
        return replace(ranking, scores=torch.where(forced, ranking.scores, weighted), forced=forced)

    def _output_norms(self, call: PressCall) -> Tensor:
        """Mean over the group of |W_h v_i|_1, (H, n) float32."""
        weight = call.facts.output_weight()
        if weight is None:
            raise missing(self, "its attention has no linear output projection that is known here")
        weight = weight.to(call.values.device)
        heads, group = weight.shape[:2]
        norms = torch.zeros(heads, call.count, device=call.values.device)
        for head in range(heads):
            for start in range(0, call.count, _BLOCK):
                values = call.values[head, start : start + _BLOCK].float()
                for part in weight[head].float():
                    total = (values @ part).abs().sum(-1)
                    norms[head, start : start + _BLOCK] += total / group
        return norms
