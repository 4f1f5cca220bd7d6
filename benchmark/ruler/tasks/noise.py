"""The repeated noise line, and lines put between others."""

from __future__ import annotations

from random import Random

from benchmark.ruler.sentences import split_by_rules


def noise_lines(noise: str, sentences: int, *, at_least: int) -> list[str]:
    """Return the noise line again and again until there are ``sentences`` sentences in all.

    The last line may be a part of it.  Where this gives fewer than ``at_least`` lines, each
    sentence is a line of its own.
    """
    parts = split_by_rules(noise)
    full, rest = divmod(sentences, len(parts))
    lines = [noise] * full + ([" ".join(parts[:rest])] if rest else [])
    if len(lines) >= at_least:
        return lines
    return [parts[place % len(parts)] for place in range(sentences)]


def insert_lines(lines: list[str], facts: list[str], rng: Random) -> tuple[list[str], list[float]]:
    """``lines`` with ``facts`` at random distinct places in their order, and the facts' depths.

    A depth is the share of lines before a fact, in percent.
    """
    total = len(lines) + len(facts)
    places = sorted(rng.sample(range(total), len(facts)))
    facts_left, lines_left, chosen = iter(facts), iter(lines), set(places)
    text = [next(facts_left if place in chosen else lines_left) for place in range(total)]
    return text, [round(100 * place / max(1, total - 1), 1) for place in places]
