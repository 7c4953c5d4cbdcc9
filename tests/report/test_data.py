"""What a page tells about its data: facts, the columns of a table, and the unit of its nats."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from pages import IMG, SCRIPT, page, study, study_report, typed_table
from vaelab.data import describe
from vaelab.report.data import unit_note, unit_of


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


@pytest.mark.parametrize(
    ("kinds", "likelihood", "unit"),
    [
        ({"real": 2, "count": 1}, "mixed", "nats per row; densities in own units"),
        ({"count": 3}, "mixed", "nats per row"),
        ({"real": 3}, "gaussian", "nats per example"),
    ],
)
def test_the_unit_of_nats_says_what_they_add_up(kinds: dict[str, int], likelihood: str, unit: str) -> None:
    found, spec = {"kinds": kinds}, {"likelihood": likelihood}
    assert unit_of(found, spec) == unit
    assert bool(unit_note(found, spec)) == ("densities" in unit)
