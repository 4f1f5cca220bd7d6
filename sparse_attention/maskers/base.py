"""What a masker is: it adds keys to what earlier methods selected, for each query."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from sparse_attention.attention.call import AttentionCall
from sparse_attention.attention.selection import Selection
from sparse_attention.method import Method


class Masker(Method):
    """A method that selects at decode time, anew for each query.

    A masker implements ``propose``; ``select`` unites the proposal with what earlier methods
    selected and drops what the query must not see.  Maskers hold no state: what must live across
    steps is kept by the cache and asked for through ``call.key_features``.
    """

    samples: ClassVar[bool] = False
    """Whether it draws keys at random; it must then come last, because its weights would be wrong
    if a later method read some of the drawn keys for another reason."""

    def select(self, call: AttentionCall, prior: Selection) -> Selection:
        """``prior`` together with the keys that this method adds."""
        proposal = self.propose(call, prior)
        if call.visible is not None:
            proposal = proposal.restricted_to(call.visible)
        return prior.extended_by(proposal)

    positional: ClassVar[bool] = False
    """Whether the selection depends on positions alone, so that all rows can share it."""

    @abstractmethod
    def propose(self, call: AttentionCall, prior: Selection) -> Selection:
        """The keys to add, broadcastable to ``call.shape``.

        Keys that ``prior`` reads keep the weight they have, and invisible ones are dropped.
        Weights, if any, are 0 at all keys that ``prior`` reads.
        """

    def selection_bytes(self, call: AttentionCall) -> float:
        """Bytes that choosing reads, per key that is seen and key-value head.

        What the method itself would read, keys or what it keeps about them, wherever this
        implementation computes more to find the same.
        """
        return 0.0
