"""SQuAD and HotpotQA as documents and questions, from a local file or the hub."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparse_attention.errors import UserError


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
    data = _read_json(Path(path), source)
    try:
        raw = list(_squad(data) if task == "qa_1" else _hotpotqa(data))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise UserError(
            f"{path} is not in {source.title}'s format ({type(error).__name__}: {error}); "
            f"{source.option} expects a file such as {source.file_hint}."
        ) from error
    if not raw:
        raise UserError(f"{path} holds no answerable question.")
    return _question_set(raw, Path(path).name)


def _read_json(path: Path, source: _Source) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read the {source.title} file {path}: {error.strerror}.") from error
    except ValueError as error:
        raise UserError(f"the {source.title} file {path} is not valid JSON: {error}.") from error


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


def _squad(data: Any) -> Iterator[_Raw]:
    for article in data["data"]:
        paragraphs = [paragraph["context"] for paragraph in article["paragraphs"]]
        for paragraph in article["paragraphs"]:
            for entry in paragraph["qas"]:
                answers = tuple(answer["text"] for answer in entry["answers"])
                if answers and not entry.get("is_impossible", False):
                    context = paragraph["context"]
                    yield _Raw(entry["question"], answers, (context,), tuple(paragraphs))


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


def _hotpotqa(data: Any) -> Iterator[_Raw]:
    for entry in data:
        titles = {title for title, _ in entry.get("supporting_facts", ())}
        yield _hotpot_question(entry["question"], entry["answer"], entry["context"], titles)


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
