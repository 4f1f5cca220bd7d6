"""Prompts of LongBench from its prompt files, in the parts of the prepared datasets."""

from __future__ import annotations

from benchmark.suite.prompt_files import PromptFiles
from benchmark.suite.prompt_templates import PromptTemplate
from benchmark.suite.rows import Row

FILES = PromptFiles(
    templates="dataset2prompt.json",
    limits="dataset2maxlen.json",
    document="context",
    slots={"input"},
    project="THUDM/LongBench",
)


def fill(template: PromptTemplate, row: Row) -> dict[str, str]:
    """Texts of a raw row in a template of ``with_late_question``.

    Where nothing follows the input and the input ends with a label, as in the few-shot tasks
    (``Type:``), the label is the answer prefix.
    """
    texts = template.fill({"context": row.text("context"), "input": row.text("input")})
    question = texts["question"]
    if not texts["answer_prefix"] and question.rstrip().endswith(":"):
        label = question.rfind("\n") + 1
        texts |= {"question": question[:label], "answer_prefix": question[label:]}
    return texts


def with_late_question(template: PromptTemplate) -> PromptTemplate:
    """The template with all in its context that the questions about a document share.

    The question begins with the line of its first slot, else it is the last paragraph.  A last
    text that ends with a newline, as of the code tasks, is the answer prefix.
    """
    pieces, prefix = list(template.question), template.answer_prefix
    if not prefix and pieces and pieces[-1][1] is None:
        prefix = pieces.pop()[0]
    if not pieces:
        return PromptTemplate(template.context, (), prefix)
    text, slot = pieces[0]
    begin = (text if slot else text.rstrip("\n")).rfind("\n") + 1
    if not slot and not text.strip():  # nothing is asked, as in vcsum
        begin = len(text)
    context = [*template.context, (text[:begin], None)]
    return PromptTemplate(context, [(text[begin:], slot), *pieces[1:]], prefix)
