"""Data frames of pandas and polars, structured arrays, sparse matrices, Parquet and Feather hold the same tables."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
import scipy.sparse

from vaelab.api.given import as_dataset
from vaelab.data import from_arrays, load, rows_for
from vaelab.errors import InputError

N = 60
REAL = np.random.default_rng(0).normal(size=N)
DAYS = pd.date_range("2020-01-01", periods=N)
KINDS = {
    "whole": "real", "float": "real", "flag": "binary", "text": "binary", "category": "categorical", "order": "ordinal",
    "day": "date", "real": "real",
}  # fmt: skip


def pandas_frame():
    whole = pd.array([*range(N - 1), None], dtype="Int64")
    return pd.DataFrame(
        {
            "whole": whole,
            "float": pd.array([1.5, 2.0, None] * 20, dtype="Float64"),
            "flag": pd.array([True, False, None] * 20, dtype="boolean"),
            "text": pd.array(["x", "y", None] * 20, dtype="string"),
            "category": pd.Categorical(["lo", "hi", None, "no"] * 15, categories=["no", "lo", "hi", "unused"]),
            "order": pd.Categorical(["s", "m", "l"] * 20, categories=["s", "m", "l"], ordered=True),
            "day": DAYS.tz_localize("UTC"),
            "real": REAL,
        }
    )


def polars_frame():
    return pl.DataFrame(
        {
            "whole": [*range(N - 1), None],
            "float": [1.5, 2.0, None] * 20,
            "flag": [True, False, None] * 20,
            "text": ["x", "y", None] * 20,
            "category": pl.Series(["lo", "hi", None, "no"] * 15, dtype=pl.Categorical),
            "order": pl.Series(["s", "m", "l"] * 20, dtype=pl.Enum(["s", "m", "l"])),
            "day": DAYS.to_pydatetime().tolist(),
            "real": REAL,
        }
    )


def check(data):
    assert {column.name: column.kind for column in data.columns} == KINDS
    columns = {column.name: column for column in data.columns}
    assert {name: column.missing for name, column in columns.items() if column.missing} == {
        "whole": 1, "float": 20, "flag": 20, "text": 20, "category": 15,
    }  # fmt: skip
    assert columns["order"].levels == ("s", "m", "l")
    assert set(columns["category"].levels) == {"lo", "hi", "no"}
    x = dict(zip(data.features, data.x.T, strict=True))
    np.testing.assert_array_equal(x["whole"], [*range(N - 1), np.nan])
    np.testing.assert_array_equal(x["flag"][:3], [1, 0, np.nan])
    np.testing.assert_array_equal(x["order"][:3], [0, 1, 2])
    np.testing.assert_array_equal(x["day"], (DAYS - pd.Timestamp("1970-01-01")).days)
    np.testing.assert_allclose(x["real"], REAL, rtol=1e-6)


@pytest.mark.parametrize("frame", [pandas_frame, polars_frame])
def test_types_of_data_frames(frame):
    data = from_arrays(frame())
    check(data)
    assert data.ids is None
    rows = rows_for(frame()[5:9], data.shape, dtype_hint=data.x.dtype, columns=data.columns)
    np.testing.assert_array_equal(rows, data.x[5:9])


@pytest.mark.parametrize("frame", [pandas_frame, polars_frame])
@pytest.mark.parametrize("kind", ["parquet", "feather"])
def test_types_in_files(tmp_path, frame, kind):
    path, table = tmp_path / f"t.{kind}", frame()
    if isinstance(table, pd.DataFrame):
        table.to_parquet(path) if kind == "parquet" else table.to_feather(path)
    else:
        table.write_parquet(path) if kind == "parquet" else table.write_ipc(path)
    check(load(path))


def test_an_index_holds_the_ids(tmp_path):
    frame = pandas_frame().set_index(pd.Index([f"r{i}" for i in range(N)], name="row"))
    frame.to_parquet(tmp_path / "t.parquet")
    for data in from_arrays(frame), load(tmp_path / "t.parquet"):
        check(data)
        assert (data.id_name, data.ids[:2].tolist()) == ("row", ["r0", "r1"])
    some = pandas_frame().iloc[10:40]  # its index is no longer 0, 1, ...
    assert from_arrays(some).ids[0] == "10"


def test_columns_of_a_data_frame_by_their_use():
    frame = pandas_frame()[["real", "text", "day"]].assign(who=[f"p{i % 9}" for i in range(N)], side=REAL)
    data = from_arrays(frame, group="who", drop=["side"], types={"real": "real"})
    assert data.features == ("real", "text", "day")
    assert data.left_out["side"] == "dropped"
    assert len(np.unique(data.groups)) == 9
    by_row = from_arrays(REAL.reshape(-1, 2), id=np.arange(N // 2), group=np.arange(N // 2) % 6)
    assert by_row.ids[:3].tolist() == ["0", "1", "2"]
    assert by_row.groups[:7].tolist() == [0, 1, 2, 3, 4, 5, 0]


def species(missing=None):
    table = pd.DataFrame(np.random.default_rng(1).normal(size=(N, 3)), columns=["length", "width", "depth"])
    return table.assign(species=["setosa", "versicolor", missing] * 20, weight=np.arange(N) / 7)


@pytest.mark.parametrize("form", [pd.DataFrame, pl.from_pandas, lambda frame: frame.to_records(index=False), dict])
@pytest.mark.parametrize(("target", "numeric"), [("species", False), ("weight", True)])
def test_y_names_a_column_as_the_target_of_the_csv_does(tmp_path, form, target, numeric):
    frame = species()
    frame.to_csv(tmp_path / "t.csv", index=False)
    expected = load(tmp_path / "t.csv", target=target, numeric=numeric)
    found = as_dataset(form(frame), target, numeric=numeric)
    assert target not in found.features
    assert (found.features, found.classes) == (expected.features, expected.classes)
    np.testing.assert_allclose(found.x, expected.x, rtol=1e-6)
    for values in ("labels", "targets"):
        np.testing.assert_array_equal(getattr(found, values), getattr(expected, values))
    for split, rows in expected.splits.items():
        np.testing.assert_array_equal(found.splits[split], rows)
    assert found.source["target"] == target


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (species(), "unknown target column of array: 'specis'; did you mean 'species'?"),
        (np.ones((9, 2)), "array has no named columns, and y is 'specis'; give one label per row, or a data frame"),
        (from_arrays(species("virginica"), "species"), "has already been read; give `y` with the arrays"),
    ],
)
def test_a_column_of_labels_that_there_is_not_is_one_line(x, expected):
    with pytest.raises(InputError, match=re.escape(expected)) as error:
        as_dataset(x, "specis")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"id": "whoo"}, "unknown id column of array: 'whoo'; did you mean 'who'?"),
        ({"group": "whoo"}, "unknown group column"),
        ({"split": "nothing"}, "unknown split column"),
        ({"drop": ["whoo"]}, "unknown column to drop of array: 'whoo'"),
        ({"group": "who", "split": "who"}, "a column has one use, but 'who' is `group` and `split`"),
        ({"id": np.arange(3)}, "one id per row"),
        ({"group": np.arange(3)}, "3"),
        ({"drop": 5}, "`drop` must be a list of text"),
    ],
)
def test_uses_that_do_not_fit_are_one_line(options, expected):
    with pytest.raises(InputError) as error:
        from_arrays({"a": REAL, "who": np.array(["x", "y"] * 30, dtype=object)}, **options)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_images_have_no_columns_to_use():
    with pytest.raises(InputError, match=r"`drop` needs a table, but array holds examples of shape \(3, 4\)"):
        from_arrays(np.random.default_rng(0).normal(size=(9, 3, 4)), drop=["a"])


def test_rows_of_an_array_that_are_features():
    x = np.random.default_rng(0).normal(size=(4, 30)).astype(np.float32)
    np.testing.assert_array_equal(from_arrays(x, transpose=True).x, x.T)
    frame = pd.DataFrame(x, index=list("abcd"), columns=[f"s{i}" for i in range(30)])
    data = from_arrays(frame, transpose=True)
    assert (data.features, data.ids[0]) == (("a", "b", "c", "d"), "s0")
    np.testing.assert_array_equal(data.x, x.T)


def test_structured_arrays():
    x = np.array([(1.5 * i, i, "xy"[i % 2]) for i in range(40)], dtype=[("a", float), ("b", int), ("c", "U1")])
    data = from_arrays(x)
    assert data.features == ("a", "b", "c")
    assert [column.kind for column in data.columns] == ["real", "real", "binary"]
    np.testing.assert_array_equal(data.x[:, 1], np.arange(40))


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil", "dok", "bsr", "dia"])
@pytest.mark.parametrize("dtype", [np.int64, np.float32, np.float64])
def test_sparse_matrices(form, dtype):
    x = scipy.sparse.random(50, 8, 0.3, random_state=0, format="csr")
    x.data = np.ceil(x.data * 20)
    data = from_arrays(x.astype(dtype).asformat(form))
    assert data.x.dtype == np.float32
    np.testing.assert_array_equal(data.x, x.toarray())


def test_a_sparse_matrix_is_not_made_dense_if_it_is_too_large():
    x = scipy.sparse.csr_matrix((10_000_000, 1_000_000), dtype=np.float32)
    with pytest.raises(
        InputError, match=r"10,000,000 x 1,000,000 values of 4 bytes need 40,000,000,000,000; keep fewer"
    ):
        from_arrays(x)


# --- files ----------------------------------------------------------------------------------------


def message(path, **options):
    with pytest.raises(InputError) as error:
        load(path, **options)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400
    return str(error.value)


def write_both(folder, table):
    pyarrow.parquet.write_table(table, folder / "t.parquet")
    pyarrow.feather.write_feather(table, folder / "t.feather")
    return folder / "t.parquet", folder / "t.feather"


def test_nested_columns_are_named(tmp_path):
    for path in write_both(tmp_path, pa.table({"a": range(9), "pair": [[1, 2]] * 9})):
        assert "column 'pair' is nested ('list<" in message(path)


def test_columns_that_appear_twice_are_named(tmp_path):
    table = pa.table([pa.array(range(9))] * 2, names=["a", "a"])
    for path in write_both(tmp_path, table):
        assert "'a' twice" in message(path) or "same name" in message(path)


def test_large_whole_numbers_with_missing_values_are_not_rounded(tmp_path):
    for path in write_both(tmp_path, pa.table({"a": [2**53 + 1, None, *range(7)], "b": range(9)})):
        assert "holds 9007199254740993 at row 0, column 'a', which would be rounded" in message(path)


def test_numbers_of_arrow(tmp_path):
    import decimal

    table = pa.table(
        {
            "decimal": pa.array([decimal.Decimal(i) / 4 for i in range(40)]),
            "half": pa.array(np.arange(40, dtype=np.float16)),
            "time": pa.array([i * 1_000_000 for i in range(40)], pa.time64("us")),
            "large": pa.array(["x", "y"] * 20, pa.large_string()),
        }
    )
    path = tmp_path / "t.parquet"
    pyarrow.parquet.write_table(table, path)
    expected = np.stack([np.arange(40) / 4, np.arange(40), np.arange(40), np.arange(40) % 2], axis=1)
    np.testing.assert_array_equal(load(path).x, expected)


def test_bytes_are_refused(tmp_path):
    for path in write_both(tmp_path, pa.table({"a": range(9), "b": pa.array([b"\xff"] * 9)})):
        assert "text in UTF-8, but row 0 of column 'b' does not" in message(path)


def test_files_beyond_the_limit_are_refused_before_they_are_read(tmp_path, monkeypatch):
    paths = write_both(tmp_path, pa.table({"a": np.arange(10_000.0)}))
    monkeypatch.setattr("vaelab.data.limits.MAX_UNPACKED_BYTES", 1000)
    for path in paths:
        assert "must unpack to at most 2000 bytes" in message(path)


def test_tables_of_other_libraries_are_refused_with_the_way_to_a_data_frame():
    table = pl.DataFrame({"a": np.arange(9) / 7})
    for given, way in (
        (table.lazy(), "LazyFrame of polars; use .collect()"),
        (table.to_arrow(), "Table of pyarrow; use"),
    ):
        with pytest.raises(InputError, match=re.escape(way)):
            from_arrays(given)
    with pytest.raises(InputError, match=r"is a generator; use list\(x\)"):
        from_arrays(row for row in np.ones((9, 2)))


def test_a_label_that_pandas_calls_missing_is_none():
    labels = pd.array(["a", "b", pd.NA] * 4, dtype="string")
    found = from_arrays(np.arange(24.0).reshape(12, 2), labels)
    assert found.labels is not None
    assert (found.classes, found.labels.tolist()) == (("a", "b"), [0, 1, -1] * 4)
