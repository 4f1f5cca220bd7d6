"""MagicPIG: keys drawn by locality-sensitive hashing, with a probability that is known."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import torch
from pydantic import Field, model_validator

from sparse_attention.attention.call import AttentionCall
from sparse_attention.attention.compact import Compact
from sparse_attention.attention.indices import Indices
from sparse_attention.attention.selection import Selection
from sparse_attention.cache.context import Features
from sparse_attention.maskers.base import Masker
from sparse_attention.method import Choices, Method
from sparse_attention.numerics.hash_tables import (
    MANY_QUERIES,
    add_meetings,
    sort_by_code,
    worth_sorting,
)
from sparse_attention.numerics.heaviest import true_places
from sparse_attention.numerics.simhash import (
    Packing,
    can_mark,
    code_bytes,
    count_meetings,
    encode,
    log_meeting_probability,
    mark_meetings,
    narrow,
    projections,
)

if TYPE_CHECKING:
    from torch import Tensor

_HASH_ROOM = 3 << 18
"""Projections of keys that are held at a time, 4 bytes each: what a processor's cache keeps until
their signs are packed."""
_FEWEST_HASHED = 32
"""Keys that are hashed at a time whatever room that takes."""
_GPU_HASH_BLOCK = 4096
"""Keys that a GPU hashes at a time, which fewer would leave idle."""


class _Hashes(NamedTuple):
    """Name of the hashes of a context."""

    family: tuple[object, ...]
    """What must be equal for hashes to be part of one another."""
    bits: int
    tables: int


@lru_cache(maxsize=256)
def _as_tensors(sizes: tuple[tuple[int, int], ...], device: torch.device) -> tuple[Tensor, ...]:
    """Bits and tables of each row, float64 (R, 1, 1, 1, 1)."""
    both = torch.tensor(sizes, dtype=torch.float64, device=device)
    return both.T[:, :, None, None, None, None].unbind()


class MagicPig(Masker):
    """Read the keys whose hashes meet the query's in at least ``min_hits`` of ``lsh_l`` tables.

    SimHash (Charikar, 2002): bit = sign(w . x) with Gaussian w.  Query q and key k agree in one bit
    with probability ``p = 1 - acos(cos(q, k)) / pi``, in the ``lsh_k`` bits of one table with
    ``P = p^K``, and out of L tables in

    - at least one with ``u = 1 - (1 - P)^L``,
    - at least two with ``u = 1 - (1 - P)^L - L P (1 - P)^(L - 1)``,

    so that a key that is read weighs ``1 / u`` and numerator and denominator are unbiased over
    redraws of w.  Of all weights that do so and may depend on how often a key was met, this has the
    least variance: by Cauchy-Schwarz a constant.  All by ``log1p`` and ``expm1``: at K = 10, P is
    below 0.001 for most keys and ``1 - P`` would round.  With ``center``, keys are hashed as k -
    mean(k), which spreads them over the tables; attention does not change when all keys move by one
    vector.  The mean is that of the context keys that earlier, position-only methods (sink, local)
    leave.

    The paper reads context and question with dense attention and leaves layers 0 and 16 dense; its
    code layers 0, 16, 32, 48 and 64, as far as the model has them.  Here layers and question are
    sparse unless the protocol says otherwise: ``Protocol(sparse_from="generation",
    dense_layers=(0, 16))``, on the command line ``--protocol generation --dense-layers 0 16``.

    Measured on SmolLM2-135M, asked for one of four numbers hidden in 700 tokens, sparse from the
    question on, after sink 4 and local 64: dense attention answers 16 of 18, K = 9 with L = 200
    answers 15 (density .19), the paper's K = 10 with L = 150, the default here, 4 (.12).  Of 11,
    K = 10 with L = 300 answers 7 (.16) and K = 8 with L = 75 answers 4 (.15); with the question and
    layers 0 and 16 dense 7 and 4 as well.  The config type ``magic_pig`` has K = 9 and L = 200.

    Cost: L hashes of K bits per key and key-value head (``packing="int64"``: L integers of the
    smallest type that holds K bits) and one comparison per table and key.  On a processor, with 7
    to 12 bits, as many bytes once more for the order of the keys by their codes, in which a query
    looks up those of its own code.

    Fails where K is so large or L so small that relevant keys never meet; a fixed draw of w errs
    alike at every step.

    Source: Chen et al., MagicPIG: LSH Sampling for Efficient LLM Generation (2024); two hits,
    centred keys and no lift of the keys to a sphere, as in its experiments.
    """

    name = "magic_pig"
    samples = True
    stacked = frozenset({"lsh_l", "lsh_k"})

    lsh_l: Annotated[int, Field(ge=1, le=1024), Choices(16, 32, 64, 100, 150, 200, 300)] = 150
    """Tables."""
    lsh_k: Annotated[int, Field(ge=1, le=62), Choices(4, 5, 6, 7, 8, 9, 10)] = 10
    """Bits per table."""
    min_hits: Annotated[Literal[1, 2], Choices(1, 2)] = 2
    """Tables in which query and key must meet."""
    center: Annotated[bool, Choices(True, False)] = True
    """Hash keys relative to their mean."""
    packing: Packing = "int64"
    """How the bits of a table are kept and compared: as one integer, or as numbers +1 and -1.  The
    result is the same; the latter is for checking the former."""
    seed: int = 42
    """Of the random vectors, with the layer."""

    @model_validator(mode="after")
    def _enough_tables(self) -> MagicPig:
        if self.min_hits > self.lsh_l:
            raise ValueError(f"lsh_l must be at least min_hits ({self.min_hits}), got {self.lsh_l}")
        return self

    def propose(self, call: AttentionCall, prior: Selection) -> Selection:
        """The keys that were hit, weighted by ``-log(u)``."""
        hashes = self._hashes(call)
        known = hashes in call.view.segment.features
        (mean, planes), context, tail = call.key_features(
            hashes, partial(self._fit, call, prior, hashes), self._encode
        )
        asked = encode(call.queries.float().flatten(2, 3), planes, self.packing)
        asked = asked.unflatten(-1, call.queries.shape[2:4])
        met = self._met(call, hashes, asked, context[0], tail[0], known)
        compact = prior.compact if call.visible is None else None
        if compact is None:
            met &= ~prior.reads if call.visible is None else ~prior.reads & call.visible
        else:
            compact.drop_from(met)
        keys, counts = true_places(met)
        norms = torch.cat([context[1].expand(call.shape[0], -1, -1), tail[1]], -1)
        met_keys = Indices(keys, counts)
        weights = -self._log_probability(call, met_keys, mean, norms)
        indices = replace(met_keys, weights=weights)
        if compact is not None:
            return Selection(Compact(compact.length, call.device, (), indices, compact))
        return Selection(met, indices.spread(call.shape[-1]))

    def selection_bytes(self, call: AttentionCall) -> float:
        """The code of each table."""
        return self.lsh_l * code_bytes(self.lsh_k)

    def _family(self, methods: tuple[Method, ...]) -> tuple[object, ...]:
        """What the mean and the random vectors depend on."""
        earlier = tuple(method._signature for method in methods[: methods.index(self)])
        return (self.name, self.center, self.packing, self.seed, earlier)

    def _hashes(self, call: AttentionCall) -> _Hashes:
        """Hashes that contain those of all rows: known ones, or those that serve the batch."""
        family = self._family(call.methods)
        sizes = self._sizes(call)
        for known in call.view.segment.features:
            if (
                isinstance(known, _Hashes)
                and known.family == family
                and all(known.bits >= bits and known.tables >= tables for bits, tables in sizes)
            ):
                return known
        relatives = [
            method
            for methods in call.batch
            for method in methods
            if isinstance(method, MagicPig) and method._family(methods) == family
        ]
        bits = max(method.lsh_k for method in relatives)
        return _Hashes(family, bits, max(method.lsh_l for method in relatives))

    def _sizes(self, call: AttentionCall) -> list[tuple[int, int]]:
        """Bits and tables of each row; of one for all where they agree."""
        places = call.methods.index(self)
        rows = [methods[places] for methods in call.stack]
        sizes = [(row.lsh_k, row.lsh_l) for row in rows if isinstance(row, MagicPig)]
        return sizes if len(set(sizes)) > 1 else sizes[:1]

    def _met(
        self,
        call: AttentionCall,
        hashes: _Hashes,
        asked: Tensor,
        codes: Tensor,
        tail: Tensor,
        known: bool,
    ) -> Tensor:
        """Keys that queries meet in enough tables of their row: bool (R, H, G, Q, K).

        Args:
            call: the attention operation.
            hashes: what the codes are made of, of which each row counts its own part.
            asked: codes of the queries, (R, H, L[, K], G, Q).
            codes: of the context, (1, H, L[, K], P).
            tail: of the tails, (R, H, L[, K], t).
            known: whether the context was asked before, so that more questions may come.
        """
        sizes = self._sizes(call)
        if can_mark(asked, self.packing):
            return mark_meetings(asked, (codes, tail), sizes, self.min_hits)
        kind = torch.uint8 if hashes.tables <= 255 else torch.int16
        hits = torch.zeros(*call.shape, dtype=kind, device=call.device)
        context, found = codes.shape[-1], [False] * len(sizes)
        on_processor = self.packing == "int64" and not call.queries.is_cuda
        many = known or asked[:, 0, 0].numel() >= MANY_QUERIES
        if on_processor and many and worth_sorting(hashes.bits):
            found = add_meetings(asked, *self._sorted(call, hashes, codes), sizes, hits)
        for row, size in enumerate(sizes):
            own = slice(row, row + 1) if len(sizes) > 1 else slice(None)
            of_queries, of_tail, of_context = asked[own], tail[own], codes
            if size != hashes[1:]:
                of_queries, of_tail = (
                    narrow(wide, *size, self.packing) for wide in (of_queries, of_tail)
                )
            hits[own, ..., context:] = count_meetings(of_queries, of_tail, self.packing)
            if not found[row]:
                if size != hashes[1:]:
                    of_context = self._narrowed(call, hashes, codes, *size)
                hits[own, ..., :context] = count_meetings(of_queries, of_context, self.packing)
        return hits >= self.min_hits

    def _sorted(self, call: AttentionCall, hashes: _Hashes, codes: Tensor) -> tuple[Tensor, Tensor]:
        """The keys of the context by their codes, kept beside these."""
        _, (order, starts) = call.view.segment.known(
            ("sorted", hashes), lambda _: (), lambda *_: sort_by_code(codes, hashes.bits), block=1
        )
        return order, starts

    def _fit(self, call: AttentionCall, prior: Selection, own: _Hashes, keys: Tensor) -> Features:
        """Mean key (1, H, D) and random vectors (K, L, D)."""
        width, context = keys.shape[-1], keys.shape[2]
        planes = projections(width, own.bits, own.tables, self.seed, call.layer).to(keys.device)
        if not self.center:
            return keys.new_zeros(1, keys.shape[1], width).float(), planes
        left = torch.ones(context, dtype=torch.bool, device=keys.device)
        if prior.reads.shape[:3] == (1, 1, 1):
            unread = ~prior.reads[0, 0, 0, 0, :context]
            left = unread if unread.any() else left
        return keys.float().mul(left[:, None]).sum(2) / left.sum(), planes

    def _encode(self, fitted: Features, keys: Tensor) -> Features:
        """Codes and norms of the centred keys: (n, H, L[, K], m) and (n, H, m)."""
        mean, planes = fitted
        codes, norms = [], []
        some = max(_FEWEST_HASHED, _HASH_ROOM // (keys.shape[1] * planes[..., 0].numel()))
        for block in keys.split(_GPU_HASH_BLOCK if keys.is_cuda else some, dim=2):
            centred = block.float() - mean[:, :, None]
            norms.append(centred.norm(dim=-1))
            codes.append(encode(centred, planes, self.packing))
        if len(codes) == 1:
            return codes[0], norms[0]
        return torch.cat(codes, -1), torch.cat(norms, -1)

    def _narrowed(
        self, call: AttentionCall, hashes: _Hashes, codes: Tensor, bits: int, tables: int
    ) -> Tensor:
        """The codes of the context with fewer bits and tables, kept beside those with all."""
        name = (hashes.family, bits, tables)
        _, (own,) = call.view.segment.known(
            name, lambda _: (), lambda *_: (narrow(codes, bits, tables, self.packing),), block=1
        )
        return own

    def _log_probability(
        self, call: AttentionCall, met: Indices, mean: Tensor, norms: Tensor
    ) -> Tensor:
        """log(u) of keys that were met: float32 (R, H, G, Q, n)."""
        keys = met.keys
        queries = call.queries.float()
        shift = torch.einsum("rhgqd,hd->rhgq", queries, mean[0])
        dots = call.dots_at(keys) / call.scaling - shift[..., None]
        norms = norms[:, :, None, None].expand(*keys.shape[:4], -1).gather(-1, keys)
        lengths = queries.norm(dim=-1, keepdim=True) * norms
        cosine = torch.where(lengths > 0, dots / lengths, 0.0).clamp(-1, 1)
        sizes = self._sizes(call)
        if cosine.is_cuda:
            bits, tables = _as_tensors(tuple(sizes), cosine.device)
            return log_meeting_probability(cosine, bits, tables, self.min_hits)
        # Padding, which may be most, costs a processor as much as keys do.
        assert met.valid is not None
        result = torch.zeros_like(cosine)
        rows = cosine.shape[0] // len(sizes)
        parts = (part.split(rows) for part in (cosine, met.valid, result))
        for (bits, tables), own, valid, out in zip(sizes, *parts, strict=True):
            cosines = torch.from_numpy(own.numpy()[valid.numpy()])
            logs = log_meeting_probability(cosines, bits, tables, self.min_hits)
            out.numpy()[valid.numpy()] = logs.numpy()
        return result
