"""The contract of all presses of the project."""

from __future__ import annotations

from sparse_attention.presses import (
    PRESSES,
    AdaKV,
    ChunkKV,
    CriticalKV,
    ExpectedAttention,
    KeyDiff,
    KNorm,
    LagKV,
    LayerRatios,
    ObservedAttention,
    Press,
    PyramidKV,
    RandomPress,
    Scorer,
    SnapKV,
    StreamingLLM,
    Tova,
)
from sparse_attention.testing import PressContract

SCORERS: dict[str, Scorer] = {
    "random_press": RandomPress(),
    "knorm": KNorm(),
    "streaming_llm": StreamingLLM(n_sink=3),
    "snapkv": SnapKV(observation_window=8),
    "expected_attention": ExpectedAttention(n_future_positions=50, epsilon=0.01),
    "observed_attention": ObservedAttention(),
    "tova": Tova(),
    "pyramidkv": PyramidKV(observation_window=4, beta=2),
    "keydiff": KeyDiff(),
    "lagkv": LagKV(n_sink=2, lag=12),
}
"""Every scorer once, with settings that fit a hundred keys."""

STACKS: dict[str, tuple[Press, ...]] = {name: (scorer,) for name, scorer in SCORERS.items()} | {
    "criticalkv": (SnapKV(observation_window=8), CriticalKV()),
    "chunkkv": (SnapKV(observation_window=8), ChunkKV(chunk_length=7)),
    "adakv": (ExpectedAttention(epsilon=0.01), AdaKV()),
    "criticalkv after adakv": (SnapKV(observation_window=8), AdaKV(), CriticalKV()),
    "layer_ratios": (SnapKV(observation_window=8), LayerRatios()),
}
"""Every press once, adjustments after a scorer."""


class TestContract(PressContract):
    stacks = STACKS
    together = frozenset({"tova", "chunkkv", "adakv", "criticalkv after adakv"})
    own_budgets = frozenset({"pyramidkv"})


def test_every_press_is_in_the_suite():
    # These two rank nothing; tests of their own are in test_press_answers.py.
    others = {"key_rerotation", "decoding"}
    assert {press.name for stack in STACKS.values() for press in stack} | others == set(PRESSES)
