"""Question answering: the documents of a question among others."""

from __future__ import annotations

from benchmark.ruler.sampling import SampleRandom
from benchmark.ruler.tasks.base import Material, Plan, Prompt
from sparse_attention.errors import UserError


def question_answering(material: Material, random: SampleRandom) -> Plan:
    """Plan of one sample: question ``index`` of the data; its size is the number of documents.

    The documents that the answer needs come first, then those of the same article or question,
    then others at random; all are shuffled.
    """
    data = material.questions
    if data is None:
        raise ValueError(f"{random.task} needs a question set")
    if random.index >= len(data.questions):
        raise UserError(
            f"{random.task}: {data.source} has {len(data.questions)} questions, fewer than the "
            f"samples asked for; set samples to {len(data.questions)} or less."
        )
    question = data.questions[random.index]
    rng = random.stream("documents")
    related = rng.sample(question.related, len(question.related))
    known = {*question.needed, *related}
    every = rng.sample(range(len(data.documents)), len(data.documents))
    order = [*question.needed, *related, *(place for place in every if place not in known)]
    prompts = material.prompts

    def build(size: int) -> Prompt:
        documents = random.shuffled(order[:size])
        text = prompts.text("qa.document_joiner").join(
            prompts.text("qa.document", number=number, text=data.documents[place])
            for number, place in enumerate(documents, start=1)
        )
        return Prompt(
            context=prompts.text("qa.context", documents=text, query=question.text),
            question=prompts.text("qa.question", query=question.text),
            answer_prefix=prompts.text("qa.answer_prefix", query=question.text),
            answers=question.answers,
            extra={"documents": size},
        )

    return Plan(build, smallest=len(question.needed), largest=len(order))
