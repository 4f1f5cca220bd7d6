"""LooGLE's automatic scores: overlap with the reference answer, and entities filled in.

Source: ``Evaluation/automatic_metrics.py`` and ``automatic_eval.py`` of bigai-nlco/LooGLE.  Its
METEOR depends on the order of a set of strings, another in each process; here words keep the order
in which they first occur.  Where a text has no word for ROUGE it stops; here the score is 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from benchmark.loogle.literals import literal
from benchmark.metrics import rouge_pltrdy
from benchmark.metrics.bert_score import bert_precision
from benchmark.metrics.bleu import bleu_n
from benchmark.metrics.frames import as_array, mean, prediction_of, references_of, task_rows
from benchmark.metrics.meteor import meteor
from benchmark.metrics.wordnet import load_wordnet
from sparse_attention.errors import UserError
from sparse_attention.reading import parse_json

CLOZE = "shortdep_cloze"
TASKS = ("shortdep_qa", "longdep_qa", CLOZE, "longdep_summarization")

Compat = Literal["upstream", "kvpress"]
"""``kvpress``: a cloze answer that is no dictionary counts as one missed entity, however many were
asked for, which raises ``exact_match``; and an empty answer is not read as the word "None"."""


class Filled(NamedTuple):
    """Entities of a cloze that were found, of how many."""

    hits: int
    masks: int


def calculate_metrics(
    frame: pd.DataFrame, compat: Compat = "upstream", bert_score: bool = False
) -> dict[str, Mapping[str, float | None]]:
    """Scores by task, ``{task: {metric: score}}``, in [0, 1].

    For shortdep_cloze ``exact_match`` and ``partial_match``: entities found in all questions
    together, over entities asked for, rounded to 4 digits.  Else plain means without rounding of
    ``bleu1``, ``bleu4`` (precision of 4-grams alone), ``rouge-1``, ``rouge-2`` and ``rouge-l``
    (recall), ``meteor`` (None where ``meteor_obstacle`` says why) and ``bert`` if asked for.

    ``frame`` has the columns ``task``, ``answer`` (for shortdep_cloze a JSON object of mask and
    entity) and ``predicted_answer``.  Raises ``UserError`` for an unknown task, a missing column
    and a row without a usable reference.
    """
    rows = task_rows(frame, "LooGLE", TASKS)
    result: dict[str, Mapping[str, float | None]] = {}
    for task in TASKS:
        chosen = [row for row in rows if row["task"] == task]
        if not chosen:
            continue
        if task == CLOZE:
            result[task] = _cloze_scores(chosen, compat)
        else:
            pairs = [(_text(row, compat), references_of(row, "LooGLE")[0]) for row in chosen]
            result[task] = _generation_scores(pairs, bert_score)
    return result


def sample_scores(frame: pd.DataFrame, compat: Compat = "upstream") -> np.ndarray:
    """Score of each row in [0, 1], float64 of shape (rows,): ROUGE-L recall, and for a cloze the
    share of its entities that are exactly right.  Columns as for ``calculate_metrics``.
    """
    return as_array(_sample_score(row, compat) for row in task_rows(frame, "LooGLE", TASKS))


def exact_match(prediction: str, reference: Mapping[str, str]) -> Filled:
    """Entities that are equal to the reference's, letter by letter."""
    given = _dictionary(prediction)
    hits = sum(name in given and given[name] == entity for name, entity in reference.items())
    return Filled(hits, len(reference))


def partial_match(prediction: str, reference: Mapping[str, str]) -> Filled:
    """Entities that share a word with the reference's; one that is no text is a miss."""
    given = _dictionary(prediction)
    found = ((given.get(name), entity) for name, entity in reference.items())
    hits = sum(isinstance(ours, str) and _share_word(ours, theirs) for ours, theirs in found)
    return Filled(hits, len(reference))


def meteor_obstacle() -> str | None:
    """Why METEOR cannot be computed on this machine; None if it can."""
    try:
        load_wordnet()
    except UserError as error:
        return str(error)
    return None


def _sample_score(row: Mapping[str, Any], compat: Compat) -> float:
    if row["task"] == CLOZE:
        found = exact_match(prediction_of(row), _entities(row))
        return found.hits / found.masks
    reference = references_of(row, "LooGLE")[0]
    return rouge_pltrdy.rouge_l(_text(row, compat), reference).recall


def _text(row: Mapping[str, Any], compat: Compat) -> str:
    prediction = prediction_of(row)
    return prediction if prediction or compat == "kvpress" else "None"


def _generation_scores(
    pairs: Sequence[tuple[str, str]], bert_score: bool
) -> dict[str, float | None]:
    words = [(_words(ours), _words(theirs)) for ours, theirs in pairs]
    scores: dict[str, list[float] | None] = {
        "bleu1": [bleu_n(ours, theirs, 1) for ours, theirs in words],
        "bleu4": [bleu_n(ours, theirs, 4) for ours, theirs in words],
        "rouge-1": [rouge_pltrdy.rouge_n(ours, theirs, 1).recall for ours, theirs in pairs],
        "rouge-2": [rouge_pltrdy.rouge_n(ours, theirs, 2).recall for ours, theirs in pairs],
        "rouge-l": [rouge_pltrdy.rouge_l(ours, theirs).recall for ours, theirs in pairs],
        "meteor": _meteor_scores(words),
    }
    if bert_score:
        # Upstream calls it recall, with the two texts exchanged.
        scores["bert"] = bert_precision(
            [ours for ours, _ in pairs], [theirs for _, theirs in pairs]
        )
    return {name: None if found is None else mean(found) for name, found in scores.items()}


def _meteor_scores(words: Sequence[tuple[list[str], list[str]]]) -> list[float] | None:
    if meteor_obstacle() is not None:
        return None
    wordnet = load_wordnet()
    return [
        meteor(list(dict.fromkeys(ours)), list(dict.fromkeys(theirs)), wordnet)
        for ours, theirs in words
    ]


def _cloze_scores(rows: Sequence[Mapping[str, Any]], compat: Compat) -> dict[str, float]:
    pairs = [(prediction_of(row), _entities(row)) for row in rows]
    exact = [exact_match(*pair) for pair in pairs]
    if compat == "kvpress":
        exact = [
            found if _is_dictionary(prediction) else Filled(0, 1)
            for found, (prediction, _) in zip(exact, pairs, strict=True)
        ]
    return {
        "exact_match": _pooled(exact),
        "partial_match": _pooled([partial_match(*pair) for pair in pairs]),
    }


def _pooled(found: Sequence[Filled]) -> float:
    return round(sum(one.hits for one in found) / sum(one.masks for one in found), 4)


def _entities(row: Mapping[str, Any]) -> dict[str, str]:
    reference = references_of(row, "LooGLE")[0]
    try:
        entities = parse_json(reference, CLOZE)
    except ValueError:
        entities = None
    if not is_cloze_answer(entities):
        raise UserError(
            f"the reference of {CLOZE} must be a JSON object of mask and entity, not {reference!r}."
        )
    return entities


def is_cloze_answer(value: Any) -> bool:
    """Whether a value is a dictionary of at least one text, by text."""
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(text, str) for pair in value.items() for text in pair)
    )


def _dictionary(prediction: str) -> dict[Any, Any]:
    try:
        value = literal(prediction)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _is_dictionary(prediction: str) -> bool:
    try:
        return isinstance(literal(prediction), dict)
    except ValueError:
        return False


def _words(text: str) -> list[str]:
    return text.replace("\n", " ").split()


def _share_word(ours: str, theirs: str) -> bool:
    return not set(ours.split()).isdisjoint(theirs.split())
