"""SQuAD and HotpotQA as documents and questions, from a local file or the hub."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

from sparse_attention.errors import UserError
from sparse_attention.reading import DATA_FILE, read_json, validated


@dataclass(frozen=True)
class Question:
    """A question with its answers and the places of its documents."""

    text: str
    answers: tuple[str, ...]
    needed: tuple[int, ...]
    """Documents that the answer needs."""
    article: tuple[int, ...]
    """All documents of the same article or question, in the order of the file."""

    @property
    def related(self) -> tuple[int, ...]:
        """Further documents of the same article or question."""
        return tuple(place for place in self.article if place not in self.needed)


@dataclass(frozen=True)
class QuestionSet:
    """Documents, sorted and distinct, and the questions about them in the order of the file."""

    documents: tuple[str, ...]
    questions: tuple[Question, ...]
    source: str
    sha256: str
    """Of the documents and questions."""


@dataclass(frozen=True)
class _Raw:
    """A question with its documents as text."""

    text: str
    answers: tuple[str, ...]
    needed: tuple[str, ...]
    article: tuple[str, ...]


@dataclass(frozen=True)
class _Source:
    """One of the two data sets."""

    title: str
    option: str
    file_hint: str
    hub_id: str
    hub_name: str | None


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("a text is expected that is not empty, which every answer would hold")
    return text


_Text = Annotated[str, AfterValidator(_not_blank)]


class _Entry(BaseModel):
    """Strict, as nothing else is what its author meant; further fields are left alone."""

    model_config = ConfigDict(strict=True)


class _SquadAnswer(_Entry):
    text: _Text


class _SquadQuestion(_Entry):
    question: str
    answers: list[_SquadAnswer]
    is_impossible: bool = False


class _Paragraph(_Entry):
    context: str
    qas: list[_SquadQuestion]


class _Article(_Entry):
    paragraphs: list[_Paragraph]


class _Squad(_Entry):
    data: list[_Article]


class _HotpotEntry(_Entry):
    question: str
    answer: _Text
    context: Annotated[
        list[Annotated[tuple[str, list[str]], Field(strict=False)]], Field(min_length=1)
    ]
    supporting_facts: list[Annotated[tuple[str, int], Field(strict=False)]] = []


_SQUAD = TypeAdapter(_Squad)
_HOTPOTQA: TypeAdapter[Sequence[_HotpotEntry]] = TypeAdapter(list[_HotpotEntry])

_SOURCES = {
    "qa_1": _Source("SQuAD", "squad_file", "dev-v2.0.json", "rajpurkar/squad_v2", None),
    "qa_2": _Source(
        "HotpotQA",
        "hotpotqa_file",
        "hotpot_dev_distractor_v1.json",
        "hotpotqa/hotpot_qa",
        "distractor",
    ),
}


def load_questions(task: str, path: str | None) -> QuestionSet:
    """Questions of the task ``qa_1`` (SQuAD) or ``qa_2`` (HotpotQA).

    Read from the JSON file ``path`` in the format of the data set's own release, else from the
    hub.  Raises ``UserError`` for a file that is missing or of another format, and where the hub
    cannot be reached.
    """
    source = _SOURCES[task]
    if path is None:
        rows = _from_hub(task, source)
        parse = _squad_rows if task == "qa_1" else _hotpotqa_rows
        return _question_set(list(parse(rows)), source.hub_id)
    what = f"{source.title} file"
    data = read_json(path, what, DATA_FILE)
    hint = f"{source.option} expects a file such as {source.file_hint}."
    if task == "qa_1":
        raw = list(_squad(validated(_SQUAD, data, f"{what} {path}", hint)))
    else:
        raw = list(_hotpotqa(validated(_HOTPOTQA, data, f"{what} {path}", hint)))
    if not raw:
        raise UserError(f"{path} holds no answerable question.")
    return _question_set(raw, Path(path).name)


def _from_hub(task: str, source: _Source) -> Iterable[Mapping[str, Any]]:
    from datasets import load_dataset

    try:
        return load_dataset(source.hub_id, source.hub_name, split="validation")
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{task} needs {source.title}: set {source.option} to a local {source.file_hint}, or "
            f"allow access to the hub ({source.hub_id}: {type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else 'no details'})."
        ) from error


def _squad(data: _Squad) -> Iterator[_Raw]:
    for article in data.data:
        paragraphs = tuple(paragraph.context for paragraph in article.paragraphs)
        for paragraph in article.paragraphs:
            for entry in paragraph.qas:
                answers = tuple(answer.text for answer in entry.answers)
                if answers and not entry.is_impossible:
                    yield _Raw(entry.question, answers, (paragraph.context,), paragraphs)


def _squad_rows(rows: Iterable[Mapping[str, Any]]) -> Iterator[_Raw]:
    """Give the hub's flat table in the form of the file; rows of an article follow each other."""
    rows = list(rows)
    articles: dict[str, dict[str, None]] = {}
    for row in rows:
        articles.setdefault(row["title"], {})[row["context"]] = None
    for row in rows:
        if row["answers"]["text"]:
            yield _Raw(
                row["question"],
                tuple(row["answers"]["text"]),
                (row["context"],),
                tuple(articles[row["title"]]),
            )


def _hotpotqa(data: Sequence[_HotpotEntry]) -> Iterator[_Raw]:
    for entry in data:
        titles = {title for title, _ in entry.supporting_facts}
        yield _hotpot_question(entry.question, entry.answer, entry.context, titles)


def _hotpotqa_rows(rows: Iterable[Mapping[str, Any]]) -> Iterator[_Raw]:
    for row in rows:
        context = zip(row["context"]["title"], row["context"]["sentences"], strict=True)
        titles = set(row["supporting_facts"]["title"])
        yield _hotpot_question(row["question"], row["answer"], context, titles)


def _hotpot_question(text: str, answer: str, context: Iterable[Any], titles: set[str]) -> _Raw:
    documents = {title: f"{title}\n{''.join(sentences)}" for title, sentences in context}
    needed = [text for title, text in documents.items() if title in titles]
    # Without supporting facts nothing tells which documents matter.
    return _Raw(text, (answer,), tuple(needed or documents.values()), tuple(documents.values()))


def _question_set(raw: list[_Raw], source: str) -> QuestionSet:
    documents = sorted({text for question in raw for text in (*question.needed, *question.article)})
    place = {text: index for index, text in enumerate(documents)}
    questions = []
    for question in raw:
        needed = tuple(dict.fromkeys(place[text] for text in question.needed))
        article = tuple(dict.fromkeys(place[text] for text in question.article))
        questions.append(Question(question.text, question.answers, needed, article))
    digest = hashlib.sha256(json.dumps([documents, [vars(q) for q in questions]]).encode())
    return QuestionSet(tuple(documents), tuple(questions), source, digest.hexdigest())
