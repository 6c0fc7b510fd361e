"""The page in a headless browser: it plays, says mistakes in sentences, and the console stays empty."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from parvideo.app.playing import Studio
from tests.pipeline.cases import several_orders

pytest.importorskip("gradio", reason="the extra `app` is not installed")
sync_api = pytest.importorskip(
    "playwright.sync_api", reason="playwright, which drives the browser, is absent"
)
from parvideo.app.page import build_page, launch  # noqa: E402

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SECONDS = 60_000


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    page = build_page(Studio(several_orders(tmp_path_factory.mktemp("model"))))
    yield launch(page, "127.0.0.1", None, wait=False)
    page.close(verbose=False)


@pytest.fixture(scope="module")
def tab(address: str) -> Iterator[tuple[Any, list[str]]]:
    """The page, loaded, and what was wrong with it: errors on its console, requests to other machines."""
    if BROWSER is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    wrong: list[str] = []

    def check(url: str) -> None:
        if not url.startswith((address, "data:", "blob:")):
            wrong.append(url)

    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        tab = browser.new_page()
        tab.set_default_timeout(SECONDS)
        tab.on("console", lambda line: wrong.append(line.text) if line.type == "error" else None)
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on("request", lambda request: check(request.url))
        tab.goto(address)
        tab.wait_for_selector("#go")
        yield tab, wrong
        browser.close()


@pytest.fixture
def page(tab: tuple[Any, list[str]]) -> Iterator[Any]:
    """The page, of which nothing may go wrong behind the scenes."""
    yield tab[0]
    assert tab[1] == []


def test_a_clip_is_generated_and_plays(page: Any, tmp_path: Path) -> None:
    page.get_by_label("Seed").fill("3")
    page.click("#go")
    page.wait_for_selector(".frames img")
    page.wait_for_function("document.querySelector('#status').innerText.includes('decoded to')")
    page.wait_for_function("(document.querySelector('#clip video') || {}).currentTime > 0")
    width, error = page.evaluate(
        "(() => {const v = document.querySelector('#clip video'); return [v.videoWidth, v.error]})()"
    )
    assert width >= 256
    assert error is None
    assert "parvideo sample --model" in page.inner_text("#command")
    with page.expect_download() as download:
        page.click("#npz")
    assert download.value.path().stat().st_size > 0
    assert download.value.suggested_filename.endswith("seed-3.npz")
    page.screenshot(path=str(tmp_path / "app.png"))


def test_every_speed_can_be_chosen(page: Any) -> None:
    speeds = page.locator("#speed label")
    assert speeds.count() == 3
    speeds.nth(2).click()
    page.click("#go")
    page.wait_for_function("document.querySelector('#command').innerText.includes('--order')")


def test_mistakes_show_as_a_sentence_and_the_page_goes_on(page: Any) -> None:
    page.get_by_label("Seed").fill("-7")
    page.click("#go")
    page.wait_for_selector("#status .wrong")
    assert "seed is -7; it must be 0 or more" in page.inner_text("#status")
    page.get_by_label("Seed").fill("7")
    page.get_by_label("Class").fill("Nothing")
    page.keyboard.press("Enter")
    page.click("#go")
    page.wait_for_function("document.querySelector('#status').innerText.includes('there is no class')")
