"""Keys that differ from the others."""

from __future__ import annotations

from sparse_attention.presses.base import PressCall, Ranking, Scorer


class KeyDiff(Scorer):
    """Keep the keys that point away from the mean direction of all keys.

    ``score_i = -cos(k_i, mean over t of k_t / |k_t|)`` per key-value head.  Keys that are alike can
    stand for one another, and distinct keys tend to be attended to.

    Cost: two passes over the keys.

    Fails where much of what matters is alike, such as entries of one long list.

    Source: Park et al., KeyDiff: Key Similarity-Based KV Cache Eviction (2025), ranked once over
    the whole context instead of block by block.
    """

    name = "keydiff"

    def rank(self, call: PressCall) -> Ranking:
        """Negative cosine with the mean direction."""
        keys = call.keys.float()
        unit = keys / keys.norm(dim=-1, keepdim=True).clamp(min=1e-12)
        anchor = unit.mean(1, keepdim=True)
        cosine = (unit * anchor).sum(-1) / anchor.norm(dim=-1).clamp(min=1e-12)
        return self.ranking(call, -cosine)
