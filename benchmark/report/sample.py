"""One sample as it was asked and answered: its prompt, references and the answers to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from benchmark.files import fingerprint
from benchmark.report.text_table import NONE, TextTable, print_table
from benchmark.results.finished import read_key
from benchmark.results.journal import sound_records
from benchmark.results.key import FORMAT
from benchmark.results.records import Prediction
from sparse_attention.errors import UserError, nearest
from sparse_attention.printable import terminal_text

_EDGE = 1200
"""Characters of the start and of the end of a prompt that are shown."""
_WORDS = frozenset({"answer"})


@dataclass(frozen=True)
class Answers:
    """A sample under all configurations of a folder that have it."""

    number: int
    """Its place, from 1."""
    of: int
    by_config: dict[str, Prediction]
    """By the name of a cell's folder."""

    @property
    def any(self) -> Prediction:
        """One with the whole prompt, if there is such."""
        found = self.by_config.values()
        return max(found, key=lambda one: (one.prompt is not None, one.answered))


def read_answers(folder: Path, sample: str) -> Answers:
    """The answers to a sample in the folder of a cell, or in that of a subset with its cells.

    Args:
        folder: of one configuration, or one above with several.
        sample: its number, from 1, in the order of the file, or its id.

    Raises:
        UserError: if there are no answers there, or not this sample.
    """
    cells = [folder] if (folder / "key.json").is_file() else sorted(folder.glob("*/"))
    found: dict[str, dict[str, Prediction]] = {}
    for cell in cells:
        try:
            key = read_key(cell)
        except ValueError:
            continue
        if key["format"] == FORMAT:
            path = cell / "predictions.jsonl"
            found[cell.name] = sound_records(path, Prediction.from_json, fingerprint(key))
    found = {name: records for name, records in found.items() if records}
    if not found:
        raise UserError(f"{folder} has no answers{_hint(folder)}")
    ids = list(dict.fromkeys(name for records in found.values() for name in records))
    if sample.isdecimal() and sample not in ids:
        if not 1 <= int(sample) <= len(ids):
            raise UserError(f"there is no sample {sample}; {folder} has 1 to {len(ids)}.")
        wanted = ids[int(sample) - 1]
    else:
        wanted = sample
    if wanted not in ids:
        raise UserError(f"{folder} has no sample {sample!r}.{nearest(sample, ids)}")
    answers = {name: records[wanted] for name, records in found.items() if wanted in records}
    return Answers(ids.index(wanted) + 1, len(ids), answers)


def _hint(folder: Path) -> str:
    """Which folders below have some."""
    subsets = sorted({path.parent.parent for path in folder.glob("**/predictions.jsonl")})
    if not subsets:
        return "; name the folder of a subset or of a configuration in a results folder."
    return f"; folders that have: {', '.join(map(str, subsets[:5]))}."


def print_answers(answers: Answers, console: Console) -> None:
    """Print the prompt, its start and end, what is asked, and a line for each configuration."""
    one = answers.any

    def say(title: str, text: str) -> None:
        console.print(Text(title, style="bold"))
        for line in text.split("\n"):
            console.print(Text(f"  {terminal_text(line)}"), soft_wrap=True)

    say(f"sample {answers.number} of {answers.of}", one.id)
    if one.prompt is not None:
        say(f"prompt, {one.prompt_tokens} tokens", _edges(one.prompt))
    else:
        say("prompt", f"{one.prompt_tokens} tokens; the first samples have it whole")
    if one.removed_tokens:
        say("cut", f"{one.removed_tokens} tokens of the context were left out")
    say("question", one.question)
    if one.answer_prefix:
        say("answer prefix", one.answer_prefix)
    say("references", "\n".join(one.references) or "none")
    print_table(_table(answers), console)


def _edges(prompt: str) -> str:
    if len(prompt) <= 2 * _EDGE:
        return prompt
    left = len(prompt) - 2 * _EDGE
    return f"{prompt[:_EDGE]}\n[... {left} characters ...]\n{prompt[-_EDGE:]}"


def _table(answers: Answers) -> TextTable:
    rows = tuple(_cells(label, found) for label, found in answers.by_config.items())
    return TextTable("", ("config", "score", "density", "bytes", "answer"), rows, _WORDS)


def _cells(label: str, found: Prediction) -> tuple[str, ...]:
    name = label.rpartition("-")[0]
    if found.predicted_answer is None:
        return name, NONE, NONE, NONE, f"{found.status}: {found.detail}"
    numbers = (found.score, found.density, found.bytes_read)
    shown = (NONE if number is None else f"{number:.3f}" for number in numbers)
    thought = "" if found.thought is None else f"[thought: {_edges(found.thought)}] "
    return name, *shown, thought + found.predicted_answer
