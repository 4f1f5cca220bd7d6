"""Upstreams' prompt files: JSON with a template and JSON with a limit of new tokens by task."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

from benchmark.suite.prompt_templates import PromptTemplate, split_template
from benchmark.suite.rows import MAX_NEW_TOKENS
from benchmark.suite.sources import json_file
from sparse_attention.errors import UserError
from sparse_attention.reading import user_path


@dataclass(frozen=True)
class Prompt:
    """How a task asks, and how long an answer may be."""

    template: PromptTemplate
    max_new_tokens: int


@dataclass(frozen=True)
class PromptFiles:
    """Names and form of the two files of a benchmark, to find and read them."""

    templates: str
    """Name of the file with the template of each task."""
    limits: str
    """Name of the file with the limit of new tokens of each task."""
    document: str
    """Slot of the document in a template."""
    slots: Set[str]
    """The other slots."""
    project: str
    """Where they are from, for messages."""

    def prompt(self, task: str, given: str | None, data: Path) -> Prompt:
        """The prompt of a task.

        The files are in the folder ``given``; without it in that of the file ``data``, the one
        above, or a folder ``config`` in either.  Raises ``UserError`` if they are not there, or of
        another form.
        """
        above = [data.parent, data.parent.parent]
        folders = [folder for inner in above for folder in (inner, inner / "config")]
        if given is not None:
            folders = [user_path(given, "option prompts")]
        for folder in folders:
            if (folder / self.templates).is_file() and (folder / self.limits).is_file():
                return self._read(task, folder / self.templates, folder / self.limits)
        raise UserError(
            f"raw data needs {self.templates} and {self.limits} of {self.project} (its folder "
            f"config), which are not in {' or '.join(map(str, folders))}; name their folder with "
            "the option prompts."
        )

    def _read(self, task: str, templates_file: Path, limits_file: Path) -> Prompt:
        templates, limits = json_file(templates_file), json_file(limits_file)
        template = templates.get(task) if isinstance(templates, dict) else None
        limit = limits.get(task) if isinstance(limits, dict) else None
        if not isinstance(template, str):
            raise UserError(f"{templates_file} has no text named {task!r}.")
        if type(limit) is not int or not 1 <= limit <= MAX_NEW_TOKENS:
            raise UserError(
                f"{limits_file} has no integer from 1 to {MAX_NEW_TOKENS} named {task!r}."
            )
        try:
            split = split_template(template, self.document)
        except ValueError as error:
            raise UserError(f"{templates_file}, template {task!r}: {error}.") from error
        unknown = split.slots - {self.document, *self.slots}
        if unknown:
            raise UserError(
                f"{templates_file}, template {task!r}: unknown slots {', '.join(sorted(unknown))}; "
                f"valid are {', '.join(sorted({self.document, *self.slots}))}."
            )
        return Prompt(split, limit)
