"""Arrays in memory (or memory-mapped) to a checked Dataset: official test rows, column names, splits."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelab.data.cells import Cells, cells_of, texts_of
from vaelab.data.columns import Column, Kind
from vaelab.data.dataset import SPLITS, Array, Dataset, LabelKind
from vaelab.data.dates import STAMP
from vaelab.data.frames import frame_raw
from vaelab.data.groups import Placed, place_rows
from vaelab.data.labels import encode, kind_of_labels, label_values
from vaelab.data.notes import of_arrays, of_ids, of_labels, sentences
from vaelab.data.own_splits import arrange_rows
from vaelab.data.raw import Raw
from vaelab.data.reading import DATE_FORMAT, PLAIN, Reading, kind_of
from vaelab.data.targets import with_targets
from vaelab.data.types import check_kinds, columns_of, conditioned
from vaelab.data.values import chunks, quote, to_numbers
from vaelab.errors import InputError

Labels = tuple[npt.NDArray[np.int64] | None, tuple[str, ...], LabelKind]  # codes, classes, what they were given as
NO_LABELS: Labels = (None, (), "text")


def from_arrays(
    x: Any,
    y: Any = None,
    *,
    name: str = "array",
    seed: int = 0,
    x_test: Any = None,
    y_test: Any = None,
    features: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    whole: bool = False,
    types: Mapping[str, Any] | None = None,
    id: Any = None,
    drop: Sequence[str] = (),
    transpose: bool = False,
    group: Any = None,
    split: Any = None,
    condition: Sequence[str] = (),
    numeric: bool = False,
) -> Dataset:
    """A Dataset from data frames of pandas or polars, AnnData, sparse matrices, and anything that `np.asarray` accepts:
    arrays, tensors, lists.

    x: (N, D), (N, H, W) or (N, H, W, C), at least 5 rows; uint8 and float32 are kept without a copy, other
        number types become float32, or float64 if float32 would lose differences between rows of a table. Booleans
        become 0 and 1 in uint8. Cells of a table may be missing: NaN or None.
    y: class labels (N,), text or whole numbers; with `numeric`, numbers to predict: rows without one are left out. Or
        the name of a column of a data frame that holds them, which is then no feature.
    x_test, y_test: an official test split, kept as is; the other two splits are drawn from x.
    features: names of the D columns; by default those of a data frame.
    classes: names of the whole numbers 0, 1, ... in y, or the order of the texts in y.
    whole: all rows of x are for training; validation (and test, without x_test) stay empty.
    types: the kind of some columns of a table, by name: real, positive, count, binary, categorical, ordinal or date;
        the others are inferred from their values. A sequence of levels makes an ordinal column, "date %d/%m/%Y" tells
        how dates are written.
    id, group, split: what a row is called; which rows must be in one split; train, validation or test: the name of a
        column of a data frame, or one value per row. Groups that differ in every row, as ids do, are taken by their
        stem. An index of a data frame that is not 0, 1, ... holds the ids.
    drop: columns that are left out. transpose: rows are features.
    condition: names of columns that are given rather than modelled, such as a batch: a VAE is then p(x | c).

    Raises InputError with rule, value and remedy.

    >>> data = from_arrays([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0], [8.0, 9.0]], list("abaab"))
    >>> data.shape, data.classes, data.labels.tolist()
    ((2,), ('a', 'b'), [0, 1, 0, 0, 1])
    """
    raw = x if isinstance(x, Raw) else frame_raw(x, name) or Raw(name, x)
    if features is not None and isinstance(raw.x, Mapping):
        if len(features) != len(raw.x):
            raise _wrong_names(features, len(raw.x))
        raw = dataclasses.replace(raw, x=dict(zip(features, raw.x.values(), strict=True)))
    if features is not None:
        raw = dataclasses.replace(raw, features=tuple(features))
    if isinstance(y, str) and not raw.features:
        raise InputError(
            f"y names a column of a data frame, but {name} has no named columns, and y is {quote(y)}; give one label "
            "per row, or a data frame."
        )
    raw = dataclasses.replace(raw, x_test=x_test, y_test=y_test, classes=tuple(classes or ()))
    given = {"target": y, "id": id, "group": group, "split": split}
    by_name = {role: value for role, value in given.items() if isinstance(value, str)}
    by_row = {role: value for role, value in given.items() if value is not None and role not in by_name}
    reading = Reading.create(
        **by_name, drop=drop, transpose=transpose, types=types, condition=condition, numeric=numeric
    )
    raw, reading = arrange_rows(dataclasses.replace(raw, ids=by_row.pop("id", raw.ids)), reading, name)
    raw = dataclasses.replace(raw, y=by_row.pop("target", raw.y), **by_row)
    source = {"source": name, "kind": "array", **reading.to_dict()}
    return build(raw, seed=seed, whole=whole, source=source, reading=reading)


def build(
    raw: Raw,
    *,
    seed: int,
    source: Mapping[str, Any],
    whole: bool = False,
    what: str = "x",
    reading: Reading = PLAIN,
) -> Dataset:
    """The checked Dataset.

    what: the name of x in error messages.
    source: what `load` needs to read the data again, besides seed and fingerprint.
    reading: the kind of some columns, the others are inferred; and which are conditions.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**63:
        raise InputError(f"`seed` must be a whole number from 0 to 2**63 - 1, but got {seed!r}; use 0, 1, 2, ...")
    targets, numbers = None, None
    if reading.numeric:
        raw, targets, numbers = with_targets(raw, what)
    x, features, cells = _numbers(raw, what, reading.types)
    n, least = len(x), 2 if whole else 5
    if n < least:
        raise InputError(f"{what} must hold at least {least} examples, but holds {n}; add data.")
    test_rows = None
    if raw.x_test is not None:
        x = np.concatenate([x, _test_part(raw.x_test, x, what, features)])
        test_rows = np.arange(n, len(x))
    labels, classes, label_kind = NO_LABELS if targets is not None else _labels(raw, n, len(x) - n)
    _refuse_constant(x, what)
    seed = int(seed)
    if whole:
        nothing = np.arange(0)
        every = (np.arange(n), nothing, nothing if test_rows is None else test_rows)
        placed = Placed(dict(zip(SPLITS, every, strict=True)))
    else:
        placed = place_rows(raw, len(x), labels, seed, test_rows)
    splits, notes = placed.splits, (*raw.notes, *placed.notes)
    columns: tuple[Column, ...] = ()
    left_out = dict(raw.left_out)
    if x.ndim > 2 and reading.condition:
        raise InputError(f"`condition` names columns of a table, but {what} holds images; leave it out.")
    if x.ndim == 2:
        kinds: dict[int, Kind] = {} if cells is None else dict(cells.kinds)
        asked = {name: kind_of(kind) for name, kind in reading.types.items() if name not in left_out}
        kinds |= check_kinds(asked, features or [str(j) for j in range(x.shape[1])])
        columns = columns_of(x, features, {} if cells is None else cells.levels, kinds, splits["train"], what)
        columns = tuple(conditioned(columns, reading.condition, left_out, what))
        if cells is not None:
            left_out |= cells.left_out
            notes = (*notes, *cells.notes)
            formats = {name: DATE_FORMAT + form for name, form in cells.formats.items()}
            source = {**source, **({"types": {**source.get("types", {}), **formats}} if formats else {})}
        notes = (*notes, *sentences(x, columns, left_out))
    notes = (*notes, *of_labels(labels, splits), *of_arrays(np.shape(raw.x) if cells is None else (), x))
    ids = _ids(raw, len(x))
    if ids is not None and placed.groups is None:
        notes = (*notes, *of_ids(ids))
    data = Dataset(
        raw.name, x, splits, labels, classes, columns, seed, ids=ids, id_name=raw.id_name,
        groups=placed.groups, left_out=left_out, notes=notes, targets=targets, numbers=numbers,
        style=raw.style if cells is None else dataclasses.replace(raw.style, dates=_dates(cells)),
        label_kind=label_kind,
    )  # fmt: skip
    return dataclasses.replace(data, source={**source, "seed": seed, "fingerprint": data.fingerprint})


def _dates(cells: Cells) -> dict[str, str]:
    """How the dates of some columns are written, by name."""
    return {**dict.fromkeys(cells.stamped, STAMP), **cells.formats}


def _numbers(raw: Raw, what: str, types: Mapping[str, Any]) -> tuple[Array, tuple[str, ...], Cells | None]:
    """x as numbers, the names of its columns, and, of a table of columns, what else they hold."""
    if isinstance(raw.x, Mapping):
        cells = cells_of(raw.x, what, types, raw.categories)
        return cells.x, feature_names(cells.names, cells.x), cells
    x = to_numbers(raw.x, what, raw.features)
    return x, feature_names(raw.features, x), None


def _ids(raw: Raw, n: int) -> Array | None:
    """The names of the rows, as text."""
    if raw.ids is None:
        return None
    values = _per_row(raw.ids, n, "id")
    return np.array(["" if text is None else text for text in texts_of(values)], dtype=np.str_)


def _per_row(values: Any, n: int, role: str) -> Array:
    """Values that must be one per row, as objects."""
    found = np.asarray(values)
    if found.ndim != 1 or len(found) != n:
        raise InputError(f"there must be one {role} per row, but there are {found.shape} for {n} rows; match them.")
    return found


def _test_part(x_test: Any, x: Array, what: str, features: tuple[str, ...]) -> Array:
    test = to_numbers(x_test, f"{what} (test part)", features)
    if test.shape[1:] != x.shape[1:]:
        raise InputError(
            f"the test part must have the shape of the other examples, {x.shape[1:]}, but has "
            f"{test.shape[1:]}; reshape it or leave it out."
        )
    if test.dtype != x.dtype:
        raise InputError(
            f"the test part must have the type of the other examples, {x.dtype}, but has {test.dtype}; "
            "convert both to one type and scale."
        )
    return test


def feature_names(names: Sequence[str], x: Array) -> tuple[str, ...]:
    """The names of the columns of x (N, D), all different; none for images."""
    if x.ndim != 2 or not names:
        return ()
    if len(names) != x.shape[1]:
        raise _wrong_names(names, x.shape[1])
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(f"column names must differ, but {quote(name)} appears twice; rename one.")
        seen.add(name)
    return tuple(names)


def _wrong_names(names: Sequence[str], columns: int) -> InputError:
    return InputError(f"`features` must name each of the {columns} columns, but has {len(names)} names; complete it.")


def _refuse_constant(x: Array, what: str) -> None:
    first = x[0]
    if all(_are_same(piece, first) for _, piece in chunks(x)):
        raise InputError(
            f"{what} must vary, but all {len(x)} examples are the same; there is nothing to learn, add data."
        )


def _are_same(rows: Array, first: Array) -> bool:
    """Whether all rows are the first, missing values included."""
    if rows.dtype.kind != "f":
        return bool((rows == first).all())
    return bool(((rows == first) | (np.isnan(first) & np.isnan(rows))).all())


def _labels(raw: Raw, n: int, tests: int) -> Labels:
    """Codes of y (and then of y_test), -1 where there is no label, and the classes of both."""
    if raw.y_test is not None and raw.x_test is None:
        raise InputError("`y_test` needs `x_test`, but only the labels were given; give both or neither.")
    if raw.x_test is not None and (raw.y is None) != (raw.y_test is None):
        lacking = "y" if raw.y is None else "y_test"
        raise InputError(f"both parts need labels or neither, but `{lacking}` is missing; give both or neither.")
    if raw.y is None:
        return NO_LABELS
    y, there = label_values(raw.y, n)
    if raw.y_test is not None:
        y_test, there_test = label_values(raw.y_test, tests)
        if (y.dtype.kind == "U") != (y_test.dtype.kind == "U"):
            raise InputError("`y` and `y_test` must be of one kind, but one is text and one is numbers; convert one.")
        y, there = np.concatenate([y, y_test]), np.concatenate([there, there_test])
    codes = np.full(len(there), -1)
    codes[there], classes = encode(y, raw.classes)
    return codes, classes, kind_of_labels(y, raw.classes)
