"""As few keys as hold a given share of the attention."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import torch
from pydantic import Field

from sparse_attention.attention.call import AttentionCall
from sparse_attention.attention.compact import Compact
from sparse_attention.attention.indices import Indices
from sparse_attention.attention.selection import Selection
from sparse_attention.maskers.base import Masker
from sparse_attention.maskers.top_k import GroupScores, pool_prior
from sparse_attention.method import Choices
from sparse_attention.numerics.heaviest import largest
from sparse_attention.numerics.tensors import sort_falling

if TYPE_CHECKING:
    from torch import Tensor


class OracleTopP(Masker):
    """Read the fewest keys that hold at least ``top_p`` of the attention weight of a query.

    With the dense weights ``a = softmax(scores)`` over all keys that the query sees and the weight
    ``A`` of the keys that earlier methods read, the other keys are read in falling order of a until
    ``A`` and theirs sum to ``top_p``: all but the last of them would hold less.  Nothing is added
    where A suffices; ``top_p = 1`` reads everything.  So the number of keys follows the query: few
    where attention is peaked, many where it is flat.  With ``group_scores`` the weights are the
    mean, or the maximum divided by its sum over the keys, of those of the query heads.

    Cost: all keys are read to find the heavy ones, half the bytes of dense attention.

    Fails to save anything in heads whose attention is flat; its density is known only afterwards.

    Source: nucleus sampling (Holtzman et al., 2019) applied to attention weights, as in Tactic (Zhu
    et al., 2025) and Twilight (Lin et al., 2025).  Unlike code that takes the share of what earlier
    methods left, the share is of the whole weight.
    """

    name = "oracle_top_p"
    oracle = True
    stacked = frozenset({"top_p"})

    top_p: Annotated[
        float, Field(gt=0, le=1), Choices(0.3, 0.5, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99)
    ] = 0.9
    """Share of the attention weight to read."""
    group_scores: GroupScores = "separate"
    """Whether the query heads of one key-value head choose keys each for itself, or together by the
    maximum or mean of their attention weights; together they read fewer bytes."""

    def propose(self, call: AttentionCall, prior: Selection) -> Selection:
        """The heaviest keys that reach the share."""
        weights, done = self._weights(call), pool_prior(prior, self.group_scores)
        compact = done.compact if call.visible is None else None
        if compact is None:
            open_keys = ~done.reads if call.visible is None else ~done.reads & call.visible
            left = weights.masked_fill(~open_keys, -torch.inf)
            return Selection(largest(left, self._count(call, left)))
        start, left = compact.open(weights)
        indices = Indices.heaviest(left, self._count(call, left), start, compact.left)
        beyond = compact if done is prior else None
        return Selection(Compact(compact.length, compact.device, (), indices, beyond))

    def _count(self, call: AttentionCall, left: Tensor) -> Tensor:
        """Keys to read of those with the weights ``left``, -inf where one is not to be read."""
        sums = sort_falling(left).clamp_(min=0).cumsum(-1, dtype=torch.float64)
        share = call.on_device(call.setting(self, "top_p"))
        missing = share - (1 - sums[..., -1:])
        # One more than those that do not suffice; where nothing is missing, none.
        count = torch.where(missing > 0, (sums < missing).sum(-1, keepdim=True) + 1, 0)
        return torch.where(share >= 1, left.shape[-1], count)

    def selection_bytes(self, call: AttentionCall) -> float:
        """The bytes of every key, because their true weights are added up."""
        keys = call.view.segment.keys
        return keys.shape[-1] * keys.element_size()

    def _weights(self, call: AttentionCall) -> Tensor:
        """Dense weights, (R, H, G, Q, K), or (R, H, 1, Q, K) if query heads choose together."""
        weights = call.probabilities
        if self.group_scores == "separate":
            return weights
        if self.group_scores == "mean":
            return weights.mean(2, keepdim=True)
        highest = weights.amax(2, keepdim=True)
        return highest / highest.sum(-1, keepdim=True)
