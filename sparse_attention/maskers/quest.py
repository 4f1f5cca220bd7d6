"""Quest: pages of keys, ranked by an upper bound of their scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import torch
from pydantic import Field

from sparse_attention.attention.call import AttentionCall
from sparse_attention.attention.compact import Compact
from sparse_attention.attention.indices import Indices
from sparse_attention.attention.selection import Selection
from sparse_attention.cache.context import Features
from sparse_attention.maskers.top_k import HeavyKeys, pool_prior, pool_scores
from sparse_attention.method import Choices, Size
from sparse_attention.numerics.heaviest import heaviest, largest
from sparse_attention.numerics.products import segmented_product
from sparse_attention.numerics.quantization import round_to_levels, vector_bytes
from sparse_attention.numerics.tensors import soft_cap

if TYPE_CHECKING:
    from torch import Tensor


class Quest(HeavyKeys):
    """Read the pages of ``page_size`` consecutive keys that may hold the highest scores.

    With the least value m_d and the greatest value M_d of the page's keys in each channel d, no key
    k of the page has a higher product with query q than ::

        U = sum_d max(q_d m_d, q_d M_d) = relu(q) . M - relu(-q) . m  >=  q . k.

    The ``max(1, floor(heavy_size / page_size))`` pages with the highest U are read whole, with
    weight 1.  Pages of which everything is read already do not count; the page that holds the
    query's own key, which is still growing, is always read.  Pages are counted from the first
    cached key.  With ``label_bits`` below 16, m and M are rounded to ``2^bits - 1`` steps between
    the extremes of their channels, m down and M up, so that U stays a bound.

    A context shorter than a page is read whole.

    The paper's code computes layers 0 and 1, and all passes of more than one token, with dense
    attention: the prompt with its question is dense (its LongBench script alone feeds the last 100
    characters, or less, token by token).  Here layers and question are sparse unless the protocol
    says otherwise: ``Protocol(sparse_from="generation", dense_layers=(0, 1))``, on the command line
    ``--protocol generation --dense-layers 0 1``.

    Measured on SmolLM2-135M, asked for one of four numbers hidden in 700 tokens, sparse from the
    question on, after sink 4 and local 64: dense attention answers 16 of 18, pages of 16 with
    heavy_size .2 answer 9 (density .27), pages of 8 with .2 or .3 answer 15 (.28, .38), pages of 4
    with .2 answer 16 (.29).  The default here answers 3 of 11 (.13), and 4 with the question and
    layers 0 and 16 dense: raise heavy_size, or lower page_size, for short contexts.  The config
    type ``quest`` has pages of 4 and .2.

    Cost: two vectors of ``label_bits`` per channel for each page (and with fewer than 16 bits their
    extremes in half precision): ``1 / page_size`` of the bytes of the keys and values at full
    precision.

    Fails where relevant keys lie scattered, one on a page: whole pages are read for them; and on
    large pages of unlike keys, whose bound says little.

    Source: Tang et al., Quest: Query-Aware Sparsity for Efficient Long-Context LLM Inference
    (2024).  Unlike published code: pages that are read already are not chosen again, m and M are
    rounded outwards, and no least number of pages makes short contexts nearly dense.
    """

    name = "quest"

    heavy_size: Annotated[Size, Choices(0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4)] = 0.05
    """Keys to read on top of what earlier methods selected: a count, or a share of all keys that
    the query sees.  A search goes further than with single keys, because most keys of a page are
    read for the sake of one."""
    page_size: Annotated[int, Field(ge=1, le=4096), Choices(4, 8, 16, 32, 64)] = 16
    """Keys of a page."""
    label_bits: Annotated[int, Field(ge=1, le=16), Choices(2, 4, 8, 16)] = 16
    """Bits of a channel of m and M; 16 leaves them as they are."""

    def propose(self, call: AttentionCall, prior: Selection) -> Selection:
        """The keys of the pages with the highest bounds, and those of the query's own page."""
        if call.visible is None and prior.compact is not None and prior.compact.indices is None:
            return self._pages(call, prior.compact)
        size, keys = self.page_size, call.shape[-1]
        own = (call.query_positions - call.key_positions[0])[:, None] // size
        bounds = self._bounds(call)
        bounds = torch.nn.functional.pad(
            bounds, (0, -(-keys // size) - bounds.shape[-1]), value=-torch.inf
        )
        pages = torch.arange(bounds.shape[-1], device=call.device)
        bounds.masked_fill_(pages >= own, -torch.inf)
        done = pool_prior(prior, self.group_scores).reads
        if call.visible is not None:
            done = done | ~call.visible
        ranks = pool_scores(bounds, self.group_scores)
        ranks = ranks.masked_fill(self._whole_pages(done), -torch.inf)
        count = (call.resolve(self, "heavy_size") // size).clamp(min=1)
        chosen = largest(ranks, count) | (pages == own)
        return Selection(chosen.repeat_interleave(size, -1)[..., :keys])

    def _pages(self, call: AttentionCall, prior: Compact) -> Selection:
        """The same for a query that sees every key, after spans."""
        size, keys = self.page_size, call.shape[-1]
        own = (keys - 1) // size
        ranks = pool_scores(self._bounds(call)[..., :own], self.group_scores)
        first, last, left = 0, own, own
        for start, end in prior.spans:  # pages that are read whole
            start, end = -(-start // size), min(end // size, own)
            left -= max(0, end - start)
            if start <= first:
                first = max(first, end)
            elif end == own:
                last = start
            else:
                ranks[..., start:end] = -torch.inf
        indices = None
        if left:
            sizes = call.resolve(self, "heavy_size")
            most = [min(max(1, keys // size), left) for keys in sizes.flatten().tolist()]
            count = torch.tensor(most).view(sizes.shape)
            pages, counts = heaviest(ranks[..., first:last], count, enough=True)
            indices = self._unread(pages, counts, prior, first, last)
        return Selection(Compact(keys, call.device, ((own * size, keys),), indices, prior))

    def _unread(
        self, places: Tensor, counts: Tensor | None, prior: Compact, first: int, last: int
    ) -> Indices:
        """Keys that ``prior`` does not read of pages from ``first`` to before ``last``.

        Args:
            places: which pages, counted from ``first``.
            counts: how many of each line count; None if all do.
            prior: what is read.
            first: a page.
            last: the first page after those that may be read.
        """
        size, spans = self.page_size, prior.spans
        edges = [edge for span in spans for edge in span if edge % size and edge < last * size]
        at_end = counts is None and edges == [span[0] for span in spans if span[1] >= last * size]
        if edges and at_end and places.is_cuda:
            places = places.sort(-1).values
        offsets = torch.arange(first * size, (first + 1) * size, device=places.device)
        keys = torch.add(offsets, places[..., None], alpha=size).flatten(-2)
        if not edges:
            return Indices(keys, None if counts is None else counts * size)
        if at_end:  # only the last keys of page last - 1 are read
            cut = places[..., -1:] == last - 1 - first
            read = keys.shape[-1]
            return Indices(keys, torch.where(cut, read - last * size + edges[0], read))
        unread = torch.ones_like(keys, dtype=torch.bool)
        if counts is not None:
            unread = torch.arange(keys.shape[-1], device=keys.device) < counts * size
        for start, end in spans:
            unread = unread & ((keys < start) | (keys >= end))
        return Indices.packed(keys, unread)

    def selection_bytes(self, call: AttentionCall) -> float:
        """Two vectors per page."""
        keys = call.view.segment.keys
        return (
            2
            * vector_bytes(keys.shape[-1], self.label_bits, keys.element_size())
            / (self.page_size)
        )

    def _bounds(self, call: AttentionCall) -> Tensor:
        """Bounds of the scores on each complete page, float32 (R, H, G, Q, pages)."""
        _, (context,), (tail,) = call.key_features(
            (self.name, self.page_size, self.label_bits),
            lambda keys: (),
            self._extremes,
            block=self.page_size,
        )
        queries = call.queries.float().flatten(2, 3)
        signed = torch.cat([queries.clamp(max=0), queries.clamp(min=0)], -1)
        bounds = segmented_product(signed, context, tail).unflatten(2, call.queries.shape[2:4])
        return soft_cap(bounds.mul_(call.scaling), call.softcap)

    def _extremes(self, fitted: Features, keys: Tensor) -> Features:
        """Least and then greatest values of each channel, float32 (n, H, 2 D, pages)."""
        pages = keys.float().unflatten(2, (keys.shape[2] // self.page_size, self.page_size))
        low, high = pages.amin(3).mT, pages.amax(3).mT
        low = round_to_levels(low, self.label_bits, 2, torch.floor)
        return (torch.cat([low, round_to_levels(high, self.label_bits, 2, torch.ceil)], 2),)

    def _whole_pages(self, keys: Tensor) -> Tensor:
        """Pages of which all keys are marked: bool (..., K) to (..., pages)."""
        padded = torch.nn.functional.pad(keys, (0, -keys.shape[-1] % self.page_size), value=True)
        return padded.unflatten(-1, (-1, self.page_size)).all(-1)
