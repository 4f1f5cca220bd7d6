from __future__ import annotations

from pathlib import Path

import pytest
from toy_benchmark import save_tiny_model

from sparse_attention.hf.adapter import HuggingFaceAdapter


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_tiny_model(folder)
    return folder


@pytest.fixture(scope="session")
def adapter(tiny_model: Path) -> HuggingFaceAdapter:
    return HuggingFaceAdapter.load(str(tiny_model))
