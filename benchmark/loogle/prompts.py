"""Prompts of LooGLE from its prompt files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmark.data_files import json_file
from benchmark.prompt_templates import PromptTemplate, split_template
from sparse_attention.errors import UserError

PROMPT_FILE = "task2prompt.json"
LENGTH_FILE = "task2maxlen.json"
_SLOTS = {"input", "Q"}


@dataclass(frozen=True)
class Prompt:
    """How a task asks, and how long an answer may be."""

    template: PromptTemplate
    max_new_tokens: int


def load_prompt(task: str, *folders: Path) -> Prompt:
    """The prompt of a task, from the first of the folders that has the prompt files.

    Raises ``UserError`` if none has them, and for a template of another form.
    """
    for folder in folders:
        if (folder / PROMPT_FILE).is_file() and (folder / LENGTH_FILE).is_file():
            return _read(task, folder)
    raise UserError(
        f"raw LooGLE data needs {PROMPT_FILE} and {LENGTH_FILE} of bigai-nlco/LooGLE (its folder "
        f"config), which are not in {' or '.join(map(str, folders))}; name their folder with the "
        "option prompts."
    )


def _read(task: str, folder: Path) -> Prompt:
    templates, lengths = json_file(folder / PROMPT_FILE), json_file(folder / LENGTH_FILE)
    template = templates.get(task) if isinstance(templates, dict) else None
    length = lengths.get(task) if isinstance(lengths, dict) else None
    if not isinstance(template, str):
        raise UserError(f"{folder / PROMPT_FILE} has no text named {task!r}.")
    if not isinstance(length, int) or length < 1:
        raise UserError(f"{folder / LENGTH_FILE} has no positive integer named {task!r}.")
    try:
        split = split_template(template, "input")
    except ValueError as error:
        raise UserError(f"{folder / PROMPT_FILE}, template {task!r}: {error}.") from error
    slots = {slot for _, slot in (*split.context, *split.question) if slot}
    if not slots <= _SLOTS:
        raise UserError(
            f"{folder / PROMPT_FILE}, template {task!r}: unknown slots "
            f"{', '.join(sorted(slots - _SLOTS))}; valid are input and Q."
        )
    return Prompt(split, length)
