"""Sentence splitting: NLTK's punkt where it is installed with its data, else rules."""

from __future__ import annotations

import re

RULES = "rules-1"
"""Name and version of the own splitter."""

# From the first of several marks on, without going back: runs of marks take linear time.
_BOUNDARY = re.compile(r"(?<![.!?])[.!?]++[\"'”’)\]]*+\s++(?=[\"'“‘(\[]*[A-Z0-9])")
_ABBREVIATION = re.compile(
    r"mr|mrs|ms|dr|prof|sr|jr|st|vs|etc|e\.g|i\.e|cf|fig|no|vol|inc|ltd|co|corp|dept|est|approx|"
    r"jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|u\.s|u\.k|a\.m|p\.m|ph\.d|[a-hj-z]"
)
_LONGEST_ABBREVIATION = 20
"""Characters, with quotes and brackets before it."""


def split_by_rules(text: str) -> list[str]:
    """Sentences of ``text``, whose runs of whitespace become single spaces.

    A sentence ends at ``.``, ``!`` or ``?`` (with closing quotes or brackets) before whitespace
    and a capital letter, a digit or an opening quote, except after a known abbreviation or a
    single initial.  Joined with single spaces the sentences give the normalised text back.
    """
    text = " ".join(text.split())
    sentences, start = [], 0
    for match in _BOUNDARY.finditer(text):
        if match.group().startswith(".") and _is_abbreviation(text, start, match.start()):
            continue
        sentences.append(text[start : match.end()].rstrip())
        start = match.end()
    if start < len(text):
        sentences.append(text[start:])
    return sentences


def _is_abbreviation(text: str, start: int, end: int) -> bool:
    """Whether the last word before ``end`` is one; looks at that word alone, not at all before."""
    first = max(start, end - _LONGEST_ABBREVIATION - 1)
    space = text.rfind(" ", first, end)
    if space < 0 and first > start:
        return False
    begin = max(start, space + 1)
    word = text[begin:end].lstrip("\"'“‘([").lower()
    return _ABBREVIATION.fullmatch(word) is not None


def split_sentences(text: str) -> tuple[list[str], str]:
    """Sentences of ``text`` and the name of the splitter that made them."""
    try:
        import nltk
        from nltk.tokenize import sent_tokenize

        nltk.data.find("tokenizers/punkt_tab/english")
    except (ImportError, LookupError):
        return split_by_rules(text), RULES
    return sent_tokenize(text), f"nltk-punkt {nltk.__version__}"
