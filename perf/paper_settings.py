"""What papers use for each config type, and why a default that loses too much stays as it is."""

from __future__ import annotations

from dataclasses import dataclass

from sparse_attention import AttentionConfig, make_config

_LOST = "chosen before the question is known; with `--question-aware` it may be another matter"


@dataclass(frozen=True)
class Source:
    """A method in its paper or the code of its authors."""

    words: str
    """The settings, in the paper's own terms."""
    config: AttentionConfig | None = None
    """The same here, where a setting of ours says it."""
    why: str = ""
    """Why the default does not keep 95% of dense attention's score."""


def _press(words: str, why: str = _LOST) -> Source:
    return Source(words, None, why)


SOURCES = {
    "oracle_top_k": Source("no method: the bound of all that choose keys by score"),
    "oracle_top_p": Source("no method: the bound of those whose budget follows the scores"),
    "sink_local": Source(
        "StreamingLLM: 4 sinks, 1020 newest keys",
        None,
        "it cannot read the middle of the context, whatever the window; a baseline",
    ),
    "random_sampling": Source(
        "the baseline of vAttention and MagicPIG, 10% of the keys",
        make_config("random_sampling", sampling_rate=0.1),
        "a needle is one key of many: a uniform sample misses it; a baseline",
    ),
    "quest": Source(
        "pages of 16 keys, 256 to 4096 keys of up to 32k; question and layers 0 and 1 dense",
        make_config("quest", page_size=16, heavy_size=0.05),
    ),
    "double_sparsity": Source(
        "1 of 16 channels in 4 bits, 1 of 16 keys; prompt and layers 0 and 1 dense",
    ),
    "hash_attention": Source(
        "networks of 3 layers to 32 bits, learned for each model; none is published for this one",
        None,
        "not measured: it needs `sparse_attention.calibration.hash_attention` first",
    ),
    "pq_cache": Source(
        "2 parts of 6 bits, a fifth or a tenth of the keys",
        make_config("pq_cache", heavy_size=0.2),
        "codes of 2 parts of 6 bits miss a needle in prose that the best 1% by true scores hold",
    ),
    "magic_pig": Source(
        "K = 10, L = 150, two hits, sink 4 and local 64; question and layers 0 and 16 dense",
        make_config("magic_pig", lsh_k=10, lsh_l=150),
    ),
    "adaptive_sampling": Source(
        "sink 128, local 128, heavy 2 to 10%, base 1 to 10%, epsilon = delta = .05 to .4",
    ),
    "random_press": _press("the baseline of kvpress", "keeps a needle by chance alone"),
    "streaming_llm": _press("4 sinks, the rest newest", "the oldest half is gone unread"),
    "knorm": _press("layers 0 and 1 whole, the rest by ratio"),
    "keydiff": _press("block by block, blocks of 128 keys, an absolute budget"),
    "snapkv": _press(
        "window 16, 32 or 64, kernel 5 or 7, 1024 to 4096 keys; the question is in it"
    ),
    "tova": _press("an absolute budget, again at each step"),
    "expected_attention": _press(
        "512 positions ahead, 4 sinks; on its board with AdaKV and epsilon .01"
    ),
    "observed_attention": _press("H2O: half the budget by attention, half the newest, by step"),
    "lagkv": _press("16 sinks, lag 128", "close; at a quarter removed it keeps"),
    "pyramidkv": _press("window 8, beta 20, 64 to 2048 keys"),
    "chunkkv": _press("chunks of 10 or 20 keys, over SnapKV"),
    "adakv": _press("safeguard .2, over SnapKV with window 32"),
    "criticalkv": _press("half of the budget in the first stage, epsilon 1e-4"),
    "ada_expected_attention": _press("epsilon .01, safeguard .2"),
}
"""By config type."""
