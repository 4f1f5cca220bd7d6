"""The configurations that ``method_matrix.py`` compares: curves of each method.

Methods are found by themselves, with the values that searches try; exceptions are named here.  To
draw against another cost, add an axis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmark.generic_config_optimizer import own_parameters
from benchmark.results.records import Prediction
from sparse_attention import AttentionConfig
from sparse_attention.maskers import (
    MASKERS,
    AdaptiveSampling,
    DoubleSparsity,
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
from sparse_attention.method import Method
from sparse_attention.presses import (
    PRESSES,
    AdaKV,
    Adjustment,
    ExpectedAttention,
    LagKV,
    Press,
    Scorer,
    SnapKV,
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
RATIOS = (0.25, 0.5, 0.75, 0.875, 0.95)
STEPS: dict[str, tuple[Any, ...]] = {"heavy_size": HEAVY, "compression_ratio": RATIOS}
"""Values that curves go through in fields that several methods have."""


def _after_edges(name: str, *methods: tuple[Masker, ...] | Masker) -> Curve:
    """A curve of configurations that read the first 4 and the last 16 keys first."""
    chains = [method if isinstance(method, tuple) else (method,) for method in methods]
    return Curve(name, tuple(AttentionConfig((SINK, LOCAL, *chain)) for chain in chains))


def _pressed(name: str, press: type[Scorer], *others: Press, **settings: Any) -> Curve:
    """A curve of one press, followed by ``others``, from keeping most to keeping little."""
    configs = (
        AttentionConfig((press(compression_ratio=ratio, **settings), *others)) for ratio in RATIOS
    )
    return Curve(name, tuple(configs), ("kept",))


EXCEPTIONS: dict[str, tuple[Curve, ...]] = {
    "sink": (),
    "local": (
        Curve(
            "sink_local",
            tuple(
                AttentionConfig((SINK, Local(window_size=share)))
                for share in (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
            ),
        ),
    ),
    "oracle_top_k": (
        _after_edges("oracle_top_k", *(OracleTopK(heavy_size=share) for share in HEAVY)),
        _after_edges(
            "oracle_top_k, heads together",
            *(OracleTopK(heavy_size=share, group_scores="mean") for share in HEAVY),
        ),
    ),
    "oracle_top_p": (
        _after_edges(
            "oracle_top_p",
            *(OracleTopP(top_p=share) for share in (0.5, 0.7, 0.9, 0.95, 0.98, 0.99)),
        ),
    ),
    "quest": (
        _after_edges(
            "quest, page 8",
            *(Quest(heavy_size=share, page_size=8, label_bits=4) for share in HEAVY),
        ),
        _after_edges(
            "quest, page 16",
            *(Quest(heavy_size=share, page_size=16) for share in (0.02, 0.05, 0.1, 0.2, 0.4)),
        ),
    ),
    "double_sparsity": tuple(
        _after_edges(
            f"double_sparsity, {channels} channels",
            *(DoubleSparsity(heavy_size=share, group_factor=32 // channels) for share in HEAVY),
        )
        for channels in (8, 4)
    ),
    "pq_cache": tuple(
        _after_edges(
            f"pq_cache, {parts} x 6 bits",
            *(PQCache(heavy_size=share, subspaces=parts) for share in HEAVY),
        )
        for parts in (2, 4)
    ),
    "random_sampling": (
        _after_edges(
            "random_sampling",
            *(RandomSampling(sampling_rate=rate) for rate in (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)),
        ),
    ),
    "magic_pig": (
        _after_edges(
            "magic_pig",
            *(
                MagicPig(lsh_k=bits, lsh_l=tables)
                for bits, tables in ((10, 75), (10, 150), (9, 120), (8, 75), (8, 150), (7, 150))
            ),
        ),
    ),
    "adaptive_sampling": (
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
    ),
    "lagkv": (_pressed("lagkv", LagKV, lag=32),),
    "expected_attention": (
        _pressed("expected_attention", ExpectedAttention),
        _pressed("expected_attention + adakv", ExpectedAttention, AdaKV(), epsilon=0.01),
    ),
    # perf/layer_ratios.py draws it; the others leave the choice of keys as it is.
    "layer_ratios": (),
    "key_rerotation": (),
    "decoding": (),
}
"""Methods whose curves are others than those that ``curves_of`` finds, or that have none."""


def curves_of(method: type[Method]) -> tuple[Curve, ...]:
    """The curves of a method.

    Where no exception is named: the values that a search tries in its first tunable field, the
    other fields at their defaults; of a press, shares of the cache that are removed.
    """
    if method.name in EXCEPTIONS:
        return EXCEPTIONS[method.name]
    if issubclass(method, Scorer):
        return (_pressed(method.name, method),)
    if issubclass(method, Adjustment):
        return (_pressed(f"snapkv + {method.name}", SnapKV, method()),)
    assert issubclass(method, Masker)
    settings: list[dict[str, Any]] = [{}]
    if parameters := own_parameters(method):
        field = parameters[0].name
        settings = [{field: value} for value in STEPS.get(field, parameters[0].values)]
    return (_after_edges(method.name, *(method(**given) for given in settings)),)


CURVES = tuple(curve for method in MASKERS.values() for curve in curves_of(method))
PRESS_CURVES = tuple(curve for method in PRESSES.values() for curve in curves_of(method))
