"""Describes a data set as a JSON-able dict; also data that training rejects."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from vaelab.data.cells import as_written, is_date, is_text
from vaelab.data.columns import Column
from vaelab.data.dataset import Array, Dataset
from vaelab.data.duplicates import near_copies
from vaelab.data.groups import groups_by_split
from vaelab.data.loading import PathLike, from_raw, read_source
from vaelab.data.raw import Raw
from vaelab.data.reading import PLAIN, Reading
from vaelab.data.values import as_array, chunks
from vaelab.errors import InputError
from vaelab.wording import counted

MANY = 256  # distinct values are counted up to here
COMMON = 20  # values of a column of text as read that are listed
COLUMNS = 1000  # columns described individually in the dict: the first
CURVE = 8  # columns; fewer are no curve


def describe(dataset: Dataset) -> dict[str, Any]:
    """Counts, range, classes, splits and columns of a data set, and how it would be treated; JSON-able.

    >>> from vaelab.data import load
    >>> found = describe(load("digits"))
    >>> found["examples"], found["range"], found["likelihood"]
    (1797, [0.0, 1.0], 'bernoulli')
    """
    statistics = dataset.statistics
    distinct = _distinct(dataset.x)
    names = dataset.features or tuple(str(number) for number in range(dataset.flat.shape[1]))
    constant = [names[number] for number in np.flatnonzero(statistics.constant)]
    found: dict[str, Any] = {
        "name": dataset.name,
        "examples": len(dataset.x),
        "shape": list(dataset.shape),
        "dtype": str(dataset.x.dtype),
        "bytes": int(dataset.x.nbytes),
        "range": [float(value) for value in statistics.range],
        "distinct_values": distinct,
        "binary": distinct is not None and distinct <= 2 and statistics.range == (0.0, 1.0),
        "missing": sum(column.missing for column in dataset.columns),
        "missing_columns": {
            column.name or str(j): column.missing
            for j, column in enumerate(dataset.columns[:COLUMNS])
            if column.missing
        },
        "constant_features": {"count": len(constant), "names": constant[:COLUMNS]},
        "splits": {name: len(rows) for name, rows in dataset.splits.items()},
        "groups": groups_by_split(dataset),
        "classes": _class_counts(dataset),
        "likelihood": dataset.suggested_likelihood(),
        "treated_as": _treated_as(dataset),
        "notes": list(dataset.notes),
    }
    if not dataset.is_image:
        kinds = [column.kind for column in dataset.columns]
        found["kinds"] = {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
        found["left_out"] = dict(dataset.left_out)
        found["rare"] = [column.name or str(j) for j, column in enumerate(dataset.columns) if column.rare][:COLUMNS]
    if dataset.targets is not None:
        y = dataset.targets
        found["target"] = {
            "name": dataset.source.get("target", "y"), "mean": float(y.mean()), "std": float(y.std()),
            "low": float(y.min()), "high": float(y.max()),
        }  # fmt: skip
    if dataset.ids is not None:
        found["ids"] = {"name": dataset.id_name, "such_as": [str(each) for each in dataset.ids[:3]]}
    if not dataset.is_image:
        found["columns"] = _columns(dataset, names[:COLUMNS])
    return found


def _columns(dataset: Dataset, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Kind and values of each of the first columns in the training rows."""
    statistics, found = dataset.statistics, []
    for j, name in enumerate(names):
        column = dataset.columns[j] if dataset.columns else Column(name)
        numbers = [float(values[j]) for values in (statistics.mean, statistics.std, statistics.low, statistics.high)]
        share = column.missing / max(1, len(dataset.x))
        facts: dict[str, Any] = {
            "name": name, "kind": column.kind, "missing": column.missing, "missing_share": share,
        }  # fmt: skip
        if column.has_levels:
            cells = dataset.flat[dataset.splits["train"], j]
            counts = [
                (level, int((cells == value).sum())) for level, value in zip(column.levels, column.values, strict=True)
            ]
            in_order = counts if column.kind == "ordinal" else sorted(counts, key=lambda pair: -pair[1])
            facts |= {"levels": dict(in_order[:MANY]), "level_count": len(counts)}
        elif column.kind == "date":
            low, high = as_written(np.array(numbers[2:]), column)
            facts |= {"low": str(low), "high": str(high)}
        else:
            facts |= dict(zip(("mean", "std", "low", "high"), numbers, strict=True))
        found.append(facts | {mark: True for mark in ("rare", "condition") if getattr(column, mark)})
    return found


def describe_source(source: PathLike, reading: Reading = PLAIN, *, seed: int = 0, **where: Any) -> dict[str, Any]:
    """Describes data as `load` would read them; if it fails, what could be read, with the reason under "refused".

    A target that has no classes, but numbers, is described as one to predict, as `regress` reads it.
    where: further keyword arguments of `read_source`. Raises InputError if nothing can be read.
    """
    raw, kept = read_source(source, reading, **where)
    try:
        return _described(from_raw(raw, kept, seed), raw)
    except InputError as error:
        if raw.y is None:
            return {**_describe_raw(raw), "refused": str(error)}
        return _without_classes(raw, kept, seed, str(error))


def _described(data: Dataset, raw: Raw) -> dict[str, Any]:
    facts = describe(data)
    # Images are not compared: that takes long, and they are rarely replicates of each other.
    notes = facts["notes"] + ([] if data.is_image else list(near_copies(data)))
    return {**facts, "notes": notes, "stored_as": _stored_as(raw.x)}


def _without_classes(raw: Raw, kept: Mapping[str, Any], seed: int, refusal: str) -> dict[str, Any]:
    """Data whose target may be why they are refused: with it as a number to predict, else without it."""
    try:
        facts = _described(from_raw(raw, {**kept, "numeric": True}, seed), raw)
        return {**facts, "notes": [*facts["notes"], f"`vaelab regress` takes this target; as classes: {refusal}"]}
    except InputError:
        pass  # the refusal of its classes is told
    try:
        data = from_raw(dataclasses.replace(raw, y=None, y_test=None, target=None), kept, seed)
    except InputError:
        return {**_describe_raw(raw), "refused": refusal}
    return {**_described(data, raw), "refused": refusal}


def _stored_as(x: Any) -> str:
    """The number types of data as read."""
    columns = list(x.values()) if isinstance(x, Mapping) else [np.asarray(x)]
    types = {"text" if is_text(values) else "dates" if is_date(values) else str(values.dtype) for values in columns}
    return ", ".join(sorted(types))


def _describe_raw(raw: Raw) -> dict[str, Any]:
    """Shape, type, range and missing values of data as read."""
    if isinstance(raw.x, Mapping):
        length = len(next(iter(raw.x.values()))) if raw.x else 0
        columns = [_describe_column(name, values) for name, values in raw.x.items()]
        found: dict[str, Any] = {
            "name": raw.name,
            "examples": length,
            "shape": [len(columns)],
            "missing": sum(int(column.get("missing", 0)) for column in columns),
            "columns": columns,
        }
    else:
        x = as_array(raw.x, raw.name)
        found = {
            "name": raw.name,
            "examples": len(x) if x.ndim else 0,
            "shape": list(x.shape[1:]),
            **_describe_values(x),
        }
        if x.ndim == 2 and found.get("missing"):
            counts = _missing_by_column(x)
            found["missing_columns"] = {str(number): int(counts[number]) for number in np.flatnonzero(counts)}
    if raw.y is not None:
        found["labels"] = {"examples": len(raw.y), "dtype": str(np.asarray(raw.y).dtype)}
    return found


def _describe_column(name: str, values: Array) -> dict[str, Any]:
    """A column as read: what it holds, how many values are missing, and its range or its most common values."""
    found = {"name": name, **_describe_values(values[:, None])}
    if is_text(values):
        counts = collections.Counter(str(value) for value in values if value is not None)
        found |= {"kind": "text", "levels": dict(counts.most_common(COMMON)), "level_count": len(counts)}
    elif is_date(values):
        there = values[~np.isnat(values)] if values.dtype.kind == "M" else values
        found |= {"kind": "date", "missing": len(values) - len(there)}
        if values.dtype.kind == "M" and len(there):
            low, high = there.min(), there.max()
            found |= {"low": str(low.astype("M8[D]")), "high": str(high.astype("M8[D]"))}
    else:
        low, high = found.get("range") or (None, None)
        found |= {"kind": "number", "low": low, "high": high}
    return {**found, "missing_share": found.get("missing", 0) / max(1, len(values))}


def _describe_values(x: Array) -> dict[str, Any]:
    found: dict[str, Any] = {"dtype": str(x.dtype), "bytes": int(x.nbytes)}
    if x.dtype.kind == "O":
        found["missing"] = sum(value is None for value in x.flat)
        texts = sorted({str(value) for value in x.flat if value is not None and value == value})
        return {
            **found,
            "distinct_values": len(texts) if len(texts) <= MANY else None,
            "examples_of_values": texts[:5],
        }
    if x.dtype.kind not in "biuf":
        return found
    missing, infinite, low, high = 0, 0, math.inf, -math.inf
    for _, piece in chunks(x) if x.ndim else ():
        if piece.dtype.kind == "f":
            missing += int(np.isnan(piece).sum())
            infinite += int(np.isinf(piece).sum())
            piece = piece[np.isfinite(piece)]
        if piece.size:
            low, high = min(low, float(piece.min())), max(high, float(piece.max()))
    return {**found, "range": [low, high] if low <= high else None, "missing": missing, "infinite": infinite}


def _missing_by_column(x: Array) -> Array:
    counts = np.zeros(x.shape[1], dtype=np.int64)
    for _, piece in chunks(x):
        lacking = (
            np.isnan(piece)
            if piece.dtype.kind == "f"
            else np.frompyfunc(lambda value: value is None, 1, 1)(piece).astype(bool)
        )
        counts += lacking.sum(0)
    return counts


def _distinct(x: Array) -> int | None:
    """Number of distinct values; None beyond MANY."""
    known: Array = np.empty(0, x.dtype)
    for _, piece in chunks(x):
        if len(known) == MANY and x.dtype == np.uint8:
            return MANY  # all there are
        # Checking the first values avoids sorting a large chunk of continuous ones.
        if len(np.union1d(known, piece.reshape(-1)[: 16 * MANY])) > MANY:
            return None
        known = np.union1d(known, np.flatnonzero(np.bincount(piece.reshape(-1))) if x.dtype == np.uint8 else piece)
        if len(known) > MANY:
            return None
    return len(known)


def _class_counts(dataset: Dataset) -> dict[str, int] | None:
    if dataset.labels is None:
        return None
    counts = dataset.counts(np.arange(len(dataset.x)))
    return {name: int(count) for name, count in zip(dataset.classes, counts, strict=True)}


def _treated_as(dataset: Dataset) -> str:
    low, high = dataset.statistics.range
    if not dataset.is_image:
        constant = int(dataset.statistics.constant.sum())
        leaving = f", {constant} of them constant" if constant else ""
        count = counted(dataset.shape[0], "column")
        if not dataset.features and dataset.shape[0] >= CURVE:
            return f"table of {count} without names{leaving}, which convolutions take as curves"
        return f"table of {count}{leaving}"
    channels = f" with {counted(dataset.shape[2], 'channel')}" if len(dataset.shape) == 3 else ""
    depth = "8-bit images" if dataset.is_8bit and high > 1 else f"images with values from {low:g} to {high:g}"
    return f"{depth} of {dataset.shape[0]} x {dataset.shape[1]} pixels{channels}"


__all__ = ["describe", "describe_source"]
