"""``docs/models.md`` says what the trials say."""

from __future__ import annotations

from pathlib import Path

import pytest
import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from sparse_attention.testing.architectures.families import LONG_CONTEXT, WITH_IMAGES
from sparse_attention.testing.architectures.page import table
from sparse_attention.testing.architectures.trial import try_architecture

PAGE = (Path(__file__).parents[3] / "docs" / "models.md").read_text(encoding="utf-8")
FEW = ("gemma3n_text", "jamba", "kimi_linear", "llama4_text", "minimax", "glm_moe_dsa", "mistral3")
"""One of each mechanism: shared keys, states that begin anew, latent attention beside states,
chunks, a cache of its own, selection of its own, images."""


def rows() -> dict[str, str]:
    """The last row of each type."""
    lines = [line for line in PAGE.splitlines() if line.startswith("| `")]
    return {line.split("`")[1]: line for line in lines}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "every" in metafunc.fixturenames:
        every = metafunc.config.getoption("--every-architecture")
        metafunc.parametrize("every", sorted(rows()) if every else FEW)


def test_the_page_is_true_of(every):
    trial = try_architecture(every)
    assert table([trial]).splitlines()[-1] == rows()[every]


def test_the_page_has_every_architecture_and_36_of_40_for_long_contexts_work():
    if f"transformers {transformers.__version__} " not in PAGE:
        pytest.skip("the page is about another version of transformers")
    others = PAGE.partition("## Not decoder-only")[2]
    known = rows()
    for name in {*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, *WITH_IMAGES}:
        assert name in known or f"`{name}`" in others, name
    assert len(LONG_CONTEXT) == 40
    assert sum("| works |" in known[name] for name in LONG_CONTEXT.values()) >= 36
