"""What a sample needs of a device's memory, set against what is free, before it is answered.

Estimates, with factors that were measured on a CPU: they decide how many tokens of a context are
read at a time, whether it waits in the memory of the CPU and how many rows share a batch, and
refuse what cannot fit.  What they miss is still caught where it happens
(``failures.is_out_of_memory``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from benchmark.run.model_size import activation_width
from benchmark.run.system_memory import free_memory
from sparse_attention.config import AttentionConfig
from sparse_attention.hf.adapter import HuggingFaceAdapter

LARGEST_CHUNK = 8192
_CHUNKS = tuple(LARGEST_CHUNK >> halvings for halvings in range(6))
"""Tokens that are read at a time: steps, because sums in other chunks round differently."""
_SCORES = 5
"""Numbers of four bytes that are held for each query and key: scores, weights, masks, sorted."""
_SHARE = 0.9
"""Of the free memory that may be planned with."""


class DoesNotFit(MemoryError):
    """A sample needs more memory than there is."""


class Reading(NamedTuple):
    """How a context is read."""

    chunk: int
    """Tokens at a time."""
    offload: bool = False
    """Whether keys and values wait in the memory of the CPU."""


@dataclass(frozen=True)
class Footprint:
    """Bytes that a model takes as it works."""

    weights: int
    token: int
    """Keys and values of a token in all layers."""
    layers: int
    activations: int
    """Of a token that is being read."""
    heads: int
    """Most query heads of a layer."""
    masked: bool
    """Whether a prefill holds scores of the whole context, because of how attention is computed."""

    @classmethod
    def of(cls, adapter: HuggingFaceAdapter) -> Footprint:
        """Of a model that is loaded."""
        text, profile = adapter.model.config.get_text_config(), adapter.profile
        size = torch.empty(0, dtype=adapter.model.dtype).element_size()
        shapes = [profile.shape(layer) for layer in range(profile.layers)]
        return cls(
            weights=sum(p.numel() * p.element_size() for p in adapter.model.parameters()),
            token=2 * size * sum(shape.kv_heads * shape.head_dim for shape in shapes),
            layers=profile.layers,
            activations=size * activation_width(text),
            heads=max(shape.heads for shape in shapes),
            masked=text._attn_implementation not in ("sdpa", "flash_attention_2"),
        )

    def prefill(self, tokens: int, chunk: int, *, offload: bool = False) -> int:
        """To read a context: its cache, a layer of it twice while it grows, and a chunk.

        Of a cache that is elsewhere a layer more, which comes while another one is read.
        """
        chunk = min(chunk, tokens)
        scores = 4 * _SCORES * self.heads * chunk * tokens if self.masked else 0
        cache = self.layer(tokens) if offload else tokens * self.token
        return cache + 2 * self.layer(tokens) + chunk * self.activations + scores

    def layer(self, tokens: int) -> int:
        """Keys and values of so many tokens in a layer."""
        return tokens * self.token // self.layers

    def scores(self, tokens: int, asked: int) -> int:
        """For one more row that reads a question of ``asked`` tokens after so many."""
        return 4 * _SCORES * self.heads * asked * (tokens + asked)

    def row(self, tokens: int, asked: int, config: AttentionConfig, *, offload: bool) -> int:
        """``scores``, and what a press leaves of the context, at most, where that is here."""
        own = tokens * self.token if config.presses and not offload else 0
        return own + self.scores(tokens, asked)


class MemoryPlan:
    """Decides by a model's footprint and the free memory of its device."""

    def __init__(
        self,
        footprint: Footprint,
        device: torch.device,
        free: Callable[[torch.device], int] = free_memory,
    ) -> None:
        self._footprint, self._device, self._free = footprint, device, free

    def _room(self) -> int:
        return int(_SHARE * self._free(self._device))

    def reading(self, tokens: int) -> Reading | None:
        """How to read a context of so many tokens; None if there is no room for it in any way.

        It is offloaded only where no chunk is small enough else.
        """
        room = self._room()
        for offload in (False, True):
            if offload and not self._has_room_elsewhere(tokens):
                continue
            for chunk in _CHUNKS:
                if self._footprint.prefill(tokens, chunk, offload=offload) <= room:
                    return Reading(chunk, offload)
        return None

    def _has_room_elsewhere(self, tokens: int) -> bool:
        if self._device.type == "cpu":
            return False
        return tokens * self._footprint.token <= _SHARE * self._free(torch.device("cpu"))

    def refusal(self, tokens: int) -> DoesNotFit:
        """What says that a context of so many tokens does not fit."""
        least = self._footprint.prefill(tokens, _CHUNKS[-1])
        cpu = _SHARE * self._free(torch.device("cpu"))
        beside = "" if self._device.type == "cpu" else f", and {_gb(int(cpu))} of the CPU's memory"
        return DoesNotFit(
            f"a context of {tokens} tokens needs {_gb(least)} besides the weights "
            f"({_gb(self._footprint.weights)}): {_gb(tokens * self._footprint.token)} of keys and "
            f"values and what reading takes; {_gb(self._room())} of {self._device}{beside} are free"
        )

    def rows(
        self,
        tokens: int,
        asked: int,
        configs: Sequence[AttentionConfig],
        *,
        offload: bool = False,
    ) -> int:
        """How many of the configurations to decode together, at least one.

        Args:
            tokens: of the context.
            asked: tokens of the question.
            configs: in their order.
            offload: whether the context was offloaded: a layer of it is here at a time.

        Raises:
            DoesNotFit: if there is no room even for one.
        """
        room = self._room() - (self._footprint.layer(tokens) if offload else 0)
        left = room
        least = self._footprint.scores(tokens, asked)
        if least > room:
            raise DoesNotFit(
                f"a question of {asked} tokens after {tokens} needs {_gb(least)} with one "
                f"configuration at a time; {_gb(room)} of {self._device} are free"
            )
        for count, config in enumerate(configs):
            left -= self._footprint.row(tokens, asked, config, offload=offload)
            if left < 0:
                return max(1, count)
        return max(1, len(configs))


def _gb(count: int) -> str:
    return f"{count / 1e9:.2f} GB"
