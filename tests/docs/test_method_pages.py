"""The pages of the methods are those that the docstrings give."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from sparse_attention.method import Method
from sparse_attention.registry import METHODS

SCRIPT = Path(__file__).parents[2] / "docs" / "build_method_pages.py"


@pytest.fixture(scope="module")
def builder():
    spec = importlib.util.spec_from_file_location("build_method_pages", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pages_are_in_step_with_the_code(builder):
    wanted = builder.pages()
    assert set(builder.FOLDER.glob("*.md")) == set(wanted)
    for path, content in wanted.items():
        assert path.read_text(encoding="utf-8") == content, f"run python {SCRIPT}"


@pytest.mark.parametrize("name", METHODS)
def test_a_page_has_all_sections_and_describes_every_field(builder, name):
    page = builder.page(METHODS[name])
    for heading in ("## Parameters", "## Cost", "## When it fails", "## Source"):
        assert page.count(heading) == 1
    for field, info in METHODS[name].model_fields.items():
        assert f"| `{field}` |" in page
        assert info.description, f"{name}.{field} has no docstring"
    assert "``" not in page.replace("```", "")


def test_a_docstring_without_its_sections_is_an_error(builder):
    class Odd(Method):
        """Reads nothing.

        Source: none.
        """

        name = "odd"

    with pytest.raises(
        ValueError, match="Odd needs paragraphs that begin with Cost, Fails, Source"
    ):
        builder.page(Odd)
