"""Pages without a mouse and for screen readers: the rules of axe-core, and every control by the keyboard.

axe-core (npm install axe-core) is found by VAELAB_AXE, the path of its axe.min.js, or where npm keeps global packages;
VAELAB_REQUIRE_AXE=1 makes its absence a failure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from browsing import Browser, quiet, visit, wait
from pages import clusters_report, inverse_report, run_report, save, study, study_report, typed_table, untrained
from vaelab.data import Dataset

NARROW = 420  # pixels: parts of the page scroll


@pytest.fixture(scope="module")
def axe() -> str:
    """The script of axe-core."""
    given = os.environ.get("VAELAB_AXE")
    if given is None and shutil.which("npm"):
        root = subprocess.run(["npm", "root", "--global"], capture_output=True, text=True, check=True).stdout.strip()
        given = str(Path(root) / "axe-core" / "axe.min.js")
    if given is None or not Path(given).is_file():
        if os.environ.get("VAELAB_REQUIRE_AXE") == "1":
            pytest.fail(f"needs axe-core, but {given} is no file: npm install axe-core, and set VAELAB_AXE")
        pytest.skip("needs axe-core: npm install axe-core, and set VAELAB_AXE")
    return Path(given).read_text()


def run_page(folder: Path) -> Path:
    return run_report(save(untrained(typed_table(), likelihood="mixed"), folder / "run"), typed_table())


def study_page(folder: Path, digits: Dataset) -> Path:
    folder = study(folder, trials=12)
    shutil.rmtree(folder / "best")
    save(untrained(digits), folder / "best")
    return study_report(folder, digits)


PAGES: dict[str, Callable[[Path], Path]] = {
    "run of a table": run_page,
    "inverse": inverse_report,
    "clusters": clusters_report,
}

# Whatever is folded is open, and the colours are those of a light or a dark page.
AXE = """const done = arguments[arguments.length - 1];
document.querySelectorAll("details").forEach((node) => { node.open = true; });
axe.run({ resultTypes: ["violations"] }).then(({ violations }) => done(
    violations.map(({ id, nodes }) => [id, ...nodes.map((node) => node.html.slice(0, 200))])))"""


def found(browser: Browser, axe: str) -> list[list[str]]:
    """The rules that this page breaks, with its elements that do."""
    browser.execute_script(axe)
    broken: list[list[str]] = browser.execute_async_script(AXE)
    return broken


@pytest.mark.parametrize("kind", PAGES)
def test_pages_break_no_rule(browser: Browser, axe: str, tmp_path: Path, kind: str) -> None:
    visit(browser, PAGES[kind](tmp_path), ready=None)
    assert found(browser, axe) == []


def test_the_page_of_a_comparison_breaks_no_rule_in_the_dark(browser: Browser, axe: str, compared: Path) -> None:
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    try:
        visit(browser, compared)
        assert found(browser, axe) == []
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_the_page_of_a_study_breaks_no_rule_on_a_phone_and_its_axes_take_keys(
    browser: Browser, axe: str, tmp_path: Path, digits: Dataset
) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    narrow = {"width": NARROW, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", narrow)
    try:
        visit(browser, study_page(tmp_path / "study", digits))
        wait(browser, "document.querySelectorAll('#chart-parallel path.way').length === 6")
        assert found(browser, axe) == []
        assert browser.execute_script("return document.documentElement.scrollWidth") <= NARROW
        grip = browser.find_elements(By.CSS_SELECTOR, "#chart-parallel .grip")[-1]
        out = "return document.querySelectorAll('#chart-parallel path.way.out').length"
        grip.send_keys(Keys.ARROW_DOWN)
        assert 0 < browser.execute_script(out) < 6
        assert grip.get_attribute("aria-valuetext").startswith("a part of the axis, ")
        grip.send_keys(Keys.SHIFT + Keys.ARROW_UP * 10)
        assert browser.execute_script(out) == 0
        grip.send_keys(Keys.SHIFT + Keys.ARROW_DOWN * 9)
        assert browser.execute_script(out) > 0
        grip.send_keys(Keys.ESCAPE)
        assert browser.execute_script(out) == 0
        quiet(browser)
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_map_needs_no_mouse(browser: Browser, compared: Path) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    visit(browser, compared)
    focused = "return document.activeElement.id || document.activeElement.className || document.activeElement.value"
    ActionChains(browser).send_keys(Keys.TAB).perform()
    assert browser.execute_script(focused) == "skip"
    reached = []
    browser.execute_script("document.querySelector('#explorer-controls select').focus()")
    while "explorer-marks" not in reached:
        ActionChains(browser).send_keys(Keys.TAB).perform()
        reached.append(browser.execute_script(focused))
        shown = "return getComputedStyle(document.activeElement.closest('.legend label') ?? document.activeElement)"
        assert browser.execute_script(f"{shown}.outlineStyle") != "none"
        assert len(reached) < 40
    facts = "return document.getElementById('explorer-facts').textContent"
    ActionChains(browser).send_keys(*[Keys.ARROW_RIGHT] * 3, Keys.ENTER).perform()
    row = browser.execute_script("return Number(document.getElementById('view-original').dataset.point)")
    point = browser.execute_script("return window.vaelab.point(arguments[0])", row)
    assert browser.execute_script("return window.vaelab.probe()") == point["z"]
    assert point["label"] in browser.execute_script(facts)
    ActionChains(browser).send_keys(Keys.ESCAPE).perform()
    assert point["label"] not in browser.execute_script(facts)
    quiet(browser)
