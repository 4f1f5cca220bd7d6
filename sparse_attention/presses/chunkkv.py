"""Whole chunks of neighbouring tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import torch
from pydantic import Field

from sparse_attention.method import Choices
from sparse_attention.presses.base import Adjustment, PressCall, Ranking


class ChunkKV(Adjustment):
    """Keep whole chunks of ``chunk_length`` neighbouring tokens, by the scores of the press before.

    A chunk scores the mean over its tokens of the sum of their scores over the heads, so that all
    heads keep the same chunks.  Chunks are taken from the best down until the budget is used up;
    of the last one, the first tokens.  Tokens that the press before keeps in any case are not
    counted in these means and stay.  A rest at the end that is shorter than a chunk is one, too;
    with a context that is no longer than one chunk its first tokens stay.

    Cost: that of the press before.

    Fails where what matters is single tokens far apart: whole chunks are kept for them.

    Source: Liu et al., ChunkKV: Semantic-Preserving KV Cache Compression for Efficient Long-Context
    LLM Inference (2025).
    """

    name = "chunkkv"

    chunk_length: Annotated[int, Field(ge=1), Choices(5, 10, 20, 40)] = 20
    """Tokens in a chunk."""

    def adjust(self, call: PressCall, ranking: Ranking) -> Ranking:
        """Scores of chunks in place of those of tokens."""
        chunks = -(-call.count // self.chunk_length)
        number = torch.arange(call.count, device=ranking.scores.device) // self.chunk_length
        free = (~ranking.forced).float()
        total = (ranking.scores * free).sum(0)
        counted = free.mean(0)
        sums = total.new_zeros(chunks).index_add_(0, number, total)
        counts = total.new_zeros(chunks).index_add_(0, number, counted)
        means = (sums / counts.clamp(min=1e-12))[number]
        return replace(ranking, scores=torch.where(ranking.forced, ranking.scores, means))
