"""The catalogue of named templates of configurations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sparse_attention.config import (
    AttentionConfig,
    make_method,
)
from sparse_attention.errors import unknown_name
from sparse_attention.maskers import (
    AdaptiveSampling,
    DoubleSparsity,
    HashAttention,
    Local,
    MagicPig,
    OracleTopK,
    OracleTopP,
    PQCache,
    Quest,
    RandomSampling,
    Sink,
)
from sparse_attention.method import Method
from sparse_attention.presses import (
    AdaKV,
    ChunkKV,
    CriticalKV,
    Decoding,
    ExpectedAttention,
    KeyDiff,
    KeyRerotation,
    KNorm,
    LagKV,
    LayerRatios,
    ObservedAttention,
    PyramidKV,
    RandomPress,
    SnapKV,
    StreamingLLM,
    Tova,
)


@dataclass(frozen=True)
class ConfigType:
    """A named template: methods whose settings are left open."""

    name: str
    summary: str
    methods: tuple[Method, ...]

    def make(self, **settings: Any) -> AttentionConfig:
        """The configuration with ``settings`` in place of the template's.

        A setting is named by its field; ``seed`` goes to every method that has one.

        Raises:
            UserError: for an unknown or invalid setting.
        """
        known = {key for method in self.methods for key in type(method).model_fields}
        for key in settings:
            if key not in known:
                raise unknown_name(f"setting of config type {self.name}", key, known)
        return AttentionConfig(
            tuple(
                make_method(
                    type(method),
                    {key: settings.get(key, value) for key, value in method},
                )
                for method in self.methods
            )
        )


_EDGES = (Sink(sink_size=4), Local(window_size=64))

CONFIG_TYPES: Mapping[str, ConfigType] = {
    kind.name: kind
    for kind in (
        ConfigType("dense", "all keys", ()),
        ConfigType("sink_masker", "the first keys", (Sink(),)),
        ConfigType("local_masker", "the newest keys", (Local(),)),
        ConfigType("sink_local", "the first and the newest keys (StreamingLLM)", _EDGES),
        ConfigType(
            "oracle_top_k", "sink, local and the highest true scores", (*_EDGES, OracleTopK())
        ),
        ConfigType(
            "oracle_top_p",
            "sink, local and the fewest keys that hold a share of the attention",
            (*_EDGES, OracleTopP()),
        ),
        ConfigType("quest", "sink, local and pages by bounds of their scores", (*_EDGES, Quest())),
        ConfigType(
            "double_sparsity",
            "sink, local and the highest scores over a few channels",
            (*_EDGES, DoubleSparsity()),
        ),
        ConfigType(
            "pq_cache",
            "sink, local and the highest scores of quantised keys",
            (*_EDGES, PQCache()),
        ),
        ConfigType(
            "hash_attention",
            "sink, local and the keys whose learned bits agree most",
            (*_EDGES, HashAttention()),
        ),
        ConfigType(
            "random_sampling", "sink, local and a uniform sample", (*_EDGES, RandomSampling())
        ),
        ConfigType("magic_pig", "sink, local and LSH sampling", (*_EDGES, MagicPig())),
        ConfigType(
            "adaptive_sampling",
            "sink, local, top-k and as many samples as an error bound needs (vAttention)",
            (*_EDGES, OracleTopK(heavy_size=0.02), AdaptiveSampling()),
        ),
        ConfigType("random_press", "keep keys at random", (RandomPress(),)),
        ConfigType("knorm", "keep keys of small norm", (KNorm(),)),
        ConfigType("streaming_llm", "keep the first and the newest keys", (StreamingLLM(),)),
        ConfigType("snapkv", "keep what the last queries attend to", (SnapKV(),)),
        ConfigType(
            "expected_attention",
            "keep what future queries are expected to attend to",
            (ExpectedAttention(),),
        ),
        ConfigType(
            "observed_attention",
            "keep what received most attention in the prefill (H2O)",
            (ObservedAttention(),),
        ),
        ConfigType("tova", "keep what the last token attends to", (Tova(),)),
        ConfigType("pyramidkv", "SnapKV with larger budgets in lower layers", (PyramidKV(),)),
        ConfigType("keydiff", "keep keys that differ from the others", (KeyDiff(),)),
        ConfigType("lagkv", "keep tokens that stand out against those after them", (LagKV(),)),
        ConfigType(
            "criticalkv",
            "SnapKV weighted by norms of projected values",
            (SnapKV(), CriticalKV()),
        ),
        ConfigType(
            "critical_adakv",
            "SnapKV with budgets by head, then weighted by norms of projected values",
            (SnapKV(), AdaKV(), CriticalKV()),
        ),
        ConfigType("chunkkv", "SnapKV by whole chunks", (SnapKV(), ChunkKV())),
        ConfigType("adakv", "SnapKV with budgets by head", (SnapKV(), AdaKV())),
        ConfigType(
            "ada_expected_attention",
            "expected attention with budgets by head",
            (ExpectedAttention(epsilon=0.01), AdaKV()),
        ),
        ConfigType("layer_snapkv", "SnapKV with a ratio for each layer", (SnapKV(), LayerRatios())),
        ConfigType(
            "streaming_llm_rerotated",
            "keep the first and the newest keys, with positions inside the cache",
            (StreamingLLM(), KeyRerotation()),
        ),
        ConfigType(
            "decoding_knorm",
            "keep keys of small norm, again and again while decoding",
            (KNorm(), Decoding()),
        ),
        ConfigType(
            "snapkv_top_k",
            "SnapKV, then sink, local and the highest true scores of what it kept",
            (SnapKV(), *_EDGES, OracleTopK()),
        ),
    )
}


def make_config(config_type: str, **settings: Any) -> AttentionConfig:
    """A configuration of a named type.

    Raises:
        UserError: for an unknown type or setting.
    """
    if config_type not in CONFIG_TYPES:
        raise unknown_name("config type", config_type, CONFIG_TYPES)
    return CONFIG_TYPES[config_type].make(**settings)
