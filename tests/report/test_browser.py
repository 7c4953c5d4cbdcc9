"""The page in a real browser: it sorts, shows, decodes as PyTorch does, and runs no word of its data."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from browsing import Browser, decoded, drag, pixels, quiet, same, visit, wait
from pages import (
    IMG,
    comparison,
    comparison_report,
    half,
    hostile,
    run_report,
    save,
    study,
    study_report,
    table,
    typed_table,
    untrained,
)
from vaelab.data import Dataset, from_arrays
from vaelab.data.cells import as_written
from vaelab.data.splits import split_rows
from vaelab.vae.fitted import Fitted
from vaelab.vae.quantities import level_shares, reconstructed


@pytest.mark.parametrize("number", range(6))
def test_a_drag_decodes_as_pytorch_does(
    browser: Browser, compared: Path, models: dict[str, Fitted], number: int
) -> None:
    name, fitted = list(models.items())[number]
    visit(browser, compared)
    browser.execute_script(
        """const select = document.getElementById("explorer-model");
        select.value = arguments[0];
        select.dispatchEvent(new Event("change"))""",
        name,
    )
    before = browser.execute_script("return window.vaelab.probe()")
    drag(browser, (300, 300), (420 + 9 * number, 200))
    z = browser.execute_script("return window.vaelab.probe()")
    assert np.abs(np.array(z) - before).max() > 0.1
    got = decoded(browser, z)
    same(got, fitted, z)
    shown = pixels(browser, "view-here")
    assert np.abs(shown[..., 0].ravel() - 255 * got).max() <= 0.51
    assert (shown[..., 0] == shown[..., 2]).all()
    assert (shown[..., 3] == 255).all()
    for far in ([3.5] * fitted.spec.latent_dim, [-3.5] * fitted.spec.latent_dim):
        same(decoded(browser, far), fitted, far)
    quiet(browser)


def test_convolutions_decode_as_pytorch_does(browser: Browser, tmp_path: Path) -> None:
    """With each norm, an odd size and a pixel that never changes."""
    x = np.random.default_rng(0).random((100, 6, 7)).astype(np.float32)
    x[:, 0, 0] = 0.25
    data = Dataset("grey", x, split_rows(100, None, 0))
    settings = {"network": "conv", "channels": (4, 8), "blocks": 1, "kernel": 3, "activation": "gelu"}
    fitted = {
        norm: untrained(data, likelihood="gaussian", norm=norm, **settings) for norm in ("none", "batch", "group")
    }
    assert all(len(own.scaling.kept) == 41 for own in fitted.values())
    visit(browser, comparison_report(comparison(tmp_path, fitted), data))
    for norm, own in fitted.items():
        browser.execute_script(
            """const select = document.getElementById("explorer-model");
            select.value = arguments[0];
            select.dispatchEvent(new Event("change"))""",
            norm,
        )
        for z in ([0.5, -1.0], [-2.0, 2.0]):
            got, means = decoded(browser, z), own.decode([z]).ravel()
            assert means.std() > 0.05
            assert np.abs(got - means).max() < 1e-2
            if norm != "batch":  # which is rounded after it was folded into the weights
                assert np.abs(got - half(own).decode([z]).ravel()).max() < 1e-4
    quiet(browser)


@pytest.mark.parametrize("code", [0, 1, 7])
def test_hovering_a_point_shows_it(
    browser: Browser, compared: Path, models: dict[str, Fitted], digits: Dataset, code: int
) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By

    visit(browser, compared)
    marks = browser.find_element(By.ID, "explorer-marks")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", marks)
    assert digits.labels is not None
    # A point that lies alone, so that the pointer cannot mean another.
    places = np.array(
        browser.execute_script(
            "return Array.from({length: window.vaelab.count}, (_, i) => window.vaelab.point(i).screen)"
        )
    )
    rows = np.flatnonzero(digits.labels == code)[:40]
    far = [np.sort(np.hypot(*(places - places[row]).T))[1] for row in rows]
    row = int(rows[int(np.argmax(far))])
    x, y = places[row] - np.array([marks.size["width"], marks.size["height"]]) / 2
    ActionChains(browser, duration=20).move_to_element_with_offset(marks, round(x), round(y)).perform()
    wait(browser, f"document.getElementById('view-original').dataset.point === '{row}'")
    point = browser.execute_script("return window.vaelab.point(arguments[0])", row)
    facts = browser.find_element(By.ID, "explorer-facts").text
    assert point["label"] == hostile(digits).classes[code]
    assert point["label"] in facts
    assert f"{row:,}" in facts
    assert point["split"] in facts
    fitted = models[IMG]
    assert np.abs(np.array(point["z"]) - fitted.encode(digits.x[[row]])[0][0]).max() < 1e-3
    same(decoded(browser, point["z"]), fitted, point["z"])
    assert np.abs(pixels(browser, "view-decoded")[..., 0].ravel() - 255 * decoded(browser, point["z"])).max() <= 0.51
    wait(browser, "document.querySelector('#view-original canvas') !== null")
    assert (pixels(browser, "view-original")[..., 0] == np.round(255 * digits.x[row])).all()
    quiet(browser)


def test_keys_sliders_and_planes_move_the_cross(browser: Browser, compared: Path, models: dict[str, Fitted]) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    visit(browser, compared)
    browser.execute_script(
        """const select = document.getElementById("explorer-model");
        select.value = "elu";
        select.dispatchEvent(new Event("change"))"""
    )
    probe = "return window.vaelab.probe()"
    marks = browser.find_element(By.ID, "explorer-marks")
    marks.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_UP, Keys.SHIFT + Keys.ARROW_UP)
    z = browser.execute_script(probe)
    assert sum(abs(value) > 0 for value in z) == 2
    slider = browser.find_element(By.CSS_SELECTOR, "#explorer-sliders label:not([hidden]) input")
    slider.send_keys(Keys.ARROW_RIGHT)
    assert sum(abs(value) > 0 for value in browser.execute_script(probe)) == 3
    browser.find_element(By.CSS_SELECTOR, "input[value=pca]").click()
    before = np.array(browser.execute_script(probe))
    marks.send_keys(Keys.ARROW_LEFT)
    z = browser.execute_script(probe)
    assert (np.abs(np.array(z) - before) > 1e-9).sum() >= 3
    same(decoded(browser, z), models["elu"], z)
    marks.send_keys(Keys.HOME)
    assert browser.execute_script(probe) == [0, 0, 0, 0]
    quiet(browser)


def test_the_line_of_unused_dimensions_is_whole_and_without_scripts_there_is_no_empty_map(
    browser: Browser, compared: Path
) -> None:
    visit(browser, compared)
    hidden = browser.execute_script(
        """const host = document.getElementById("explorer-sliders");
        host.append(Object.assign(document.createElement("details"), { innerHTML: "<summary>9 unused dimensions" }));
        return [host.scrollHeight - host.clientHeight, document.querySelector(".explore").hidden]"""
    )
    assert hidden == [0, False]
    assert re.search(r'<div class="explore[^>]* hidden>', compared.read_text())


def test_a_study_sorts_and_draws_its_trials(browser: Browser, tmp_path: Path, digits: Dataset) -> None:
    from selenium.webdriver.common.by import By

    data = hostile(digits)
    folder = study(tmp_path / "study", IMG, trials=12)
    shutil.rmtree(folder / "best")
    save(untrained(data), folder / "best")
    visit(browser, study_report(folder, data))
    wait(browser, "document.querySelectorAll('#chart-parallel path.way').length === 6")
    assert browser.execute_script("return document.querySelectorAll('.chart:not([hidden]) svg').length") > 3
    assert IMG in browser.execute_script("return document.getElementById('chart-parallel').textContent")

    def column(n: int) -> list[float]:
        cells = browser.execute_script(
            """return [...document.querySelectorAll("#trials tbody tr")]
                .map((row) => row.cells[arguments[0]].dataset.value ?? null)""",
            n,
        )
        return [np.inf if cell is None else float(cell) for cell in cells]

    button = browser.find_element(By.CSS_SELECTOR, "#trials th:nth-child(3) button")
    button.click()
    rising = column(2)
    assert rising == sorted(rising)
    assert rising[5] < rising[6] == np.inf
    button.click()
    falling = column(2)
    assert falling[:6] == rising[5::-1]
    assert falling[6:] == [np.inf] * 6
    heads = browser.find_elements(By.CSS_SELECTOR, "#trials th[aria-sort]")
    assert [head.get_attribute("aria-sort") for head in heads] == ["descending"]
    quiet(browser)


def test_charts_leave_settings_out_that_had_no_effect(browser: Browser, tmp_path: Path) -> None:
    folder = study(tmp_path / "study", "units3", trials=12)
    results = json.loads((folder / "results.json").read_text())
    for row in results["table"][:4]:
        row["idle"] = ["units3"]
    (folder / "results.json").write_text(json.dumps(results))
    visit(browser, study_report(folder), ready=None)
    wait(browser, "document.querySelectorAll('#chart-slices svg').length === 2")
    found = browser.execute_script(
        """const trials = (nodes) => [...nodes].map((node) => Number(node.dataset.trial)).sort((a, b) => a - b);
        return [...document.querySelectorAll("#chart-slices svg")].map((each) => trials(each.querySelectorAll(".dot")))
            .concat([trials(document.querySelectorAll("#chart-parallel path.way"))])"""
    )
    assert found == [[0, 2, 4, 6, 8, 10], [4, 6, 8, 10], [0, 2, 4, 6, 8, 10]]
    told = browser.execute_script(
        """const parallel = document.getElementById("chart-parallel");
        return [0, 4].map((n) => parallel.querySelector(`path[data-trial="${n}"] title`).textContent)
            .concat([[...parallel.querySelectorAll(".tick")].filter((tick) => tick.textContent === "–").length])"""
    )
    assert told == ["trial 0: 104 nats; latent_dim 16", "trial 4: 100 nats; latent_dim 20, units3 4", 1]
    quiet(browser)


def test_large_values_beside_an_axis_are_not_clipped(browser: Browser, tmp_path: Path) -> None:
    folder = study(tmp_path / "study", trials=12)
    results = json.loads((folder / "results.json").read_text())
    for row in results["table"]:
        row["value"] = row["value"] and row["value"] * 12_345
    (folder / "results.json").write_text(json.dumps(results))
    visit(browser, study_report(folder), ready=None)
    wait(browser, "document.querySelectorAll('#chart-slices svg').length > 1")
    ends = browser.execute_script(
        """return [...document.querySelectorAll("#chart-slices svg .tick[text-anchor=end]")].map((tick) =>
            [tick.textContent, tick.getBoundingClientRect().left - tick.closest("svg").getBoundingClientRect().left])"""
    )
    assert ends
    assert all(re.fullmatch(r"1,\d{3},000", text) and place >= 0 for text, place in ends)


def test_a_table_shows_bars_with_their_names(browser: Browser, tmp_path: Path) -> None:
    from selenium.webdriver.common.by import By

    data = table()
    fitted = untrained(data, likelihood="gaussian", latent_dim=3)
    visit(browser, run_report(save(fitted, tmp_path / IMG.replace("/", "")), data))
    drag(browser, (300, 300), (420, 200))
    z = browser.execute_script("return window.vaelab.probe()")
    span = np.array([6, 60, 600, 1, 0.6])
    assert np.abs((decoded(browser, z) - half(fitted).decode([z])[0]) / span).max() < 1e-4
    names = [node.text for node in browser.find_elements(By.CSS_SELECTOR, "#view-here .name")]
    assert names == list(data.features)
    assert len(browser.find_elements(By.CSS_SELECTOR, "#view-decoded .mark")) == 5
    quiet(browser)


SHARES = "return Object.entries(window.vaelab.shares(arguments[0])).map(([column, own]) => [Number(column), [...own]])"


@pytest.mark.parametrize(
    ("real", "count"), [("gaussian", "poisson"), ("student", "zero_inflated"), ("laplace", "negative_binomial")]
)
def test_a_typed_table_decodes_as_pytorch_does(browser: Browser, tmp_path: Path, real: str, count: str) -> None:
    from selenium.webdriver.common.by import By

    data = typed_table()
    settings = {"real_likelihood": real, "count_likelihood": count, "size_factor": "total", "latent_dim": 3}
    fitted = untrained(data, likelihood="mixed", **settings)
    visit(browser, run_report(save(fitted, tmp_path / "typed"), data))
    for z in ([0.0, 0.0, 0.0], [1.5, -2.0, 0.5], [-2.5, 1.0, 2.0]):
        truth = half(fitted).decode([z])[0]
        np.testing.assert_allclose(decoded(browser, z), truth, rtol=1e-4, atol=1e-4)
        shares = level_shares(half(fitted), [z])
        found = dict(browser.execute_script(SHARES, z))
        assert sorted(found) == sorted(shares) == [4, 5, 6, 7]
        for column, own in shares.items():
            np.testing.assert_allclose(found[column], own[0], atol=2e-4)  # the page does not round thresholds
    names = [node.text for node in browser.find_elements(By.CSS_SELECTOR, "#view-here .name")]
    assert names == list(data.features)
    values = [node.text for node in browser.find_elements(By.CSS_SELECTOR, "#view-here .value")]
    z = browser.execute_script("return window.vaelab.probe()")
    likely = int(level_shares(fitted, [z])[4][0].argmax())
    assert values[4].startswith(f"{data.columns[4].levels[likely]} ")
    assert re.fullmatch(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}", values[8])
    quiet(browser)


def test_a_point_of_a_typed_table_shows_its_id_and_what_is_missing(browser: Browser, tmp_path: Path) -> None:
    from selenium.webdriver.common.by import By

    data = typed_table()
    fitted = untrained(data, likelihood="mixed", size_factor="total")
    visit(browser, run_report(save(fitted, tmp_path / "typed"), data))
    facts = browser.find_element(By.ID, "explorer-facts").text.split()
    assert facts[0] == "sample"
    row = int(facts[1].removeprefix("R"))
    assert facts[facts.index("row") + 1] == str(row)
    shown = [node.text for node in browser.find_elements(By.CSS_SELECTOR, "#view-decoded .bar:not(.head) .was")]
    for j, (text, column) in enumerate(zip(shown, data.columns, strict=True)):
        if column.has_levels or column.kind == "date" or np.isnan(data.x[row, j]):
            assert text == (as_written(data.x[row, j : j + 1], column)[0] or "missing")
    every = "(_, i) => [window.vaelab.point(i).row, window.vaelab.original(i)]"
    points = browser.execute_script(f"return Array.from({{length: window.vaelab.count}}, {every})")
    for row, values in points:
        own = np.array([np.nan if value is None else value for value in values], float)
        np.testing.assert_array_equal(np.isnan(own), np.isnan(data.x[row]))
        np.testing.assert_allclose(own, data.x[row], rtol=2e-3)
    made = np.array(
        browser.execute_script(
            "return Array.from({length: window.vaelab.count}, (_, i) => [...window.vaelab.reconstruction(i)])"
        )
    )
    truth = reconstructed(fitted, data.x[[row for row, _ in points]])
    numbers = [0, 1, 2, 3, 8]  # counts in proportion to their row's size
    np.testing.assert_allclose(made[:, numbers], truth[:, numbers], rtol=0.02)
    quiet(browser)


def test_a_wide_table_lists_the_columns_that_matter(browser: Browser, tmp_path: Path) -> None:
    from selenium.webdriver.common.by import By

    x = np.random.default_rng(0).standard_normal((120, 77)) * np.linspace(1, 9, 77)
    data = from_arrays({f"protein {j}": x[:, j] for j in range(77)}, name="wide")
    visit(browser, run_report(save(untrained(data, likelihood="gaussian"), tmp_path / "wide"), data))
    for view in ("view-here", "view-decoded"):
        names = [node.text for node in browser.find_elements(By.CSS_SELECTOR, f"#{view} .bar:not(.head) .name")]
        assert len(set(names)) == 25
        assert set(names) <= set(data.features)
        assert "52 more columns" in browser.find_element(By.CSS_SELECTOR, f"#{view} .more").text
    quiet(browser)


def test_a_large_decoder_says_why_it_is_not_here(browser: Browser, tmp_path: Path, digits: Dataset) -> None:
    from selenium.webdriver.common.by import By

    fitted = untrained(digits, hidden=(1000, 1000))
    visit(browser, run_report(save(fitted, tmp_path / "large"), digits))
    assert "the limit of a page is 1,000,000" in browser.find_element(By.ID, "view-here").text
    assert not browser.find_elements(By.CSS_SELECTOR, "#view-decoded canvas")
    quiet(browser)


def test_a_click_copies_the_command_or_selects_it(browser: Browser, tmp_path: Path) -> None:
    from selenium.webdriver.common.by import By

    command = f"vaelab tune digits --out '{IMG}'"
    folder = study(tmp_path / "study")
    (folder / "commands.json").write_text(json.dumps(["vaelab.tune('digits')", command]))
    visit(browser, study_report(folder), ready=None)
    assert [code.text for code in browser.find_elements(By.CSS_SELECTOR, ".made code")][1] == command
    button = browser.find_elements(By.CSS_SELECTOR, "button.copy")[1]
    write = "Object.defineProperty(navigator, 'clipboard', {value: arguments[0], configurable: true})"
    browser.execute_script("window.got = []")
    browser.execute_script(write.replace("arguments[0]", "{writeText: async (text) => { window.got.push(text); }}"))
    button.click()
    wait(browser, "document.querySelectorAll('button.copy')[1].textContent === 'copied'")
    assert browser.execute_script("return window.got") == [command]
    for clipboard in ("undefined", "{writeText: async () => { throw new Error('refused'); }}"):
        browser.execute_script("getSelection().removeAllRanges()")
        browser.execute_script(write.replace("arguments[0]", clipboard))
        button.click()
        wait(browser, "document.querySelectorAll('button.copy')[1].textContent === 'selected'")
        assert browser.execute_script("return getSelection().toString()") == command
    quiet(browser)


def test_the_page_names_no_address(compared: Path) -> None:
    text = compared.read_text()
    assert not re.search(r"""(src|href|srcset|action|data)\s*=\s*["']?\s*(https?:)?//""", text)
    assert "url(" not in text
    assert "@import" not in text
