"""Describes a data set, as a JSON-able dict and as a table; also data that training rejects."""

from __future__ import annotations

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
from vaelab.data.notes import ASKED
from vaelab.data.raw import Raw
from vaelab.data.reading import PLAIN, Reading
from vaelab.data.values import as_array, chunks
from vaelab.errors import InputError
from vaelab.wording import counted

MANY = 256  # distinct values are counted up to here
LISTED = 20  # names and columns shown in the table
COLUMNS = 1000  # columns described individually in the dict: the first
WIDE = 48  # characters of the levels of a column


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
        facts: dict[str, Any] = {"name": name, "kind": column.kind, "missing": column.missing}
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

    where: further keyword arguments of `read_source`. Raises InputError if nothing can be read.
    """
    raw, kept = read_source(source, reading, **where)
    try:
        data = from_raw(raw, kept, seed)
        facts = describe(data)
        # Images are not compared: that takes long, and they are rarely replicates of each other.
        notes = facts["notes"] + ([] if data.is_image else list(near_copies(data)))
        return {**facts, "notes": notes, "stored_as": _stored_as(raw.x)}
    except InputError as error:
        return {**_describe_raw(raw), "refused": str(error)}


def _stored_as(x: Any) -> str:
    """The number types of data as read."""
    columns = list(x.values()) if isinstance(x, Mapping) else [np.asarray(x)]
    types = {"text" if is_text(values) else "dates" if is_date(values) else str(values.dtype) for values in columns}
    return ", ".join(sorted(types))


def _describe_raw(raw: Raw) -> dict[str, Any]:
    """Shape, type, range and missing values of data as read."""
    if isinstance(raw.x, Mapping):
        columns = [{"name": name, **_describe_values(values[:, None])} for name, values in raw.x.items()]
        length = len(next(iter(raw.x.values()))) if raw.x else 0
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
    counts = np.bincount(dataset.labels, minlength=len(dataset.classes))
    return {name: int(count) for name, count in zip(dataset.classes, counts, strict=True)}


def _treated_as(dataset: Dataset) -> str:
    low, high = dataset.statistics.range
    if not dataset.is_image:
        constant = int(dataset.statistics.constant.sum())
        leaving = f", {constant} of them constant" if constant else ""
        return f"table of {dataset.shape[0]} columns{leaving}"
    channels = f" with {dataset.shape[2]} channels" if len(dataset.shape) == 3 else ""
    depth = "8-bit images" if dataset.is_8bit and high > 1 else f"images with values from {low:g} to {high:g}"
    return f"{depth} of {dataset.shape[0]} x {dataset.shape[1]} pixels{channels}"


def describe_text(description: Mapping[str, Any]) -> str:
    """The description as compact, readable lines."""
    lines = [(label, text) for label, text in _facts(description) if text]
    width = max(len(label) for label, _ in lines)
    body = "\n".join(f"{label:<{width}}  {_plain(text)}" for label, text in lines)
    columns = description.get("columns") or []
    table = _column_table(columns, max([len(columns), *description.get("shape", [])]))
    rows = "all rows" if "refused" in description else "the training rows"
    return f"{body}\n\ncolumns, over {rows}:\n{table}" if table else body


def _facts(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    lengths = found.get("shape", [])
    shape = " x ".join(str(length) for length in lengths) or "1"
    unit = "" if len(lengths) != 1 else " feature" if lengths[0] == 1 else " features"
    size = f"{counted(found['examples'], 'example')} of {shape}{unit}" if "examples" in found else ""
    span = found.get("range")
    distinct = found.get("distinct_values")
    is_numeric = not set(found.get("kinds", {})) & {"binary", "categorical", "ordinal", "date"}
    spread = "" if not span or not is_numeric else f"{span[0]:g} to {span[1]:g} in all rows"
    if distinct is not None and spread:
        spread += f", {counted(distinct, 'different value')}" + (" (binary)" if found.get("binary") else "")
    constant = found.get("constant_features") or {"count": 0, "names": []}
    missing = found.get("missing") or 0
    lacking = found.get("missing_columns") or {}
    ids = found.get("ids")
    asked = [f"{name} ({why})" for name, why in (found.get("left_out") or {}).items() if why in ASKED]
    return [
        ("data", str(found.get("name", ""))),
        ("size", size),
        ("type", f"{_types(found)}, {_bytes(found['bytes'])}" if "dtype" in found else ""),
        ("kinds", ", ".join(f"{count:,} {kind}" for kind, count in found.get("kinds", {}).items())),
        ("ids", f"{ids['name']}, such as {', '.join(ids['such_as'])}" if ids else ""),
        ("left out", _some(asked)),
        ("values", spread),
        (
            "missing",
            counted(missing, "value") + (f" ({_listed(lacking)})" if lacking else "")
            if missing
            else "none"
            if span
            else "",
        ),
        ("infinite", counted(found["infinite"], "value") if found.get("infinite") else ""),
        (
            "constant",
            _constant(constant, unit),
        ),
        ("splits", ", ".join(f"{name} {count:,}" for name, count in found.get("splits", {}).items())),
        ("groups", ", ".join(f"{name} {count:,}" for name, count in (found.get("groups") or {}).items())),
        ("classes", f"{len(found['classes'])}: {_listed(found['classes'])}" if found.get("classes") else ""),
        ("treated as", str(found.get("treated_as", ""))),
        ("likelihood", f"{found['likelihood']} (suggested)" if "likelihood" in found else ""),
        ("refused", str(found.get("refused", ""))),
        *(("note", str(note)) for note in found.get("notes") or ()),
    ]


def _constant(constant: Mapping[str, Any], unit: str) -> str:
    if not constant["count"]:
        return ""
    names = f": {_some(constant['names'])}" if unit else ""  # of a table; pixels have no names
    return f"{counted(constant['count'], 'feature')} in the training rows{names}"


def _types(found: Mapping[str, Any]) -> str:
    """The type as stored, and as trained on."""
    stored = found.get("stored_as", found["dtype"])
    return str(stored) if stored == found["dtype"] else f"{stored}, trained as {found['dtype']}"


def _listed(counts: Mapping[str, int]) -> str:
    return _some([f"{name} ({count:,})" for name, count in counts.items()])


def _some(names: list[str]) -> str:
    more = f", and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(name if len(name) <= 40 else name[:37] + "..." for name in names[:LISTED]) + more


def _plain(text: str) -> str:
    """Text on one line without control characters: class and file names may contain terminal escapes."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def _bytes(count: int) -> str:
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.3g} {unit}"


def _column_table(columns: list[Mapping[str, Any]], total: int) -> str:
    if not columns:
        return ""
    known = ("name", "kind", "condition", "dtype", "missing", "mean", "std", "low", "high", "levels")
    shown = columns[:LISTED]
    titles = [title for title in known if any(column.get(title) not in (None, 0) or title == "low" for column in shown)]
    rows = [titles] + [[_cell(column.get(title)) for title in titles] for column in shown]
    widths = [max(len(row[number]) for row in rows) for number in range(len(titles))]
    lines = [
        "  ".join(
            cell.ljust(width) if title in ("name", "kind", "levels") else cell.rjust(width)
            for title, cell, width in zip(titles, row, widths, strict=True)
        )
        for row in rows
    ]
    more = [f"and {total - LISTED:,} more columns"] if total > LISTED else []
    return "\n".join([line.rstrip() for line in lines] + more)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if value is True:
        return "yes"
    if isinstance(value, Mapping):
        told = f"{len(value)}: " + ", ".join(f"{level} ({count:,})" for level, count in value.items())
        return _plain(told if len(told) <= WIDE else told[: WIDE - 3] + "...")
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return _plain(text if len(text) <= 32 else text[:29] + "...")


__all__ = ["describe", "describe_source", "describe_text"]
