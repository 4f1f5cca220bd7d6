"""One attention operation as a method sees it: queries, keys, scores, random numbers, features."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from sparse_attention.attention.compact import Compact, merged
from sparse_attention.attention.indices import Indices
from sparse_attention.attention.scores import SharedScores
from sparse_attention.attention.selection import Selection
from sparse_attention.attention.single_keys import single_dots
from sparse_attention.cache.context import Features
from sparse_attention.method import Method
from sparse_attention.numerics.tensors import falling_order, keyed_generator, soft_cap

if TYPE_CHECKING:
    from torch import Tensor

SPARSE_PRODUCT_SHARE = 0.05
"""Share of the keys above which ``dots_at`` uses the scores of all keys instead of single ones."""
_SHARE_ALONE = 0.12
"""The same on a processor where one query alone asks for the scores of a head."""


class AttentionCall:
    """The attention in one layer of rows whose configurations are alike.

    The rows have the same methods, with settings that differ at most in fields that the methods
    name in ``stacked``; ``resolve`` and ``setting`` give such fields for all rows.

    Shapes use R rows, H key-value heads, G query heads per key-value head, Q queries and K keys;
    the keys are the P keys of a segment of the context followed by the row's own tail.  Head h and
    group g are query head ``h * G + g``.
    """

    def __init__(
        self,
        shared: SharedScores,
        rows: range,
        *,
        stack: Sequence[tuple[Method, ...]],
        batch: Sequence[tuple[Method, ...]],
        sample_keys: Sequence[str],
    ) -> None:
        """Made by the decoder.

        Args:
            shared: what the operation has and computes for all its rows together.
            rows: places of these rows among them, neighbours.
            stack: all methods of each row, in order.
            batch: the same for all rows of the operation; a method may prepare for them what it
                needs itself, but its result must not depend on them.
            sample_keys: names of the samples of the rows.
        """
        geometry, settings = shared.geometry, shared.settings
        own = slice(rows.start, rows.stop)
        self.queries = shared.queries[own]
        """(R, H, G, Q, D)."""
        alone = len(rows) == shared.view.tail_keys.shape[0]
        self.view, self.geometry = shared.view if alone else shared.view.rows(own), geometry
        self.scaling, self.softcap = settings.scaling, settings.softcap
        self.rows, self.methods, self.stack, self.batch = rows, stack[0], stack, batch
        self.sample_keys, self.layer = sample_keys, shared.view.layer
        self.device = self.queries.device
        self.query_positions, self.key_positions = geometry.query_positions, geometry.key_positions
        """(Q,) and (K,) int64."""
        self.visible = geometry.visible
        """(Q, K) bool, or None where every query sees every key."""
        self.shape = (*self.queries.shape[:4], geometry.key_positions.shape[0])
        """(R, H, G, Q, K)."""
        self._shared = shared

    def resolve(self, method: Method, field: str) -> Tensor:
        """Keys that a field of type ``Size`` means for each query; see ``resolve_size``.

        Returns:
            int64 (R, 1, 1, Q, 1), or (1, 1, 1, Q, 1) where the rows agree, on the processor.
        """
        return self.geometry.resolve(self.values(method, field))

    def setting(self, method: Method, field: str) -> Tensor:
        """A number: (R, 1, 1, 1, 1), or () where the rows agree, on the processor."""
        values = self.values(method, field)
        numbers = torch.tensor(values)[:, None, None, None, None]
        return numbers if len(values) > 1 else numbers[0, 0, 0, 0, 0]

    def on_device(self, numbers: Tensor) -> Tensor:
        """``numbers`` of the processor where the keys are; nothing waits for it."""
        # Torch takes a number without dimensions from anywhere.
        return numbers.to(self.device, non_blocking=True) if numbers.ndim else numbers

    def values(self, method: Method, field: str) -> list[Any]:
        """The field in each row; only one where all rows agree."""
        if len(self.stack) == 1:
            return [getattr(method, field)]
        place = self.methods.index(method)
        values = [getattr(methods[place], field) for methods in self.stack]
        same = all(type(value) is type(values[0]) and value == values[0] for value in values)
        return values[:1] if same else values

    def between(self, first: Tensor, end: Tensor, prior: Selection) -> Selection:
        """The keys at positions from ``first`` to before ``end``, to be united with ``prior``.

        Both are int64 (R or 1, 1, 1, Q, 1) on the processor.
        """
        start, keys = self.geometry.start, self.shape[-1]
        alike = first.numel() == 1
        gaps = None if alike or prior.compact is None else prior.compact.gaps
        if self.visible is not None or not (alike or (gaps is not None and len(gaps) == 1)):
            first, end = self.on_device(first), self.on_device(end)
            return Selection((self.key_positions >= first) & (self.key_positions < end))
        ends = ((place.flatten() - start).clamp(0, keys).tolist() for place in (first, end))
        spans = tuple(zip(*ends, strict=True))
        if alike or gaps is None:
            return Selection(Compact(keys, self.device, merged(spans)))
        indices = Indices.of_spans(spans, gaps[0], self.device)
        return Selection(Compact(keys, self.device, (), indices, prior.compact))

    @property
    def scores(self) -> Tensor:
        """Attention logits, float32 (R, H, G, Q, K): scaled, soft-capped, -inf where invisible."""
        return self._shared.scores(self.rows)

    @property
    def known_scores(self) -> Tensor | None:
        """``scores`` if they have been computed."""
        return self.scores if self._shared.known(self.rows) else None

    @property
    def probabilities(self) -> Tensor:
        """Dense attention weights, float32 (R, H, G, Q, K): softmax of ``scores``."""
        return self._shared.probabilities(self.rows)

    def scores_at(self, keys: Tensor) -> Tensor:
        """``scores`` of single keys, int64 (R or 1, H or 1, G or 1, Q, n): (R, H, G, Q, n)."""
        if self.known_scores is not None:
            return self.known_scores.gather(-1, keys.expand(*self.shape[:4], -1))
        return soft_cap(self.dots_at(keys), self.softcap)

    def dots_at(self, keys: Tensor) -> Tensor:
        """``scaling * query @ key`` for single keys, reading few of them where they are few.

        Args:
            keys: int64 (R or 1, H or 1, G or 1, Q, n), visible ones.

        Returns:
            float32 (R, H, G, Q, n).
        """
        alone = self.shape[0] * self.shape[2] * self.shape[3] == 1 and not keys.is_cuda
        share = _SHARE_ALONE if alone else SPARSE_PRODUCT_SHARE
        few = keys.shape[-1] <= share * self.shape[-1]
        if self.softcap is None and (self._shared.known(self.rows) or not few):
            return self.scores.gather(-1, keys.expand(*self.shape[:4], -1))
        if self.shape[3] == 1:
            return single_dots(self.queries, self.view, keys).mul_(self.scaling)
        keys = keys.expand(*self.shape[:4], -1)
        context, tail = self.view.segment.keys, self.view.tail_keys
        rows, heads = (torch.arange(size, device=self.device) for size in self.shape[:2])
        heads, after = heads[:, None, None, None], keys - context.shape[1]
        chosen = context[heads, keys.clamp(max=context.shape[1] - 1)]
        # A device would have to be waited for to know that no key is of the tails.
        if tail.shape[2] and (keys.is_cuda or bool((after >= 0).any())):
            own = tail[rows[:, None, None, None, None], heads, after.clamp(min=0)]
            chosen = torch.where((after < 0)[..., None], chosen, own)
        asked = self.queries.float()[..., None, :]
        return (asked * chosen.float()).sum(-1) * self.scaling

    def uniform(self, seed: int) -> Tensor:
        """Independent uniform numbers in [0, 1), float32 (R, H, G, Q, K); R may be 1 for all rows.

        They are keyed by (seed, sample, layer, position of the query, and the head if it is handled
        alone), so that they do not depend on the batch, on the order of the work or on how many
        tokens are processed at once.
        Keys after the query get 0.
        """
        return self._of_samples("uniform", seed, lambda sample: self._drawn(seed, sample))

    def drawing_order(self, seed: int) -> Tensor:
        """Keys by falling ``uniform``, of equal numbers the older first: int64 like it."""
        return self._of_samples(
            "order", seed, lambda sample: falling_order(self._drawn(seed, sample))
        )

    def _of_samples(self, kind: str, seed: int, draw: Callable[[str], Tensor]) -> Tensor:
        """What ``draw`` makes for each row, once for all that have the same sample."""
        draws, samples = self._shared.draws, list(self.sample_keys)
        for sample in dict.fromkeys(samples):
            if (kind, seed, sample) not in draws:
                draws[kind, seed, sample] = draw(sample)
        if len(set(samples)) == 1:
            return draws[kind, seed, samples[0]]
        return torch.cat([draws[kind, seed, sample] for sample in samples])

    def _drawn(self, seed: int, sample: str) -> Tensor:
        """``uniform`` of one sample."""
        head = () if self.view.head is None else (self.view.head,)
        _, heads, group, _, keys = self.shape
        numbers = torch.zeros(1, *self.shape[1:], device=self.device)
        first = self.geometry.start
        for query, position in enumerate(self.geometry.asking.tolist()):
            generator = keyed_generator(self.device, seed, sample, self.layer, position, *head)
            seen = min(keys, position + 1 - first)
            numbers[0, :, :, query, :seen] = torch.rand(
                heads, group, seen, generator=generator, device=self.device
            )
        return numbers

    def key_features(
        self,
        key: Hashable,
        fit: Callable[[Tensor], Features],
        encode: Callable[[Features, Tensor], Features],
        block: int = 1,
    ) -> tuple[Features, Features, Features]:
        """What a method keeps about every key, computed once for the context and once per new key.

        ``fit`` gets the context's keys (1, H, P, D) and returns what holds for all (projections,
        means, ...); ``encode`` gets that and keys (n, H, m, D) and returns tensors (n, H, ..., m)
        with the keys in the last dimension.  ``key`` names the features among all methods.

        With ``block``, ``encode`` makes one entry of so many neighbouring keys.  Only complete
        blocks have one; keys of the context after its last one belong to the first of the tails.

        Returns:
            The result of ``fit``, the encoded context (1, H, ..., P) and the encoded tails
            (R, H, ..., K - P); with blocks P // block and K // block - P // block entries.
        """
        fitted, context = self.view.segment.known(key, fit, encode, block)
        return fitted, context, self.view.tail_features(key, fitted, encode, block)
