"""The configurations that ``method_matrix.py`` compares: a curve for each method.

To add a method, add a curve; to draw against another cost, add an axis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmark.results.records import Prediction
from sparse_attention import AttentionConfig
from sparse_attention.maskers import (
    AdaptiveSampling,
    DoubleSparsity,
    HashAttention,
    Local,
    MagicPig,
    Masker,
    OracleTopK,
    OracleTopP,
    PQCache,
    Quest,
    RandomSampling,
    Sink,
)
from sparse_attention.presses import (
    AdaKV,
    ChunkKV,
    CriticalKV,
    ExpectedAttention,
    KeyDiff,
    KNorm,
    LagKV,
    ObservedAttention,
    Press,
    PyramidKV,
    RandomPress,
    Scorer,
    SnapKV,
    StreamingLLM,
    Tova,
)


@dataclass(frozen=True)
class Axis:
    """A cost that scores are drawn against."""

    title: str
    cost: Callable[[Prediction], float | None]
    """Of one answer, as a share of dense attention's."""


def _bytes(answer: Prediction) -> float | None:
    if answer.union_density is None or answer.selection_share is None:
        return None
    return answer.union_density + answer.selection_share


AXES = {
    "density": Axis("density (share of keys read, by query head)", lambda answer: answer.density),
    "bytes": Axis("bytes read (union of query heads, and to choose)", _bytes),
    "kept": Axis("share of the cache's bytes that is kept", lambda answer: answer.kept_share),
}


@dataclass(frozen=True)
class Curve:
    """A method with settings from sparse to dense."""

    name: str
    configs: tuple[AttentionConfig, ...]
    axes: tuple[str, ...] = ("density", "bytes")
    """Costs that it is drawn against; the first is its own."""


SINK, LOCAL = Sink(sink_size=4), Local(window_size=16)
HEAVY = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)


def _after_edges(name: str, *methods: tuple[Masker, ...] | Masker) -> Curve:
    """A curve of configurations that read the first 4 and the last 16 keys first."""
    chains = [method if isinstance(method, tuple) else (method,) for method in methods]
    return Curve(name, tuple(AttentionConfig((SINK, LOCAL, *chain)) for chain in chains))


CURVES = (
    Curve(
        "sink_local",
        tuple(
            AttentionConfig((SINK, Local(window_size=share)))
            for share in (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
        ),
    ),
    _after_edges("oracle_top_k", *(OracleTopK(heavy_size=share) for share in HEAVY)),
    _after_edges(
        "oracle_top_k, heads together",
        *(OracleTopK(heavy_size=share, group_scores="mean") for share in HEAVY),
    ),
    _after_edges(
        "oracle_top_p", *(OracleTopP(top_p=share) for share in (0.5, 0.7, 0.9, 0.95, 0.98, 0.99))
    ),
    _after_edges(
        "quest, page 8", *(Quest(heavy_size=share, page_size=8, label_bits=4) for share in HEAVY)
    ),
    _after_edges(
        "quest, page 16",
        *(Quest(heavy_size=share, page_size=16) for share in (0.02, 0.05, 0.1, 0.2, 0.4)),
    ),
    _after_edges(
        "double_sparsity, 8 channels",
        *(DoubleSparsity(heavy_size=share, group_factor=4) for share in HEAVY),
    ),
    _after_edges(
        "double_sparsity, 4 channels",
        *(DoubleSparsity(heavy_size=share, group_factor=8) for share in HEAVY),
    ),
    _after_edges("pq_cache, 2 x 6 bits", *(PQCache(heavy_size=share) for share in HEAVY)),
    _after_edges(
        "pq_cache, 4 x 6 bits", *(PQCache(heavy_size=share, subspaces=4) for share in HEAVY)
    ),
    _after_edges("hash_attention", *(HashAttention(heavy_size=share) for share in HEAVY)),
    _after_edges(
        "random_sampling",
        *(RandomSampling(sampling_rate=rate) for rate in (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)),
    ),
    _after_edges(
        "magic_pig",
        *(
            MagicPig(lsh_k=bits, lsh_l=tables)
            for bits, tables in ((10, 75), (10, 150), (9, 120), (8, 75), (8, 150), (7, 150))
        ),
    ),
    _after_edges(
        "adaptive_sampling",
        *(
            (OracleTopK(heavy_size=heavy), AdaptiveSampling(base_rate=base, epsilon=e, delta=e))
            for heavy, base, e in (
                (0.005, 0.01, 0.4),
                (0.01, 0.02, 0.3),
                (0.02, 0.02, 0.2),
                (0.02, 0.05, 0.1),
                (0.05, 0.05, 0.05),
            )
        ),
    ),
)

RATIOS = (0.25, 0.5, 0.75, 0.875, 0.95)


def _pressed(name: str, press: type[Scorer], *others: Press, **settings: Any) -> Curve:
    """A curve of one press, followed by ``others``, from keeping most to keeping little."""
    configs = (
        AttentionConfig((press(compression_ratio=ratio, **settings), *others)) for ratio in RATIOS
    )
    return Curve(name, tuple(configs), ("kept",))


PRESS_CURVES = (
    _pressed("random_press", RandomPress),
    _pressed("streaming_llm", StreamingLLM),
    _pressed("knorm", KNorm),
    _pressed("keydiff", KeyDiff),
    _pressed("lagkv", LagKV, lag=32),
    _pressed("tova", Tova),
    _pressed("snapkv", SnapKV),
    _pressed("snapkv + chunkkv", SnapKV, ChunkKV()),
    _pressed("snapkv + criticalkv", SnapKV, CriticalKV()),
    _pressed("snapkv + adakv", SnapKV, AdaKV()),
    _pressed("pyramidkv", PyramidKV),
    _pressed("observed_attention", ObservedAttention),
    _pressed("expected_attention", ExpectedAttention),
    _pressed("expected_attention + adakv", ExpectedAttention, AdaKV(), epsilon=0.01),
)
