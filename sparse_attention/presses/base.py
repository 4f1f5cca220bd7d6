"""What a press is: it chooses, once and for all queries to come, which keys of a context stay."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar

import torch
from pydantic import Field

from sparse_attention.cache.causal import causal_attention
from sparse_attention.cache.pair import both
from sparse_attention.cache.statistics import NOTHING, LayerStatistics, StatisticsRequest
from sparse_attention.errors import UserError
from sparse_attention.method import Choices, Method
from sparse_attention.model_facts import LayerFacts
from sparse_attention.numerics.heaviest import largest

if TYPE_CHECKING:
    from torch import Tensor

Ratio = Annotated[float, Field(ge=0, lt=1), Choices(0.25, 0.5, 0.75, 0.875)]
"""Share of the keys that are removed."""


def kept_count(length: int, ratio: float) -> int:
    """Keys that stay of ``length``: ``max(1, length - round(length * ratio))``."""
    return max(1, length - round(length * ratio))


def share_of(count: int, share: float) -> int:
    """``floor(count * share)``, where 100 * 0.29 counts as 29."""
    return int(count * share + 1e-9)


@dataclass(frozen=True)
class PressCall:
    """One layer of a context as a press sees it.

    Shapes use H key-value heads, G query heads per key-value head, n keys and head size D.
    """

    layer: int
    layers: int
    """Layers of the model."""
    keys: Tensor
    """(H, n, D): those that earlier presses left, in the order of the sequence."""
    values: Tensor
    """(H, n, d); see ``Segment``."""
    positions: Tensor
    """(H, n) int64: their positions in the sequence, which are increasing."""
    length: int
    """Tokens of the sequence so far."""
    statistics: LayerStatistics | None
    """What was collected in the prefill; None where no press asked for anything."""

    @property
    def count(self) -> int:
        """How many keys there are."""
        return self.keys.shape[1]

    @property
    def observed(self) -> LayerStatistics:
        """What was collected in the prefill, of which ``needs`` says what is there."""
        assert self.statistics is not None, "a press reads statistics that it does not ask for"
        return self.statistics

    @property
    def facts(self) -> LayerFacts:
        """Settings, rotation and output projection of the layer."""
        return self.observed.facts

    def only(self, keep: Tensor) -> PressCall:
        """The same with the keys where ``keep`` (H, n) is true, equally many of each head."""
        heads, index = self.keys.shape[0], keep.nonzero(as_tuple=True)
        keys, values = both(
            self.keys, self.values, lambda old: old[index].view(heads, -1, old.shape[-1])
        )
        positions = self.positions[index].view(heads, -1)
        return replace(self, keys=keys, values=values, positions=positions)


@dataclass(frozen=True)
class Ranking:
    """Which keys a press would rather keep."""

    scores: Tensor
    """(H, n) float32, finite; the highest stay.  Among ``forced`` keys, too."""
    forced: Tensor
    """(H, n) bool: keys that come before all others."""
    budget: int
    """Keys to keep of each head."""
    across_heads: bool = False
    """Whether the heads of the layer share their budgets."""
    head_budgets: Tensor | None = None
    """(H,) int64: keys to keep of each head, where they were shared out before; of ``budget`` on
    average."""

    def keep(self) -> Tensor:
        """The keys that stay, bool (H, n): of equal scores those with the lowest index.

        Exactly ``budget`` of each head, or as many in all with ``across_heads``, or
        ``head_budgets``.
        """
        scores, forced = self.scores, self.forced
        if self.across_heads:
            scores, forced = scores.reshape(1, -1), forced.reshape(1, -1)
            count = self.budgets.sum()[None, None]
        else:
            count = self.budgets[:, None]
        first = largest(scores.masked_fill(~forced, -torch.inf), count)
        left = count - first.sum(-1, keepdim=True)
        others = largest(scores.masked_fill(forced, -torch.inf), left)
        return (first | others).view_as(self.scores)

    @property
    def budgets(self) -> Tensor:
        """(H,) int64: keys of each head, before heads compete for them."""
        if self.head_budgets is not None:
            return self.head_budgets
        heads = self.scores.shape[0]
        return torch.full((heads,), self.budget, dtype=torch.long, device=self.scores.device)


class Press(Method):
    """A method that acts when the prefill of a context ends, once for all queries to come.

    Presses come before maskers in a configuration and act in order: a ``Scorer`` ranks the keys,
    each ``Adjustment`` after it changes the ranking or the budget, and the keys that stay are what
    the next scorer sees.  Maskers then see the kept keys in the order of the sequence as if they
    were the context.  Question and answer keep their true positions, unless keys are re-rotated.

    Layers with a sliding window are left alone: they hold no more than their window anyway, and
    what a query sees there depends on true distances.
    """

    last: ClassVar[bool] = False
    """Whether no other press may come after it."""
    across_heads: ClassVar[bool] = False
    """Whether heads keep different numbers of keys after it; no scorer may come after it then."""
    sets_budgets: ClassVar[bool] = False
    """Whether it says how many keys a layer or a head keeps."""
    uses_budgets: ClassVar[bool] = False
    """Whether it depends on how many keys are kept, so that nothing may change that afterwards."""

    @property
    def needs(self) -> StatisticsRequest:
        """What has to be collected in the prefill."""
        return NOTHING


class Scorer(Press):
    """A press that ranks the keys of a layer."""

    decodes: ClassVar[bool] = True
    """Whether it can also rank keys while an answer is generated."""

    compression_ratio: Ratio = 0.5
    """Share of the keys that are removed: of n, ``max(1, n - round(n * ratio))`` stay."""

    @abstractmethod
    def rank(self, call: PressCall) -> Ranking:
        """Which keys of a layer to keep; ``ranking`` makes it of scores alone."""

    def budget(self, call: PressCall) -> int:
        """Keys to keep of each head."""
        return kept_count(call.count, self.compression_ratio)

    def ranking(self, call: PressCall, scores: Tensor, forced: Tensor | None = None) -> Ranking:
        """A ranking with this press's budget; scores and forced keys broadcast to (H, n)."""
        shape = call.positions.shape
        none = torch.zeros((), dtype=torch.bool, device=scores.device)
        return Ranking(
            scores.float().expand(shape),
            (none if forced is None else forced).expand(shape),
            self.budget(call),
        )


class Adjustment(Press):
    """A press that changes the ranking of the scorer before it."""

    @abstractmethod
    def adjust(self, call: PressCall, ranking: Ranking) -> Ranking:
        """What to use in place of ``ranking``, that of the scorer or of the adjustment before."""


def edges_first(count: int, sinks: int, device: torch.device) -> Tensor:
    """Scores (n,) float32 that rank the first ``sinks`` keys first, then the newest."""
    index = torch.arange(count, device=device)
    return torch.where(index < sinks, 2 * count - index, index).float()


def missing(press: Method, what: str) -> UserError:
    """Error for a model that does not give what a press needs."""
    return UserError(f"{press.name} cannot be used with this model: {what}")


def window_attention(call: PressCall, window: int) -> Tensor:
    """Dense attention weights of the last ``window`` queries over the keys that are left.

    Returns:
        (H, G, w, n) float32, with fewer queries if fewer were seen.
    """
    queries = call.observed.last_queries[:, :, -window:]
    start = call.length - queries.shape[2]
    return causal_attention(queries, call.keys, call.positions, start, call.facts.settings)
