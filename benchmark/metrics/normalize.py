"""Text normalisation and Chinese word segmentation before comparing answers."""

from __future__ import annotations

import logging
import re
import string
from functools import cache
from tempfile import TemporaryDirectory
from typing import Any

from benchmark.metrics.libraries import optional_library

_ASCII_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")

# The marks that LongBench and InfiniteBench delete.  Some common ones are not among them, such as
# U+300A; a complete list would give other scores.
_CHINESE_RANGES = (
    (0x002E, 0x002E),
    (0x2013, 0x2014),
    (0x2018, 0x2019),
    (0x201B, 0x201F),
    (0x2026, 0x2027),
    (0x3001, 0x3003),
    (0x300B, 0x3011),
    (0x3014, 0x301F),
    (0x3030, 0x3030),
    (0x303E, 0x303F),
    (0xFE4F, 0xFE4F),
    (0xFF01, 0xFF0D),
    (0xFF0F, 0xFF0F),
    (0xFF1A, 0xFF20),
    (0xFF3B, 0xFF40),
    (0xFF5B, 0xFF64),
)
_CHINESE_PUNCTUATION = _ASCII_PUNCTUATION | {
    code: None for first, last in _CHINESE_RANGES for code in range(first, last + 1)
}


def normalize_english(text: str) -> str:
    """Lower case, without ASCII punctuation and articles, words joined by single spaces.

    Punctuation is deleted before articles are, so that ``a-b`` becomes ``ab``; marks outside ASCII
    stay.  Source: the evaluation of SQuAD, which LongBench, InfiniteBench and ZeroSCROLLS use.
    """
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_ASCII_PUNCTUATION)).split())


def normalize_chinese(text: str) -> str:
    """Lower case, without ASCII and (most) Chinese punctuation and without any whitespace.

    Source: the evaluations of LongBench and InfiniteBench, which delete the same marks.
    """
    return "".join(text.lower().translate(_CHINESE_PUNCTUATION).split())


def chinese_words(text: str) -> list[str]:
    """Words of a text as jieba segments it (accurate mode, with its model for unknown words).

    Raises ``UserError`` where jieba is not installed.
    """
    return list(_jieba().cut(text))


@cache
def _jieba() -> Any:
    jieba = optional_library("jieba", "the word segmentation of Chinese texts", "longbench")
    jieba.setLogLevel(logging.WARNING)
    # It else reads, and believes, a file of a known name in the folder that all users share.
    with TemporaryDirectory(prefix="sparse-bench-jieba-") as private:
        jieba.dt.tmp_dir = private
        jieba.initialize()
    return jieba
