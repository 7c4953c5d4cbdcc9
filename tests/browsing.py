"""What tests do in the browser: open a page, wait, drag on its map, and look that nothing went wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pages import half
from vaelab.vae.fitted import Fitted

Browser = Any  # selenium's driver; selenium may be absent


def visit(browser: Browser, page: Path, ready: str | None = "#explorer[data-ready]") -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.wait import WebDriverWait

    for log in ("performance", "browser"):
        browser.get_log(log)
    browser.get(page.as_uri())
    if ready:
        WebDriverWait(browser, 10, 0.05).until(lambda b: b.find_elements(By.CSS_SELECTOR, ready))


def wait(browser: Browser, script: str) -> None:
    from selenium.webdriver.support.wait import WebDriverWait

    WebDriverWait(browser, 5, 0.02).until(lambda b: b.execute_script(f"return {script}"))


def pixels(browser: Browser, view: str) -> Any:
    """Grey levels of the image that a tile shows."""
    found = browser.execute_script(
        """const canvas = document.querySelector(`#${arguments[0]} canvas`);
        return [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data]""",
        view,
    )
    return np.array(found).reshape(8, 8, 4)


def decoded(browser: Browser, z: list[float]) -> Any:
    return np.array(browser.execute_script("return [...window.vaelab.decode(arguments[0])]", z))


def same(got: Any, fitted: Fitted, z: list[float]) -> None:
    """Decoded as PyTorch does with the same rounded weights, and nearly as the model itself does."""
    assert np.abs(got - half(fitted).decode([z]).ravel()).max() < 1e-4
    assert np.abs(got - fitted.decode([z]).ravel()).max() < 1e-2


def drag(
    browser: Browser, start: tuple[float, float], end: tuple[float, float], canvas: str = "#explorer-marks"
) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By

    marks = browser.find_element(By.CSS_SELECTOR, canvas)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", marks)
    chain = ActionChains(browser, duration=20)
    middle = np.array([marks.size["width"], marks.size["height"]]) / 2
    chain.move_to_element_with_offset(marks, *(int(v) for v in np.array(start) - middle)).click_and_hold()
    chain.move_to_element_with_offset(marks, *(int(v) for v in np.array(end) - middle)).release().perform()


def quiet(browser: Browser) -> None:
    """No error, no dialog, no node out of the data, no request that leaves the page."""
    from selenium.common.exceptions import NoAlertPresentException

    with pytest.raises(NoAlertPresentException):
        _ = browser.switch_to.alert.text
    assert [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"] == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requests = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
    # A slow start of the browser may still ask for its own first page.
    asked = [request["request"]["url"] for request in requests if request["documentURL"] == browser.current_url]
    assert asked
    assert all(url.startswith(("file:", "data:")) for url in asked), asked
    assert browser.execute_script("return document.querySelectorAll('img[src=x], [onerror], [onload]').length") == 0
    assert browser.execute_script("return document.querySelectorAll('script:not([type])').length") == 1
