"""What papers use for each config type, and why a default that loses too much stays as it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import paper_files as said
from paper_files import Line

from sparse_attention import AttentionConfig, make_config

_LOST = "chosen before the question is known; with `--question-aware` it may be another matter"


@dataclass(frozen=True)
class Source:
    """A method in its paper or the code of its authors."""

    words: str
    """The settings, in the paper's own terms."""
    lines: tuple[Line, ...]
    """What says so."""
    config: AttentionConfig | None = None
    """The same here, where a setting of ours says it."""
    why: str = ""
    """Why the default does not keep 95% of dense attention's score."""


def _press(words: str, *lines: Line, why: str = _LOST) -> Source:
    return Source(words, lines, None, why)


_FOUR_AND_2000 = (
    said.STREAMING_LLM('"--start_size", type=int, default=4'),
    said.STREAMING_LLM('"--recent_size", type=int, default=2000'),
)

SOURCES = {
    "oracle_top_k": Source(
        "no method: the bound of all that choose keys by score; 128 first and 128 newest with them",
        (said.HUB_TOP_K("OracleTopKConfig(heavy_size=heavy_size - (256.0 / 32768))"),),
    ),
    "oracle_top_p": Source(
        "no method: the bound of those whose budget follows the scores; searched from .1 to .99",
        (said.HUB_TOP_P('"top_p": tune.grid_search([0.1, 0.2, ..., 0.95, 0.98, 0.99])'),),
    ),
    "sink_local": Source(
        "StreamingLLM: 4 sinks, 2000 newest keys",
        _FOUR_AND_2000,
        None,
        "it cannot read the middle of the context, whatever the window; a baseline",
    ),
    "random_sampling": Source(
        "a baseline of vAttention's authors: 2 to 20% of the keys, 128 first and 128 newest in it",
        (
            said.HUB_RANDOM("for budget_size in [0.02, 0.05, 0.1, 0.2]"),
            said.HUB_RANDOM("sampling_rate=budget_size- (256.0 / 32768)"),
        ),
        make_config("random_sampling", sampling_rate=0.1),
        "a needle is one key of many: a uniform sample misses it; a baseline",
    ),
    "quest": Source(
        "pages of 16 keys, 512 to 4096 keys, at least 3 pages; prompt and layers 0 and 1 dense",
        (
            said.QUEST("if q_len > 1 or self.layer_id < 2"),
            said.QUEST("k=min(max(3, token_budget // chunk_size), ...)"),
            said.QUEST_RUN("for budget in 512 1024 2048 4096 ... --chunk_size 16"),
        ),
        make_config("quest", page_size=16, heavy_size=0.05),
    ),
    "double_sparsity": Source(
        "1 of 2 channels in 2 bits, ranked by queries; 256 to 4096 keys; prompt dense",
        (
            said.DOUBLE_SPARSITY_RUN("for budget in 256 512 1024 2048 4096"),
            said.DOUBLE_SPARSITY_RUN("--group_factor 2 --q_bits 2 --channel q"),
            said.DOUBLE_SPARSITY("if q_len > 1: return self.flash_forward(...)"),
        ),
    ),
    "hash_attention": Source(
        "networks of 3 layers to 32 bits, 128 first, 128 newest, a quarter of the keys; published "
        "for Llama 3.1 8B, a distilled Llama 8B and Mistral 7B",
        (
            said.HASH_ATTENTION("config.lth_final_dim = 32"),
            said.HASH_ATTENTION("config.lth_num_layers = 3"),
            said.HASH_ATTENTION("config.init_budget = 128"),
            said.HASH_ATTENTION("config.recent_budget = 128"),
            said.HASH_ATTENTION("config.heavy_budget = 0.25"),
        ),
        None,
        "not measured: it needs `sparse_attention.calibration.hash_attention` first",
    ),
    "pq_cache": Source(
        "2 parts of 6 bits, 32 sinks, a fifth or a tenth of the keys, half of these the newest",
        (
            said.PQ_CACHE_MISTRAL("COMPRESS=0.2"),
            said.PQ_CACHE_MISTRAL("TOPK=0.5"),
            said.PQ_CACHE_MISTRAL("RECENT_RATIO=0.5"),
            said.PQ_CACHE_MISTRAL("SINK_SIZE=32"),
            said.PQ_CACHE_MISTRAL("SUBVEC=2"),
            said.PQ_CACHE_MISTRAL("SUBBITS=6"),
            said.PQ_CACHE_LLAMA("COMPRESS=0.1"),
        ),
        make_config("pq_cache", heavy_size=0.2),
        "codes of 2 parts of 6 bits miss a needle in prose that the best 1% by true scores hold",
    ),
    "magic_pig": Source(
        "K = 10, L = 150, two hits, sink 4 and local 64; prompt and layers 0, 16, 32, ... dense",
        (
            said.MAGIC_PIG("K: int = 10, L: int = 150"),
            said.MAGIC_PIG("num_sink_tokens :int = 4, num_local_tokens :int = 64"),
            said.MAGIC_PIG("dense_layers: list[int] = [0, 16, 32, 48, 64]"),
            said.MAGIC_PIG("mask = (k_hashcode == q_hashcode).int().sum(dim=-1) > 1"),
        ),
        make_config("magic_pig", lsh_k=10, lsh_l=150),
    ),
    "adaptive_sampling": Source(
        "sink 128, local 128, heavy .5 to 15%, base 0 to 15%, epsilon and delta .01 to .4, by the "
        "density that is wanted",
        (
            said.VATTENTION("SinkMaskerConfig(sink_size=128)"),
            said.VATTENTION("LocalMaskerConfig(window_size=128)"),
            said.VATTENTION('sparsity_2: "heavy_size": [0.005, 0.01, 0.02 - (256.0 / 32768)]'),
            said.VATTENTION('sparsity_2: "epsilon", "delta": [0.1, 0.2, 0.3, 0.4]'),
            said.VATTENTION('sparsity_20: "heavy_size", "base_rate_sampling": [0.05, 0.1, 0.15]'),
            said.VATTENTION('sparsity_20: "epsilon", "delta": [0.01, 0.025, 0.05, 0.1]'),
        ),
    ),
    "random_press": _press(
        "the baseline of kvpress",
        said.RANDOM_PRESS("return torch.rand(*keys.shape[:-1])"),
        why="keeps a needle by chance alone",
    ),
    "streaming_llm": _press(
        "4 sinks, 2000 newest keys", *_FOUR_AND_2000, why="the oldest half is gone unread"
    ),
    "knorm": _press(
        "layers 0 and 1 whole, with needles 12 as well; of the rest .9 to .1 are kept",
        said.KNORM("skip_layers=[0, 1]"),
        said.KNORM_RUN('SKIP_LAYERS=("0,1,12")'),
        said.KNORM_RUN('KEEP_RATIOS=("0.9" "0.8" ... "0.1")'),
    ),
    "keydiff": _press(
        "up to 8192 keys; block by block, in kvpress blocks of 128",
        Line("with 8K cache budget", "https://arxiv.org/html/2504.15364v4"),
        said.KVPRESS_BOARD("BlockPress(press=KeyDiffPress(), block_size=128)"),
    ),
    "snapkv": _press(
        "window 32, kernel 5 by mean, 2048 keys; on LongBench kernel 7 by maximum, 4096 keys; the "
        "question is in it",
        said.SNAPKV("self.config.window_size = 32"),
        said.SNAPKV("self.config.max_capacity_prompt = 2048"),
        said.SNAPKV("self.config.kernel_size = 5"),
        said.SNAPKV("self.config.pooling = 'avgpool'"),
        said.SNAPKV_RUN("ablation_c4096_w32_k7_maxpool.json"),
    ),
    "tova": _press(
        "an absolute budget, again at each step; up to an eighth of the cache",
        said.TOVA("torch.mean(attn_weights[:, :, -1, :], dim=1)"),
        said.TOVA("torch.topk(mean_attn_weights, k=self.cache_size, dim=-1)"),
        Line("only 1/8 of the original cache size", "https://arxiv.org/abs/2401.06104"),
    ),
    "expected_attention": _press(
        "512 positions ahead, 4 sinks, epsilon 0; on its board also with AdaKV and epsilon .01",
        said.EXPECTED_ATTENTION("n_future_positions: int = 512"),
        said.EXPECTED_ATTENTION("n_sink: int = 4"),
        said.EXPECTED_ATTENTION("epsilon: float = 0.0"),
        said.KVPRESS_BOARD("AdaKVPress(ExpectedAttentionPress(epsilon=1e-2))"),
    ),
    "observed_attention": _press(
        "H2O: a tenth of the keys by attention, a tenth the newest, by step",
        said.H2O("--heavy_ratio 0.1 --recent_ratio 0.1"),
    ),
    "lagkv": _press(
        "16 sinks, lag 1024, half kept; lag 128 and a fifth kept where the prompt is read so",
        said.LAGKV("ratio: float = 0.5"),
        said.LAGKV("sink_size: int = 16"),
        said.LAGKV("lag_size: int = 1024"),
        said.LAGKV_EXAMPLE("LagKV(ratio=0.2, lag_size=128, ...)"),
        why="close; at a quarter removed it keeps",
    ),
    "pyramidkv": _press(
        "window 8, kernel 7 by maximum, beta 20, 128 and 2048 keys",
        said.PYRAMIDKV_RUN("window_sizes = 8"),
        said.PYRAMIDKV_RUN("kernel_sizes = 7"),
        said.PYRAMIDKV_RUN('pooling = "maxpool"'),
        said.PYRAMIDKV("beta = 20"),
        said.PYRAMIDKV_SCRIPT("max_capacity_prompts=$3 # 128,2048 in paper"),
    ),
    "chunkkv": _press(
        "over SnapKV, chunks of 10 keys by a summary of the paper, of 20 in kvpress; the authors' "
        "code: not found",
        Line(
            "Chunk size 10 is a robust default",
            "https://app.argminai.com/arxiv-dashboard/papers/2502.00299v5",
        ),
        said.KVPRESS_BOARD("ChunkKVPress(press=SnapKVPress(), chunk_length=20)"),
    ),
    "adakv": _press(
        "over SnapKV with window 32, kernel 7 by maximum; safeguard .5, or .2 where query heads "
        "share keys; 128 to 1024 keys",
        said.ADAKV('window_size=32, ..., kernel_size=7, pooling="maxpool", floor_alpha=0.5'),
        said.ADAKV_RUN("we suggest setting floor_alpha to 0.2 while using gqa"),
        said.ADAKV_RUN("scopes=(128 256 512 1024)"),
    ),
    "criticalkv": _press(
        "half of the budget in the first stage, epsilon 1e-4",
        said.CRITICALKV("epsilon: float = 1e-4, first_stage_ratio: float = 0.5"),
    ),
    "ada_expected_attention": _press(
        "epsilon .01, safeguard .2",
        said.KVPRESS_BOARD("AdaKVPress(ExpectedAttentionPress(epsilon=1e-2))"),
        said.KVPRESS_ADAKV("alpha_safeguard: float = 0.20"),
    ),
}
"""By config type."""


def line_rows() -> Iterator[str]:
    """A row of a table, Markdown, for each line that decides a setting."""
    for name, source in SOURCES.items():
        for line in source.lines:
            text = line.text.replace("|", "\\|")
            yield f"| `{name}` | `{text}` | [{line.place}]({line.url}) |"
