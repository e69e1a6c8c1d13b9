"""The rendered book, opened from disk in headless Chromium: whole, quiet and self-contained.

Needs ``_build/html`` (``make book`` or ``make test`` render it) and a Chromium or Chrome.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[3]
SITE = ROOT / "_build" / "html"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}
pytestmark = pytest.mark.site

MEASURE = """() => ({
  width: document.documentElement.clientWidth,
  needed: Math.max(document.documentElement.scrollWidth, document.body.scrollWidth),
  broken: [...document.images].filter(i => !i.complete || i.naturalWidth === 0).map(i => i.src),
  formulas: document.querySelectorAll('.math').length,
  drawn: document.querySelectorAll('.math mjx-container svg').length,
  errors: document.querySelectorAll('[data-mjx-error], merror, mjx-merror').length,
  plots: document.querySelectorAll('.epsvae-plot').length,
  plotted: document.querySelectorAll('.epsvae-plot .main-svg').length,
})"""
SETTLED = """async () => {
  document.querySelectorAll('img[loading]').forEach(i => i.loading = 'eager');
  await Promise.all([...document.images].map(i => i.decode().catch(() => null)));
  if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
  await document.fonts.ready;
}"""


@dataclass
class Visit:
    """What went wrong while a page was open."""

    errors: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)


def chromium() -> str | None:
    """Return the browser's path from ``$CHROMIUM`` or the usual names."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


def pages() -> list[str]:
    """Return the pages below the site's folder, without the redirect that stands at its top."""
    found = (path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html"))
    return sorted(name for name in found if not name.startswith(("_static/", "index.html")))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = chromium()
    assert path, f"found no browser: install chromium, or set CHROMIUM (tried {', '.join(NAMES)})"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(QUIET))
        yield browser
        browser.close()


def open_page(browser: Browser, name: str, scheme: str) -> tuple[Page, Visit]:
    """Open a page of the site from disk, and listen to all that it says and asks for."""
    page = browser.new_page(viewport=DESK, color_scheme=scheme)
    visit = Visit()
    home = SITE.as_uri() + "/"

    def on_request(url: str) -> None:
        if not url.startswith((home, "data:", "blob:")):
            visit.outside.append(url)

    page.on("request", lambda request: on_request(request.url))
    page.on("pageerror", lambda error: visit.errors.append(str(error)))
    page.on(
        "console",
        lambda message: visit.errors.append(message.text) if message.type == "error" else None,
    )
    page.on("requestfailed", lambda request: visit.errors.append(f"failed: {request.url}"))
    page.goto(home + name, wait_until="load")
    page.evaluate(SETTLED)
    return page, visit


def test_site_is_built() -> None:
    assert (SITE / "book" / "index.html").is_file(), "expected _build/html; run: make book"


def test_top_leads_to_the_front_page(browser: Browser) -> None:
    page = browser.new_page()
    page.goto((SITE / "index.html").as_uri())
    page.wait_for_url("**/book/index.html")
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", pages())
def test_page(browser: Browser, name: str, scheme: str) -> None:
    page, visit = open_page(browser, name, scheme)
    desk = page.evaluate(MEASURE)
    theme = page.evaluate("document.documentElement.dataset.theme")
    page.set_viewport_size(PHONE)
    phone = page.evaluate(MEASURE)
    page.close()

    assert visit.errors == []
    assert visit.outside == []
    assert desk["broken"] == []
    assert desk["drawn"] == desk["formulas"], "formulas that MathJax did not draw"
    assert desk["errors"] == 0, "formulas that MathJax could not read"
    assert desk["plotted"] >= desk["plots"], "interactive figures that were not drawn"
    assert phone["needed"] <= phone["width"], "the page scrolls sideways on a phone"
    assert theme == scheme


def test_search_from_disk(browser: Browser) -> None:
    page, visit = open_page(browser, "search.html?q=epsilon", "light")
    page.wait_for_selector("ul.search li a", timeout=10_000)
    found = page.locator("ul.search li a").count()
    page.close()
    assert visit.errors == []
    assert found > 0
