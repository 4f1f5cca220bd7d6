"""A small benchmark with several questions a context, and a model with random weights for it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from benchmark.suite.base import Benchmark, Sample
from benchmark.suite.registry import register_benchmark
from sparse_attention.errors import UserError

WORDS = 60


@register_benchmark
class Toy(Benchmark):
    """Contexts of random numbers; the answer is an arbitrary number."""

    name = "toy"
    summary = "numbers"
    subsets = ("first", "second", "broken")

    def __init__(self, contexts: int = 4, questions: int = 2, words: int = 40) -> None:
        if contexts < 1:
            raise UserError(f"contexts must be at least 1, got {contexts}.")
        self._options = {"contexts": contexts, "questions": questions, "words": words}

    @property
    def options(self) -> dict[str, Any]:
        return dict(self._options)

    def samples(self, subset: str, tokenizer: Any) -> list[Sample]:
        rng = random.Random(subset)
        samples = []
        for context in range(self._options["contexts"]):
            text = " ".join(str(rng.randrange(WORDS)) for _ in range(self._options["words"]))
            samples += [
                Sample(
                    id=f"{subset}-{context}-{question}",
                    context=text,
                    question=f"{rng.randrange(WORDS)} {rng.randrange(WORDS)}",
                    answer_prefix="7",
                    answers=(str(rng.randrange(WORDS)),),
                    max_new_tokens=4,
                    task=subset,
                )
                for question in range(self._options["questions"])
            ]
        return samples

    def provenance(self, subset: str, tokenizer: Any) -> dict[str, Any]:
        return {"generator": 1}

    def sample_scores(self, frame: pd.DataFrame) -> np.ndarray:
        if (frame["task"] == "broken").any():
            raise KeyError("no metric for broken")
        # Half of the answers count as right, so that means and differences are not trivial.
        return np.array([float(len(text) % 2) for text in frame["predicted_answer"]])

    def calculate_metrics(self, frame: pd.DataFrame) -> dict[str, Any]:
        return {"length": {"mean": np.float64(frame["predicted_answer"].str.len().mean())}}


def save_tiny_model(folder: Path) -> None:
    """A Llama of two layers, with a tokenizer whose words are numbers."""
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2, **{str(i): i + 3 for i in range(WORDS)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.3,
        bos_token_id=1,
        eos_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
