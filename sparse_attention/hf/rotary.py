"""How a model's layers rotate queries and keys by their positions."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sparse_attention.hf.layers import decoder_of, new_cache
from sparse_attention.hf.reads import Reads
from sparse_attention.hf.windows import depends_on_length
from sparse_attention.model_facts import Rotary

_LATER = 5
"""A position after the first."""


_Turn = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Turns vectors (n, 1, m, D) by tables of cosines and sines."""


class _RotaryEmbedding:
    """The rotation of a layer by the architecture's own functions; see ``Rotary``.

    These are linear in the tables of cosines and sines, so that other rotations than those of
    single positions come from other tables: the inverse has the sines negated, a mean of rotations
    the means of both.
    """

    def __init__(self, embedding: nn.Module, turn: _Turn, layer_type: str) -> None:
        self._embedding, self._apply = embedding, turn
        takes_type = "layer_type" in inspect.signature(embedding.forward).parameters
        self._more = (layer_type,) if takes_type else ()

    def _tables(self, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Cosines and sines (..., d) in float32, and the square of the factor on both."""
        like = torch.empty(0, device=positions.device)
        flat = positions.reshape(1, -1)
        tables = self._embedding(like, flat, *self._more)
        if isinstance(tables, Tensor):  # complex numbers, each for two neighbouring channels
            numbers = tables.repeat_interleave(2, -1)
            tables = numbers.real, numbers.imag
        cosines, sines = tables
        shape = (*positions.shape, cosines.shape[-1])
        cosines, sines = cosines.view(shape), sines.view(shape)
        return cosines, sines, (cosines.square() + sines.square()).mean()

    def _turn(self, vectors: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        return self._apply(vectors.float()[:, None], cosines, sines)[:, 0]

    def rotate(self, vectors: Tensor, positions: Tensor) -> Tensor:
        cosines, sines, square = self._tables(positions)
        return self._turn(vectors, cosines / square.sqrt(), sines / square.sqrt())

    def unrotate(self, vectors: Tensor, positions: Tensor) -> Tensor:
        cosines, sines, square = self._tables(positions[None])
        return self._turn(vectors, cosines / square, -sines / square)

    def average(self, vectors: Tensor, positions: Tensor) -> Tensor:
        cosines, sines, _ = self._tables(positions)
        return self._turn(
            vectors[None], cosines.mean(0, keepdim=True)[None], sines.mean(0, keepdim=True)[None]
        )[0]


class _NoRotation:
    """Of a layer that knows no positions; see ``Rotary``."""

    def rotate(self, vectors: Tensor, positions: Tensor) -> Tensor:
        return vectors.float()

    def unrotate(self, vectors: Tensor, positions: Tensor) -> Tensor:
        return vectors.float()

    def average(self, vectors: Tensor, positions: Tensor) -> Tensor:
        return vectors.float()


def rotary_layers(model: PreTrainedModel) -> list[Rotary | None]:
    """How each layer turns its keys, None where that is not a rotation of fixed frequencies.

    Found out by experiment: in a sequence of one token nothing but the keys' own rotation depends
    on the position, so that keys at two positions tell what it is.
    """
    config = model.config.get_text_config()
    reads = Reads(model)
    kinds = getattr(config, "layer_types", None)
    embedding: Any = getattr(decoder_of(model), "rotary_emb", None)
    apply = getattr(sys.modules[type(model).__module__], "apply_rotary_pos_emb", None)
    turns = [] if depends_on_length(config) or embedding is None else _turns(apply)
    tolerance = 1e-3 if model.dtype == torch.float32 else 0.05
    first, second = (_keys_at(model, reads, position) for position in (0, _LATER))
    layers: list[Rotary | None] = []
    for place, at_start, later in zip(reads.kept.places, first, second, strict=True):
        if torch.equal(at_start, later):
            layers.append(_NoRotation())
            continue
        kind = kinds[place] if kinds else ""
        found = [_RotaryEmbedding(embedding, turn, kind) for turn in turns]
        layers.append(next((r for r in found if _explains(r, at_start, later, tolerance)), None))
    return layers


def _turns(apply: Callable[..., Any] | None) -> list[_Turn]:
    """The ways in which architectures turn vectors, some with their ``apply_rotary_pos_emb``."""

    def both(vectors: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        assert apply is not None
        return apply(vectors, vectors, cosines, sines)[0]

    def one(vectors: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        assert apply is not None
        return apply(vectors, cosines, sines)

    own = [] if apply is None else [both, _at_start(both), one]
    return [*own, _pairs, _at_end(_halves), _at_end(_pairs)]


def _at_start(turn: _Turn) -> _Turn:
    """Turns the first channels, as many as the tables have."""

    def first(vectors: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        turned, rest = vectors.tensor_split([cosines.shape[-1]], -1)
        return torch.cat([turn(turned, cosines, sines), rest], -1)

    return first


def _at_end(turn: _Turn) -> _Turn:
    """Turns the last channels: with latent attention, the part that knows positions."""

    def last(vectors: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        rest, turned = vectors.tensor_split([-cosines.shape[-1]], -1)
        return torch.cat([rest, turn(turned, cosines, sines)], -1)

    return last


def _halves(vectors: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Turns each channel of the first half with its fellow of the second."""
    first, second = vectors.chunk(2, -1)
    return vectors * cosines[:, None] + torch.cat([-second, first], -1) * sines[:, None]


def _pairs(vectors: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Turns each channel with its neighbour."""
    across = torch.stack([-vectors[..., 1::2], vectors[..., ::2]], -1).flatten(-2)
    return vectors * cosines[:, None] + across * sines[:, None]


def _explains(rotary: Rotary, at_start: Tensor, later: Tensor, tolerance: float) -> bool:
    """Whether a rotation makes of keys (H, 1, D) at position 0 those at ``_LATER``."""
    positions = torch.full((at_start.shape[0], 1), _LATER, device=at_start.device)
    try:
        turned = rotary.rotate(at_start, positions)
    except (TypeError, ValueError, RuntimeError, IndexError):
        return False  # the architecture calls its function in another way
    if turned.shape != later.shape:
        return False
    error = (turned - later).norm() / later.norm().clamp(min=1e-12)
    return bool(error < tolerance)


def _keys_at(model: PreTrainedModel, reads: Reads, position: int) -> list[Tensor]:
    """Keys (H, 1, D) of each layer that keeps some, for a single token at a position."""
    cache = new_cache(model)
    ids = torch.tensor([[7 % model.config.get_text_config().vocab_size]], device=model.device)
    decoder_of(model)(
        input_ids=ids,
        position_ids=torch.tensor([[position]], device=model.device),
        past_key_values=cache,
        use_cache=True,
    )
    layers: list[Any] = [cache.layers[place] for place in reads.kept.places]
    held = zip(reads.kept.places, layers, strict=True)
    return [reads.held(place, one.keys, one.values)[0][0].float() for place, one in held]
