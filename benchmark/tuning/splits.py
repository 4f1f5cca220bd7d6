"""Which samples a search may see, in which order, and which judge its winner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from random import Random

from benchmark.suite.base import Sample, by_context

Context = tuple[Sample, ...]
"""The samples that share a context."""


@dataclass(frozen=True)
class Split:
    """The contexts of a task in two disjoint parts."""

    tuning: tuple[Context, ...]
    """In the order in which a search uses them: a smaller budget is a part of a larger one."""
    held_out: tuple[Context, ...]

    @property
    def tuning_ids(self) -> list[str]:
        """Ids of the samples that the search sees."""
        return [sample.id for context in self.tuning for sample in context]

    @property
    def held_out_ids(self) -> list[str]:
        """Ids of the samples that it does not see."""
        return [sample.id for context in self.held_out for sample in context]


def split_samples(
    samples: Sequence[Sample], held_out: float, max_tuning_samples: int | None, seed: int
) -> Split:
    """Split by context; the contexts for tuning are in a random order mixed over the tasks.

    Args:
        samples: of one subset.
        held_out: share of the contexts to keep from the search; at least one context is left on
            either side where there are two.
        max_tuning_samples: the search sees whole contexts until it has so many samples; what is
            beyond is held out.
        seed: of the split and the order.
    """
    rng = Random(f"split {seed}")
    contexts = [tuple(group) for group in by_context(samples)]
    rng.shuffle(contexts)
    by_task: dict[str, list[Context]] = {}
    for context in contexts:
        by_task.setdefault(context[0].task, []).append(context)
    rounds = zip_longest(*by_task.values())
    mixed = [context for context in chain.from_iterable(rounds) if context is not None]
    count = len(mixed) - round(held_out * len(mixed))
    if held_out > 0:
        count = min(count, len(mixed) - 1)
    count = max(count, 1)
    if max_tuning_samples is not None:
        seen = 0
        for place, context in enumerate(mixed[:count]):
            if seen >= max_tuning_samples:
                count = place
                break
            seen += len(context)
    return Split(tuple(mixed[:count]), tuple(mixed[count:]))


def rung_sizes(contexts: int, levels: int, factor: int) -> list[int]:
    """Contexts that each of ``levels`` rungs has; the last one has all.

    Rung r has ``ceil(contexts / factor^(levels - 1 - r))``, so that each is a part of the next.
    """
    return [-(-contexts // factor ** (levels - 1 - rung)) for rung in range(levels)]


def rung_levels(contexts: int, smallest: int, factor: int) -> int:
    """The most rungs whose first one still has ``smallest`` contexts (at least one rung)."""
    levels = 1
    while -(-contexts // factor**levels) >= smallest and factor**levels <= contexts:
        levels += 1
    return levels
