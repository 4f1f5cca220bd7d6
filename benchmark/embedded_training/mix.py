"""How often each kind of sequence is trained on, by its length."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mix:
    """Shares of the kinds of sequences of one length."""

    copy: float
    """Sequences that only repeat random key-number pairs (starts the copying)."""
    votes: float
    """Sequences with a list of votes."""
    sparse: float
    """Sequences with a few facts only, as the benchmark has them."""
    packed: float
    """Sequences whose context is all needles."""
    chains: float
    """Share of the other facts that are chains of variables."""
    catalogue: float
    """Share of sequences with one question that asks for many numbers at once."""
    questions: tuple[float, float]
    """Range of the share of a sequence that questions take."""


def mix_for_length(length: int) -> Mix:
    """Choose the mix for sequences of ``length`` tokens."""
    short = length <= 96
    questions = (0.40, 0.65) if length <= 256 else (0.25, 0.50) if length <= 512 else (0.15, 0.40)
    return Mix(
        copy=0.3 if short else 0.1 if length <= 128 else 0.0,
        votes=0.12,
        sparse=0.0 if length <= 128 else 0.15,
        packed=0.0 if length <= 128 else 0.12,
        chains=0.15 if short else 0.35,
        catalogue=0.9 if short else 0.7 if length <= 256 else 0.5,
        questions=questions,
    )
