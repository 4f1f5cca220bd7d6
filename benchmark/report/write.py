"""Report files beside the results: ``report.md`` and a picture for each group."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmark.files import fingerprint, write_if_changed
from benchmark.report.escapes import markdown_text
from benchmark.report.frames.scan import LeftOut
from benchmark.report.groups import Group, Results
from benchmark.report.picture import write_picture
from benchmark.report.tables import budget_table, markdown, notes, subset_table, summary_table
from benchmark.results.key import FORMAT


def write_report(results: Results) -> list[Path]:
    """Write the report of each folder ``<results>/<model>/<benchmark>``; the Markdown files.

    A folder with one group has ``scores.png``; with several, each picture has its group's hash.
    Cells that are not shown are named.
    """
    folders: dict[Path, list[Group]] = {}
    for group in results.groups:
        folders.setdefault(group.folder, []).append(group)
    written = []
    for folder, members in folders.items():
        sections = []
        for group in members:
            suffix = "" if len(members) == 1 else f"-{fingerprint(group.shared)[:8]}"
            picture = folder / f"scores{suffix}.png"
            write_picture(group, picture)
            sections.append(_section(group, picture.name))
        others = [found for found in results.left_out if found.cell.parent.parent == folder]
        if others:
            sections.append("\n".join(_left_out(others)))
        report = folder / "report.md"
        write_if_changed(report, "\n".join(sections).encode("utf-8", "replace"))
        written.append(report)
    return written


def _left_out(others: Sequence[LeftOut]) -> Iterator[str]:
    yield f"# Not shown\n\nOther results in this folder; this version shows format {FORMAT}.\n"
    for found in others:
        name = f"{found.cell.parent.name}/{found.cell.name}"
        yield f"- {markdown_text(name)}: {markdown_text(found.reason)}"
    yield ""


def _section(group: Group, picture: str) -> str:
    parts = [
        f"# {markdown_text(group.title)}",
        markdown(summary_table(group)),
        f"![score against density]({picture})",
    ]
    if len(group.subsets) > 1:
        parts.append(markdown(subset_table(group)))
    parts.append("What was read, as shares of what dense attention reads:")
    parts.append(markdown(budget_table(group)))
    parts.append(
        "A key-value head reads each key once that any of its query heads reads; what is read to "
        "choose keys is counted in bytes of keys and values; *bytes* is the sum of both."
    )
    parts.append("\n".join(f"- {markdown_text(note)}" for note in notes(group)))
    settings = json.dumps(group.shared, indent=2)
    parts.append(f"What all of these results depend on:\n\n```json\n{settings}\n```")
    return "\n\n".join(parts) + "\n"
