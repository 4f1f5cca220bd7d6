"""The newest keys of the sequence."""

from __future__ import annotations

from typing import Annotated

from sparse_attention.attention.call import AttentionCall
from sparse_attention.attention.selection import Selection
from sparse_attention.maskers.base import Masker
from sparse_attention.method import Choices, Size


class Local(Masker):
    """Read the last ``window_size`` keys up to and including the query's own, with weight 1.

    The query at position t reads positions t - n + 1 ... t; a context shorter than the size is read
    whole.

    Cost: nothing is read to choose.

    Fails where the answer lies further back than the window; it belongs before other methods.

    Source: Beltagy et al., Longformer: The Long-Document Transformer (2020).
    """

    name = "local"
    positional = True
    stacked = frozenset({"window_size"})

    window_size: Annotated[Size, Choices(16, 32, 64, 128, 256, 512)] = 64
    """Newest keys to read."""

    def propose(self, call: AttentionCall, prior: Selection) -> Selection:
        """Keys less than the size away."""
        size = call.resolve(self, "window_size")
        end = (call.geometry.asking[:, None] + 1).expand(size.shape)
        return call.between(end - size, end, prior)
