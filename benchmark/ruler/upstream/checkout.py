"""What a checkout of RULER says: wording and data, read from its files without running them."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmark.ruler.prompts import check_fields
from sparse_attention.errors import UserError
from sparse_attention.reading import check_json, read_json, read_text, user_path

FOLDER = Path("scripts/data/synthetic")
"""Where a checkout has its generators; a task's wording stands in ``constants.py`` there."""

_NEEDLE = {"type_needle_v", "key", "value"}
_FIELDS: Mapping[str, tuple[set[str], set[str]]] = {
    # task: (fields that its template must hold, further ones of template and answer prefix)
    "niah": ({"context", "query"}, {"type_needle_v"}),
    "variable_tracking": ({"context", "query"}, {"num_v"}),
    "common_words_extraction": ({"context"}, {"num_cw", "query"}),
    "freq_words_extraction": ({"context"}, {"query"}),
    "qa": ({"context", "query"}, set()),
}


@dataclass(frozen=True)
class Wording:
    """How a task is put, as format strings."""

    before: str
    """Up to ``{context}`` and the white space after it."""
    question: str
    prefix: str
    """Of the answer."""
    new_tokens: int


class Checkout:
    """A checkout of RULER (github.com/NVIDIA/RULER) of 2026-07-22 or one that is like it."""

    def __init__(self, folder: Path) -> None:
        """``folder`` holds the generators; see ``open_checkout``."""
        self.folder = folder

    def wording(self, task: str) -> Wording:
        """Of a task by upstream's name, such as ``niah``."""
        entry = self._tasks.get(task, {})
        file = self.folder / "constants.py"
        try:
            template, prefix = str(entry["template"]), str(entry["answer_prefix"])
            new_tokens = int(entry["tokens_to_generate"])
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{file}: TASKS has no {task!r} with template, answer_prefix and "
                "tokens_to_generate."
            ) from error
        required, optional = _FIELDS[task]
        check_fields(file, f"{task}.template", template, required, optional)
        check_fields(file, f"{task}.answer_prefix", prefix, set(), required | optional)
        before, context, question = template.partition("{context}")
        bare = question.lstrip()
        space = question[: len(question) - len(bare)]
        return Wording(before + context + space, bare, prefix, new_tokens)

    @cached_property
    def needle(self) -> str:
        """A fact, with its fields ``type_needle_v``, ``key`` and ``value``."""
        file = self.folder / "niah.py"
        needle = _string(file, "needle")
        check_fields(file, "needle", needle, _NEEDLE, set())
        return needle

    @cached_property
    def noise(self) -> str:
        """The line that repeats between needles."""
        return _string(self.folder / "niah.py", "haystack")

    @cached_property
    def chain_noise(self) -> str:
        """The line that repeats between variables."""
        return _string(self.folder / "variable_tracking.py", "haystack")

    @cached_property
    def document(self) -> str:
        """A document, with its fields ``i`` and ``document``."""
        file = self.folder / "qa.py"
        document = _string(file, "DOCUMENT_PROMPT")
        check_fields(file, "DOCUMENT_PROMPT", document, {"i", "document"}, set())
        return document

    @cached_property
    def english_words(self) -> tuple[str, ...]:
        """The words of lists that need more than wonderwords has."""
        file = self.data("english_words.json")
        content = read_json(file, "words of upstream's download programs")
        if not isinstance(content, dict) or not all(isinstance(w, str) for w in content.values()):
            raise UserError(f"{file} must be a JSON object of words.")
        return tuple(content.values())

    def data(self, name: str) -> Path:
        """A file that upstream's download programs leave in ``json``."""
        return self.folder / "json" / name

    def provenance(self, task: str) -> dict[str, Any]:
        """The wording of a task by upstream's name, as the SHA-256 of all its strings."""
        strings = [repr(self.wording(task))]
        if task == "niah":
            strings += [self.needle, self.noise]
        elif task == "variable_tracking":
            strings.append(self.chain_noise)
        elif task == "qa":
            strings.append(self.document)
        return {"upstream_sha256": hashlib.sha256(repr(strings).encode()).hexdigest()}

    @cached_property
    def _tasks(self) -> Mapping[str, Any]:
        file = self.folder / "constants.py"
        for value in _assigned(file, "TASKS"):
            try:
                tasks = ast.literal_eval(value)
            except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
                raise UserError(f"{file}: TASKS is no plain dictionary of strings.") from error
            if isinstance(tasks, dict):
                check_json(tasks, f"{file}: TASKS")
                return tasks
        raise UserError(f"{file} assigns no dictionary TASKS.")


def open_checkout(path: str) -> Checkout:
    """The checkout at ``path``: its root, or the folder of its generators.

    Raises ``UserError`` where there is none; the files themselves are read when they are needed.
    """
    root = user_path(path, "checkout of RULER")
    for folder in (root / FOLDER, root):
        if (folder / "constants.py").is_file():
            return Checkout(folder)
    raise UserError(
        f"{path} is no checkout of RULER: it has no {FOLDER / 'constants.py'}. Clone "
        "https://github.com/NVIDIA/RULER, and run its download programs for the data."
    )


def _string(file: Path, name: str) -> str:
    """The string that a module assigns to ``name`` anywhere."""
    for value in _assigned(file, name):
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            return value.value
    raise UserError(f"{file} assigns no string {name}.")


def _assigned(file: Path, name: str) -> list[ast.expr]:
    try:
        tree = ast.parse(read_text(file, "checkout of RULER"))
    except UserError:
        raise
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UserError(f"{file} is no Python module: {error}.") from error
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id == name for target in node.targets)
    ]
