from __future__ import annotations

import warnings

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmark.report.escapes import markdown_text, picture_text
from sparse_attention.printable import is_label, terminal_text

anything = st.text(st.characters(codec=None, exclude_categories=()), max_size=30)
markup = st.text(st.sampled_from("ab1 _*`[]()<>!|\\#+-.&;~$:/=\n\t\x1b\r\u202e"), max_size=20)
NASTY = [
    "\x1b[31mred\x1b[0m",
    "a\rb\nc",
    "# heading",
    "<script>alert(1)</script>",
    "![x](http://127.0.0.1/x.png)",
    "[a]: http://127.0.0.1",
    "\u202egnp.exe",
    "$\\frac{$",
    "$\\frac{1}{2}$",
    "\ud800",
    "_left_out",
    "12. x",
    "小",
    "a|b",
    "&lt;b&gt;",
    "-",
]


def test_a_terminal_is_told_nothing() -> None:
    assert terminal_text("\x1b[31mred\r\n\u202e") == r"\x1b[31mred\r\n\u202e"
    assert terminal_text("\ud800\x00\x9b") == r"\ud800\x00\x9b"
    assert terminal_text("小 _[x]_ é\u3000\xa0") == "小 _[x]_ é  "


@given(anything | markup)
def test_what_a_terminal_gets_is_printable(text: str) -> None:
    shown = terminal_text(text)
    assert shown.isprintable()
    assert terminal_text(shown) == shown


def leaves(tokens: list[Token]) -> list[Token]:
    return [leaf for token in tokens for leaf in (token.children or [token])]


@given(anything | markup)
@settings(max_examples=150)
def test_markdown_shows_the_text_letter_by_letter(text: str) -> None:
    expected = " ".join(terminal_text(text).split())
    escaped = markdown_text(text)
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    for before, after, expected_text in (
        ("- ", ": of 4.", f"{expected}: of 4."),
        ("# ", " on toy", f"{expected} on toy"),
        ("- name: ", ".", f"name: {expected}."),
        ("| a | b |\n| --- | --- |\n| x | ", " |", f"abx{expected}"),
    ):
        tokens = leaves(parser.parse(f"{before}{escaped}{after}\n"))
        shown = "".join(token.content for token in tokens)
        assert " ".join(shown.split()) == " ".join(expected_text.split())
        kinds = {token.type for token in tokens}
        assert not kinds & {"html_inline", "html_block", "image", "link_open", "code_inline"}
        assert not kinds & {"em_open", "strong_open", "s_open", "fence", "code_block", "hr"}


@pytest.mark.parametrize("text", NASTY)
def test_markdown_of_nasty_names(text: str) -> None:
    html = MarkdownIt("commonmark", {"html": True}).render(f"- {markdown_text(text)}: of 4.")
    for tag in ("<script", "<img", "<a ", "<h1", "<ol"):
        assert tag not in html
    assert "\x1b" not in html
    assert html.count("\n") == 3


def test_plain_names_stay_as_they_are() -> None:
    for text in ("niah_single_2", "0.500 [0.25, 0.75]", "+0.100 [-0.20, 0.40]", "top-1 (x=2)"):
        assert markdown_text(text) == text
        assert picture_text(text) == text


@settings(max_examples=15)
@given(anything | markup | st.sampled_from(NASTY))
@example("$" * 7)
@example("\\$")
@example("x" * 5_000)
def test_pictures_draw_every_name_as_it_is(text: str) -> None:
    figure = Figure(figsize=(2, 1))
    canvas = FigureCanvasAgg(figure)
    axis = figure.subplots()
    drawn = picture_text(text)
    assume(drawn.strip())
    axis.plot([0, 1], label=drawn)
    legend = figure.legend()
    figure.suptitle(drawn)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a letter that the font has not
        canvas.draw()
    assert [entry.get_text() for entry in legend.get_texts()] == [drawn]
    assert figure._suptitle._preprocess_math(drawn)[1] is False


@pytest.mark.parametrize("text", ["dense", "top 1", "小", "$x$", "a|b", "x" * 200])
def test_labels(text: str) -> None:
    assert is_label(text)


@pytest.mark.parametrize("text", ["", " ", "a\n", "\x1b", "\u202e", "\ud800", "x" * 201, " a", 3])
def test_no_labels(text: object) -> None:
    assert not is_label(text)
