"""Write the page of each method, ``docs/methods/NAME.md``, from its docstring and its fields.

python docs/build_method_pages.py
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from pathlib import Path

from sparse_attention.maskers import MASKERS
from sparse_attention.method import SECTIONS, Choices, EachLayer, Method, Range
from sparse_attention.presses import PRESSES

FOLDER = Path(__file__).parent / "methods"
KINDS: dict[str, Mapping[str, type[Method]]] = {
    "Maskers: chosen anew for each query": MASKERS,
    "Presses: chosen once, when the context has been read": PRESSES,
}
HEADINGS = dict(zip(SECTIONS, ("Cost", "When it fails", "Source"), strict=True))
"""First word of a paragraph of a docstring, and the heading that it gets."""


def page(method: type[Method]) -> str:
    """The page of a method, Markdown."""
    if method.sections() != SECTIONS:
        raise ValueError(
            f"the docstring of {method.__name__} needs paragraphs that begin with "
            f"{', '.join(SECTIONS)}, in this order; found {list(method.sections())}"
        )
    summary, *paragraphs = _markdown(inspect.getdoc(method) or "").split("\n\n")
    parts = [f"# {method.name}", summary]
    headings: list[str] = []
    for paragraph in paragraphs:
        word = re.split(r"\W", paragraph, maxsplit=1)[0]
        if word in HEADINGS and word not in headings:
            if not headings:
                parts += ["## Parameters", _parameters(method)]
            headings.append(word)
            parts.append(f"## {HEADINGS[word]}")
            paragraph = paragraph.removeprefix(f"{word}: ")
            paragraph = paragraph[0].upper() + paragraph[1:]
        parts.append(paragraph)
    return "\n\n".join(parts) + "\n"


def index() -> str:
    """The list of all pages, Markdown."""
    parts = [
        "# Methods",
        "Made from the docstrings by `python docs/build_method_pages.py`. In a configuration a "
        'method is `{"name": NAME, field: value, ...}`; presses come first, each acts on what '
        "the earlier ones kept; maskers add to what the earlier ones selected.",
    ]
    for title, methods in KINDS.items():
        parts.append(f"## {title}")
        lines = []
        for name, method in methods.items():
            summary = _markdown(inspect.getdoc(method) or "").split("\n\n")[0]
            lines.append(f"- [{name}]({name}.md): {summary}")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def pages() -> dict[Path, str]:
    """All files of the folder with their content."""
    methods = [method for kind in KINDS.values() for method in kind.values()]
    return {FOLDER / "README.md": index()} | {FOLDER / f"{m.name}.md": page(m) for m in methods}


def _markdown(docstring: str) -> str:
    """Docstrings mark code by two backticks and blocks of code by two colons."""
    blocks = []
    for paragraph in docstring.split("\n\n"):
        if paragraph.startswith("    "):
            code = inspect.cleandoc(paragraph)
            blocks.append(f"```text\n{code}\n```")
            continue
        paragraph = paragraph.removesuffix(" ::").removesuffix("::").replace("``", "`")
        # A paragraph is one line, a list or an enumeration one line an item.
        blocks.append(re.sub(r"\n(?!\s*(?:- |\d\. ))\s*", " ", paragraph).replace("  ", " "))
    return "\n\n".join(blocks)


def _parameters(method: type[Method]) -> str:
    lines = ["| field | valid | default | search | |", "|---|---|---|---|---|"]
    for name, info in method.model_fields.items():
        default = "required" if info.is_required() else f"`{info.default!r}`"
        search = "-"
        for mark in info.metadata:
            if isinstance(mark, Choices):
                search = ", ".join(map(str, mark.values))
            elif isinstance(mark, EachLayer):
                search = f"for each layer: {', '.join(map(str, mark.values))}"
            elif isinstance(mark, Range):
                search = f"{mark.low} to {mark.high}{', logarithmic' if mark.log else ''}"
        about = _markdown(inspect.cleandoc(info.description or "")).replace("\n\n", " ")
        cells = (f"`{name}`", method.valid_values(name), default, search, about)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Write all pages; files of methods that are gone are deleted."""
    FOLDER.mkdir(exist_ok=True)
    wanted = pages()
    for path in set(FOLDER.glob("*.md")) - set(wanted):
        path.unlink()
    for path, content in wanted.items():
        path.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
