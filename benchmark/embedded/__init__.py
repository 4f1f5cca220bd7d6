"""The tiny model that ships with the project: where it lies and which tasks it can do."""

from __future__ import annotations

from pathlib import Path

MODEL_NAME = "embedded"
"""The name that stands for the model wherever a model is asked for."""

MODEL_PATH = Path(__file__).parent / "model"
"""Folder with weights and tokenizer in the Hugging Face format."""

SUPPORTED_TASKS = (
    "niah_single_1",
    "niah_single_2",
    "niah_multikey_1",
    "niah_multikey_2",
    "niah_multiquery",
    "vt",
)
"""The RULER tasks that the model can do; README.md beside this file has the accuracies."""
