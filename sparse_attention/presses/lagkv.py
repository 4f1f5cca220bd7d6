"""Keys and values that stand out against the tokens that follow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import torch
from pydantic import Field

from sparse_attention.method import Choices
from sparse_attention.presses.base import PressCall, Ranking, Scorer, edges_first

if TYPE_CHECKING:
    from torch import Tensor


class LagKV(Scorer):
    """Keep tokens whose keys and values vary most, measured by the range of the tokens after them.

    The tokens after ``n_sink`` are cut into chunks of ``lag``.  Those of chunk j are normalised by
    the minimum and maximum of each channel in chunk j + 1, ``x' = (x - min) / (max - min)`` (0 in
    a channel that is constant there); the softmax over the chunk of the standard deviation of x'
    over the channels scores keys and values, and the mean of both is the token's score.  Scores of
    different chunks are compared directly with ``cross_scoring``, else by their rank within the
    chunk.  Sinks, the last chunk and what is left over after it stay; if fewer keys are kept than
    these, or the context has fewer than ``n_sink + 2 lag`` tokens, sinks and the newest keys do.

    Cost: one pass over keys and values.

    Fails where a chunk and the next are of different kinds of text, and in short contexts, where it
    is a window.

    Source: Liang et al., LagKV: Lag-Relative Information of the KV Cache Tells Which Tokens Are
    Important (2025).
    """

    name = "lagkv"

    n_sink: Annotated[int, Field(ge=0), Choices(1, 4, 16)] = 4
    """Keys at the start that stay."""
    lag: Annotated[int, Field(ge=2), Choices(32, 64, 128, 256)] = 128
    """Tokens in a chunk."""
    cross_scoring: Annotated[bool, Choices(False, True)] = False
    """Compare scores, instead of ranks, of different chunks."""

    def rank(self, call: PressCall) -> Ranking:
        """Scores of all chunks but the last; the rest by age."""
        heads, count = call.positions.shape
        scores = edges_first(count, self.n_sink, call.keys.device).repeat(heads, 1)
        chunks = max(0, count - self.n_sink) // self.lag
        end = self.n_sink + max(0, chunks - 1) * self.lag
        if chunks > 1:
            found = self._chunk_scores(call.keys, chunks) + self._chunk_scores(call.values, chunks)
            if not self.cross_scoring:
                found = found.argsort(stable=True).argsort() / self.lag
            scores[:, self.n_sink : end] = found.flatten(1) / 2
        index = torch.arange(count, device=scores.device)
        return self.ranking(call, scores, (index < self.n_sink) | (index >= end))

    def _chunk_scores(self, vectors: Tensor, chunks: int) -> Tensor:
        """(H, chunks - 1, lag) from keys or values (H, n, D)."""
        last = self.n_sink + chunks * self.lag
        parts = vectors[:, self.n_sink : last].float().unflatten(1, (chunks, self.lag))
        low, high = parts[:, 1:].amin(2, keepdim=True), parts[:, 1:].amax(2, keepdim=True)
        width = high - low
        relative = torch.where(width > 0, (parts[:, :-1] - low) / width.clamp(min=1e-12), 0.0)
        return relative.std(-1).softmax(-1)
