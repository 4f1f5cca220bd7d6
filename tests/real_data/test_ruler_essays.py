"""RULER's essay haystack from the real essays."""

from __future__ import annotations

import json

import pytest
from transformers import AutoTokenizer

from benchmark.embedded import MODEL_PATH
from benchmark.ruler.benchmark import Ruler


@pytest.mark.parametrize("task", ["niah_single_2", "niah_single_3", "niah_multikey_1"])
def test_needles_stand_between_sentences_of_the_essays(task, data, tmp_path):
    essays = data / "ruler" / "PaulGrahamEssays.json"
    text = " ".join(json.loads(essays.read_text())["text"].split())
    tokenizer = AutoTokenizer.from_pretrained(MODEL_PATH)
    ruler = Ruler(length=8192, samples=2, haystack=str(essays), cache_dir=str(tmp_path))
    for sample in ruler.samples(task, tokenizer):
        body = sample.context.split("Text: ", 1)[1].rstrip("\n")
        sentences = [s for s in body.split(".") if "The magic" not in s and len(s) > 40]
        assert sum(sentence.strip() in text for sentence in sentences) > 0.95 * len(sentences)
        assert all(answer in body for answer in sample.answers)
        assert 0.9 * 8192 < sample.extra["length_tokens"] <= 8192
