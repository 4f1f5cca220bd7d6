"""Every masker of the project, for tests of what all of them must do."""

from __future__ import annotations

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

METHODS: dict[str, Masker] = {
    "sink": Sink(sink_size=3),
    "local": Local(window_size=5),
    "oracle_top_k": OracleTopK(heavy_size=0.1),
    "oracle_top_p": OracleTopP(top_p=0.4),
    "quest": Quest(heavy_size=0.1, page_size=4),
    "double_sparsity": DoubleSparsity(heavy_size=0.1, group_factor=4),
    "pq_cache": PQCache(heavy_size=0.1, pq_bits=3),
    "hash_attention": HashAttention(heavy_size=0.1),
    "random_sampling": RandomSampling(sampling_rate=0.2),
    "magic_pig": MagicPig(lsh_k=4, lsh_l=16),
    "adaptive_sampling": AdaptiveSampling(base_rate=0.1, epsilon=0.3, delta=0.2),
    "oracle_top_k together": OracleTopK(heavy_size=0.1, group_scores="mean"),
    "oracle_top_p together": OracleTopP(top_p=0.4, group_scores="max"),
    "quest together": Quest(heavy_size=0.1, page_size=4, group_scores="max"),
    "hash_attention together": HashAttention(heavy_size=0.1, group_scores="mean"),
}
"""Every method, with settings that read a part of some hundred keys."""

FULL: dict[str, Masker] = {
    "sink": Sink(sink_size=1.0),
    "local": Local(window_size=1.0),
    "oracle_top_k": OracleTopK(heavy_size=1.0),
    "oracle_top_p": OracleTopP(top_p=1.0),
    "quest": Quest(heavy_size=1.0, page_size=16, label_bits=2),
    "double_sparsity": DoubleSparsity(heavy_size=1.0, group_factor=8, label_bits=1),
    "pq_cache": PQCache(heavy_size=1.0, pq_bits=2, metric="ip"),
    "hash_attention": HashAttention(heavy_size=1.0),
    "random_sampling": RandomSampling(sampling_rate=1.0),
    "magic_pig": MagicPig(lsh_k=1, lsh_l=1024),
    "adaptive_sampling": AdaptiveSampling(base_rate=1.0),
    "oracle_top_k together": OracleTopK(heavy_size=1.0, group_scores="max"),
    "oracle_top_p together": OracleTopP(top_p=1.0, group_scores="mean"),
    "quest together": Quest(heavy_size=1.0, page_size=5, group_scores="mean"),
    "hash_attention together": HashAttention(heavy_size=1.0, group_scores="max"),
}
"""Every method with settings that read everything."""
