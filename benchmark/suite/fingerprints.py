"""Fingerprints of samples, contexts and tokenizers: what results depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmark.files import fingerprint
from benchmark.suite.base import Sample

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def context_fingerprint(context: str) -> str:
    """Short hash of a context, by which samples that share it are recognised."""
    return hashlib.sha256(context.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def samples_fingerprint(samples: Sequence[Sample]) -> str:
    """Hex SHA-256 of samples: their ids, texts, answers and order."""
    return fingerprint(
        [
            [
                sample.id,
                context_fingerprint(sample.context),
                sample.question,
                sample.answer_prefix,
                list(sample.answers),
                sample.max_new_tokens,
                sample.task,
                dict(sample.extra),
            ]
            for sample in samples
        ]
    )


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """Hex SHA-256 of all that decides how a tokenizer encodes a prompt.

    Of its whole definition where it has a ``tokenizers`` backend, but for padding and truncation,
    which calls change; else of its class, vocabulary and the tokens of a sentence.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        definition = json.loads(backend.to_str())
        definition.pop("padding", None)
        definition.pop("truncation", None)
    else:
        sentence = "The quick-brown fox, 1234567 times: ÄÖ 数."
        definition = {
            "class": type(tokenizer).__qualname__,
            "vocabulary": tokenizer.get_vocab(),
            "ids": tokenizer.encode(sentence, add_special_tokens=False),
        }
    special = {key: str(value) for key, value in tokenizer.special_tokens_map.items()}
    whole = [definition, special, tokenizer.chat_template]
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()
