"""HashAttention: scores predicted from learned bits of queries and keys."""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import torch
from pydantic import AfterValidator

from sparse_attention.attention.call import AttentionCall
from sparse_attention.attention.geometry import hide
from sparse_attention.attention.selection import Selection
from sparse_attention.cache.context import Features
from sparse_attention.errors import UserError
from sparse_attention.learned.files import check_suffix, find_file
from sparse_attention.learned.hash_networks import (
    DEFAULT_NAME,
    Network,
    apply_network,
    check_networks,
    key_code_shape,
    load_activation,
    load_networks,
)
from sparse_attention.maskers.top_k import TopK, heaviest_keys
from sparse_attention.model_facts import ModelProfile
from sparse_attention.numerics.bit_codes import hamming, pack_signs

if TYPE_CHECKING:
    from torch import Tensor

_EXACT = 1 << 24
"""Integers up to here are exact in float32."""
_ROOM = 1 << 19
"""Numbers of a layer of the networks that are held at a time: what a processor's cache keeps until
the next layer reads them."""
_GPU_BLOCK = 4096
"""Keys that go through the networks of a GPU at a time, which fewer would leave idle."""


class HashAttention(TopK):
    """Read the keys whose learned bits agree most with those of the query.

    Small networks, one for the queries and one for the keys of each head, map a query q and a key k
    to b numbers, of which the signs are kept.  A key is ranked by ::

        sign(f(q)) . sign(g(k)) = b - 2 hamming(f(q), g(k)),

    with the sign of 0 positive; the ``heavy_size`` highest are read with weight 1.  The networks
    are learned beforehand, so that keys with high attention agree: binary cross-entropy against the
    true heaviest keys, with tanh in place of the sign.

    ``weight_file`` is made by ``python -m sparse_attention.calibration.hash_attention`` from a
    text, or by ``python -m sparse_attention.calibration.convert_hash_weights`` from published
    weights.  It is refused if it was made for another model, lacks a layer or has other shapes.
    Bits and depth of the networks are the file's.

    Cost: b bits per key and network for keys (one per query head in published weights, one per
    key-value head in those learned here), and the networks on each query and new key.

    Fails on texts and lengths unlike those that the networks learned from.  b bits tell no more
    than b + 1 ranks apart; of keys that agree equally the older are read.

    Source: Desai et al., HashAttention: Semantic Sparsity for Faster Inference (2024).
    """

    name = "hash_attention"

    weight_file: Annotated[
        str | None, AfterValidator(partial(check_suffix, suffixes=(".safetensors",)))
    ] = None
    """File with the networks; None for ``hash_attention.safetensors`` beside the model."""

    def for_model(self, profile: ModelProfile) -> HashAttention:
        """The same with a file that was found and fits."""
        path = find_file(self.weight_file, DEFAULT_NAME, self.name, profile)
        check_networks(path, profile)
        return self.model_copy(update={"weight_file": str(path)})

    @property
    def files(self) -> tuple[str, ...]:
        """The file with the networks."""
        return (self.weight_file,) if self.weight_file else ()

    def propose(self, call: AttentionCall, prior: Selection) -> Selection:
        """The keys that agree most."""
        keys = call.shape[-1]
        steps = 1 << (keys - 1).bit_length()
        exact = key_code_shape(self._path, call.layer)[1] * steps <= _EXACT
        together = self.group_scores != "separate" and call.shape[2] > 1
        if call.queries.is_cuda or together or not exact:
            return super().propose(call, prior)
        # On a processor to find the largest of numbers that differ takes half the time.
        ranks = self.predict(call).sub_(torch.arange(float(keys)), alpha=1 / steps)
        return heaviest_keys(ranks, call, self, prior)

    def predict(self, call: AttentionCall) -> Tensor:
        """Bits that agree, less those that do not."""
        activation = load_activation(self._path)
        own = call.view.own_heads
        query_network, key_network = (
            tuple((own(weight), own(bias)) for weight, bias in network)
            for network in load_networks(self._path, call.layer, call.device)
        )
        _, (context,), (tail,) = call.key_features(
            (self.name, self.weight_file),
            lambda keys: (),
            partial(self._codes, key_network, activation),
        )
        rows, heads, group, queries, _ = call.shape
        asked = (
            call.queries.float().permute(1, 2, 0, 3, 4).reshape(heads * group, rows * queries, -1)
        )
        asked = apply_network(query_network, asked, activation)
        bits = asked.shape[-1]
        asked = pack_signs(asked).view(heads, group, rows, queries, -1).permute(2, 0, 1, 3, 4)
        scores = torch.empty(call.shape, device=call.device)
        scores[..., : context.shape[-1]] = hamming(asked, context)
        scores[..., context.shape[-1] :] = hamming(asked, tail)
        scores.mul_(-2).add_(bits)
        hide(scores, call.geometry)
        return scores

    def selection_bytes(self, call: AttentionCall) -> float:
        """A code from each network for keys."""
        networks, bits = key_code_shape(self._path, call.layer)
        return networks / call.view.model_heads * bits / 8

    @property
    def _path(self) -> Path:
        if self.weight_file is None:
            raise UserError("hash_attention has no weight_file, and for_model was not asked")
        return _path_of(self.weight_file)

    def _codes(self, network: Network, activation: str, _: Features, keys: Tensor) -> Features:
        """Codes of keys, int32 (n, H, networks per key-value head, W, m)."""
        codes = []
        of_key = max(weight[:, 0].numel() for weight, _ in network)
        some = _GPU_BLOCK if keys.is_cuda else max(1, _ROOM // (len(keys) * of_key))
        for block in keys.split(some, dim=2):
            count, heads, length, _ = block.shape
            group = network[0][0].shape[0] // heads
            inputs = block.float().transpose(0, 1).flatten(1, 2)
            if group > 1:
                inputs = inputs.repeat_interleave(group, 0)
            packed = pack_signs(apply_network(network, inputs, activation))
            codes.append(packed.view(heads, group, count, length, -1).permute(2, 0, 1, 4, 3))
        return (torch.cat(codes, -1),)


@lru_cache
def _path_of(file: str) -> Path:
    return Path(file)  # which knows its own hash from then on
