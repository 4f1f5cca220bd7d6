"""The sequences that the embedded model is trained on: a context and many questions about it.

The wording is that of the RULER tasks.  Short sequences are dense in facts and questions, because
many answers per token are what makes training on a CPU feasible; long ones come closer to what the
benchmark asks.  All randomness comes from the ``random.Random`` that is passed in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from random import Random

from benchmark.embedded.vocabulary import KEYS, filler_sentence, number
from benchmark.embedded_training.mix import Mix, mix_for_length
from benchmark.embedded_training.questions import (
    Question,
    ask_catalogue,
    ask_chain,
    ask_number,
    ask_numbers,
    ask_votes,
    prompts,
)
from benchmark.embedded_training.tokenizer import count_tokens
from benchmark.embedded_training.votes import CONTEXT as VOTES_CONTEXT
from benchmark.embedded_training.votes import VOTE_TOKENS, vote_list

LABELS = ("single", "multi_key", "multi_query", "variables", "votes", "copy")
"""What the questions ask for; ``copy`` is a warm-up and no task."""

SHORT_CONTEXT = "Text: {haystack}\n"
"""Context of sequences that are too short for the benchmark's introduction."""
CHAIN_LENGTH = 5
"""Variables of a chain of RULER's variable tracking."""


@dataclass(frozen=True)
class TrainingSequence:
    """A context and the questions that follow it."""

    context: str
    questions: tuple[Question, ...]


@dataclass
class Facts:
    """The facts of one context."""

    needles: list[tuple[str, str]] = field(default_factory=list)
    """Keys with their number."""
    chains: list[tuple[list[str], str]] = field(default_factory=list)
    """Chains of variables with their number."""

    def groups(self) -> list[list[str]]:
        """Sentences of each fact, in the order in which they must be read."""
        text = prompts().text
        needles = [
            [text("niah.needle", type="number", key=key, value=value)]
            for key, value in self.needles
        ]
        chains = [
            [
                text("vt.assign", value=value, variable=variables[0]),
                *(text("vt.copy", source=a, target=b) for a, b in pairwise(variables)),
            ]
            for variables, value in self.chains
        ]
        return needles + chains


def training_sequence(length: int, rng: Random) -> TrainingSequence:
    """Draw a sequence of at most ``length`` tokens without the begin-of-sequence token."""
    mix = mix_for_length(length)
    kind = rng.random()
    if kind < mix.copy:
        return _copy_sequence(length, rng)
    if kind < mix.copy + mix.votes:
        return _votes_sequence(length, rng)
    kind = rng.random()
    while True:
        if kind < mix.sparse:
            sequence = _sparse_sequence(length, rng)
        else:
            sequence = _dense_sequence(length, rng, mix, packed=kind < mix.sparse + mix.packed)
        if sequence is not None:
            return sequence


# -------------------------------------------------------------------------------------------------
# Background


@lru_cache(maxsize=1)
def _filler_pool() -> tuple[tuple[str, int], ...]:
    """Filler sentences with their lengths; drawing from a pool is much faster than making them."""
    rng = Random(7)
    sentences = (filler_sentence(rng) for _ in range(20_000))
    return tuple((sentence, count_tokens(sentence)) for sentence in sentences)


def _filler(rng: Random) -> Iterator[tuple[str, int]]:
    while True:
        yield rng.choice(_filler_pool())


def _noise() -> Iterator[tuple[str, int]]:
    line = prompts().text("noise")
    tokens = count_tokens(line)
    while True:
        yield line, tokens


def _haystack(
    groups: Sequence[Sequence[str]],
    background: Iterator[tuple[str, int]],
    budget: int,
    rng: Random,
) -> str | None:
    """Mix groups of sentences with background to at most ``budget`` tokens; None if too long.

    The order inside a group is kept; groups are interleaved.
    """
    labels = [index for index, group in enumerate(groups) for _ in group]
    rng.shuffle(labels)
    iterators = [iter(group) for group in groups]
    facts = [next(iterators[label]) for label in labels]
    left = budget - sum(count_tokens(fact) for fact in facts)
    if left < 0:
        return None
    texts: list[str] = []
    for sentence, tokens in background:
        if tokens > left:
            break
        texts.append(sentence)
        left -= tokens
    total = len(facts) + len(texts)
    slots = set(rng.sample(range(total), len(facts)))
    next_fact, next_text = iter(facts), iter(texts)
    return " ".join(next(next_fact if slot in slots else next_text) for slot in range(total))


def _context(length: int, family: str) -> str:
    """Template of a context: the benchmark's where it fits."""
    if length <= 96:
        return SHORT_CONTEXT
    return prompts().text(
        f"{family}.context", type="number", types="numbers", haystack="{haystack}"
    )


def _template_tokens(template: str) -> int:
    return count_tokens(template.replace(" {haystack}", ""))


# -------------------------------------------------------------------------------------------------
# Sequences


def _copy_sequence(length: int, rng: Random) -> TrainingSequence:
    """Random key-number pairs, repeated in another order: the simplest look-up there is."""
    template = SHORT_CONTEXT
    room = length - _template_tokens(template)
    size = min(room // 6, 32)  # three tokens for a pair, each twice
    pairs = [(key, number(rng)) for key in rng.sample(KEYS, size)]
    shown = " ".join(f"{key} {value}" for key, value in pairs)
    rng.shuffle(pairs)
    segments = tuple((f" {key}", f" {value}") for key, value in pairs)
    return TrainingSequence(template.format(haystack=shown), (Question("copy", segments),))


def _votes_sequence(length: int, rng: Random) -> TrainingSequence:
    """List of votes and a question for each voter."""
    template = "List: {votes}\n" if length <= 96 else VOTES_CONTEXT
    tokens = ask_votes("apple", "street").tokens
    voters = max(1, min(int(length * rng.uniform(0.1, 0.5) / tokens), 12))
    room = length - count_tokens(template.replace(" {votes}", "")) - voters * tokens
    drawn = vote_list(room // VOTE_TOKENS, voters, rng.randint(2, 6), rng.uniform(0.3, 0.7), rng)
    questions = [ask_votes(*pair) for pair in rng.sample(sorted(drawn.winners.items()), voters)]
    return TrainingSequence(template.format(votes=" ".join(drawn.votes)), tuple(questions))


def _sparse_sequence(length: int, rng: Random) -> TrainingSequence | None:
    """One needle, four needles or one or two chains, as the benchmark asks for them."""
    names = iter(rng.sample(KEYS, 2 * CHAIN_LENGTH))
    facts = Facts()
    family = rng.choice(("one", "four", "chain", "chain"))
    if family == "chain":
        for _ in range(rng.choice((1, 1, 2)) if length >= 256 else 1):
            facts.chains.append(([next(names) for _ in range(CHAIN_LENGTH)], number(rng)))
        questions = [ask_chain(*chain) for chain in facts.chains]
    else:
        facts.needles = [(next(names), number(rng)) for _ in range(1 if family == "one" else 4)]
        task = "single" if family == "one" else "multi_key"
        questions = [ask_number(*needle, task) for needle in facts.needles]
        if family == "four":
            asked = rng.sample(facts.needles, 4)
            questions = [ask_numbers(asked), *questions] if length >= 256 else [ask_numbers(asked)]
    rng.shuffle(questions)
    template = _context(length, "vt" if family == "chain" else "niah.single")
    used = _template_tokens(template) + sum(question.tokens for question in questions)
    noise = rng.random() < (0.2 if family == "four" else 0.5)
    haystack = _haystack(facts.groups(), _noise() if noise else _filler(rng), length - used, rng)
    if haystack is None:
        return None
    return TrainingSequence(template.format(haystack=haystack), tuple(questions))


def _dense_sequence(length: int, rng: Random, mix: Mix, packed: bool) -> TrainingSequence | None:
    """Many needles and chains with as many questions as fit; None if they do not."""
    chains = 0.0 if packed or rng.random() < 0.3 else mix.chains
    template = _context(length, "vt" if chains and rng.random() < 0.5 else "niah.single")
    room = length - _template_tokens(template)
    question_budget = int(length * rng.uniform(*mix.questions))
    # Mostly facts in short texts, mostly background in long ones.
    fill = 1.0 if packed else 0.1 + 0.88 * rng.random() ** (0.6 if length <= 96 else 1.5)
    facts = _draw_facts(max(24, int((room - question_budget) * fill)), chains, rng)

    questions: list[Question] = []
    left = question_budget
    for question in _candidate_questions(facts, left, rng, mix):
        if not questions or question.tokens <= left:
            questions.append(question)
            left -= question.tokens
    room -= sum(question.tokens for question in questions)
    background = _noise() if length > 128 and rng.random() < 0.1 else _filler(rng)
    haystack = _haystack(facts.groups(), background, room, rng)
    if haystack is None:
        return None
    return TrainingSequence(template.format(haystack=haystack), tuple(questions))


def _draw_facts(budget: int, chain_share: float, rng: Random) -> Facts:
    """Draw facts until their sentences take about ``budget`` tokens; at least one."""
    names = rng.sample(KEYS, len(KEYS))  # every key is used once; popped from the end
    facts = Facts()
    while len(names) > CHAIN_LENGTH:
        if rng.random() < chain_share:
            size = CHAIN_LENGTH if rng.random() < 0.5 else rng.randint(2, CHAIN_LENGTH)
            tokens = 1 + 5 * size
            if budget < tokens and (facts.needles or facts.chains):
                break
            facts.chains.append(([names.pop() for _ in range(size)], number(rng)))
        else:
            tokens = 9
            if budget < tokens and (facts.needles or facts.chains):
                break
            facts.needles.append((names.pop(), number(rng)))
        budget -= tokens
    return facts


def _candidate_questions(facts: Facts, budget: int, rng: Random, mix: Mix) -> list[Question]:
    """All questions that could be asked, in random order; a catalogue comes first."""
    questions: list[Question] = []
    order = rng.sample(facts.needles, len(facts.needles))
    while order:
        size = 1 if rng.random() < 0.5 else rng.randint(2, 4)
        asked, order = order[:size], order[size:]
        if len(asked) == 1:
            task = "single" if len(facts.needles) == 1 else "multi_key"
            questions.append(ask_number(*asked[0], task))
        else:
            questions.append(ask_numbers(asked))
    questions += [ask_chain(*chain) for chain in facts.chains]
    rng.shuffle(questions)
    if facts.needles and rng.random() < mix.catalogue:
        # Six tokens per needle after a prompt of 16 tokens.
        size = max(1, int((budget - 16) / 6 * rng.uniform(0.5, 1.0)))
        catalogue = ask_catalogue(rng.sample(facts.needles, min(size, len(facts.needles))))
        if catalogue.tokens <= budget:
            questions.insert(0, catalogue)
    return questions
