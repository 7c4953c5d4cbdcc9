"""A real browser, and pages to open in it: made once for all modules of this folder.

Needs chromium and its driver (Debian: chromium, chromium-driver) and selenium; VAELAB_REQUIRE_BROWSER=1 makes their
absence a failure.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from browsing import Browser
from pages import IMG, SCRIPT, comparison, comparison_report, hostile, untrained
from vaelab.data import Dataset
from vaelab.vae.fitted import Fitted

ACTIVATIONS = ("silu", "relu", "leaky_relu", "tanh", "gelu", "elu")
SWITCHES = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--window-size=1400,1000",
)  # fmt: skip


def _missing(reason: str) -> None:
    if os.environ.get("VAELAB_REQUIRE_BROWSER") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        _missing("needs chromium and chromedriver: apt-get install chromium chromium-driver")
    try:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
    except ImportError:
        _missing("needs selenium: pip install selenium")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for switch in (*SWITCHES, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    found = webdriver.Chrome(options=options, service=Service(driver))
    yield found
    found.quit()


@pytest.fixture(scope="session")
def models(digits: Dataset) -> dict[str, Fitted]:
    """One model per activation, the first two with hostile names; the last beyond two latent dimensions."""
    data = hostile(digits)
    names = (IMG, SCRIPT, *ACTIVATIONS[2:])
    return {
        name: untrained(data, i, activation=activation, latent_dim=4 if i == 5 else 2, hidden=(24, 12))
        for i, (name, activation) in enumerate(zip(names, ACTIVATIONS, strict=True))
    }


@pytest.fixture(scope="session")
def compared(tmp_path_factory: pytest.TempPathFactory, digits: Dataset, models: dict[str, Fitted]) -> Path:
    folder = comparison(tmp_path_factory.mktemp("comparison"), models, notes=[IMG])
    return comparison_report(folder, hostile(digits))
