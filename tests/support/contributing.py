"""The method that CONTRIBUTING.md adds, as files and edits, and as a package that is installed."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def toy_source() -> str:
    """The module of the toy method."""
    (source,) = (code for code in _blocks("python") if code.startswith('"""Every n-th key'))
    return source


def toy_test() -> str:
    """The test module of a package that offers the toy."""
    (source,) = (code for code in _blocks("python") if "my_package" in code)
    return source


def apply_edits(root: Path) -> list[str]:
    """Make the edits that are shown to files of a copy of the project; the files that change."""
    changed = []
    for diff in _blocks("diff"):
        name = re.findall(r"^\+\+\+ b/(.+)$", diff, re.MULTILINE)[0]
        text = (root / name).read_text(encoding="utf-8")
        for hunk in diff.split("\n@@\n")[1:]:
            before, added = hunk.rstrip("\n").split("\n+", 1)
            line = before.removeprefix(" ") + "\n"
            assert line in text, f"{name} has no line {line!r}"
            # Tables come after imports, so the last line that is alike is meant.
            head, found, tail = text.rpartition(line)
            text = head + found + added + "\n" + tail
        (root / name).write_text(text, encoding="utf-8")
        changed.append(name)
    return changed


def install(folder: Path, package: str, modules: dict[str, str], entry_points: str) -> None:
    """Put a package into a folder as an installation leaves it there."""
    (folder / package).mkdir()
    for name, source in {"__init__": "", **modules}.items():
        (folder / package / f"{name}.py").write_text(source, encoding="utf-8")
    metadata = folder / f"{package}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(entry_points)


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", _TEXT, re.MULTILINE | re.DOTALL)
