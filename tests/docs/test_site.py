"""The pages of the site, which ``make docs`` builds with packages that the tests do without."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from os.path import normpath
from pathlib import Path

ROOT = Path(__file__).parents[2]


def pages() -> set[str]:
    """What the hook of MkDocs puts into the site, and what lies there."""
    (patterns,) = (
        ast.literal_eval(node.value)
        for node in ast.parse((ROOT / "docs/site_pages.py").read_text()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PAGES"
    )
    own = {path.relative_to(ROOT).as_posix() for one in patterns for path in ROOT.glob(one)}
    folder = ROOT / "docs/site"
    return own | {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")}


def links(page: str) -> Iterator[str]:
    """Where the links of a page to other files lead, from the root."""
    path = ROOT / page
    text = re.sub(r"```.*?```|`[^`\n]*`", "", path.read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in link and not link.startswith("mailto:"):
            yield normpath(Path(page).parent / link)


def test_links_between_pages_lead_to_pages_of_the_site() -> None:
    known, found = pages(), 0
    for page in sorted(name for name in known if name.endswith(".md") and (ROOT / name).exists()):
        for link in links(page):
            assert link in known, f"{page} links to {link}, which is not in the site"
            found += 1
    assert found > 100


def test_pages_of_the_navigation_exist() -> None:
    named = re.findall(
        r"^ +- (?:[^:\n]+: )?(\S+\.(?:md|ipynb))", (ROOT / "mkdocs.yml").read_text(), re.M
    )
    assert len(named) > 20
    assert set(named) <= pages()
