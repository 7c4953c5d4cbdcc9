"""The description of a table of several kinds of columns, as JSON and as text."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from vaelab.data import Reading, describe, describe_source, describe_text, explore, from_arrays
from vaelab.errors import InputError

N = 200
RNG = np.random.default_rng(0)


@pytest.fixture
def data():
    real = RNG.normal(size=N)
    real[3:9] = np.nan
    return from_arrays(
        {
            "who": np.array([f"p{i}" for i in range(N)], dtype=object),
            "size": real,
            "kind": np.array(["x", "y", None, "z"] * (N // 4), dtype=object),
            "day": np.datetime64("2020-01-01") + np.arange(N),
            "spike": np.where(np.isin(np.arange(N), [50, 90]), 1.5, 0.0),
            "said": np.array([f"text {i % 150}" for i in range(N)], dtype=object),
            "side": np.arange(N) / 7,
            "patient_id": RNG.permutation(9000)[:N],
        },
        drop=["side"],
    )


def test_facts_of_typed_columns(data):
    found = describe(data)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["kinds"] == {"real": 3, "categorical": 1, "date": 1}
    assert found["missing"] == 6 + N // 4
    assert found["missing_columns"] == {"size": 6, "kind": N // 4}
    assert found["ids"] == {"name": "who", "such_as": ["p0", "p1", "p2"]}
    assert found["left_out"] == {"side": "dropped", "said": "text with 150 different values"}
    assert found["rare"] == ["spike"]
    columns = {column["name"]: column for column in found["columns"]}
    cells = data.rows("train")[:, data.features.index("kind")]
    assert columns["kind"]["levels"] == {level: int((cells == i).sum()) for i, level in enumerate("xyz")}
    real = data.rows("train")[:, data.features.index("size")].astype(np.float64)
    assert columns["size"]["mean"] == pytest.approx(np.nanmean(real))
    assert columns["size"]["std"] == pytest.approx(np.nanstd(real))
    days = data.rows("train")[:, data.features.index("day")]
    assert columns["day"]["low"] == str(np.datetime64("1970-01-01") + int(days.min()))


def test_text_of_typed_columns(data):
    text = describe_text(describe(data))
    lines = {line.split("  ")[0]: line for line in text.split("\n")}
    assert "3 real, 1 categorical, 1 date" in lines["kinds"]
    assert "who, such as p0, p1, p2" in lines["ids"]
    assert "side (dropped)" in lines["left out"]
    assert "56 values (size (6), kind (50))" in lines["missing"]
    assert "'said' (text with 150 different values)" in text
    assert "'patient_id' looks like an id" in text
    assert "3: x (" in lines["kind"]
    assert "values" not in lines  # the range of days and levels together tells nothing


def test_a_wide_table_is_short():
    x = RNG.poisson(1.0, (50, 5000)) * (RNG.random(5000) < 0.9) * np.geomspace(1, 100, 5000).astype(int)
    found = describe(from_arrays(x, features=[f"gene{j}" for j in range(5000)]))
    text = describe_text(found)
    assert [column["name"] for column in found["columns"]] == [f"gene{j}" for j in range(1000)]
    assert "and 4,980 more columns" in text
    assert found["kinds"] == {"count": 5000}
    assert len(text) < 3000


def test_exploration_of_missing_values_is_quiet(data):
    found = explore.explore(data)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_source_is_described_with_its_options(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("name;size;y\n" + "".join(f"p{i};{i},5;{i % 3}\n" for i in range(40)))
    found = describe_source(path, Reading(target="y", types={"size": "positive"}))
    assert found["classes"] == {"0": 14, "1": 13, "2": 13}
    assert found["kinds"] == {"positive": 1}
    assert found["stored_as"] == "float64"
    with pytest.raises(InputError, match=r"unknown target column of 't\.csv': 'x'"):
        describe_source(path, Reading(target="x"))
    refused = describe_source(path, Reading(types={"size": "count"}))["refused"]
    assert "whole numbers from 0 on, but column 'size' holds 0.5 in row 0" in refused


def test_conditions_are_told(tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    path.write_text("x,y,batch\n" + "\n".join(f"{i},{i * i % 7},{'AB'[i % 2]}" for i in range(40)))
    found = describe_source(path, Reading(condition=("batch",)))
    assert [column.get("condition") for column in found["columns"]] == [None, None, True]
    line = next(line for line in describe_text(found).splitlines() if line.startswith("batch"))
    assert "yes" in line


def test_conditions_are_part_of_the_fingerprint() -> None:
    x = np.random.default_rng(0).normal(size=(20, 3))
    prints = [
        from_arrays(x, features=["a", "b", "ab"], condition=given).fingerprint for given in ([], ["a", "b"], ["ab"])
    ]
    assert len(set(prints)) == 3


def write_mixed(folder: Path) -> Path:
    """60 rows; y and colour each miss 6."""
    path = folder / "mixed.csv"
    lines = [
        f"{i / 7:.3f},{'' if i % 10 == 0 else ['red', 'green', 'blue'][i % 3]},{'' if i % 10 == 1 else i % 17 + 0.25},"
        f"2020-01-{i % 28 + 1:02}"
        for i in range(60)
    ]
    path.write_text("a,colour,y,day\n" + "\n".join(lines))
    return path


def test_a_numeric_target_with_missing_values_is_described_as_regress_takes_it(tmp_path: Path) -> None:
    found = describe_source(write_mixed(tmp_path), Reading(target="y"))
    y = np.array([i % 17 + 0.25 for i in range(60) if i % 10 != 1])
    assert "refused" not in found
    assert found["examples"] == 54
    assert (found["target"]["low"], found["target"]["high"]) == (y.min(), y.max())
    assert found["target"]["mean"] == pytest.approx(y.mean())
    assert "6 rows without a target were left out." in found["notes"]
    assert any("`vaelab regress` takes this target; as classes: " in note for note in found["notes"])
    text = describe_text(found)
    assert "y, a number from 0.25 to 16.25, mean " in text


def test_a_refused_target_leaves_the_columns_described(tmp_path: Path) -> None:
    path = write_mixed(tmp_path)
    head, *lines = path.read_text().splitlines()
    lines = [re.sub("(red|green|blue)", rf"\g<1>{i}", line) for i, line in enumerate(lines)]
    path.write_text("\n".join([head, *lines]))
    found = describe_source(path, Reading(target="colour"))
    assert "that is an identifier" in found["refused"]
    columns = {column["name"]: column for column in found["columns"]}
    assert {name: column["kind"] for name, column in columns.items()} == {"a": "real", "y": "real", "day": "date"}
    assert columns["y"]["missing"] == 6
    assert columns["y"]["missing_share"] == pytest.approx(0.1)
    assert "6 (10 %)" in describe_text(found)


def test_a_refused_table_says_what_each_column_holds(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "a,b,c,day\n" + "\n".join(f"{'inf' if i == 2 else i},,{'xxy'[i % 3]},2020-01-0{i}" for i in range(1, 9))
    )
    found = describe_source(path)
    assert "infinite (inf)" in found["refused"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    head, a, b, c, day = describe_text(found).partition("over all rows:\n")[2].splitlines()
    assert head.split() == ["name", "kind", "missing", "low", "high", "levels"]
    assert a.split() == ["a", "number", "0", "1", "8"]
    assert b.split() == ["b", "number", "8", "(100", "%)"]
    assert c.split() == ["c", "text", "0", "2:", "x", "(5),", "y", "(3)"]
    assert day.split() == ["day", "date", "0", "2020-01-01", "2020-01-08"]
