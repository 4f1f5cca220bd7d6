"""Prompts of LongBench from its prompt files, split into context, question and answer prefix."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.data_files import json_file
from sparse_attention.errors import UserError

PROMPT_FILE = "dataset2prompt.json"
LENGTH_FILE = "dataset2maxlen.json"


@dataclass(frozen=True)
class Prompt:
    """A template cut where the question begins and where the answer begins."""

    head: str
    """Up to the place of the context."""
    between: str
    """From the context to the question; belongs to the context, which the questions share."""
    question: str
    """May hold ``{input}``."""
    answer_prefix: str

    def fill(self, context: str, text: str) -> dict[str, str]:
        """Columns of a sample; joined, they are the filled template.

        Where the template ends with the input and the input with a label, as in the few-shot
        tasks (``Type:``), the label becomes the answer prefix.
        """
        before, slot, after = self.question.partition("{input}")
        prefix = self.answer_prefix
        if slot and not after + prefix:
            start = text.rfind("\n") + 1
            if text.rstrip().endswith(":"):
                text, prefix = text[:start], text[start:]
        return {
            "context": self.head + context + self.between,
            "question": before + text + after if slot else self.question,
            "answer_prefix": prefix,
        }


def split_template(template: str) -> Prompt:
    """Cut a template with ``{context}`` once and ``{input}`` at most once after it.

    The answer prefix is the last line.  The question begins with the line that holds the input;
    without one it is the last paragraph before the prefix.  Raises ``ValueError`` for another form.
    """
    if template.count("{context}") != 1:
        raise ValueError("the place {context} must occur once")
    head, tail = template.split("{context}")
    if "{input}" in head or tail.count("{input}") > 1:
        raise ValueError("the place {input} must come after {context}, at most once")
    before, slot, after = tail.partition("{input}")
    if slot:
        line = before.rfind("\n") + 1
        end = after.rstrip("\n").rfind("\n") + 1
        return Prompt(head, tail[:line], before[line:] + slot + after[:end], after[end:])
    end = tail.rstrip("\n").rfind("\n") + 1
    # A tail without a question of its own, as of vcsum, goes to the context.
    blank = not tail[:end].strip()
    paragraph = end if blank else tail[:end].rstrip("\n").rfind("\n") + 1
    return Prompt(head, tail[:paragraph], tail[paragraph:end], tail[end:])


@dataclass(frozen=True)
class PromptFiles:
    """Upstream's two prompt files, or files of that form."""

    prompts: dict[str, Any]
    lengths: dict[str, Any]
    folder: Path

    def prompt(self, task: str) -> Prompt:
        """Template of a task; ``UserError`` if there is none or it has another form."""
        try:
            return split_template(self._entry(self.prompts, task, PROMPT_FILE, str))
        except ValueError as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"{self.folder / PROMPT_FILE}, field {task!r}: {error}.") from error

    def max_new_tokens(self, task: str) -> int:
        """Limit of new tokens of a task."""
        return self._entry(self.lengths, task, LENGTH_FILE, int)

    def _entry(self, values: dict[str, Any], task: str, file: str, kind: type) -> Any:
        if not isinstance(values.get(task), kind):
            raise UserError(f"{self.folder / file} lacks the field {task!r} of type {kind}.")
        return values[task]


def load_prompts(*folders: Path) -> PromptFiles:
    """The prompt files in the first of the folders that has them; ``UserError`` if none has."""
    for folder in folders:
        if (folder / PROMPT_FILE).is_file() and (folder / LENGTH_FILE).is_file():
            prompts, lengths = json_file(folder / PROMPT_FILE), json_file(folder / LENGTH_FILE)
            if not isinstance(prompts, dict) or not isinstance(lengths, dict):
                raise UserError(f"the prompt files in {folder} must hold JSON objects.")
            return PromptFiles(prompts, lengths, folder)
    raise UserError(
        f"raw LongBench data needs {PROMPT_FILE} and {LENGTH_FILE} of THUDM/LongBench (its folder "
        f"config), which are not in {' or '.join(map(str, folders))}; name their folder with the "
        "option prompts."
    )
