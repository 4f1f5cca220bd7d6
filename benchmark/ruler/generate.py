"""Samples of a task that fill a length in tokens."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from benchmark.ruler.length import Count, Encoder, Fit, TokenCounter, TooLargeError, largest_size
from benchmark.ruler.options import SHORT, RulerOptions, Sources
from benchmark.ruler.sampling import SampleRandom
from benchmark.ruler.tasks import Material, Plan, Prompt, Task
from benchmark.suite.base import Sample
from benchmark.suite.dataset import SAMPLES
from sparse_attention.errors import UserError
from sparse_attention.prompt import PromptSettings, encode_prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

GENERATOR_VERSION = 2
"""Counts the changes that make other samples from the same options."""

BOS_TOKENS = 1
_WORD = " word"
_SPARE_TOKENS = 16
_ROUND = 8
_FILLED = 0.9
"""Material that ends before this share of the length is too little for it."""


def generate(
    task: Task, options: RulerOptions, sources: Sources, tokenizer: Encoder
) -> list[Sample]:
    """Make ``options.samples`` samples of ``task``.

    ``length`` counts the tokens of the context, of what follows it (question, newline, answer
    prefix), what stands around them (``frame_tokens``), and ``max_new_tokens``.  Each sample is
    as large as fits.  Raises ``UserError`` where the smallest sample is longer than ``length``, and
    where the material ends long before, but for the few questions that ship with the project.
    """
    writer = _Writer(task, options, sources, TokenCounter(tokenizer), frame_tokens(tokenizer))
    return [writer.sample(index) for index in range(options.samples)]


def frame_tokens(tokenizer: Encoder) -> int:
    """Tokens of a prompt that are neither context nor question nor answer prefix.

    One for the beginning of the sequence; of a chat model, its template.
    """
    if not getattr(tokenizer, "chat_template", None):
        return BOS_TOKENS
    prompt = encode_prompt(
        cast("PreTrainedTokenizerBase", tokenizer),
        _WORD,
        _WORD,
        _WORD,
        settings=PromptSettings(),
        max_new_tokens=1,
        max_positions=sys.maxsize,
    )
    parts = 3 * len(tokenizer.encode(_WORD, add_special_tokens=False))
    return max(BOS_TOKENS, len(prompt.context_ids) + len(prompt.question_ids) - parts)


def max_new_tokens(task: Task, length: int, prompt: Prompt, count: Count) -> int:
    """Limit of new tokens of a sample.

    RULER's own from 2048 tokens on.  Below, the needle tasks and cwe would spend most of the
    length on it; they get a sixteenth of the length, at least the tokens of an answer that names
    the keys or numbers the words plus 16, rounded up to a multiple of 8.
    """
    if length >= SHORT or prompt.answer_text is None:
        return task.max_new_tokens
    needed = -(-(count(f" {prompt.answer_text}") + _SPARE_TOKENS) // _ROUND) * _ROUND
    return min(task.max_new_tokens, max(length // 16, needed))


@dataclass(frozen=True)
class _Draft:
    """A sample whose largest size is known."""

    plan: Plan
    new_tokens: int
    fit: Fit


@dataclass(frozen=True)
class _Writer:
    """Writes the samples of one task."""

    task: Task
    options: RulerOptions
    sources: Sources
    count: Count
    frame: int
    """Tokens around each prompt; see ``frame_tokens``."""

    def sample(self, index: int) -> Sample:
        """Sample ``index``, as large as fits."""
        draft = self.draft(index)
        prompt = draft.plan.build(draft.fit.size)
        return Sample(
            id=f"{self.task.name}-{self.options.length}-{index:04d}",
            context=prompt.context,
            question=prompt.question,
            answer_prefix=prompt.answer_prefix,
            answers=prompt.answers,
            max_new_tokens=draft.new_tokens,
            task=self.task.name,
            extra={"length_tokens": draft.fit.cost, **prompt.extra},
        )

    def draft(self, index: int) -> _Draft:
        """Find the largest size of sample ``index``."""
        length = self.options.length
        plan, new_tokens, _ = self._smallest(index, length)
        try:
            fit = largest_size(
                lambda size: self._cost(plan.build(size), new_tokens),
                length,
                smallest=plan.smallest,
                largest=plan.largest,
            )
        except TooLargeError as error:
            raise self._too_short(index, error.cost) from error
        enough = fit.cost >= _FILLED * length or self.options.source == SAMPLES
        if fit.exhausted and not enough:
            raise UserError(
                f"{self.task.name} cannot fill length {length}: all of its material gives "
                f"{fit.cost} tokens with this tokenizer. Choose a length of at most "
                f"{int(fit.cost / _FILLED)}"
                + (" or a larger data file." if self.task.needs == "questions" else ".")
            )
        return _Draft(plan, new_tokens, fit)

    def _smallest(self, index: int, length: int) -> tuple[Plan, int, int]:
        """Plan of a sample, its limit of new tokens and the cost of its smallest size."""
        material = Material(
            length=length,
            prompts=self.sources.prompts,
            lexicon=self.sources.lexicon,
            haystack=self.sources.haystack if self.task.needs == "prose" else None,
            questions=self.sources.questions(self.task) if self.task.needs == "questions" else None,
            one_shot=self.options.with_example(length),
            count=self.count,
        )
        random = SampleRandom(self.options.seed, self.task.name, length, index)
        plan = self.task.generator(material, random)
        prompt = plan.build(plan.smallest)
        new_tokens = max_new_tokens(self.task, length, prompt, self.count)
        return plan, new_tokens, self._cost(prompt, new_tokens)

    def _cost(self, prompt: Prompt, new_tokens: int) -> int:
        return self.count(prompt.context) + self.count(prompt.tail) + new_tokens + self.frame

    def _too_short(self, index: int, needed: int) -> UserError:
        length = self.options.length
        message = (
            f"{self.task.name} does not fit length {length}: sample {index} needs at least "
            f"{needed} tokens with this tokenizer. The smallest feasible length is "
            f"{self._smallest_length()}"
        )
        if self.options.with_example(length) and self.task.name in ("vt", "cwe"):
            message += ", less with one_shot=False"
        return UserError(f"{message}.")

    def _smallest_length(self) -> int:
        """Find a length that all samples meet, from below.

        Draws, limits of new tokens and the smallest prompts depend on the length, so the search
        goes up until a length is enough for what it asks for.
        """
        length = self.options.length
        while True:
            places = range(self.options.samples)
            needed = max(self._smallest(index, length)[2] for index in places)
            if needed <= length:
                return length
            length = needed
