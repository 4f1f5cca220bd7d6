"""A task of diffuse reading: which choice did a voter make most often.

The context is a long list of votes of several voters; the question, asked afterwards, names one of
them.  No single vote holds the answer: the votes of that voter, spread over the whole list, have to
be read together, after the question is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from benchmark.embedded.vocabulary import KEYS, LIST_WORDS

VOTE = "{voter} chose {choice}."
VOTE_TOKENS = 4
CONTEXT = "A list of votes follows. A question about it comes after the list.\nList: {votes}\n"
QUESTION = "Question: What did {voter} choose most often?"
ANSWER_PREFIX = "Answer: Most often {voter} chose"

LEAD = 1.4
"""Votes for the winner are at least this many times those for the next choice, and two more."""


@dataclass(frozen=True)
class VoteList:
    """Votes in reading order and the winning choice of each voter."""

    votes: tuple[str, ...]
    winners: dict[str, str]


def vote_list(size: int, voters: int, choices: int, share: float, rng: Random) -> VoteList:
    """Draw ``size`` votes of ``voters``, each with ``choices`` candidates in random order.

    The winner has about ``share`` of a voter's votes; the rest is spread evenly over the other
    candidates.  Voters have equal numbers of votes, up to one.
    """
    votes: list[tuple[str, str]] = []
    winners: dict[str, str] = {}
    for index, voter in enumerate(rng.sample(KEYS, voters)):
        count = size // voters + (index < size % voters)
        winner, *others = rng.sample(LIST_WORDS, choices)
        top = min(count, max(2, round(count * share)))
        while top < count and not _leads(top, -(-(count - top) // len(others))):
            top += 1
        rest = [others[number % len(others)] for number in range(count - top)]
        votes += [(voter, choice) for choice in [winner] * top + rest]
        winners[voter] = winner
    rng.shuffle(votes)
    texts = tuple(VOTE.format(voter=voter, choice=choice) for voter, choice in votes)
    return VoteList(texts, winners)


def _leads(top: int, second: int) -> bool:
    return top >= LEAD * second and top >= second + 2
