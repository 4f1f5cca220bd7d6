"""The maskers that sparse-attention-hub has as well, and a checkout of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparse_attention.errors import UserError
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

SINK, LOCAL, HEAVY = 4, 64, 0.1
BITS, HIDDEN = 32, 64
_MASKERS = Path("sparse_attention_hub/sparse_attention/research_attention/maskers")
_FIXED, _SAMPLING = "fixed.implementations", "sampling.implementations"

Theirs = tuple[str, str, Mapping[str, Any]]
"""Module, class of the configuration and arguments of one of their maskers."""


@dataclass(frozen=True)
class Pair:
    """The same maskers in both libraries, in their order."""

    label: str
    ours: tuple[Masker, ...]
    theirs: tuple[Theirs, ...]
    same: bool = True
    """Whether both follow the same formula."""


def pairs(channels: Path, networks: Path) -> tuple[Pair, ...]:
    """What is compared; ``channels`` are double sparsity's, ``networks`` HashAttention's."""
    sink = (f"{_FIXED}.basic_fixed", "SinkMaskerConfig", {"sink_size": SINK})
    local = (f"{_FIXED}.basic_fixed", "LocalMaskerConfig", {"window_size": LOCAL})
    edges = Sink(sink_size=SINK), Local(window_size=LOCAL)

    def after_edges(label: str, ours: Masker, theirs: Theirs, same: bool = True) -> Pair:
        return Pair(label, (*edges, ours), (sink, local, theirs), same)

    def fixed(module: str, name: str, **arguments: Any) -> Theirs:
        return f"{_FIXED}.{module}", name, arguments

    def sampling(module: str, name: str, **arguments: Any) -> Theirs:
        return f"{_SAMPLING}.{module}", name, arguments

    best = fixed("oracle_top_k", "OracleTopKConfig", heavy_size=0.02)
    adaptive = sampling(
        *("adaptive_sampling", "AdaptiveSamplingMaskerConfig"),
        **{"base_rate_sampling": 0.05, "epsilon": 0.2, "delta": 0.2},
        **{"init_offset": SINK, "local_offset": LOCAL},
    )
    return (
        Pair("sink", edges[:1], (sink,)),
        Pair("local", edges[1:], (local,)),
        after_edges(
            *("oracle_top_k", OracleTopK(heavy_size=HEAVY)),
            fixed("oracle_top_k", "OracleTopKConfig", heavy_size=HEAVY),
        ),
        after_edges(
            *("oracle_top_p", OracleTopP(top_p=0.9)),
            fixed("oracle_top_p", "OracleTopPMaskerConfig", top_p=0.9),
            same=False,
        ),
        after_edges(
            *("hash_attention", HashAttention(heavy_size=HEAVY, weight_file=str(networks))),
            fixed(
                *("hashattention_top_k", "HashAttentionTopKMaskerConfig"),
                **{"heavy_size": HEAVY, "hat_bits": BITS, "hat_mlp_layers": 2},
                **{"hat_mlp_hidden_size": HIDDEN, "hat_mlp_activation": "silu", "networks": True},
            ),
            same=False,
        ),
        after_edges(
            *("quest", Quest(heavy_size=HEAVY, page_size=16)),
            fixed("quest_top_k", "QuestTopKMaskerConfig", heavy_size=HEAVY, page_size=16),
            same=False,
        ),
        Pair(
            "quest alone",
            (Quest(heavy_size=HEAVY, page_size=16),),
            (fixed("quest_top_k", "QuestTopKMaskerConfig", heavy_size=HEAVY, page_size=16),),
            same=False,
        ),
        after_edges(
            *("pq_cache", PQCache(heavy_size=HEAVY, init_offset=SINK)),
            fixed(
                *("pq_top_k", "PQCacheConfig"),
                **{"heavy_size": HEAVY, "pq_group_factor": 2, "pq_bits": 6, "kmeans_iter": 10},
                **{"init_offset": SINK, "metric": "euclidean"},
            ),
            same=False,
        ),
        after_edges(
            "double_sparsity",
            DoubleSparsity(heavy_size=HEAVY, group_factor=2, channel_file=str(channels)),
            fixed(
                *("double_sparsity_top_k", "DoubleSparsityTopKMaskerConfig"),
                **{"heavy_size": HEAVY, "sorted_channel_file": str(channels), "group_factor": 2},
            ),
            same=False,
        ),
        after_edges(
            *("random_sampling", RandomSampling(sampling_rate=HEAVY)),
            sampling("random_sampling", "RandomSamplingMaskerConfig", sampling_rate=HEAVY),
            same=False,
        ),
        Pair(
            "adaptive_sampling",
            (
                *edges,
                OracleTopK(heavy_size=0.02),
                AdaptiveSampling(base_rate=0.05, epsilon=0.2, delta=0.2),
            ),
            (sink, local, best, adaptive),
            same=False,
        ),
        after_edges(
            *("magic_pig", MagicPig(lsh_k=8, lsh_l=75)),
            sampling("magic_pig", "MagicPigConfig", lsh_k=8, lsh_l=75),
            same=False,
        ),
    )


def check_checkout(folder: Path) -> Path:
    """The checkout, absolute.

    Raises:
        UserError: if it is not one.
    """
    needed = folder / _MASKERS / "base.py"
    if not needed.is_file():
        raise UserError(
            f"{folder} is no checkout of sparse-attention-hub: it has no {_MASKERS / 'base.py'}. "
            "Get one with git clone https://github.com/xAlg-ai/sparse-attention-hub and give its "
            "folder as --checkout."
        )
    return folder.resolve()
