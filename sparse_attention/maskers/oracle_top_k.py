"""The keys with the highest true scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparse_attention.attention.call import AttentionCall
from sparse_attention.maskers.top_k import TopK

if TYPE_CHECKING:
    from torch import Tensor


class OracleTopK(TopK):
    """Read the ``heavy_size`` keys with the highest scores among those not read yet.

    Per query, with weight 1.  The upper bound in quality for methods that predict the heavy keys,
    and no saving by itself.

    Cost: all keys are read to find the heavy ones, half the bytes of dense attention.

    Fails where many keys with small weights matter together, as in counting: their sum is lost.

    Source: Gupta et al., Memory-efficient Transformers via Top-k Attention (2021).
    """

    name = "oracle_top_k"
    oracle = True

    def predict(self, call: AttentionCall) -> Tensor:
        """The true scores."""
        return call.scores

    def selection_bytes(self, call: AttentionCall) -> float:
        """The bytes of every key, because their true scores are compared."""
        keys = call.view.segment.keys
        return keys.shape[-1] * keys.element_size()
