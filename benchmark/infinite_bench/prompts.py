"""Prompts of InfiniteBench: the project's own wording, or upstream's file read as data."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

from benchmark.infinite_bench.rules import NUMERIC, WITH_OPTIONS, is_number
from benchmark.suite.prompt_templates import PromptTemplate, split_template
from benchmark.suite.rows import Row
from benchmark.suite.sources import json_file
from sparse_attention.errors import UserError, unknown_name
from sparse_attention.reading import check_json, read_text

OWN_WORDING = Path(__file__).parent / "prompts.json"

_CALL = re.compile(r"(func_\d+)\(-?\d+\)")
_TARGET = re.compile(r"The .+ of")
_SETS = "_templates"


def load_template(file: Path, prompt_set: str, task: str) -> PromptTemplate:
    """The template of a task.

    ``file`` is JSON with a template for each task, or upstream's ``src/prompt.py``, of which the
    dictionary ``<prompt_set>_templates`` is read; no code of it runs.  Raises ``UserError`` for a
    file of another form and a template that does not fit.
    """
    templates = _python_sets(file, prompt_set) if file.suffix == ".py" else json_file(file)
    template = templates.get(task) if isinstance(templates, dict) else None
    if not isinstance(template, str):
        raise UserError(f"{file} has no template (a text) named {task!r}.")
    check_json(template, f"{file}, template {task!r}")
    try:
        return split_template(template, "context")
    except ValueError as error:
        raise UserError(f"{file}, template {task!r}: {error}.") from error


def _python_sets(file: Path, prompt_set: str) -> Any:
    try:
        module = ast.parse(read_text(file, "option prompts"))
    except UserError:
        raise
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UserError(f"{file} is not Python that can be read: {error}.") from error
    sets = {
        target.id.removesuffix(_SETS): statement.value
        for statement in module.body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name) and target.id.endswith(_SETS)
    }
    if prompt_set not in sets:
        raise unknown_name(f"prompt set in {file}", prompt_set, sets)
    try:
        return ast.literal_eval(sets[prompt_set])
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        raise UserError(
            f"the prompt set {prompt_set!r} in {file} is computed there, not written down; choose "
            "another one."
        ) from error


def fill(template: PromptTemplate, row: Row, task: str) -> dict[str, str]:
    """Texts of a sample from upstream's raw row."""
    values = {"context": row.text("context"), "input": row.text("input")}
    values["question"] = values["input"]
    if task in WITH_OPTIONS:
        values |= dict(zip(_option_slots(), options(row), strict=True))
    if task == "code_run":
        call = _CALL.search(values["input"])
        if call is None:
            raise row.error("input", "has no call such as func_1(2)")
        values |= {"func_call": call[0], "func": call[1]}
    if task == "math_find":
        # Upstream's sets name the slot for it differently.
        values["prefix"] = values["prompt"] = _leading_question(row)
    elif isinstance(row.values.get("prompt"), str):
        values["prompt"] = row.text("prompt")
    try:
        return template.fill(values)
    except KeyError as error:
        raise row.error(str(error.args[0]), "is a slot of the template, but not in the data") from (
            error
        )


def options(row: Row) -> list[str]:
    """The four options of a row."""
    found = row.texts("options")
    if len(found) != 4:
        raise row.error("options", f"has {len(found)} texts, not 4")
    return found


def label(row: Row, task: str) -> list[str]:
    """The label as texts; for tasks with options the option and its letter."""
    answer = row.values.get("answer")
    values = answer if isinstance(answer, list) else [answer]
    if len(values) == 1 and isinstance(values[0], list):  # newer files have a list in the list
        values = values[0]
    if not values or not all(isinstance(value, str | int | float) for value in values):
        raise row.error("answer", "is not a text, a number or a list of them")
    texts = [value if isinstance(value, str) else repr(value) for value in values]
    if task in WITH_OPTIONS:
        if texts[0] not in options(row):
            raise row.error("answer", f"is {texts[0]!r}, which is not one of the options")
        return [texts[0], "ABCD"[options(row).index(texts[0])]]
    if task in NUMERIC:
        for text in texts:
            if not is_number(text):
                raise row.error("answer", f"holds {text!r}, which is not a number")
    return texts


def with_option_text(row: Row) -> Row:
    """A prepared row whose answer is a letter alone, with the option's text before it.

    Other tools' datasets have the options only in the question.
    """
    answer = row.texts("answer")
    if len(answer) == 1 and answer[0] in "ABCD":
        option = re.search(rf"^{answer[0]}\. (.*)$", row.text("question"), re.MULTILINE)
        if option is None:
            raise row.error("question", f"has no line with the option {answer[0]}")
        return row.with_values(answer=[option[1], answer[0]])
    return row


def _option_slots() -> list[str]:
    return [f"OPTION_{letter}" for letter in "ABCD"]


def _leading_question(row: Row) -> str:
    target = _TARGET.search(row.text("input"))
    if target is None:
        raise row.error("input", "does not say what to find, as in 'The largest number of'")
    return f"What is {target[0].lower().removesuffix(' of')} in the following list?"
