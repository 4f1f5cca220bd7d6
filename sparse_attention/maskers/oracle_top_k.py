"""The keys with the highest true scores."""

from __future__ import annotations

from typing import Annotated

from ..attention_call import AttentionCall
from ..method import Size
from ..numerics import largest
from ..search import Choices
from ..selection import Selection
from .base import Masker


class OracleTopK(Masker):
    """Read the ``heavy_size`` keys with the highest scores among those not read yet.

    Per query and query head, with weight 1.  All keys are read to find them (half the bytes of
    dense attention), so this is the upper bound in quality for methods that predict the heavy keys,
    and no saving by itself.  The share is of all keys that the query sees; the keys come on top of
    what earlier methods selected.

    Source: Gupta et al., Memory-efficient Transformers via Top-k Attention (2021).
    """

    name = "oracle_top_k"
    stacked = frozenset({"heavy_size"})

    heavy_size: Annotated[Size, Choices(0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2)] = (
        0.05
    )

    def propose(self, call: AttentionCall, prior: Selection) -> Selection:
        """The highest scores of each query."""
        count = call.resolve(self, "heavy_size")
        return Selection(largest(call.scores + prior.bar, count))
