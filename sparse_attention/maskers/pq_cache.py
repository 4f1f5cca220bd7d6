"""PQCache: scores predicted from product-quantised keys."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from pydantic import Field

from sparse_attention.attention.call import AttentionCall
from sparse_attention.attention.geometry import hide
from sparse_attention.cache.context import Features
from sparse_attention.errors import UserError
from sparse_attention.maskers.top_k import TopK
from sparse_attention.method import Choices
from sparse_attention.model_facts import ModelProfile
from sparse_attention.numerics.kmeans import cluster, nearest
from sparse_attention.numerics.products import product
from sparse_attention.numerics.tensors import keyed_generator, soft_cap

if TYPE_CHECKING:
    from torch import Tensor

_TABLE_BITS = 12
"""Logarithm of the most entries of a table of sums."""


class PQCache(TopK):
    """Read the keys with the highest scores after product quantisation.

    The D channels of a head are cut into ``subspaces`` parts of D / m channels.  In each part the
    keys of the context, but for the first ``init_offset``, are clustered into ``2^pq_bits``
    centroids; a key is kept as the numbers of its nearest centroids, one per part.  It is ranked by
    ``sum_j q_j . centroid_j[code_j]``, looked up in a table of the products of q with all
    centroids; the ``heavy_size`` highest are read with weight 1.  Keys that come later get codes of
    the same centroids, which do not change any more.

    Clusters come from k-means++ and ``kmeans_iter`` iterations of Lloyd's algorithm, drawn by
    ``seed`` and layer; of long contexts they see ``max(2048, 32 * 2^pq_bits)`` keys, evenly spaced.
    With ``metric = "ip"`` keys get one more channel, ``sqrt(phi - |k_j|^2)`` with phi the largest
    squared norm of the part, so that near keys have like inner products (Shen et al., 2015); the
    ranking does not use it.  A context of no more than ``init_offset`` keys is clustered whole, and
    keys no more than the centroids are kept exactly.

    Cost: ``subspaces * pq_bits`` bits per key and key-value head, and the centroids once.

    Fails where keys of the answer and of its question lie far from the context that was clustered,
    and where one centroid serves many keys of which few matter.

    Source: Zhang et al., PQCache: Product Quantization-based KVCache for Long Context LLM Inference
    (2024).
    """

    name = "pq_cache"

    subspaces: Annotated[int, Field(ge=1), Choices(2, 4, 8)] = 2
    """Parts into which the channels of a head are cut; must divide them."""
    pq_bits: Annotated[int, Field(ge=1, le=12), Choices(4, 5, 6, 7, 8)] = 6
    """The logarithm of the number of centroids of a part."""
    kmeans_iter: Annotated[int, Field(ge=0, le=1000)] = 10
    """Iterations of Lloyd's algorithm; more bring little after about 10."""
    init_offset: Annotated[int, Field(ge=0)] = 4
    """First keys that are left out of the clustering, because attention sinks lie far from all
    others; best the size of the sink."""
    metric: Annotated[Literal["euclidean", "ip"], Choices("euclidean", "ip")] = "euclidean"
    """Distance by which keys are clustered."""
    seed: int = 42
    """Of the first centroids, with the layer."""

    def for_model(self, profile: ModelProfile) -> PQCache:
        """The same, if its parts divide the model's heads."""
        for width in profile.head_dims:
            if width % self.subspaces:
                raise UserError(
                    f"pq_cache: subspaces = {self.subspaces} does not divide the {width} channels "
                    f"of a head of {profile.name}"
                )
        return self

    def predict(self, call: AttentionCall) -> Tensor:
        """Products of the queries with the centroids of the keys."""
        joined = self._joined(call.view.segment.keys.shape[1])
        clustering = (self.kmeans_iter, self.init_offset, self.metric, self.seed)
        (centroids, _), (context,), (tail,) = call.key_features(
            (self.name, self.subspaces, self.pq_bits, *clustering),
            partial(self._fit, call),
            partial(self._encode, joined),
        )
        rows, heads, group, queries, keys = call.shape
        parts = call.queries.float().unflatten(-1, (self.subspaces, -1)).permute(1, 4, 0, 2, 3, 5)
        parts = parts.reshape(heads * self.subspaces, rows * group * queries, -1)
        centers = centroids.flatten(0, 1)[..., : parts.shape[-1]]
        products = product(parts, centers.mT).mul_(call.scaling)
        products = products.view(heads, self.subspaces, rows, group * queries, -1)
        products = products.permute(1, 2, 0, 3, 4)
        scores = torch.empty(rows, heads, group * queries, keys, device=call.device)
        context_scores, tail_scores = scores.split([context.shape[-1], tail.shape[-1]], -1)
        for number, own in enumerate(products.split(joined)):
            table = own[0]
            for more in own[1:]:  # all sums of products with a centroid of each part
                table = (table[..., None] + more[..., None, :]).flatten(-2)
            for codes, place in ((context, context_scores), (tail, tail_scores)):
                index = codes[:, :, None, number].long().expand(rows, -1, group * queries, -1)
                if number:
                    place += table.gather(-1, index)
                else:
                    torch.gather(table, -1, index, out=place)
        scores = soft_cap(scores, call.softcap).view(call.shape)
        hide(scores, call.geometry)
        return scores

    def selection_bytes(self, call: AttentionCall) -> float:
        """A code for each part, and the centroids shared by all keys."""
        keys = call.view.segment.keys
        centroids = 2**self.pq_bits * keys.shape[-1] * keys.element_size()
        return self.subspaces * self.pq_bits / 8 + centroids / call.shape[-1]

    def _fit(self, call: AttentionCall, keys: Tensor) -> Features:
        """Centroids (H, m, C, D / m or one more) and phi (H * m, 1)."""
        heads, length = keys.shape[1:3]
        start = self.init_offset if length > self.init_offset else 0
        parts = self._parts(keys[:, :, start:])[0]
        phi = parts.square().sum(-1).amax(-1, keepdim=True)
        generator = keyed_generator(torch.device("cpu"), self.name, self.seed, call.layer)
        centroids = cluster(self._lift(parts, phi), 2**self.pq_bits, self.kmeans_iter, generator)
        return centroids.unflatten(0, (heads, self.subspaces)), phi

    def _encode(self, joined: int, fitted: Features, keys: Tensor) -> Features:
        """Numbers of the nearest centroids, uint8 or int16 (n, H, m / joined or one more, keys).

        Those of so many neighbouring parts are the digits of one number.
        """
        centroids, phi = fitted
        codes = [
            nearest(self._lift(parts, phi), centroids.flatten(0, 1)) for parts in self._parts(keys)
        ]
        numbers = torch.stack(codes).unflatten(1, (keys.shape[1], self.subspaces)).unbind(2)
        together = []
        for first in range(0, self.subspaces, joined):
            number = numbers[first]
            for digit in numbers[first + 1 : first + joined]:
                number = (number << self.pq_bits) + digit
            together.append(number)
        kind = torch.uint8 if joined * self.pq_bits <= 8 else torch.int16
        return (torch.stack(together, 2).to(kind),)

    def _joined(self, length: int) -> int:
        """Parts that are looked up together in a context of so many keys.

        A table of all sums of products pays while it is much smaller than what it is asked for, and
        than the processor's cache.
        """
        most = min(_TABLE_BITS, (length // 4).bit_length() - 1)
        return max(1, min(most // self.pq_bits, self.subspaces))

    def _parts(self, keys: Tensor) -> Tensor:
        """Keys (n, H, k, D) cut into parts: float32 (n, H * m, k, D / m)."""
        parts = keys.float().unflatten(-1, (self.subspaces, -1))
        return parts.transpose(2, 3).flatten(1, 2)

    def _lift(self, parts: Tensor, phi: Tensor) -> Tensor:
        """What is clustered of the parts (H * m, k, D / m)."""
        if self.metric == "euclidean":
            return parts
        more = (phi - parts.square().sum(-1)).clamp(min=0).sqrt()
        return torch.cat([parts, more[..., None]], -1)
