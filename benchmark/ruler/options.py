"""The options of the RULER benchmark and what they name, loaded."""

from __future__ import annotations

import os
import re
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from benchmark.ruler.haystack import FileHaystack, FillerHaystack, Haystack, read_text
from benchmark.ruler.lexicon import Lexicon, load_lexicon
from benchmark.ruler.prompts import Prompts, load_prompts
from benchmark.ruler.qa_data import QuestionSet, load_questions
from benchmark.ruler.sentences import split_sentences
from benchmark.ruler.tasks import TASKS, Task
from benchmark.ruler.upstream.checkout import open_checkout
from benchmark.ruler.upstream.generate import Upstream
from benchmark.suite.dataset import SAMPLES
from benchmark.suite.options import BenchmarkOptions
from sparse_attention.errors import UserError, unknown_name
from sparse_attention.reading import user_folder

GENERATE = "generate"
_SAMPLE_FOLDER = Path(__file__).parent / "sample_data"
SHORT = 2048
"""Below this length there is no solved example by default, and answers get fewer tokens."""


class RulerOptions(BenchmarkOptions):
    """Options of ``Ruler``; see its docstring."""

    length: int = Field(default=4096, ge=64, le=2**24)
    """Tokens of prompt and answer together."""
    samples: int = Field(default=100, ge=1, le=100_000)
    """Samples of each task."""
    seed: int = Field(default=42, ge=0, lt=2**63)
    lexicon: Literal["wonderwords", "embedded"] = "wonderwords"
    haystack: str | None = None
    """File with prose; None for the project's own."""
    upstream: str | None = None
    """Checkout of RULER, whose wording, data and draws samples are to have; None for our own."""
    prompts: str | None = None
    """File with the wording; None for the project's own."""
    squad_file: str | None = None
    hotpotqa_file: str | None = None
    source: str = Field(default=GENERATE, min_length=1)
    """``generate``; ``samples``, which generates with the few questions that ship with the
    project; a parquet file or folder; or the hub name of a prepared dataset."""
    one_shot: bool | None = None
    """Solved example in vt and cwe; None for the default of the lexicon and length."""
    cache_dir: str | None = None
    """Folder of generated samples; None for ``$SPARSE_BENCH_CACHE/ruler`` or the user's cache."""

    def with_example(self, length: int) -> bool:
        """Whether samples of ``length`` tokens start with a solved example."""
        if self.one_shot is not None:
            return self.one_shot
        return self.lexicon == "wonderwords" and length >= SHORT

    @model_validator(mode="after")
    def _only_one_wording(self) -> Self:
        if self.upstream is not None:
            for name in ("lexicon", "prompts", "one_shot", "source"):
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"with upstream, {name} is what upstream has; leave it out")
        return self

    @property
    def generated(self) -> bool:
        """Whether samples are generated rather than read."""
        return self.source in (GENERATE, SAMPLES)

    @property
    def cache_folder(self) -> Path:
        """Where generated samples are kept."""
        if self.cache_dir is not None:
            return user_folder(self.cache_dir, "option cache_dir")
        root = os.environ.get("SPARSE_BENCH_CACHE") or "~/.cache/sparse-bench"
        return user_folder(root, "SPARSE_BENCH_CACHE") / "ruler"


class Sources:
    """The files and words that options name, each read when it is first needed."""

    def __init__(self, options: RulerOptions) -> None:
        self.options = options
        self._questions: dict[str, QuestionSet] = {}

    @cached_property
    def prompts(self) -> Prompts:
        """The wording."""
        return load_prompts(self.options.prompts)

    @cached_property
    def lexicon(self) -> Lexicon:
        """The words."""
        return load_lexicon(self.options.lexicon)

    @cached_property
    def upstream(self) -> Upstream | None:
        """What upstream's samples are made from, if they are asked for."""
        options = self.options
        if options.upstream is None:
            return None
        return Upstream(
            checkout=open_checkout(options.upstream),
            length=options.length,
            samples=options.samples,
            seed=options.seed,
            essay=lambda: self.essay[0],
            questions=self.questions,
            common_words=lambda: self.lexicon.common_words,
        )

    @cached_property
    def essay(self) -> tuple[tuple[str, ...], str]:
        """The words of upstream's prose, empty ones too, and the hash of its file."""
        text, sha256 = read_text(self._file(self.options.haystack, "PaulGrahamEssays.json"))
        return tuple(re.sub(r"\s+", " ", text).split(" ")), sha256

    @cached_property
    def haystack(self) -> Haystack:
        """The prose."""
        if self.options.haystack is not None:
            return FileHaystack(self.options.haystack)
        return FillerHaystack(self.lexicon.filler_sentence, self.lexicon.name)

    def questions(self, task: Task) -> QuestionSet:
        """Return the questions of a task that needs them."""
        if task.name not in self._questions:
            files = {"qa_1": self.options.squad_file, "qa_2": self.options.hotpotqa_file}
            if self.options.source == SAMPLES:
                files = {name: str(_SAMPLE_FOLDER / f"{name}.json") for name in files}
            elif self.upstream is not None:
                names = {"qa_1": "squad.json", "qa_2": "hotpotqa.json"}
                files = {name: str(self._file(files[name], names[name])) for name in files}
            self._questions[task.name] = load_questions(task.name, files[task.name])
        return self._questions[task.name]

    def provenance(self, task: Task) -> dict[str, Any]:
        """Return what the samples of ``task`` are made from, as JSON values."""
        record: dict[str, Any] = {
            "lexicon": self.lexicon.name,
            "lexicon_version": self.lexicon.version,
            "lexicon_sha256": self.lexicon.fingerprint(),
        }
        if self.upstream is not None:
            record |= self.upstream.checkout.provenance(task.wording)
            if task.needs == "prose":
                splitter = split_sentences("")[1]
                record |= {"haystack_sha256": self.essay[1], "sentence_splitter": splitter}
        else:
            record |= {
                "prompts_version": self.prompts.version,
                "prompts_sha256": self.prompts.sha256,
            }
            if task.needs == "prose":
                record |= self.haystack.provenance()
        if task.needs == "questions":
            questions = self.questions(task)
            record |= {"questions": questions.source, "questions_sha256": questions.sha256}
        return record

    def _file(self, given: str | None, name: str) -> Path:
        """A file of the user's, or what the checkout has in its place."""
        if given is not None or self.upstream is None:
            return Path(given or name)
        return self.upstream.checkout.data(name)


def task_named(name: str, lexicon: Lexicon | None = None) -> Task:
    """Return the task ``name``; ``UserError`` if there is none or ``lexicon`` cannot serve it."""
    if name not in TASKS:
        raise unknown_name("subset of ruler", name, TASKS)
    if lexicon is not None and lexicon.tasks is not None and name not in lexicon.tasks:
        valid = ", ".join(task for task in TASKS if task in lexicon.tasks)
        raise UserError(
            f"the lexicon {lexicon.name!r} has no words for the task {name}. It serves {valid}; "
            "for the others choose the lexicon 'wonderwords'."
        )
    return TASKS[name]
