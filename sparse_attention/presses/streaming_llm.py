"""The first and the newest keys."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field

from sparse_attention.method import Choices
from sparse_attention.presses.base import PressCall, Ranking, Scorer, edges_first


class StreamingLLM(Scorer):
    """Keep the first ``n_sink`` keys and the newest ones.

    Follow it by ``key_rerotation`` for the positions inside the cache that the paper uses.  If
    fewer keys are kept than there are sinks, the first ones stay.

    Cost: nothing to choose.

    Fails on whatever was in the middle of the context, which is lost.

    Source: Xiao et al., Efficient Streaming Language Models with Attention Sinks (2023).
    """

    name = "streaming_llm"

    n_sink: Annotated[int, Field(ge=0), Choices(1, 4, 16, 64)] = 4
    """Keys at the start that stay."""

    def rank(self, call: PressCall) -> Ranking:
        """Sinks first, then by age."""
        index = torch.arange(call.count, device=call.keys.device)
        scores = edges_first(call.count, self.n_sink, call.keys.device)
        return self.ranking(call, scores, index < self.n_sink)
