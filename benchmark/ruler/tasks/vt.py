"""Variable tracking: find all variables that hold a value, by a chain of copies among noise."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice, pairwise
from random import Random

from benchmark.ruler.length import TooLargeError, largest_size
from benchmark.ruler.sampling import SampleRandom
from benchmark.ruler.tasks.base import Material, Plan, Prompt, solved
from benchmark.ruler.tasks.noise import insert_lines, noise_lines

HOPS = 4
EXAMPLE_TOKENS = 500


def variable_tracking(material: Material, random: SampleRandom) -> Plan:
    """Plan of one sample: one chain of ``HOPS`` copies; its size is in sentences of noise.

    With ``one_shot`` a solved example of at most 500 tokens comes first.
    """
    example, taken = _example(material, random) if material.one_shot else ("", set())
    rng = random.stream("facts")
    variables = list(islice(material.lexicon.variables(rng, taken), HOPS + 1))
    value = material.lexicon.variable_value(rng)

    def build(size: int) -> Prompt:
        prompt = _prompt(material, variables, value, size, random.stream("depths"))
        return replace(prompt, context=example + prompt.context)

    return Plan(build)


def _prompt(material: Material, variables: list[str], value: str, size: int, rng: Random) -> Prompt:
    prompts = material.prompts
    chain = [prompts.text("vt.assign", value=value, variable=variables[0])]
    chain += [
        prompts.text("vt.copy", source=source, target=target)
        for source, target in pairwise(variables)
    ]
    lines = noise_lines(prompts.text("noise"), size, at_least=len(chain) + 1)
    text, depths = insert_lines(lines, chain, rng)
    haystack = prompts.text("vt.line_joiner").join(text)
    return Prompt(
        context=prompts.text("vt.context", haystack=haystack, value=value),
        question=prompts.text("vt.question", value=value),
        answer_prefix=prompts.text("vt.answer_prefix", value=value),
        answers=tuple(variables),
        extra={"needle_depths": depths},
    )


def _example(material: Material, random: SampleRandom) -> tuple[str, set[str]]:
    """Return the example's text and its variables."""
    rng = random.stream("example")
    variables = list(islice(material.lexicon.variables(rng, set()), HOPS + 1))
    value = material.lexicon.variable_value(rng)

    def text(size: int) -> str:
        example = _prompt(material, variables, value, size, random.stream("example depths"))
        return solved(example, "vt", material.prompts)

    budget = min(EXAMPLE_TOKENS, material.length // 4)
    try:
        fit = largest_size(lambda size: material.count(text(size)), budget, smallest=1)
    except TooLargeError:
        return text(1), set(variables)
    return text(fit.size), set(variables)
