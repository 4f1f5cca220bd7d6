"""Reading the keys whose scores are predicted to be the highest."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import torch

from sparse_attention.attention.call import AttentionCall
from sparse_attention.attention.compact import Compact
from sparse_attention.attention.indices import Indices
from sparse_attention.attention.selection import Selection
from sparse_attention.maskers.base import Masker
from sparse_attention.method import Choices, Size
from sparse_attention.numerics.heaviest import largest

if TYPE_CHECKING:
    from torch import Tensor

GroupScores = Literal["separate", "max", "mean"]
"""No search tries these by itself: a search weighs quality against keys by query head, of which
choosing together saves none."""


class HeavyKeys(Masker):
    """The settings of methods that read ``heavy_size`` keys by their predicted scores."""

    stacked: ClassVar[frozenset[str]] = frozenset({"heavy_size"})

    heavy_size: Annotated[Size, Choices(0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2)] = (
        0.05
    )
    """Keys to read on top of what earlier methods selected: a count, or a share of all keys that
    the query sees."""
    group_scores: GroupScores = "separate"
    """Whether the query heads of one key-value head choose keys each for itself, or together by the
    maximum or mean of their attention weights; together they read fewer bytes."""


class TopK(HeavyKeys):
    """Reads the keys with the highest predicted scores of those not read yet.

    Of equal scores those of the older keys win.
    """

    @abstractmethod
    def predict(self, call: AttentionCall) -> Tensor:
        """Predicted scores, float32 (R, H, G, Q, K), -inf where a key is invisible."""

    def propose(self, call: AttentionCall, prior: Selection) -> Selection:
        """The keys with the highest predicted scores."""
        ranks = pool_scores(self.predict(call), self.group_scores)
        return heaviest_keys(ranks, call, self, prior)


def heaviest_keys(
    ranks: Tensor, call: AttentionCall, method: HeavyKeys, prior: Selection
) -> Selection:
    """The keys of highest rank among those that are not read yet.

    Args:
        ranks: (R, H, G, Q, K), or (R, H, 1, Q, K) if query heads choose together; -inf where a key
            is invisible.
        call: the attention operation.
        method: says how many keys and how heads choose.
        prior: what is read.
    """
    done = pool_prior(prior, method.group_scores)
    compact = done.compact
    if compact is None or call.visible is not None:
        return Selection(largest(ranks + done.bar, call.resolve(method, "heavy_size")))
    start, values = compact.open(ranks)
    counts = call.resolve(method, "heavy_size")
    indices = Indices.heaviest(values, counts, start, compact.left)
    beyond = compact if done is prior else None
    return Selection(Compact(compact.length, compact.device, (), indices, beyond))


def pool_scores(scores: Tensor, group_scores: str) -> Tensor:
    """What keys are ranked by: (R, H, G, Q, K), or (R, H, 1, Q, K) if query heads choose together.

    Together: the logarithm of the maximum, or of the sum, which ranks as the mean does, of
    ``softmax(scores)`` over the query heads; the logarithm keeps apart what would underflow.
    """
    if group_scores == "separate" or scores.shape[2] == 1:
        return scores
    total = scores.logsumexp(-1, keepdim=True).clamp(min=torch.finfo(torch.float32).min)
    log_weights = scores - total
    if group_scores == "max":
        return log_weights.amax(2, keepdim=True)
    return log_weights.logsumexp(2, keepdim=True)


def pool_prior(prior: Selection, group_scores: str) -> Selection:
    """What counts as read: where query heads choose together, what all of them read already."""
    if group_scores == "separate" or prior.lines[2] == 1:
        return prior
    return Selection(prior.reads.all(2, keepdim=True))
