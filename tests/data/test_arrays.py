"""Arrays in memory: what is accepted, how it is stored, and every refusal."""

from __future__ import annotations

import decimal
import subprocess
import sys

import numpy as np
import pytest
import torch

from vaelab.data import Column, describe, describe_text, from_arrays, rows_for, values
from vaelab.errors import InputError

X = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
Y = np.arange(20) % 2


def with_value(value, dtype=np.float64, shape=(20, 3)):
    x = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    x[(5, *(1 for _ in shape[1:]))] = value
    return x


def message(function, *args, **kwargs):
    with pytest.raises(InputError) as error:
        function(*args, **kwargs)
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 400
    return text


ACCEPTED = {
    "float32": X,
    "list": X.tolist(),
    "fortran": np.asfortranarray(X),
    "big-endian": X.astype(">f4"),
    "big-endian double": X.astype(">f8"),
    "double": X.astype(np.float64),
    "objects": X.astype(object),
    "tensor": torch.tensor(X),
    "tensor with gradient": torch.tensor(X, requires_grad=True),
    "strided": np.repeat(X, 2, axis=1)[:, ::2],
    "masked, nothing hidden": np.ma.array(X),
}


@pytest.mark.parametrize("x", ACCEPTED.values(), ids=ACCEPTED)
def test_numbers_in_any_dress_are_accepted(x):
    data = from_arrays(x)
    assert data.x.dtype == np.float32
    assert data.x.dtype.isnative
    assert data.x.flags.c_contiguous
    np.testing.assert_array_equal(data.x, X)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.uint16, np.int32, np.int64, np.uint64, ">i4"])
def test_whole_numbers_become_float32(dtype):
    x = np.arange(60).reshape(20, 3)
    data = from_arrays(x.astype(dtype))
    assert data.x.dtype == np.float32
    np.testing.assert_array_equal(data.x, x)


def test_large_whole_numbers_are_accepted_where_float32_is_exact():
    x = np.array([[2**62, 2**24], [-(2**63), 2**24 + 2]] * 3)
    np.testing.assert_array_equal(from_arrays(x).x.astype(float), x.astype(float))


def test_uint8_and_float32_are_shared_not_copied():
    for x in X, np.arange(80, dtype=np.uint8).reshape(20, 2, 2):
        assert np.shares_memory(from_arrays(x).x, x)


def test_booleans_become_0_and_1():
    data = from_arrays(X > 0)
    assert data.x.dtype == np.uint8
    np.testing.assert_array_equal(data.x, (X > 0).astype(np.uint8))


def test_python_numbers_of_several_types():
    x = np.array([[1, 2.5, True], [decimal.Decimal("0.5"), np.float32(3), np.int8(4)]] * 3, dtype=object)
    np.testing.assert_array_equal(from_arrays(x).x[:2], [[1, 2.5, 1], [0.5, 3, 4]])


@pytest.mark.parametrize("shape", [(20, 3), (20, 4, 5), (20, 4, 5, 3)])
def test_shapes(shape):
    data = from_arrays(np.random.default_rng(0).normal(size=shape))
    assert data.shape == shape[1:]
    assert data.flat.shape == (20, np.prod(shape[1:]))


def objects(parts):
    out = np.empty(len(parts), dtype=object)
    out[:] = parts
    return out


def test_channels_last_are_no_channels_first():
    for shape in (8, 8, 1), (8, 8, 3), (3, 8, 3), (12, 8, 4), (2, 3, 1), (6, 6, 6):
        assert from_arrays(np.random.default_rng(0).random((9, *shape))).shape == shape


def test_new_examples_with_channels_first_are_told_how_to_move_them():
    with pytest.raises(InputError, match=r"has \(3, 64, 64\); use np\.moveaxis\(x, 1, -1\)\."):
        rows_for(np.zeros((2, 3, 64, 64)), (64, 64, 3), dtype_hint="float32")


@pytest.mark.parametrize("axes", [(1, 3), (3, 1), (1, 1, 3), (3, 1, 1), (1, 3, 1)])
def test_values_along_one_axis_are_curves_and_no_images(axes):
    data = from_arrays(X.reshape(20, *axes))
    np.testing.assert_array_equal(data.x, X)
    assert not data.is_image
    assert data.notes == (f"examples of shape {axes} are read as 3 values each.",)
    np.testing.assert_array_equal(rows_for(X.reshape(20, *axes), (3,), dtype_hint="float32"), X)
    image = np.repeat(X[:, :, None], 2, 2).reshape(20, 3, 2)
    assert from_arrays(image).shape == (3, 2)


def test_an_array_of_equal_arrays_is_stacked():
    pictures = X.reshape(20, 3, 1) + np.arange(2)
    np.testing.assert_array_equal(from_arrays(objects(list(pictures))).x, pictures.astype(np.float32))


def test_masked_cells_of_a_table_are_missing():
    masked = np.ma.masked_less(X, 0)
    np.testing.assert_array_equal(from_arrays(masked).x, np.where(X < 0, np.nan, X))
    whole = np.ma.masked_greater(np.arange(60).reshape(20, 3) % 11, 8)
    np.testing.assert_array_equal(from_arrays(whole).x, whole.astype(float).filled(np.nan))
    records = np.ma.array(np.zeros(9, [("a", float), ("b", int), ("c", "S2"), ("d", "M8[D]")]))
    records["a"], records["b"], records["c"] = np.arange(9) / 7, np.arange(9), [b"x", b"y", b"z"] * 3
    records["d"] = np.arange(9) ** 2
    records.mask[3] = (True, True, True, True)
    found = from_arrays(records)
    assert [column.kind for column in found.columns] == ["real", "real", "categorical", "date"]
    assert np.isnan(found.x).sum(0).tolist() == [1, 1, 1, 1]
    assert np.isnan(found.x[3]).all()


SCALES = {
    "8 bits as numbers": (lambda u: np.round(u * 255), "whole numbers up to 255"),
    "8 bits, smoothed": (lambda u: u * 255, "x / 255"),
    "around 0": (lambda u: u * 2 - 1, "(x + 1) / 2"),
    "shares": (lambda u: u, ""),
    "normalised": (lambda u: (u - 0.45) / 0.22, ""),
    "16 bits": (lambda u: np.round(u * 65535).astype(np.uint16), ""),
    "8 bits": (lambda u: np.round(u * 255).astype(np.uint8), ""),
}


@pytest.mark.parametrize("name", SCALES)
def test_images_on_other_scales_are_told(name):
    scaled, part = SCALES[name]
    u = np.linspace(0, 1, 20 * 24).reshape(20, 6, 4)
    data = from_arrays(scaled(u))
    np.testing.assert_array_equal(data.x, scaled(u).astype(data.x.dtype))
    assert len(data.notes) == bool(part)
    assert part in "".join(data.notes)


NOT_A_CLASS = np.linspace(0, 1, 20)
REFUSED = {
    "nan in an image": (with_value(np.nan, shape=(20, 3, 4)), "row 5, pixel (1, 1)"),
    "inf": (with_value(-np.inf), "1 of 60 values is infinite (inf), the first at row 5, column 1; drop"),
    "half overflow": (with_value(np.inf, dtype=np.float16), "the largest float16 is 65504"),
    "beyond squares": (with_value(1e151), "holds 1e+151 at row 5, column 1; rescale"),
    "beyond float32": (with_value(1e39, shape=(20, 3, 4)), "holds 1e+39 at row 5, pixel (1, 1); rescale"),
    "int64 beyond": (with_value(2**53 + 1, dtype=np.int64), "holds 9007199254740993 at row 5, column 1"),
    "int32 beyond": (with_value(2**24 + 1, np.int32, (20, 3, 4)), "holds 16777217 at row 5"),
    "uint64 largest": (with_value(2**64 - 1, dtype=np.uint64), "holds 18446744073709551615"),
    "huge object": (with_value(10**400, dtype=object), "infinite"),
    "object text": (with_value("1.5", dtype=object), "row 5, column 1 holds \"'1.5'\" (str); convert"),
    "text": (X.astype(str), "its type is text"),
    "complex": (X + 1j, "its type is complex"),
    "dates": (np.zeros((20, 3), "M8[s]"), "its type is dates"),
    "records": (np.zeros((20, 3), [("a", "f4")]), "one record per row, but has shape (20, 3)"),
    "empty": (np.empty((0, 3)), "is (0, 3); it is empty, add data"),
    "no features": (np.empty((20, 0)), "is (20, 0); it is empty"),
    "one row": (X[:1], "at least 5 examples, but holds 1; add data"),
    "constant": (np.ones((20, 3)), "all 20 examples are the same"),
    "all rows equal": (np.tile(X[:1], (20, 1)), "all 20 examples are the same"),
    "1-D": (X[:, 0], "has 1 dimensions, (20,); use .reshape(-1, 1)"),
    "5-D": (np.ones((2,) * 5), "has 5 dimensions, (2, 2, 2, 2, 2); reshape"),
    "number": (3.0, "has 0 dimensions"),
    **{
        f"channels first {shape}": (
            np.ones((20, *shape)),
            f"last, (N, H, W, C), but has shape {(20, *shape)}; use np.mov",
        )
        for shape in [(1, 8, 8), (2, 8, 8), (3, 8, 8), (4, 8, 8), (1, 4, 4), (3, 4, 4), (3, 8, 12), (16, 28, 28)]
    },
    "ragged": ([[1.0], [1.0, 2.0]], "rectangular, but its rows differ in length; give"),
    "ragged objects": (objects([np.ones((8, 8)), np.ones((9, 8))] * 4), "have the shapes (8, 8), (9, 8); give every"),
    "masked image": (np.ma.masked_less(X.reshape(20, 3, 1) + np.zeros(4), 0), "no masked entries, but has"),
    "bfloat16": (torch.tensor(X).bfloat16(), "BFloat16"),
}


@pytest.mark.parametrize(("x", "expected"), REFUSED.values(), ids=REFUSED)
def test_bad_arrays_are_refused_in_one_line(x, expected):
    assert expected in message(from_arrays, x)


def test_faults_are_found_and_counted_across_pieces(monkeypatch):
    monkeypatch.setattr(values, "CHUNK_BYTES", 64)
    x = np.arange(300.0).reshape(100, 3)
    x[[31, 97], [2, 0]] = np.inf
    assert "2 of 300 values are infinite (inf), the first at row 31, column 2" in message(from_arrays, x)
    assert "holds 1e+151 at row 31, column 2" in message(from_arrays, np.where(np.isinf(x), 1e151, x))
    x[np.isinf(x)] = np.nan
    found = from_arrays(x)
    np.testing.assert_array_equal(found.x, x)
    assert [column.missing for column in found.columns] == [1, 0, 1]


def test_an_infinite_value_is_told_with_its_column_name():
    text = message(from_arrays, with_value(np.inf), features=["age", "size", "weight"])
    assert "row 5, column 'size'" in text


class Frame:
    """What a data frame looks like to us."""

    columns = ("a", "b", "c")

    def __array__(self, dtype=None, copy=None):
        return X.astype(np.float64)

    def __getitem__(self, name):
        return X[:, self.columns.index(name)]


def test_column_names_of_a_data_frame_are_kept():
    assert from_arrays(Frame()).features == ("a", "b", "c")
    assert from_arrays(Frame(), features=list("xyz")).features == ("x", "y", "z")


LABELS = {
    "text": (list("ab") * 10, ("a", "b"), Y),
    "numbers sort by value": ([10, 9] * 10, ("9", "10"), 1 - Y),
    "whole floats": (Y.astype(float), ("0", "1"), Y),
    "booleans": (Y == 1, ("False", "True"), Y),
    "column vector": (Y[:, None], ("0", "1"), Y),
    "objects": (np.array(list("ba") * 10, dtype=object), ("a", "b"), 1 - Y),
    "tensor": (torch.tensor(Y), ("0", "1"), Y),
    "negative": (Y - 1, ("-1", "0"), Y),
}


@pytest.mark.parametrize(("y", "classes", "codes"), LABELS.values(), ids=LABELS)
def test_labels_become_codes(y, classes, codes):
    data = from_arrays(X, y)
    assert data.classes == classes
    np.testing.assert_array_equal(data.labels, codes)


BAD_LABELS = {
    "continuous": (NOT_A_CLASS, "row 1 holds 0.0526316, a continuous value; bin it"),
    "one-hot": (np.eye(2)[Y], "shape (20,), but have (20, 2); use y.argmax(1)"),
    "too few": (Y[:19], "19 labels for 20 examples"),
    "None": ([None] * 20, "none of 20 has one"),
    "one class and inf": (np.where(Y, np.inf, 1.0), "row 1 holds inf"),
    "mixed": ([1, "a"] * 10, "are of the types 'int, str'"),
    "bytes": (np.array([b"a"] * 20), "are bytes"),
    "huge": ([10**30] * 20, "64 bits"),
}


@pytest.mark.parametrize(("y", "expected"), BAD_LABELS.values(), ids=BAD_LABELS)
def test_bad_labels_are_refused_in_one_line(y, expected):
    assert expected in message(from_arrays, X, y)


def test_identifiers_are_no_labels():
    x = np.arange(200.0).reshape(100, 2)
    assert "100 of 100 labels differ (such as '0')" in message(from_arrays, x, np.arange(100))


def test_named_classes():
    assert from_arrays(X, Y, classes=["cat", "dog"]).classes == ("cat", "dog")
    data = from_arrays(X, ["dog", "cat"] * 10, classes=["dog", "cat"])
    np.testing.assert_array_equal(data.labels, Y)
    assert "labels must be 0 to 0" in message(from_arrays, X, Y, classes=["cat"])
    assert "unknown class 'dgo'; did you mean 'dog'?" in message(
        from_arrays, X, ["dgo", "cat"] * 10, classes=["dog", "cat"]
    )


def test_an_official_test_part_keeps_its_rows_and_shares_the_classes():
    data = from_arrays(X, list("ab") * 10, x_test=X[:4] + 1, y_test=list("cbab"))
    assert data.splits["test"].tolist() == [20, 21, 22, 23]
    assert data.classes == ("a", "b", "c")
    np.testing.assert_array_equal(data.rows("test"), X[:4] + 1)
    assert data.labels_of("test").tolist() == [2, 1, 0, 1]
    assert len(data.splits["train"]) + len(data.splits["validation"]) == 20


@pytest.mark.parametrize(
    ("kwargs", "expected"),
    [
        ({"x_test": X[:, :2]}, "(3,), but has (2,)"),
        ({"x_test": X > 0}, "float32, but has uint8"),
        ({"x_test": X, "y": Y}, "`y_test` is missing"),
        ({"x_test": X, "y_test": Y}, "`y` is missing"),
        ({"y_test": Y}, "`y_test` needs `x_test`"),
        ({"x_test": X, "y": Y, "y_test": list("ab") * 10}, "one is text and one is numbers"),
        ({"features": ["a"]}, "each of the 3 columns, but has 1 names"),
        ({"features": ["a", "b", "a"]}, "'a' appears twice"),
        ({"seed": -1}, "but got -1"),
        ({"seed": 0.5}, "but got 0.5"),
    ],
)
def test_parts_that_do_not_fit_are_refused(kwargs, expected):
    assert expected in message(from_arrays, X, **kwargs)


def test_whole_leaves_every_row_for_training():
    data = from_arrays(X, whole=True)
    assert {name: len(rows) for name, rows in data.splits.items()} == {
        "train": 20,
        "validation": 0,
        "test": 0,
    }


def test_large_mapped_data_are_not_copied(tmp_path):
    # 40 MB on disk, several pieces; memory is measured in a process of its own.
    np.save(tmp_path / "x.npy", np.zeros((50_000, 784), np.uint8))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r+")
    mapped[-1] = 1
    mapped.flush()
    code = (
        "import tracemalloc, sys; from vaelab.data import load; tracemalloc.start(); data = "
        "load(sys.argv[1]);"
        "assert data.x.shape == (50000, 784); assert not data.x.flags.owndata; assert not "
        "data.x.flags.writeable;"
        "print(tracemalloc.get_traced_memory()[1])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "x.npy")], capture_output=True, text=True, check=True
    )
    assert int(run.stdout) < 50_000 * 784


def test_importing_the_package_stays_light():
    heavy = "('torch', 'sklearn', 'pyarrow', 'scipy', 'urllib.request')"
    code = f"import sys, vaelab.data; print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


ROWS = {
    "width": (np.ones((2, 32)), (64,), "float32", "the model was trained on 64 features, but X has 32; give"),
    "one example": (np.ones(3), (3,), "float32", "has the shape of one, (3,); use x[None]"),
    "one image": (np.ones((4, 4)), (4, 4), "float32", "has the shape of one, (4, 4); use x[None]"),
    "other shape": (
        np.ones((2, 2, 8)),
        (4, 4),
        "float32",
        "examples of shape (4, 4), but X has (2, 8); reshape",
    ),
    "infinite": (np.full((2, 3), np.inf), (3,), "float32", "6 of 6 values are infinite"),
    "nan in an image": (np.full((2, 2, 2), np.nan), (2, 2), "float32", "8 of 8 values are missing"),
    "empty": (np.empty((0, 3)), (3,), "float32", "it is empty"),
    "rescaled": (X.reshape(20, 3, 1) / 10 % 1, (3, 1), "uint8", "8-bit values from 0 to 255, but X ranges from 0"),
    "negative": (-(X[:1].reshape(1, 3, 1) ** 2), (3, 1), "uint8", "at row 0, column 0; rescale"),
    "text": ([["a", "b", "c"]], (3,), "float32", "its type is text"),
}


@pytest.mark.parametrize(("x", "shape", "dtype", "expected"), ROWS.values(), ids=ROWS)
def test_new_data_that_do_not_fit_the_model_are_refused(x, shape, dtype, expected):
    assert expected in message(rows_for, x, shape, dtype_hint=dtype)


def test_new_data_that_fit():
    np.testing.assert_array_equal(rows_for(X[:1], (3,), dtype_hint="float32"), X[:1])
    image = np.arange(32).reshape(2, 4, 4)
    rows = rows_for(image.tolist(), (4, 4), dtype_hint="uint8")
    assert rows.dtype == np.uint8
    np.testing.assert_array_equal(rows, image.reshape(2, 16))
    between = rows_for(image + 0.5, (4, 4), dtype_hint="uint8")
    assert between.dtype == np.float32
    np.testing.assert_array_equal(between, image.reshape(2, 16) + 0.5)
    np.testing.assert_array_equal(rows_for(image.reshape(2, 16), (4, 4), dtype_hint="uint8"), rows)


def test_columns_of_new_data_are_chosen_by_name():
    rows = rows_for(Frame(), (2,), dtype_hint="float32", columns=[Column("c"), Column("a")])
    np.testing.assert_array_equal(rows, X[:, [2, 0]])
    lacking = [Column("a"), Column("d")]
    assert "lacks 'd'" in message(rows_for, Frame(), (2,), dtype_hint="float32", columns=lacking)


def test_describe_counts():
    x = np.array([[0.0, 1.0, 5.0], [1.0, 0.0, 5.0]] * 10)
    found = describe(from_arrays(x, list("ab") * 10, features=["u", "v", "w"], name="toy"))
    assert found["examples"] == 20
    assert found["shape"] == [3]
    assert found["dtype"] == "float32"
    assert found["range"] == [0.0, 5.0]
    assert found["distinct_values"] == 3
    assert found["classes"] == {"a": 10, "b": 10}
    assert found["constant_features"] == {"count": 1, "names": ["w"]}
    assert found["splits"] == {"train": 14, "validation": 2, "test": 4}
    assert found["likelihood"] == "mixed"
    assert found["kinds"] == {"binary": 2, "real": 1}
    assert [column["name"] for column in found["columns"]] == ["u", "v", "w"]
    text = describe_text(found)
    assert "1 feature in the training rows: w" in text
    assert "a (10), b (10)" in text


def test_describe_tells_binary_and_continuous_apart():
    assert describe(from_arrays(X > 0))["binary"]
    found = describe(from_arrays(np.random.default_rng(0).normal(size=(200, 3))))
    assert (found["binary"], found["distinct_values"]) == (False, None)


def test_the_table_shows_no_control_characters():
    text = describe_text(describe(from_arrays(X, ["\x1b[31mred\n", "b"] * 10)))
    assert all(line.isprintable() for line in text.split("\n"))
    assert "?[31mred?" in text
