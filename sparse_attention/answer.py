"""What came of one configuration and one question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Answer:
    """What one configuration generated for one question."""

    text: str
    """Decoded without special tokens; empty where logits were not finite."""
    token_ids: tuple[int, ...]
    """All generated tokens, with the one that ended the answer."""
    finish_reason: Literal["stop", "length", "not_finite"]
    """Whether the model ended the answer, the limit did, or NaN or infinity among its logits, which
    have no next token; what came before those is no answer either."""
    density: float
    """Keys read / keys that dense attention would read; see ``Probe``."""
    attention_error: float | None
    """Relative squared error of the attention outputs; see ``Probe``.  None if not measured."""
    union_density: float
    """Keys read by any query head of their key-value head / keys there; see ``Probe``."""
    selection_share: float
    """Bytes read to choose keys / bytes of all keys and values; see ``Probe``."""
    kept_share: float
    """Bytes of keys and values held at the end / those that dense attention holds, both with
    question and answer; 1 without a press."""
    layer_densities: tuple[float, ...]
    """The density in each layer that keeps keys."""
    layer_errors: tuple[float, ...] | None
    """The attention error in each of them; None if not measured."""
