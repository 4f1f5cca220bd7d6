"""Prompts of LongBench-v2 from its prompt files, split into context and question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmark.suite.rows import Row
from sparse_attention.errors import UserError
from sparse_attention.reading import read_text

_FIELDS: Mapping[str, str] = {
    "$Q$": "question",
    "$C_A$": "choice_A",
    "$C_B$": "choice_B",
    "$C_C$": "choice_C",
    "$C_D$": "choice_D",
}
_FILES: Mapping[str, str] = {
    "0shot": "0shot.txt",
    "cot": "0shot_cot.txt",
    "no_context": "0shot_no_context.txt",
}
MAX_NEW_TOKENS: Mapping[str, int] = {"0shot": 128, "cot": 1024 + 128, "no_context": 128}
"""Upstream's limits; for ``cot`` those of its two calls together."""


@dataclass(frozen=True)
class Template:
    """A template, cut after the document; without one, after the question's first line."""

    context: str
    question: str

    def fill(self, row: Row) -> dict[str, str]:
        """Texts of ``context`` and ``question``.

        Placeholders are replaced one after the other, in upstream's order, so a document that
        holds one gets it filled in, as upstream.
        """
        context, question = self.context, self.question
        if "$DOC$" in context:
            context = context.replace("$DOC$", row.text("context").strip())
        for placeholder, field in _FIELDS.items():
            value = row.text(field).strip()
            context = context.replace(placeholder, value)
            question = question.replace(placeholder, value)
        return {"context": context, "question": question}


def load_template(subset: str, *folders: Path) -> Template:
    """The template of a subset from the first of the folders that has its files.

    ``cot`` asks for the reasoning and the answer in one go: its own template, with the request for
    the form of the answer, which is the last paragraph of the one of ``0shot``, before the lead-in.
    """
    text = _read(_FILES[subset], folders)
    if subset == "cot":
        request = _read(_FILES["0shot"], folders).rsplit("\n\n", 1)[-1]
        body, gap, lead_in = text.rpartition("\n\n")
        text = f"{body}\n\n{request}{gap}{lead_in}"
    missing = [name for name in _FIELDS if name not in text]
    if missing or (subset != "no_context") != ("$DOC$" in text):
        raise UserError(
            f"the prompt file {_FILES[subset]} needs the places {', '.join(_FIELDS)}, and $DOC$ "
            "if it shows the document."
        )
    # The document ends with its block; the question is the paragraph that begins with $Q$'s line.
    line = text.rfind("\n", 0, text.rfind("$Q$")) + 1
    end = line if line else text.index("\n") + 1
    return Template(text[:end], text[end:])


def _read(name: str, folders: tuple[Path, ...]) -> str:
    for folder in folders:
        if (folder / name).is_file():
            return read_text(folder / name, "prompt file")
    raise UserError(
        f"raw LongBench-v2 data needs {name} of THUDM/LongBench (its folder prompts), which is not "
        f"in {' or '.join(map(str, folders))}; name its folder with the option prompts."
    )
