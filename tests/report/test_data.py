"""What a page tells about its data: facts, the columns of a table, and the unit of its nats."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pages import IMG, SCRIPT, page, study, study_report, typed_table
from vaelab.data import describe, from_arrays
from vaelab.report.data import unit_note


def test_a_page_tells_the_columns_of_a_table(tmp_path: Path) -> None:
    data = dataclasses.replace(typed_table(), notes=(f"Read {IMG} as text.",), left_out={SCRIPT + "2": "one value"})
    folder = study(tmp_path / "study", data=json.loads(json.dumps(describe(data))))
    found = page(study_report(folder))
    assert f"Read {IMG} as text." in found.text
    assert SCRIPT + "2" in found.text
    assert len(found.rows("Columns")) == 1 + len(data.columns)
    for column in data.columns:
        assert column.name in found.text
    assert "2020-01-" in found.text
    assert "2 binary" in found.text
    gaps = [column.missing for column in data.columns]
    shown = [int(row[3]["data-value"] or 0) for row in found.rows("Columns")[1:]]
    assert shown == gaps


def test_a_long_table_of_columns_is_folded(tmp_path: Path) -> None:
    described: dict[str, Any] = {
        "name": "wide",
        "examples": 9,
        "shape": [77],
        "kinds": {"real": 77},
        "likelihood": "gaussian",
    }
    described["columns"] = [{"name": f"protein {j}", "low": 0.0, "high": 1.5, "mean": 0.25} for j in range(77)]
    found = page(study_report(study(tmp_path / "study", data=described)))
    assert "All 77 columns" in found.text
    assert "protein 76" in found.text
    assert len(found.rows("Columns")) == 78


def test_of_a_very_wide_table_the_first_columns_are_listed(tmp_path: Path) -> None:
    x = np.random.default_rng(0).poisson(3, (20, 1203)).astype(float)
    data = from_arrays(x, features=[f"gene {j}" for j in range(1203)])
    found = page(study_report(study(tmp_path / "study", data=json.loads(json.dumps(describe(data))))))
    assert "The first 1,000 of 1,203 columns" in found.text
    assert len(found.rows("Columns")) == 1001
    assert "gene 999" in found.text
    assert "gene 1000" not in found.text


def test_shares_of_levels_are_told_by_name(tmp_path: Path) -> None:
    levels = {"Adult, 1 Egg Stage": 300, "3": 99, "none": 1}
    column = {"name": "stage", "kind": "categorical", "levels": levels, "level_count": 3}
    numbers = {"name": "length", "kind": "real", "low": 34.1, "high": 59.6, "mean": 43.8274}
    described = {"name": "birds", "shape": [2], "kinds": {"real": 1, "categorical": 1}, "columns": [column, numbers]}
    found = page(study_report(study(tmp_path / "study", data=described)))
    assert "Adult, 1 Egg Stage: 75 %; 3: 25 %; none: < 1 %" in found.text
    assert "34.1 to 59.6 43.83" in found.text


@pytest.mark.parametrize(
    ("kinds", "likelihood", "is_said"),
    [({"real": 2, "count": 1}, "mixed", True), ({"count": 3}, "mixed", False), ({"real": 3}, "gaussian", False)],
)
def test_a_page_says_what_the_nats_of_unlike_columns_add_up(
    kinds: dict[str, int], likelihood: str, is_said: bool
) -> None:
    said = unit_note({"kinds": kinds}, {"likelihood": likelihood})
    assert len(said) == is_said
    assert all(note.startswith("The nats of an example add up log-probabilities (count columns)") for note in said)


def test_a_page_of_a_table_has_one_unit_for_its_nats(tmp_path: Path) -> None:
    folder = study(tmp_path / "study", data=json.loads(json.dumps(describe(typed_table()))), likelihood="mixed")
    found = page(study_report(folder))
    assert "nats per example" in found.text
    assert "nats per row" not in found.text
