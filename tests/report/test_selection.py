"""What the page's map tells of its dots: selections, colours, rows that are looked for, two maps of a comparison."""

from __future__ import annotations

import base64
import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from browsing import Browser, decoded, drag, quiet, same, visit, wait
from pages import IMG, hostile, run_report, save, typed_table, untrained
from vaelab.data import Column, Dataset
from vaelab.settings.yardsticks import SEARCH_DRAWS
from vaelab.vae import point_colours
from vaelab.vae.explorer import explorer_data
from vaelab.vae.fitted import Fitted
from vaelab.vae.row_costs import row_costs

CHOOSE = """const select = document.getElementById(arguments[0]);
select.value = arguments[1];
select.dispatchEvent(new Event("change"))"""
POINTS = "return Array.from({length: window.vaelab.count}, (_, i) => window.vaelab.point(i))"


def selected(browser: Browser) -> list[int]:
    found: list[int] = browser.execute_script("return window.vaelab.selected()")
    return found


def inside(places: Any, box: tuple[float, float, float, float]) -> list[int]:
    x0, y0, x1, y1 = box
    return [i for i, (x, y) in enumerate(places) if x0 <= x <= x1 and y0 <= y <= y1]


def test_a_box_selects_in_both_maps_and_is_a_file(
    browser: Browser, compared: Path, models: dict[str, Fitted], digits: Dataset, tmp_path: Path
) -> None:
    from selenium.webdriver.common.by import By

    visit(browser, compared)
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    browser.find_element(By.CSS_SELECTOR, "input[value=box]").click()
    before = browser.execute_script("return window.vaelab.probe()")
    drag(browser, (150, 150), (330, 340))
    points = browser.execute_script(POINTS)
    expected, places = selected(browser), [point["screen"] for point in points]
    assert set(inside(places, (152, 152, 328, 338))) <= set(expected) <= set(inside(places, (148, 148, 332, 342)))
    assert len(expected) > 20
    assert browser.execute_script("return window.vaelab.probe()") == before

    classes = hostile(digits).classes
    counts = {classes[k]: int(n) for k, n in enumerate(np.bincount(digits.labels[expected], minlength=10)) if n}
    bars = browser.execute_script(
        """return [...document.querySelectorAll("#explorer-selection .bar[data-count]")].map((bar) =>
            [bar.querySelector(".name").textContent, Number(bar.dataset.count)])"""
    )
    assert dict(bars) == counts
    assert [count for _, count in bars] == sorted(counts.values(), reverse=True)

    means = models[IMG].encode(digits.flat)[0].astype(np.float64)
    mean = means[expected].mean(0)
    near = [int(n.get_attribute("data-point")) for n in browser.find_elements(By.CSS_SELECTOR, ".near button")]
    far = np.linalg.norm(means - mean, axis=1)
    np.testing.assert_allclose(far[near], np.sort(far)[:6], atol=1e-3)
    same(decoded(browser, mean.tolist()), models[IMG], mean.tolist())
    assert browser.find_elements(By.CSS_SELECTOR, "#explorer-selection .view canvas")

    browser.find_element(By.XPATH, "//button[text()='download CSV']").click()
    file = tmp_path / "selected.csv"
    for _ in range(100):
        if file.is_file():
            break
        wait(browser, "new Promise((done) => setTimeout(() => done(true), 20))")
    with file.open(newline="") as lines:
        head, *written = csv.reader(lines)
    assert head == ["row", "split", "class"]
    assert written == [[str(points[i]["row"]), points[i]["split"], points[i]["label"]] for i in expected]

    x, y = points[expected[0]]["beside"]
    drag(browser, (x - 25, y - 25), (x + 25, y + 25), "#explorer-other canvas:last-child")
    places = [point["beside"] for point in points]
    assert set(selected(browser)) <= set(inside(places, (x - 27, y - 27, x + 27, y + 27)))
    assert expected[0] in selected(browser)
    quiet(browser)


def test_a_dot_in_the_other_map_is_marked_in_both(browser: Browser, compared: Path) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By

    visit(browser, compared)
    browser.execute_script(CHOOSE, "explorer-beside", "tanh")
    points = browser.execute_script(POINTS)
    places = np.array([point["beside"] for point in points])
    far = [np.sort(np.hypot(*(places - place).T))[1] for place in places]
    i = int(np.argmax(far))
    other = browser.find_element(By.CSS_SELECTOR, "#explorer-other canvas:last-child")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", other)
    x, y = places[i] - np.array([other.size["width"], other.size["height"]]) / 2
    ActionChains(browser, duration=20).move_to_element_with_offset(other, round(x), round(y)).click().perform()
    wait(browser, f"window.vaelab.chosen() === {i}")
    assert browser.execute_script("return window.vaelab.probe()") == points[i]["z"]
    ring = """const canvas = document.getElementById(arguments[0]).children[1];
        const ratio = canvas.width / canvas.clientWidth;
        const [x, y] = arguments[1].map((value) => value * ratio);
        const box = canvas.getContext("2d").getImageData(x - 9 * ratio, y - 9 * ratio, 18 * ratio, 18 * ratio).data;
        return box.some((value, k) => k % 4 === 3 && value > 0)"""
    assert browser.execute_script(ring, "explorer-map", points[i]["screen"])
    assert browser.execute_script(ring, "explorer-other", points[i]["beside"])
    quiet(browser)


def test_keys_select_and_escape_clears(browser: Browser, compared: Path) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    visit(browser, compared)
    marks = browser.find_element(By.ID, "explorer-marks")
    marks.send_keys(Keys.ARROW_LEFT * 6, Keys.ARROW_DOWN * 6, " ", Keys.ARROW_RIGHT * 12, Keys.ARROW_UP * 12, " ")
    z = np.array([point["z"] for point in browser.execute_script(POINTS)])
    order = browser.execute_script("return window.vaelab.probe()")
    reach = np.abs(order)
    assert selected(browser) == np.flatnonzero((np.abs(z) <= reach).all(1)).tolist() != []
    marks.send_keys(Keys.ESCAPE)
    assert selected(browser) == []
    assert not browser.find_element(By.ID, "explorer-selection").is_displayed()
    quiet(browser)


def test_a_table_is_coloured_by_any_column_and_its_rows_are_found(browser: Browser, tmp_path: Path) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    data = typed_table()
    visit(browser, run_report(save(untrained(data, likelihood="mixed", latent_dim=3), tmp_path / "typed"), data))
    options = browser.find_elements(By.CSS_SELECTOR, "#explorer-colour option")
    assert [option.text for option in options] == ["split", "−log p(x), bound", *(
        name if len(name) <= 40 else f"{name[:39]}…" for name in data.features), "nothing"]  # fmt: skip
    for j in (0, 2, 5):  # a number, a count, a category with hostile levels
        browser.execute_script(CHOOSE, "explorer-colour", f"column {j}")
        found = browser.execute_script(POINTS)
        values = np.array([data.x[point["row"], j] for point in found])
        colours = np.array([point["colour"] for point in found])
        known = ~np.isnan(values)
        if data.columns[j].has_levels:
            assert all(len(set(colours[values == v])) == 1 for v in np.unique(values[known]))
            assert len(set(colours[known])) == len(np.unique(values[known]))
        else:
            light = np.array([float(colour.removeprefix("oklch(").split()[0]) for colour in colours[known]])
            order = np.argsort(values[known], kind="stable")
            assert (np.diff(light[order]) <= 0).all()
            assert light.min() < 0.4 < 0.8 < light.max()
        if not known.all():
            assert not set(colours[~known]) & set(colours[known])
            assert "missing" in browser.find_element(By.ID, "explorer-key").text
    find = browser.find_element(By.ID, "explorer-find")
    find.send_keys("r123")
    i = browser.execute_script("return window.vaelab.chosen()")
    point = browser.execute_script("return window.vaelab.point(arguments[0])", i)
    assert data.ids is not None
    assert data.ids[point["row"]] == "R123"
    size = browser.find_element(By.ID, "explorer-marks").size
    np.testing.assert_allclose(point["screen"], [size["width"] / 2, size["height"] / 2], atol=1)
    assert "R123" in browser.find_element(By.ID, "explorer-facts").text
    find.send_keys("4")
    assert browser.find_element(By.ID, "explorer-found").text == f"not among the {len(found)} dots"
    find.send_keys(Keys.BACK_SPACE * 5)
    assert browser.find_element(By.ID, "explorer-found").text == ""
    quiet(browser)


def codes(found: dict[str, Any]) -> Any:
    return np.frombuffer(base64.b64decode(found["codes"]), np.uint8)


def test_a_column_is_coded_between_its_quantiles() -> None:
    data = typed_table()
    columns, left = point_colours.columns(data, np.arange(len(data.x)))
    assert left == 0
    assert [found["column"] for found in columns] == list(range(9))
    found, values = columns[1], np.log(data.x[:, 1])  # a positive column
    low, high = np.quantile(data.x[:, 1], (0.02, 0.98))
    assert (found["low"], found["high"]) == pytest.approx((low, high))
    share = np.clip((values - np.log(low)) / np.log(high / low), 0, 1)
    np.testing.assert_allclose(codes(found), 254 * share, atol=0.51)
    np.testing.assert_array_equal(codes(columns[0]) == 255, np.isnan(data.x[:, 0]))


def test_scores_are_those_of_anomalies_and_columns_that_do_not_fit_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    data = typed_table()
    fitted = untrained(data, likelihood="mixed")
    found = explorer_data({"a": fitted}, data)["models"][0]["scores"]
    low, high = found["low"], found["high"]
    share = np.clip((row_costs(fitted, data.flat, SEARCH_DRAWS) - low) / (high - low), 0, 1)
    np.testing.assert_allclose(codes(found), 254 * share, atol=0.51)
    monkeypatch.setattr(point_colours, "COLUMNS", 4)
    monkeypatch.setattr(point_colours, "SCORED", 299)
    made = explorer_data({"a": fitted}, data)
    assert (len(made["columns"]), made["columns_left"]) == (4, 5)
    assert made["models"][0]["scores"] is None
    assert point_colours._coded(np.full(5, 2.0), Column("same")) is None
