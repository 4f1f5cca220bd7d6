"""Prompt templates of other projects, cut into context, question and answer prefix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Formatter

Piece = tuple[str, str | None]
"""Text, and the name of the slot that follows it."""


@dataclass(frozen=True)
class PromptTemplate:
    """A template with named slots, in the parts that a sample has."""

    context: Sequence[Piece]
    question: Sequence[Piece]
    answer_prefix: str

    @property
    def slots(self) -> set[str]:
        """Names of all slots."""
        return {slot for _, slot in (*self.context, *self.question) if slot}

    def fill(self, values: Mapping[str, str]) -> dict[str, str]:
        """Columns of a sample; one after the other they are the filled template.

        Raises ``KeyError`` for a slot without value.
        """
        return {
            "context": _filled(self.context, values),
            "question": _filled(self.question, values),
            "answer_prefix": self.answer_prefix,
        }


def split_template(template: str, document: str) -> PromptTemplate:
    """Cut a template behind the slot ``document`` and before the line where the answer begins.

    Slots are names in braces, and doubled braces stand for single ones, as in ``str.format``; but
    nothing is looked up in values.  The answer prefix is the last line if it has no slot, else
    empty.  Raises ``ValueError`` for another form, or if the slot ``document`` is not there once.
    """
    pieces: list[Piece] = []
    before = ""  # of a doubled brace, which ends a piece without a slot
    for text, slot, specification, conversion in Formatter().parse(template):
        if slot is not None and (specification or conversion or not slot.isidentifier()):
            raise ValueError(f"the slot {{{slot}}} is not a plain name")
        before += text
        if slot is not None:
            pieces.append((before, slot))
            before = ""
    if before:
        pieces.append((before, None))
    if [slot for _, slot in pieces].count(document) != 1:
        raise ValueError(f"the slot {{{document}}} must be there once")
    cut = [slot for _, slot in pieces].index(document) + 1
    question, prefix = pieces[cut:], ""
    if question and question[-1][1] is None:
        text = question.pop()[0]
        line = text.rfind("\n") + 1
        if line or not question:
            text, prefix = text[:line], text[line:]
        question.append((text, None))
    return PromptTemplate(pieces[:cut], question, prefix)


def _filled(pieces: Sequence[Piece], values: Mapping[str, str]) -> str:
    return "".join(text + (values[slot] if slot else "") for text, slot in pieces)
