"""What a sample needs of a device's memory, set against what is free, before it is answered.

Estimates, with factors that were measured on a CPU: they decide how many tokens of a context are
read at a time and how many rows share a batch, and refuse what cannot fit.  What they miss is still
caught where it happens (``failures.is_out_of_memory``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

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

    def prefill(self, tokens: int, chunk: int) -> int:
        """To read a context: its cache, a layer of it twice while it grows, and a chunk."""
        chunk = min(chunk, tokens)
        scores = 4 * _SCORES * self.heads * chunk * tokens if self.masked else 0
        return tokens * (self.token + 2 * self.token // self.layers) + chunk * (
            self.activations + scores // max(chunk, 1)
        )

    def scores(self, tokens: int, asked: int) -> int:
        """For one more row that reads a question of ``asked`` tokens after so many."""
        return 4 * _SCORES * self.heads * asked * (tokens + asked)

    def row(self, tokens: int, asked: int, config: AttentionConfig) -> int:
        """``scores``, and what a press leaves of the context, at most."""
        own = tokens * self.token if config.presses else 0
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

    def chunk(self, tokens: int) -> int | None:
        """How many tokens of a context to read at a time; None if no number is small enough."""
        room = self._room()
        fitting = (chunk for chunk in _CHUNKS if self._footprint.prefill(tokens, chunk) <= room)
        return next(fitting, None)

    def refusal(self, tokens: int) -> DoesNotFit:
        """What says that a context of so many tokens does not fit."""
        least = self._footprint.prefill(tokens, _CHUNKS[-1])
        return DoesNotFit(
            f"a context of {tokens} tokens needs {_gb(least)} besides the weights "
            f"({_gb(self._footprint.weights)}): {_gb(tokens * self._footprint.token)} of keys and "
            f"values and what reading takes; {_gb(self._room())} of {self._device} are free"
        )

    def rows(self, tokens: int, asked: int, configs: Sequence[AttentionConfig]) -> int:
        """How many of the configurations to decode together, at least one.

        Raises:
            DoesNotFit: if there is no room even for one.
        """
        room = left = self._room()
        least = self._footprint.scores(tokens, asked)
        if least > room:
            raise DoesNotFit(
                f"a question of {asked} tokens after {tokens} needs {_gb(least)} with one "
                f"configuration at a time; {_gb(room)} of {self._device} are free"
            )
        for count, config in enumerate(configs):
            left -= self._footprint.row(tokens, asked, config)
            if left < 0:
                return max(1, count)
        return max(1, len(configs))


def _gb(count: int) -> str:
    return f"{count / 1e9:.2f} GB"
