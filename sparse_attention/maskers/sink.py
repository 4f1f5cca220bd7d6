"""The first keys of the sequence."""

from __future__ import annotations

from typing import Annotated

import torch

from sparse_attention.attention.call import AttentionCall
from sparse_attention.attention.selection import Selection
from sparse_attention.maskers.base import Masker
from sparse_attention.method import Choices, Size


class Sink(Masker):
    """Read the first ``sink_size`` keys of the sequence with weight 1.

    Models put attention that they have no other use for on the first tokens; without these keys
    the softmax loses its normal scale.  Keys that a sliding window hides are not read; a context
    shorter than the size is read whole.

    Cost: nothing is read to choose.

    Fails alone, because it sees nothing of the context; it belongs before other methods.

    Source: Xiao et al., Efficient Streaming Language Models with Attention Sinks (2023).
    """

    name = "sink"
    positional = True
    stacked = frozenset({"sink_size"})

    sink_size: Annotated[Size, Choices(1, 4, 16, 64, 128, 256)] = 4
    """First keys to read."""

    def propose(self, call: AttentionCall, prior: Selection) -> Selection:
        """Keys at positions below the size."""
        size = call.resolve(self, "sink_size")
        return call.between(torch.zeros_like(size), size, prior)
