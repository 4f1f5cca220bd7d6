"""Templates of other projects, cut and filled."""

from __future__ import annotations

from string import Formatter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.suite.prompt_templates import split_template

texts = st.text(st.sampled_from("a {}\n:$"), max_size=12).map(
    lambda text: text.replace("{", "{{").replace("}", "}}")
)


@given(texts, texts, texts, st.text(max_size=20), st.text(max_size=20))
def test_the_parts_together_are_what_format_gives(before, middle, after, document, question):
    template = f"{before}{{doc}}{middle}{{q}}{after}"
    values = {"doc": document, "q": question}
    parts = split_template(template, "doc").fill(values)
    assert parts["context"] == (before + "{doc}").format(**values)
    assert "".join(parts.values()) == template.format(**values)


@pytest.mark.parametrize(
    ("template", "context", "question", "prefix"),
    [
        ("Read.\n{doc}\nQ: {q}\nA:", "Read.\nD", "\nQ: ?\n", "A:"),
        ("{doc}\n Summary: ", "D", "\n", " Summary: "),
        ("{doc}\n\n{q}", "D", "\n\n?", ""),
        ("{doc} {q} is", "D", " ? is", ""),
        ("{doc}", "D", "", ""),
        ("{doc} so", "D", "", " so"),
        ("say {{'a': 1}} {doc}\n{{b}}", "say {'a': 1} D", "\n", "{b}"),
    ],
)
def test_where_templates_are_cut(template, context, question, prefix):
    parts = split_template(template, "doc").fill({"doc": "D", "q": "?"})
    assert parts == {"context": context, "question": question, "answer_prefix": prefix}


@pytest.mark.parametrize(
    "template",
    ["no slot", "{doc}{doc}", "{doc.x}", "{doc!r}", "{doc:>9}", "{doc} {0}", "{doc", "}"],
)
def test_other_forms_are_refused(template):
    with pytest.raises(ValueError):  # noqa: PT011 - of the formatter's or our own wording
        split_template(template, "doc")


def test_values_are_not_templates():
    filled = split_template("{doc}\n{q}", "doc").fill({"doc": "{q}", "q": "{doc}"})
    assert filled["context"] == "{q}"
    assert list(Formatter().parse(filled["question"]))[-1][1] == "doc"
