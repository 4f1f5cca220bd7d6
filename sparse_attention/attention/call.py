"""One attention operation as a method sees it: queries, keys, scores, random numbers, features."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sparse_attention.numerics.tensors import keyed_generator

if TYPE_CHECKING:
    from sparse_attention.cache.prefix import Features
    from sparse_attention.cache.tails import LayerCache
    from sparse_attention.method import Method
from sparse_attention.attention.geometry import Geometry
from sparse_attention.attention.scores import SharedScores

SPARSE_PRODUCT_SHARE = 0.05
"""Share of the keys above which ``dots_at`` uses the scores of all keys instead of single ones."""


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
