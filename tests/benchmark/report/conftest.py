from __future__ import annotations

from pathlib import Path

import pytest

from perf.made_results import make_results
from sparse_attention.config import AttentionConfig
from sparse_attention.config_types import make_config

CONFIGS = {
    "dense": AttentionConfig(),
    "half": make_config("knorm", compression_ratio=0.5),
    "quarter": make_config("knorm", compression_ratio=0.75),
    "top": make_config("oracle_top_k", heavy_size=0.1),
}


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made-up results of four configurations on two subsets, six samples each; to be copied."""
    folder = tmp_path_factory.mktemp("made") / "results"
    return make_results(folder, CONFIGS, ["niah_single_1", "vt"], 6)
