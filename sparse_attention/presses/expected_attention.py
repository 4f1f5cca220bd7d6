"""The attention that queries to come will pay, expected from those that were seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import torch
from pydantic import Field

from sparse_attention.cache.statistics import StatisticsRequest
from sparse_attention.method import Choices
from sparse_attention.presses.base import PressCall, Ranking, Scorer, edges_first, missing

if TYPE_CHECKING:
    from torch import Tensor

_BLOCK = 4096
"""Keys whose products with a covariance are held at a time: 2 MiB at a head size of 128."""


class ExpectedAttention(Scorer):
    """Keep the keys to which future queries are expected to attend.

    Queries before their rotation are taken as Gaussian, with the mean mu and the covariance Sigma
    of the context's queries after the first ``n_sink``, per query head.  With R the mean of the
    rotations at the ``n_future_positions`` positions after the context and scale s of the products:

    - ``z_i = s (R mu) . k_i + s^2 / 2 k_i' (R Sigma R') k_i``: log of the mean of exp(s q . k_i),
      the second term with ``use_covariance``,
    - ``E = softmax(z)`` over the keys that are no sinks,
    - ``score_i = (mean over the group of E_i + epsilon) |v_i|``, the norm with ``use_vnorm``.

    The first ``n_sink`` keys stay.  Soft caps of the scores are ignored.

    Cost: a matrix of head size squared per query head in the prefill, and a product with it per
    key.

    Fails where queries are not alike: a question about one fact is far from the mean.  A mean of
    rotations is no rotation, so that the spread of the positions themselves is left out.

    Source: Devoto et al., Expected Attention: KV Cache Compression by Estimating Attention from
    Future Queries Distribution (2025).
    """

    name = "expected_attention"
    decodes: ClassVar[bool] = False

    n_future_positions: Annotated[int, Field(ge=1), Choices(64, 128, 256, 512)] = 512
    """Positions after the context over which rotations are averaged."""
    n_sink: Annotated[int, Field(ge=0), Choices(0, 1, 4, 16)] = 4
    """Keys at the start that stay, whose queries are not counted."""
    use_covariance: Annotated[bool, Choices(True, False)] = True
    """Count the spread of the queries, not their mean alone."""
    use_vnorm: Annotated[bool, Choices(True, False)] = True
    """Weigh by the norms of the values."""
    epsilon: Annotated[float, Field(ge=0, le=1), Choices(0.0, 0.001, 0.01, 0.02)] = 0.0
    """Added to the expected attention, so that the norms of the values count more."""

    @property
    def needs(self) -> StatisticsRequest:
        """Mean and covariance of the queries, and how they are rotated."""
        return StatisticsRequest(moments=frozenset({self.n_sink}), rotation=True)

    def rank(self, call: PressCall) -> Ranking:
        """Expected attention times the norm of the value; sinks first."""
        sinks = call.positions < self.n_sink
        scores = self._expected(call, sinks) + self.epsilon
        if self.use_vnorm:
            scores = scores * call.values.float().norm(dim=-1)
        order = edges_first(call.count, self.n_sink, call.keys.device)
        return self.ranking(call, torch.where(sinks, order, scores), sinks)

    def _expected(self, call: PressCall, sinks: Tensor) -> Tensor:
        """(H, n): 0 for sinks."""
        logits = self._logits(call).masked_fill(sinks[:, None], -torch.inf)
        return torch.nan_to_num(logits.softmax(-1), nan=0.0).mean(1)

    def _logits(self, call: PressCall) -> Tensor:
        """z, (H, G, n)."""
        rotary = call.facts.rotary
        if rotary is None:
            raise missing(self, "its positions are no rotation of fixed frequencies")
        moments, scale = call.observed.moments[self.n_sink], call.facts.settings.scaling
        heads, group, width = moments.mean.shape
        future = torch.arange(
            call.length, call.length + self.n_future_positions, device=call.keys.device
        )
        mean = rotary.average(moments.mean.flatten(0, 1), future).view(heads, group, width)
        keys = call.keys.float()
        logits = scale * mean @ keys.mT
        if self.use_covariance:
            half = rotary.average(moments.covariance.flatten(0, 2), future)
            half = half.view(heads * group, width, width).mT.flatten(0, 1)
            spread = rotary.average(half, future).view(heads, group, width, width)
            for head in range(heads):
                for start in range(0, call.count, _BLOCK):
                    block = keys[head, start : start + _BLOCK]
                    squares = ((block @ spread[head]) * block).sum(-1)
                    logits[head, :, start : start + _BLOCK] += scale**2 / 2 * squares
        return logits
