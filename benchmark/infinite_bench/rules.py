"""How InfiniteBench finds the answer in free text, task by task.

Source: ``src/compute_scores.py`` of OpenBMB/InfiniteBench.  Where that one stops with an exception
(a decimal for a whole number, more digits than Python converts) the answer is wrong here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from benchmark.metrics.overlap import best_of, chinese_character_f1, english_f1
from benchmark.metrics.rouge_google import rouge_lsum

Score = Callable[[str, list[str]], float]
"""Score in [0, 1] of a prediction, given the label."""

_DIGITS = re.compile("[0-9]+")
_NUMBER = re.compile(r"\d+\.\d+|\d+")
_SPACES = re.compile(" {2,}")
_OPTION_WORD = re.compile("Option|option")


def _blanks(marks: str) -> dict[int, str]:
    return str.maketrans(dict.fromkeys(marks, " "))


_WORD_MARKS = _blanks("\n:\"'.,?!{}")
_CODE_RUN_MARKS = _blanks("\n.`'\":")
_CODE_DEBUG_MARKS = _blanks("\n`'\"-*")
_CHOICE_MARKS = _blanks("\n\"'.,?!{}")
_CODE_DEBUG_LEADS = ("answer is:", "is:", "answer:", "correct option is:")
_CHOICE_LEADS = ("answer is:", "answer:", "answer is", "option is")


def first_digits(prediction: str, label: list[str]) -> float:
    """Whether the first run of digits is the label (passkey, number_string)."""
    found = _DIGITS.search(prediction)
    return float((found[0] if found else "") == label[0])


def kv_retrieval(prediction: str, label: list[str]) -> float:
    """Whether the label is one of the words."""
    return float(label[0] in prediction.translate(_WORD_MARKS).split())


def code_run(prediction: str, label: list[str]) -> float:
    """Whether the last word is the label as a whole number."""
    words = prediction.translate(_CODE_RUN_MARKS).split()
    found = _whole_number(words[-1]) if words else None
    return float(found is not None and found == _whole_number(label[0]))


def math_find(prediction: str, label: list[str]) -> float:
    """Whether the first number, without its sign, is the label."""
    found = _NUMBER.search(prediction)
    if found is None:
        return 0.0
    expected = _whole_number(label[0])
    if expected is None:
        return float(float(found[0]) == float(label[0]))
    return float(_whole_number(found[0]) == expected)


def math_calc(prediction: str, label: list[str], *, skip_first: bool = False) -> float:
    """Share of the label that the runs of digits agree with from the start on.

    ``skip_first``: leave out the first run, which upstream does for GPT-4 alone.
    """
    # As text: numbers that long cannot be converted, nor need be.
    values = [digits.lstrip("0") or "0" for digits in _DIGITS.findall(prediction)]
    agreeing = 0
    for value, expected in zip(values[skip_first:], label, strict=False):
        if value != expected:
            break
        agreeing += 1
    return agreeing / len(label)


def longdialogue_qa_eng(prediction: str, label: list[str]) -> float:
    """Whether the label's first name is one of the words in upper case."""
    words = prediction.translate(_WORD_MARKS).split()
    return float(label[0] in (word.upper() for word in words))


def longbook_choice_eng(prediction: str, label: list[str]) -> float:
    """Whether the option chosen is the label (text, letter).

    The choice is the first character if it is a letter A to D; else the whole text; else what
    follows a lead such as "answer is"; else the first word that is a part of "ABCD".
    """
    text = prediction.strip()
    if not text:
        return 0.0
    if text[0] in "ABCD":
        return float(text[0] in label)
    if text in label:
        return 1.0
    text = _SPACES.sub(" ", text.translate(_CHOICE_MARKS))
    answer = _after_lead(text, _CHOICE_LEADS)
    if answer is not None:
        return float(answer.startswith(tuple(label)))
    word = next((word for word in text.split() if word in "ABCD"), None)
    return float(word in label)


def code_debug(prediction: str, label: list[str]) -> float:
    """Whether the text starts with the letter of the label (function, letter) and a mark, or one
    of both follows a lead such as "answer is:"; a letter alone is not enough.
    """
    text = prediction.strip()
    if text[:2] in (f"{label[-1]}.", f"{label[-1]}:"):
        return 1.0
    answer = _after_lead(_code_debug_text(text), _CODE_DEBUG_LEADS)
    return float(answer is not None and answer.startswith(tuple(label)))


def kvpress_longdialogue_qa_eng(prediction: str, label: list[str]) -> float:
    """Whether any name of the label is a part of the text, upper and lower case alike."""
    text = prediction.strip().upper()
    return float(any(name.upper() in text for name in label))


def kvpress_longbook_choice_eng(prediction: str, label: list[str]) -> float:
    """As upstream, but the last lone letter A to D of a line is enough, an article "A" too."""
    lone = _lone_letter(prediction.strip(), "A-D")
    return 1.0 if lone in label else longbook_choice_eng(prediction, label)


def kvpress_code_debug(prediction: str, label: list[str]) -> float:
    """As upstream, but the last lone letter A to J of a line or the start of the text is enough."""
    text = prediction.strip()
    if _lone_letter(text, "A-J") == label[-1] or _code_debug_text(text).startswith(tuple(label)):
        return 1.0
    return code_debug(prediction, label)


def _qa(metric: Callable[[str, str], float]) -> Score:
    return lambda prediction, label: best_of(metric, prediction, label)


def _rouge(prediction: str, reference: str) -> float:
    return rouge_lsum(prediction, reference).f


SCORES: Mapping[str, tuple[str, Score]] = {
    "passkey": ("accuracy", first_digits),
    "number_string": ("accuracy", first_digits),
    "kv_retrieval": ("accuracy", kv_retrieval),
    "longbook_sum_eng": ("rougeLsum", _qa(_rouge)),
    "longbook_choice_eng": ("accuracy", longbook_choice_eng),
    "longbook_qa_eng": ("f1", _qa(english_f1)),
    "longbook_qa_chn": ("f1", _qa(chinese_character_f1)),
    "longdialogue_qa_eng": ("accuracy", longdialogue_qa_eng),
    "math_find": ("accuracy", math_find),
    "math_calc": ("prefix", math_calc),
    "code_run": ("accuracy", code_run),
    "code_debug": ("accuracy", code_debug),
}
"""Name of the metric and the metric, by task."""

WITH_OPTIONS = ("longbook_choice_eng", "code_debug")
"""Tasks whose label is the text and the letter of an option."""

NUMERIC = ("math_find", "math_calc", "code_run")
"""Tasks whose label is numbers."""

KVPRESS: Mapping[str, Score] = {
    "longbook_choice_eng": kvpress_longbook_choice_eng,
    "longdialogue_qa_eng": kvpress_longdialogue_qa_eng,
    "code_debug": kvpress_code_debug,
}


def is_number(text: str) -> bool:
    """Whether a text is a number as Python writes it."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _whole_number(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _after_lead(text: str, leads: Sequence[str]) -> str | None:
    """What follows the first of ``leads`` that is there, and a character; None for none."""
    for lead in leads:
        _, found, answer = text.partition(lead)
        if found:
            return answer[1:]
    return None


def _code_debug_text(text: str) -> str:
    return _SPACES.sub(" ", _OPTION_WORD.sub(" ", text.translate(_CODE_DEBUG_MARKS)))


def _lone_letter(text: str, letters: str) -> str | None:
    """The last letter that is a word by itself, in the first line with one."""
    lone = re.compile(rf"\b[{letters}]\b")
    return next((found[-1] for line in text.split("\n") if (found := lone.findall(line))), None)
