"""Columns of data frames through numbers and back: what pandas and polars had is what they get."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pytest

from vaelab.data import from_arrays
from vaelab.data.columns import Column
from vaelab.data.containers import FrameLook, filled_frame, frame_of, library_of

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")

DAYS = [f"2020-0{month}-1{day}" for month in range(1, 10) for day in range(3)]  # 27 rows
N = len(DAYS)
WHOLE = np.arange(N) % 7
TEXT = np.array(["low", "mid", "top"])[np.arange(N) % 3]


def pandas_columns() -> dict[str, Any]:
    return {
        "int64": pd.Series(WHOLE),
        "Int64": pd.Series(WHOLE, dtype="Int64"),
        "float32": pd.Series(WHOLE / 2, dtype="float32"),
        "Float64": pd.Series(WHOLE / 2, dtype="Float64"),
        "bool": pd.Series(WHOLE > 2),
        "boolean": pd.Series(WHOLE > 2, dtype="boolean"),
        "bool objects": pd.Series(WHOLE > 2).astype(object),
        "text": pd.Series(TEXT, dtype=object),
        "string": pd.Series(TEXT, dtype="string"),
        "digits as text": pd.Series((WHOLE % 2).astype(str), dtype=object),
        "category": pd.Series(pd.Categorical(TEXT, categories=["top", "mid", "low"])),
        "ordered": pd.Series(pd.Categorical(TEXT, categories=["low", "mid", "top"], ordered=True)),
        "category of numbers": pd.Series(pd.Categorical(WHOLE)),
        "datetime": pd.Series(pd.to_datetime(DAYS)),
        "zone": pd.Series(pd.to_datetime(DAYS).tz_localize("UTC").tz_convert("Asia/Tokyo")),
        "dates": pd.Series([datetime.date.fromisoformat(day) for day in DAYS], dtype=object),
        "iso": pd.Series(DAYS, dtype=object),
        "german": pd.Series([datetime.date.fromisoformat(day).strftime("%d.%m.%Y") for day in DAYS], dtype=object),
        "span": pd.Series(pd.to_timedelta(WHOLE, unit="h")),
    }


def polars_columns() -> dict[str, Any]:
    dates = [datetime.date.fromisoformat(day) for day in DAYS]
    return {
        "Int32": pl.Series(WHOLE, dtype=pl.Int32),
        "Float32": pl.Series(WHOLE / 2, dtype=pl.Float32),
        "Boolean": pl.Series(WHOLE > 2),
        "String": pl.Series(TEXT.tolist()),
        "Categorical": pl.Series(TEXT.tolist(), dtype=pl.Categorical),
        "Enum": pl.Series(TEXT.tolist(), dtype=pl.Enum(["top", "mid", "low"])),
        "Date": pl.Series(dates),
        "Datetime": pl.Series(dates).cast(pl.Datetime("ms")),
        "zone": pl.Series(dates).cast(pl.Datetime("us", "UTC")),
        "Duration": pl.Series([datetime.timedelta(hours=int(h)) for h in WHOLE]),
    }


def frames() -> list[Any]:
    """One frame of each library, with pandas' index other than 0, 1, ..."""
    return [pd.DataFrame(pandas_columns()).set_axis([f"r{i}" for i in range(N)]), pl.DataFrame(polars_columns())]


def assert_same(found: Any, frame: Any) -> None:
    if library_of(frame) == "pandas":
        pd.testing.assert_frame_equal(found, frame)
    else:
        from polars.testing import assert_frame_equal

        assert_frame_equal(found, frame)


@pytest.mark.parametrize("frame", frames(), ids=["pandas", "polars"])
def test_a_frame_comes_back_from_its_numbers(frame: Any) -> None:
    data = from_arrays(frame, whole=True)
    assert [column.name for column in data.columns] == list(frame.columns)
    look = FrameLook.of(frame)
    assert look is not None
    index = getattr(frame, "index", None)
    types = data.source.get("types", {})
    assert_same(frame_of(data.x, data.columns, look.library, look.looks, types, index), frame)


@pytest.mark.parametrize("frame", frames(), ids=["pandas", "polars"])
def test_missing_cells_are_filled_and_no_others(frame: Any) -> None:
    data = from_arrays(frame, whole=True)
    look = FrameLook.of(frame)
    gaps = np.zeros(data.x.shape, bool)
    gaps[3:6] = True
    if library_of(frame) == "pandas":
        cannot = ["int64", "bool"]  # hold no missing cells
        gappy = frame.copy()
        for name in frame.columns.difference(cannot):
            gappy.loc[gappy.index[3:6], name] = None
    else:
        cannot = []
        gappy = frame.with_columns(pl.when(pl.int_range(N).is_between(3, 5)).then(None).otherwise(pl.all()).name.keep())
    before = gappy.copy() if library_of(frame) == "pandas" else gappy.clone()
    gaps[:, [list(frame.columns).index(name) for name in cannot]] = False
    filled = filled_frame(gappy, data.x, gaps, data.columns, look, data.source.get("types", {}))
    assert_same(filled, frame)
    assert_same(gappy, before)


def test_a_column_of_nothing_gets_the_type_it_had_in_training() -> None:
    frame = pd.DataFrame({"size": pd.Categorical(TEXT), "x": WHOLE * 1.0})
    data = from_arrays(frame, whole=True)
    gappy = frame.assign(size=np.nan)
    replaced = np.stack([np.ones(N, bool), np.zeros(N, bool)], 1)
    filled = filled_frame(gappy, data.x, replaced, data.columns, FrameLook.of(frame), {})
    assert_same(filled, frame)


def test_a_filled_category_joins_the_categories() -> None:
    frame = pd.DataFrame({"size": pd.Categorical(TEXT), "x": WHOLE * 1.0})
    data = from_arrays(frame, whole=True)
    gappy = frame.assign(size=pd.Categorical(["low", None] * (N // 2) + ["low"]))
    replaced = np.stack([gappy["size"].isna(), WHOLE < 0], 1)
    filled = filled_frame(gappy, data.x, replaced, data.columns, FrameLook.of(frame), {})
    assert filled["size"].tolist() == np.where(gappy["size"].isna(), TEXT, "low").tolist()


def test_expectations_need_not_be_whole_but_draws_are() -> None:
    columns = [Column("n", "count"), Column("flag", "binary", ("0", "1"), (0.0, 1.0))]
    look = FrameLook.of(pd.DataFrame({"n": [1, 2], "flag": [True, False]}))
    assert look is not None
    x = np.array([[1.4, 0.7]])
    assert frame_of(x, columns, "pandas", look.looks, {}, is_mean=True).iloc[0].tolist() == [1.4, True]
    drawn = frame_of(x, columns, "pandas", look.looks, {})
    assert drawn.iloc[0].tolist() == [1, True]
    assert drawn.dtypes.tolist() == [np.dtype("int64"), np.dtype("bool")]


def test_what_is_no_frame() -> None:
    for x in (np.zeros((3, 2)), [[1.0]], {"a": [1]}, pd.Series([1]), pl.LazyFrame({"a": [1]})):
        assert library_of(x) is None
