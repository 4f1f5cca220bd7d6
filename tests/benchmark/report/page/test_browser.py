"""The page in a real browser; where Chromium and Playwright are not installed, nothing is tested.

``apt-get install chromium`` and ``pip install playwright`` bring them; ``AXE_CORE`` names the file
``axe.min.js`` of npm's axe-core, whose rules of accessibility are then checked too.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmark.report.frames.scan import scan_results
from benchmark.report.page.build import write_page
from perf.made_results import make_results
from sparse_attention.config import AttentionConfig
from sparse_attention.config_types import make_config

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
_CHART = "document.querySelector('.chart')"
_LAYERS = "document.querySelector('.chart[aria-label*=\"density by layer\"]')"
HOSTILE = "</script><img src=x onerror=document.title='owned'> <b>bold</b> \u202e\x1b[31m"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    configs = {"dense": AttentionConfig(), HOSTILE[:60]: make_config("quest")}
    for ratio in (0.25, 0.5, 0.75):
        configs[f"knorm {ratio}"] = make_config("knorm", compression_ratio=ratio)
    folder = tmp_path_factory.mktemp("browser")
    results = make_results(folder / "results", configs, ["niah_single_1", "vt"], 8, text=HOSTILE)
    write_page(scan_results(results), [], folder / "report.html")
    return (folder / "report.html").as_uri()


class Opened:
    """A page with all that its console said."""

    def __init__(self, browser: Any, address: str, **settings: Any) -> None:
        self.context = browser.new_context(**settings)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self._asked(request.url))
        self.page.goto(address)

    def _asked(self, url: str) -> None:
        if not url.startswith(("file:", "data:", "blob:")):
            self.said.append(url)


@pytest.fixture
def opened(browser: Any, address: str, request: pytest.FixtureRequest) -> Iterator[Opened]:
    found = Opened(browser, address, **getattr(request, "param", {}))
    yield found
    found.context.close()


def first_column(page: Any, table: str) -> list[str]:
    return [text.strip() for text in page.locator(f"{table} tbody th").all_inner_texts()]


@pytest.mark.parametrize(
    "opened",
    [{"viewport": {"width": 390, "height": 800}}, {"color_scheme": "dark"}],
    indirect=True,
    ids=["phone", "dark"],
)
def test_charts_are_drawn_without_a_word_and_nothing_is_wider_than_the_screen(
    opened: Opened,
) -> None:
    page = opened.page
    for place in range(page.locator(".chart").count()):
        page.locator(".chart").nth(place).scroll_into_view_if_needed()
        page.locator(".chart").nth(place).locator(".main-svg").first.wait_for()
    assert page.locator(".chart .scatterlayer .trace").count() > 10
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= page.evaluate("innerWidth")
    assert page.title() == "Sparse attention: results"
    assert page.locator("img").count() == 0
    if (axe := os.environ.get("AXE_CORE")) is not None:
        page.evaluate(Path(axe).read_text())
        found = page.evaluate("axe.run().then(r => r.violations.map(v => [v.id, v.nodes[0].html]))")
        assert found == []
    assert opened.said == []


def test_tables_sort_and_filter_and_methods_hide(opened: Opened) -> None:
    page = opened.page
    card = ".card:has(> h3:text-is('All results'))"
    before = first_column(page, card)
    page.locator(f"{card} thead button", has_text="density").click()
    down = first_column(page, card)
    page.locator(f"{card} thead button", has_text="density").click()
    assert down[0].startswith("dense")
    assert first_column(page, card) == down[::-1] != before
    assert page.locator(f"{card} th[aria-sort=ascending]").inner_text().startswith("density")
    page.locator(f"{card} input").fill("knorm 0.5")
    assert first_column(page, card) == ["knorm 0.5"]
    cost = page.locator(".card:has(> h3:text-is('Score against cost'))")
    cost.scroll_into_view_if_needed()
    cost.locator(".trace").first.wait_for()
    traces = cost.locator(".trace").count()
    cost.locator(".chips button", has_text="knorm").click()
    page.wait_for_function(
        f"document.querySelector('.chart').querySelectorAll('.trace').length < {traces}"
    )
    cost.locator("button", has_text="Bytes read").click()
    page.wait_for_function(
        "document.querySelector('.chart .xtitle').textContent.startsWith('bytes')"
    )
    assert opened.said == []


def test_a_sample_is_opened_by_keyboard_and_hits_are_marked(opened: Opened) -> None:
    page = opened.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the results"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    browser = page.locator("[data-browser]")
    view = browser.locator(".browser")
    assert view.locator("b").first.inner_text() == "niah_single_1-0000"
    view.focus()
    page.keyboard.press("ArrowRight")
    assert view.locator("b").first.inner_text() == "niah_single_1-0001"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert view.locator("b").first.inner_text() == "niah_single_1-0007"
    assert view.locator("mark").first.inner_text() == "1049"
    assert "</script><img" in view.inner_text()
    browser.locator("select").first.select_option(label="vt")
    assert view.locator("b").first.inner_text() == "vt-0000"


def test_what_is_copied_is_a_table_in_text(opened: Opened) -> None:
    opened.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = opened.page
    card = page.locator(".card:has(> h3:text-is('All results'))")
    card.locator("button", has_text="Copy CSV").click()
    page.wait_for_function("document.getElementById('said').textContent === 'Copied as CSV'")
    lines = page.evaluate("navigator.clipboard.readText()").splitlines()
    assert lines[0].startswith("configuration,score,")
    assert len(lines) == 6
    card.locator("button", has_text="Copy Markdown").click()
    page.wait_for_function("document.getElementById('said').textContent === 'Copied as Markdown'")
    text = page.evaluate("navigator.clipboard.readText()")
    assert text.startswith("| configuration | score |")
    assert "\\<img" in text


def test_numbers_by_layer_are_a_table_that_is_made_when_it_is_opened(opened: Opened) -> None:
    page = opened.page
    card = page.locator(".card", has=page.get_by_role("heading", name="by layer"))
    assert card.locator("table").count() == 0
    card.get_by_text("Numbers by layer").click()
    assert card.locator("tbody tr").count() == 4  # all but dense attention
    assert card.locator("thead th").count() == 1 + 2 * 32
    card.locator("select").first.select_option(label="all settings of knorm")
    page.wait_for_function(f"{_LAYERS}.data !== undefined && {_LAYERS}.data.length === 3")
    assert not opened.said
