"""The files in which papers' own code says its settings, at the revision that was read.

Of most papers only the beginning could be read; what they measured with is in their code.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """What decides a setting."""

    text: str
    url: str

    @property
    def place(self) -> str:
        """Where it stands, short: repository and file, or the site."""
        parts = self.url.removeprefix("https://").split("/")
        return "/".join(parts[1:3] + parts[-1:]) if parts[0] == "github.com" else parts[0]


@dataclass(frozen=True)
class File:
    """A file of a repository on GitHub."""

    repository: str
    revision: str
    path: str

    def __call__(self, text: str) -> Line:
        """A line of it."""
        return Line(text, f"https://github.com/{self.repository}/blob/{self.revision}/{self.path}")


_HUB, _HUB_REVISION = "xAlg-ai/sparse-attention-hub", "38f0339d6f3672090343c45b07343002fd6644c5"
_BUILDERS = "benchmark/raytune/config_builders"
HUB_TOP_K = File(_HUB, "4ac00911ad5cb457c6ef7d3e854078cd33112523", f"{_BUILDERS}/oracle_topk.py")
HUB_TOP_P = File(_HUB, _HUB_REVISION, f"{_BUILDERS}/oracle_topp.py")
HUB_RANDOM = File(_HUB, _HUB_REVISION, f"{_BUILDERS}/random_sampling.py")
VATTENTION = File(_HUB, _HUB_REVISION, f"{_BUILDERS}/vattention_oracle.py")
HASH_ATTENTION = File(
    "xAlg-ai/HashAttention-1.0", "20661793dfb456c1db3f6d38f40345ce878f5735", "README.md"
)
QUEST = File(
    "mit-han-lab/Quest",
    "24c9c6fcac9f9e936847f511da414f1150cc9fb4",
    "evaluation/quest_attention.py",
)
QUEST_RUN = File(
    "mit-han-lab/Quest", "3652719e3248d743cf0974eeeff3b1aa5d7cf0de", "scripts/longbench.sh"
)
_DOUBLE, _DOUBLE_REVISION = "andy-yang-1/DoubleSparse", "52bfb14751c422f51e277e00a4b022c4447038f7"
DOUBLE_SPARSITY = File(_DOUBLE, _DOUBLE_REVISION, "LongBench/modify_llama.py")
DOUBLE_SPARSITY_RUN = File(_DOUBLE, _DOUBLE_REVISION, "LongBench/longbench_ds.sh")
PQ_CACHE_MISTRAL = File(
    "HugoZHL/PQCache", "151ce6ba10cf2e28c9e293f71f5d5e725541f093", "run_mistral.sh"
)
PQ_CACHE_LLAMA = File("HugoZHL/PQCache", "42d6bd4eb19671ef0eeb5f839ae52ce7f9a35f8d", "run_llama.sh")
MAGIC_PIG = File(
    "Infini-AI-Lab/MagicPIG",
    "ce3c81010e61f26c39516bc7e438d3a7a33d6c12",
    "evaluations/RULER/pred/attnserver_dist.py",
)
STREAMING_LLM = File(
    "mit-han-lab/streaming-llm",
    "b67bb6dda3cf621d959fead607a080f1734900e6",
    "examples/run_streaming_llama.py",
)
_L2, _L2_REVISION = "alessiodevoto/l2compress", "6d84d6e01e807568c053c0a51540b76a1ce37e0f"
KNORM = File(_L2, _L2_REVISION, "README.md")
KNORM_RUN = File(_L2, _L2_REVISION, "scripts/needle_loop.sh")
SNAPKV = File(
    "FasterDecoding/SnapKV",
    "395b54dce7866cb2cffdebdc9f641fd0821a2c30",
    "snapkv/monkeypatch/snapkv_utils.py",
)
SNAPKV_RUN = File(
    "FasterDecoding/SnapKV",
    "82135ce2cc60f212a9ba918467f3d9c8134e163f",
    "experiments/LongBench/scripts/run_longbench.sh",
)
TOVA = File(
    "schwartz-lab-NLP/TOVA", "275cf5f6f1d8c8f7bd58375d2d9be4e607632036", "src/tova_cache.py"
)
H2O = File(
    "FMInference/H2O",
    "16033436238ab05ccf5fb60c0a865827978f4ece",
    "h2o_hf/scripts/lm_eval/h2o.sh",
)
_LAG = "AI-Lab-China-Merchants-Bank/LagKV"
LAGKV = File(_LAG, "5b4f452cdda373a256497e0ddd33006b837084e4", "lag_kv.py")
LAGKV_EXAMPLE = File(_LAG, "2a9d19e7d17dbf49c5c596d2980ef0728ea121ec", "README.md")
_PYRAMID, _PYRAMID_REVISION = "Zefan-Cai/PyramidKV", "028e2daf4b7b4df86fbccf4b1c3a28d41aaacd9a"
PYRAMIDKV = File(_PYRAMID, _PYRAMID_REVISION, "pyramidkv/pyramidkv_utils.py")
PYRAMIDKV_RUN = File(_PYRAMID, _PYRAMID_REVISION, "run_longbench.py")
PYRAMIDKV_SCRIPT = File(
    _PYRAMID, "016248ba7c1c243aa0c28a28332a26a99013e242", "scripts/scripts_longBench/eval.sh"
)
ADAKV = File("FFY0/AdaKV", "0ae8e19f73ee98adc60b710679d1d7f52207759f", "README.md")
ADAKV_RUN = File(
    "FFY0/AdaKV",
    "1baceda55924419c444815f377b1a44e9a604402",
    "experiments/LongBench/GQA_eval_longbench.sh",
)
CRITICALKV = File(
    "FFY0/DefensiveKV",
    "cf9bc41dd63dbdb794fb55e7edf3f594af6d0da8",
    "kvpress/presses/criticalkv_press.py",
)
_KVPRESS, _KVPRESS_REVISION = "NVIDIA/kvpress", "08a43bfc934e741c7bff984edf1614f0763940e0"
EXPECTED_ATTENTION = File(
    _KVPRESS, _KVPRESS_REVISION, "kvpress/presses/expected_attention_press.py"
)
RANDOM_PRESS = File(_KVPRESS, _KVPRESS_REVISION, "kvpress/presses/random_press.py")
KVPRESS_ADAKV = File(
    _KVPRESS, "002ac9db5d97c91088f7517bdcab184ac0fd0e22", "kvpress/presses/adakv_press.py"
)
KVPRESS_BOARD = File(
    _KVPRESS, "04342c64cc8a864d82f2c12caa7bda7bcdb3a748", "evaluation/evaluate_registry.py"
)
