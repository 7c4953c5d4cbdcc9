"""Cells of tables: levels of text, words among numbers, types that are given, and new rows as in training."""

from __future__ import annotations

import datetime
import decimal

import numpy as np
import pandas as pd
import pytest

from vaelab.data import Reading, from_arrays, load, new_rows, rows_for
from vaelab.data.cells import as_columns
from vaelab.errors import InputError

N = 60
AT = np.arange(N)
REAL = np.random.default_rng(0).normal(size=N)


def text(*words):
    return np.array([words[i % len(words)] for i in range(N)], dtype=object)


def message(function, *args, **kwargs):
    with pytest.raises(InputError) as error:
        function(*args, **kwargs)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500
    return str(error.value)


def column(data, name):
    return data.columns[data.features.index(name)]


# --- levels ---------------------------------------------------------------------------------------


def test_text_becomes_levels_and_is_written_again():
    table = {"a": REAL, "kind": text("x", "y", None, "z"), "n": text("10", "9", "2")}
    data = from_arrays(table)
    assert column(data, "kind").levels == ("x", "y", "z")
    assert column(data, "n").levels == ("2", "9", "10")  # numbers in their order
    assert column(data, "kind").missing == N // 4
    back = as_columns(data.flat, data.columns)
    assert back["kind"].tolist() == table["kind"].tolist()
    assert back["n"].tolist() == table["n"].tolist()


def test_a_column_has_the_decimals_of_its_training_values():
    whole = np.where(AT % 5 == 0, np.nan, AT * 3.0 - 40)
    cents = np.round(REAL * 100) / 100
    table = {"a": REAL, "whole": whole, "half": AT + 0.5, "cents": cents, "huge": REAL * 1e100, "tiny": REAL * 1e-12}
    data = from_arrays(table)
    assert {name: column(data, name).decimals for name in data.features} == {
        "a": None, "whole": 0, "half": 1, "cents": 2, "huge": None, "tiny": None,
    }  # fmt: skip


def test_levels_of_numbers_are_their_own():
    data = from_arrays({"a": REAL, "thal": np.array([3, 6, 7])[AT % 3]})
    assert column(data, "thal").levels == ("3", "6", "7")
    np.testing.assert_array_equal(data.x[:3, 1], [3, 6, 7])


def test_free_text_is_left_out_and_names_become_ids():
    names = np.array([f"p{i}" for i in AT], dtype=object)
    other = np.array([f"text {i}" for i in AT], dtype=object)
    data = from_arrays({"a": REAL, "who": names, "said": other, "none": np.full(N, np.nan)})
    assert data.features == ("a",)
    assert (data.id_name, data.ids.tolist()) == ("who", names.tolist())
    assert data.left_out == {"said": "text with 60 different values", "none": "no values"}
    assert "'said' (text with 60 different values), 'none' (no values)" in data.notes[0]
    assert data.source["id"] == "who"


def test_a_type_keeps_free_text_and_orders_levels():
    sizes = text("small", "large", "medium")
    given = from_arrays({"a": REAL, "size": sizes}, types={"size": ["small", "medium", "large"]})
    assert (column(given, "size").kind, column(given, "size").levels) == ("ordinal", ("small", "medium", "large"))
    np.testing.assert_array_equal(given.x[:3, 1], [0, 2, 1])
    alphabetic = from_arrays({"a": REAL, "size": sizes}, types={"size": "ordinal"})
    assert column(alphabetic, "size").levels == ("large", "medium", "small")
    names = np.array([f"p{i}" for i in AT], dtype=object)
    assert from_arrays({"a": REAL, "who": names}, types={"who": "categorical"}).features == ("a", "who")


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        ({"b": "counts"}, "unknown type of a column 'counts'; did you mean 'count'?"),
        ({"c": "count"}, "unknown column with a type: 'c'; known: a, b, size"),
        ({"a": "count"}, "column of type count must hold whole numbers from 0 on, but column 'a' holds"),
        ({"a": "positive"}, "column of type positive must hold positive numbers"),
        ({"size": "real"}, "must hold numbers in column 'size', but row 0 holds 'small'"),
        ({"size": "binary"}, "a binary column has two values, but 'size' has 3"),
        ({"size": ["small", "large"]}, "must hold one of small, large, but"),
        ({"size": ["small"]}, "two or more, all different"),
        ({"size": "date"}, "must hold dates in column 'size', but holds 'small'"),
    ],
)
def test_types_that_do_not_fit_are_one_line(types, expected):
    table = {"a": REAL, "b": AT, "size": text("small", "large", "medium")}
    assert expected in message(from_arrays, table, types=types)


def test_types_of_an_array_are_given_by_number():
    data = from_arrays(np.stack([REAL, AT % 7], axis=1), types={"1": "count"})
    assert [each.kind for each in data.columns] == ["real", "count"]


# --- what cannot be read --------------------------------------------------------------------------


def test_the_culprit_among_numbers_is_named():
    cells = np.array([str(i) for i in AT], dtype=object)
    cells[[7, 30]] = "4g", "?"
    assert "column 'b', but row 7 holds '4g', one of 2 such cells among 60" in message(
        from_arrays, {"a": REAL, "b": cells}
    )
    cells[30] = "30"
    cells[7] = "309_1"  # Python reads it as 3091
    assert "row 7 holds '309_1', the only such cell" in message(from_arrays, {"a": REAL, "b": cells})


def test_a_word_among_few_numbers_is_a_level():
    data = from_arrays({"a": REAL, "cylinders": text("4", "6", "8", "other")})
    assert column(data, "cylinders").levels == ("4", "6", "8", "other")


def test_odd_cells_are_named():
    table = {"a": REAL, "b": np.array([{}] * N, dtype=object)}
    assert "column 'b' holds '{}' (dict) in row 0; convert or drop it" in message(from_arrays, table)
    assert "column 'b' is of type complex128" in message(from_arrays, {"a": REAL, "b": REAL + 1j})
    assert "1 of column 'b' is infinite (inf), the first in row 3" in message(
        from_arrays, {"a": REAL, "b": np.where(AT == 3, np.inf, REAL)}
    )
    big = np.where(AT == 4, 2**53 + 1, AT)
    assert "holds 9007199254740993 at row 4, column 'b', which would be rounded" in message(
        from_arrays, {"a": REAL, "b": big}
    )
    assert "holds 9007199254740993 at row 4" in message(from_arrays, {"a": REAL, "b": big.astype(object)})
    assert "all of them are empty or hold names" in message(from_arrays, {"b": np.full(N, np.nan)})


def test_numbers_of_several_types_in_a_column():
    cells = np.array([1, 2.5, decimal.Decimal("0.5"), None, float("nan"), np.float32(3)] * 10, dtype=object)
    data = from_arrays({"a": REAL, "b": cells})
    np.testing.assert_array_equal(data.x[:6, 1], [1, 2.5, 0.5, np.nan, np.nan, 3])


def test_dates_of_several_types_are_days():
    day = datetime.date(2021, 3, 1)
    cells = {
        "date": np.array([day + datetime.timedelta(i) for i in range(N)], dtype=object),
        "numpy": np.datetime64("2021-03-01") + AT,
        "zone": np.array(
            [datetime.datetime(2021, 3, 1, 12, tzinfo=datetime.UTC) + datetime.timedelta(i) for i in range(N)],
            dtype=object,
        ),
    }
    data = from_arrays({"a": REAL, **cells})
    days = np.arange(N) + (day - datetime.date(1970, 1, 1)).days
    np.testing.assert_array_equal(data.x[:, 1:], np.stack([days, days, days + 0.5], axis=1))
    assert {each.kind for each in data.columns[1:]} == {"date"}
    assert as_columns(data.flat, data.columns)["numpy"][0] == "2021-03-01"


# --- new rows -------------------------------------------------------------------------------------


def trained(tmp_path):
    frame = pd.DataFrame(
        {"who": [f"p{i}" for i in AT], "b": REAL, "kind": text("x", "y", "z"), "n": AT % 2, "y": text("u", "v")}
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    return frame, load(tmp_path / "t.csv", target="y")


def rows_of(data, x):
    return new_rows(
        x, data.shape, dtype_hint=data.x.dtype, columns=data.columns, reading=Reading.from_dict(data.source)
    )[:2]


def test_new_rows_are_matched_by_name_and_level_and_keep_their_ids(tmp_path):
    frame, data = trained(tmp_path)
    new = frame.drop(columns="y").iloc[5:9]
    new[["n", "kind", "b", "who"]].to_csv(tmp_path / "new.csv", index=False)
    for x in (tmp_path / "new.csv", new, new.to_dict("list")):
        rows, ids = rows_of(data, x)
        np.testing.assert_array_equal(rows, data.x[5:9])
        assert ids.tolist() == ["p5", "p6", "p7", "p8"]
    rows, ids = rows_of(data, data.x[5:9])
    np.testing.assert_array_equal(rows, data.x[5:9])
    assert ids is None


def test_new_rows_that_do_not_fit_are_one_line(tmp_path):
    frame, data = trained(tmp_path)
    assert "lacks 'kind'" in message(rows_of, data, frame.drop(columns="kind"))
    assert "column 'kind' must hold one of x, y, z, but X holds 'q' in row 0" in message(
        rows_of, data, frame.assign(kind="q")
    )
    assert "must hold numbers in column 'b', but row 0 holds 'high'" in message(rows_of, data, frame.assign(b="high"))
    rows = rows_for(frame.assign(kind=None), data.shape, dtype_hint=data.x.dtype, columns=data.columns)
    assert np.isnan(rows[:, data.features.index("kind")]).all()


def test_ids_of_which_one_is_there_twice_are_told() -> None:
    names = [f"HS-{i}" for i in range(100)]
    names[50] = "HS-7"
    columns = {"sale": names, "a": np.arange(100) % 7, "b": np.arange(100) / 3}
    data = from_arrays(columns)
    assert data.left_out["sale"].startswith("text with 99 different values, not one for each row: 'HS-7' is in 2")
    assert "`id`" in data.left_out["sale"]
    (note,) = [note for note in from_arrays(columns, id="sale").notes if "ids" in note]
    assert "'HS-7' is that of 2 rows" in note
    assert not any("ids" in note for note in from_arrays(columns, id="sale", group="sale").notes)


def test_text_whose_levels_are_hardly_ever_repeated_is_told() -> None:
    said = [f"free text {i}" if i < 40 else "sunny" for i in range(100)]
    columns = {"said": said, "city": [f"city {i % 30}" for i in range(100)], "a": np.arange(100) / 3}
    data = from_arrays(columns)
    (note,) = [note for note in data.notes if "in one row alone" in note]
    assert "'said' has 41 levels, of which 40" in note
    assert "`drop`" in note
    assert not any("in one row alone" in n for n in from_arrays(columns, types={"said": "categorical"}).notes)
