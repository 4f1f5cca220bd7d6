"""One attention operation as a method sees it: queries, keys, scores and what was kept of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .method import resolve_size
from .numerics import keyed_generator, product

if TYPE_CHECKING:
    from .kv_cache import Features, LayerCache
    from .method import Method

SPARSE_PRODUCT_SHARE = 0.05
"""Share of the keys above which ``dots_at`` uses the scores of all keys instead of single ones."""


@dataclass(frozen=True)
class Geometry:
    """Where the queries and keys of an attention operation lie, and who sees whom."""

    query_positions: Tensor
    """(Q,) int64, positions in the sequence."""
    key_positions: Tensor
    """(K,) int64, consecutive."""
    visible: Tensor | None
    """(Q, K) bool, or None where every query sees every key."""

    @classmethod
    def of(cls, cache: LayerCache, context: int, queries: int, window: int | None) -> Geometry:
        """For ``queries`` new tokens, which are already in the tails of the cache.

        Args:
            cache: of the layer.
            context: tokens of the prefix in layers that keep all of them.
            queries: new tokens.
            window: keys that a query sees, its own included; None for all.
        """
        device, start, end = (
            cache.prefix_keys.device,
            cache.prefix.start,
            context + cache.tail_length,
        )
        query_positions = torch.arange(end - queries, end, device=device)
        key_positions = torch.arange(start, end, device=device)
        if queries == 1 and (window is None or end - start <= window):
            return cls(query_positions, key_positions, None)
        distance = query_positions[:, None] - key_positions
        visible = distance >= 0
        if window is not None:
            visible &= distance < window
        return cls(query_positions, key_positions, visible)

    @cached_property
    def visible_counts(self) -> Tensor:
        """(Q,) int64, keys that each query sees."""
        if self.visible is None:
            return torch.full_like(self.query_positions, self.key_positions.shape[0])
        return self.visible.sum(-1)

    @cached_property
    def _sizes(self) -> dict[tuple[type, int | float], Tensor]:
        return {}

    def resolve(self, size: int | float) -> Tensor:
        """(Q,) int64, keys that ``size`` means for each query; see ``resolve_size``."""
        key = (type(size), size)  # 1 and 1.0 are different sizes
        if key not in self._sizes:
            self._sizes[key] = resolve_size(size, self.visible_counts)
        return self._sizes[key]

    @cached_property
    def first_invisible(self) -> int:
        """The first key that some query does not see; all keys before it are seen by all."""
        if self.visible is None:
            return self.key_positions.shape[0]
        return int(self.visible.all(0).long().cumprod(0).sum())

    @cached_property
    def visible_total(self) -> int:
        """Keys that all queries see, added up."""
        return int(self.visible_counts.sum())


class AttentionCall:
    """The attention in one layer of rows whose configurations are alike.

    The rows have the same methods, with settings that differ at most in fields that the methods
    name in ``stacked``; ``resolve`` and ``setting`` give such fields for all rows.

    Shapes use R rows, H key-value heads, G query heads per key-value head, Q queries and K keys;
    the keys are the P keys of the shared prefix followed by the row's own tail.  Head h and group g
    are query head ``h * G + g``.
    """

    def __init__(
        self,
        queries: Tensor,
        cache: LayerCache,
        rows: Sequence[int],
        geometry: Geometry,
        *,
        stack: Sequence[tuple[Method, ...]],
        batch: Sequence[tuple[Method, ...]],
        sample_keys: Sequence[str],
        scaling: float,
        softcap: float | None,
        shared: SharedScores,
    ) -> None:
        """Made by the decoder.

        Args:
            queries: (R, H, G, Q, D).
            cache: of the layer.
            rows: numbers of the rows in the batch.
            geometry: positions and visibility.
            stack: all methods of each row, in order.
            batch: the same for all rows of the batch; a method may prepare for them what it
                needs itself, but its result must not depend on them.
            sample_keys: names of the samples of the rows.
            scaling: factor of the products of queries and keys.
            softcap: ``c`` where scores are ``c * tanh(products / c)``, else None.
            shared: what the operation computes for all rows together.
        """
        self.queries, self.cache, self.rows, self.geometry = queries, cache, rows, geometry
        self.methods, self.stack, self.batch = stack[0], stack, batch
        self.sample_keys = sample_keys
        self.scaling, self.softcap, self.layer = scaling, softcap, cache.layer
        self._shared = shared

    @property
    def query_positions(self) -> Tensor:
        """(Q,) int64."""
        return self.geometry.query_positions

    @property
    def key_positions(self) -> Tensor:
        """(K,) int64."""
        return self.geometry.key_positions

    @property
    def visible(self) -> Tensor | None:
        """(Q, K) bool, or None where every query sees every key."""
        return self.geometry.visible

    def resolve(self, method: Method, field: str) -> Tensor:
        """Keys that a field of type ``Size`` means for each query; see ``resolve_size``.

        Returns:
            int64 (Q, 1), or (R, 1, 1, Q, 1) where the rows differ.
        """
        sizes = [self.geometry.resolve(value) for value in self._values(method, field)]
        if len(sizes) == 1:
            return sizes[0][:, None]
        return torch.stack(sizes)[:, None, None, :, None]

    def setting(self, method: Method, field: str) -> Tensor | float:
        """A number, or float32 (R, 1, 1, 1, 1) where the rows differ."""
        values = self._values(method, field)
        if len(values) == 1:
            return values[0]
        return torch.tensor(values, device=self.device)[:, None, None, None, None]

    def _values(self, method: Method, field: str) -> list[Any]:
        """The field in each row; only one where all rows agree."""
        place = self.methods.index(method)
        values = [getattr(methods[place], field) for methods in self.stack]
        same = all(type(value) is type(values[0]) and value == values[0] for value in values)
        return values[:1] if same else values

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """(R, H, G, Q, K)."""
        rows, heads, group, queries, _ = self.queries.shape
        return rows, heads, group, queries, self.key_positions.shape[0]

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.queries.device

    @property
    def scores(self) -> Tensor:
        """Attention logits, float32 (R, H, G, Q, K): scaled, soft-capped, -inf where invisible."""
        return self._shared.scores(self.rows)

    @property
    def probabilities(self) -> Tensor:
        """Dense attention weights, float32 (R, H, G, Q, K): softmax of ``scores``."""
        return self._shared.probabilities(self.rows)

    def dots_at(self, index: tuple[Tensor, ...]) -> Tensor:
        """``scaling * query @ key`` at single places, reading few keys where these are few.

        Args:
            index: row, head, group, query and key, each int64 (n,); visible places only.

        Returns:
            float32 (n,).
        """
        rows, heads, group, queries, keys = self.shape
        share = index[0].numel() / (rows * heads * group * queries * keys)
        if self.softcap is None and (self._shared.known(self.rows) or share > SPARSE_PRODUCT_SHARE):
            return self.scores[index]
        row, head, _, _, key = index
        prefix = self.cache.prefix_keys.shape[1]
        chosen = self.cache.prefix_keys[head, key.clamp(max=prefix - 1)]
        in_tail = key >= prefix
        if in_tail.any():
            own = self.cache.tail_keys(self.rows)
            chosen[in_tail] = own[row[in_tail], head[in_tail], key[in_tail] - prefix]
        return (self.queries[index[:4]].float() * chosen.float()).sum(-1) * self.scaling

    def uniform(self, seed: int) -> Tensor:
        """Independent uniform numbers in [0, 1), float32 (R, H, G, Q, K); R may be 1 for all rows.

        They are keyed by (seed, sample, layer, position of the query, and the head if it is handled
        alone), so that they do not depend on the batch, on the order of the work or on how many
        tokens are processed at once.
        Keys after the query get 0.
        """
        if len(set(self.sample_keys)) == 1:
            return self._uniform(seed, self.sample_keys[0])
        return torch.cat([self._uniform(seed, sample) for sample in self.sample_keys])

    def _uniform(self, seed: int, sample: str) -> Tensor:
        key = (seed, sample)
        head = () if self.cache.head is None else (self.cache.head,)
        if key not in self._shared.draws:
            _, heads, group, _, keys = self.shape
            numbers = torch.zeros(1, *self.shape[1:], device=self.device)
            first = int(self.key_positions[0])
            for query, position in enumerate(self.query_positions.tolist()):
                generator = keyed_generator(self.device, seed, sample, self.layer, position, *head)
                seen = min(keys, position + 1 - first)
                numbers[0, :, :, query, :seen] = torch.rand(
                    heads, group, seen, generator=generator, device=self.device
                )
            self._shared.draws[key] = numbers
        return self._shared.draws[key]

    def key_features(
        self,
        key: Hashable,
        fit: Callable[[Tensor], Features],
        encode: Callable[[Features, Tensor], Features],
        encode_prefix: Callable[[Features, Tensor], Features] | None = None,
        block: int = 1,
    ) -> tuple[Features, Features, Features]:
        """What a method keeps about every key, computed once for the prefix and once per new key.

        ``fit`` gets the prefix keys (1, H, P, D) and returns what holds for all keys (projections,
        means, ...); ``encode`` gets that and keys (n, H, m, D) and returns tensors (n, H, ..., m)
        with the keys in the last dimension.  ``key`` names the features among all methods.
        ``encode_prefix`` is for a method that can have the prefix's features cheaper.

        With ``block``, ``encode`` makes one entry of so many neighbouring keys, or of fewer at the
        end.  The prefix then has its complete blocks only; the keys after them belong to the first
        blocks of the tails.

        Returns:
            The result of ``fit``, the encoded prefix (1, H, ..., P) and the encoded tails
            (R, H, ..., K - P); with blocks P // block and the other entries.
        """
        fitted, prefix = self.cache.prefix_features(key, fit, encode_prefix or encode, block)
        return fitted, prefix, self.cache.tail_features(key, self.rows, fitted, encode, block)


class SharedScores:
    """Scores and dense attention weights of the rows of an operation, computed when asked for.

    The rows come in parts; products with the prefix are one matrix product for all rows of a part.
    ``draws`` keeps random numbers that several rows use.
    """

    def __init__(
        self,
        queries: Tensor,
        cache: LayerCache,
        geometry: Geometry,
        scaling: float,
        softcap: float | None,
        parts: Sequence[range],
    ) -> None:
        self._queries, self._cache, self._geometry = queries, cache, geometry
        self._scaling, self._softcap, self._parts = scaling, softcap, parts
        self._scores: dict[range, Tensor] = {}
        self._probabilities: dict[range, Tensor] = {}
        self.draws: dict[Hashable, Tensor] = {}

    def known(self, rows: Sequence[int]) -> bool:
        """Whether the scores of these rows have been computed."""
        return self._part(rows) in self._scores

    def scores(self, rows: Sequence[int]) -> Tensor:
        """Logits of neighbouring rows of one part, (rows, H, G, Q, K) float32, heads first."""
        part = self._part(rows)
        if part not in self._scores:
            self._scores[part] = self._compute(part)
        return self._scores[part][rows[0] - part.start : rows[-1] + 1 - part.start]

    def probabilities(self, rows: Sequence[int]) -> Tensor:
        """Softmax of the scores of these rows, in the same layout; kept if they are a part."""
        part = self._part(rows)
        if part in self._probabilities:
            return self._probabilities[part][rows[0] - part.start : rows[-1] + 1 - part.start]
        probabilities = self.scores(rows).transpose(0, 1).softmax(-1).transpose(0, 1)
        if len(rows) == len(part):
            self._probabilities[part] = probabilities
        return probabilities

    def _part(self, rows: Sequence[int]) -> range:
        return next(part for part in self._parts if rows[0] in part)

    def _compute(self, part: range) -> Tensor:
        chosen = slice(part.start, part.stop)
        prefix_keys, tail_keys = self._cache.prefix_keys, self._cache.tail_keys(chosen)
        queries = self._queries[chosen].to(prefix_keys.dtype)
        rows, heads, group, count, width = queries.shape
        prefix, tail = prefix_keys.shape[1], tail_keys.shape[2]
        exact = queries.dtype == torch.float32
        if exact:  # a factor of the small queries is cheaper than one of the large scores
            queries = queries * self._scaling
        scores = queries.new_empty(heads, rows * group * count, prefix + tail, dtype=torch.float32)
        flat = queries.transpose(0, 1).reshape(heads, rows * group * count, width)
        if exact:
            torch.bmm(flat, prefix_keys.mT, out=scores[..., :prefix])
        else:
            scores[..., :prefix] = product(flat, prefix_keys.mT)
        own = queries.reshape(rows * heads, group * count, width)
        own = product(own, tail_keys.reshape(rows * heads, tail, width).mT)
        shaped = scores.view(heads, rows, group, count, prefix + tail).transpose(0, 1)
        shaped[..., prefix:] = own.view(rows, heads, group, count, tail)
        if not exact:
            shaped.mul_(self._scaling)
        hide(soft_cap(shaped, self._softcap), self._geometry)
        return shaped


def soft_cap(scores: Tensor, cap: float | None) -> Tensor:
    """``cap * tanh(scores / cap)``, in place; the scores themselves where there is no cap."""
    return scores if cap is None else scores.div_(cap).tanh_().mul_(cap)


def hide(values: Tensor, geometry: Geometry) -> None:
    """Write -inf to ``values`` (R, H, G, Q, K) where a key is invisible."""
    if geometry.visible is not None:
        first = geometry.first_invisible
        values[..., first:].masked_fill_(~geometry.visible[:, first:], -torch.inf)
