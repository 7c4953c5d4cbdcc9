"""The description of a data set as lines and a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vaelab.data.notes import ASKED
from vaelab.wording import counted, percent

LISTED = 20  # names and columns shown in the table
WIDE = 48  # characters of the levels of a column


def describe_text(description: Mapping[str, Any]) -> str:
    """The description as compact, readable lines."""
    lines = [(label, text) for label, text in _facts(description) if text]
    width = max(len(label) for label, _ in lines)
    body = "\n".join(f"{label:<{width}}  {_plain(text)}" for label, text in lines)
    columns = description.get("columns") or []
    table = _column_table(columns, max([len(columns), *description.get("shape", [])]))
    rows = "the training rows" if "splits" in description else "all rows"
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
        ("target", _target(found.get("target"))),
        ("classes", f"{len(found['classes'])}: {_listed(found['classes'])}" if found.get("classes") else ""),
        ("treated as", str(found.get("treated_as", ""))),
        ("likelihood", f"{found['likelihood']} (suggested)" if "likelihood" in found else ""),
        ("refused", str(found.get("refused", ""))),
        *(("note", str(note)) for note in found.get("notes") or ()),
    ]


def _target(target: Mapping[str, Any] | None) -> str:
    if target is None:
        return ""
    low, high, mean, std = (f"{target[name]:.4g}" for name in ("low", "high", "mean", "std"))
    return f"{target['name']}, a number from {low} to {high}, mean {mean}, standard deviation {std}"


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
    known = ("name", "kind", "condition", "missing", "mean", "std", "low", "high", "levels")
    shown = columns[:LISTED]
    titles = [title for title in known if any(_is_told(column, title) for column in shown)]
    rows = [titles] + [[_column_cell(column, title) for title in titles] for column in shown]
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


def _is_told(column: Mapping[str, Any], title: str) -> bool:
    return column.get(title) is not None and (title != "missing" or column["missing"] > 0)


def _column_cell(column: Mapping[str, Any], title: str) -> str:
    value = column.get(title)
    if title == "missing":
        return f"{value:,} ({percent(column.get('missing_share', 0.0))})" if value else "0"
    if isinstance(value, Mapping):
        told = f"{column.get('level_count', len(value)):,}: " + ", ".join(f"{k} ({v:,})" for k, v in value.items())
        return _plain(told if len(told) <= WIDE else told[: WIDE - 3] + "...")
    return _cell(value)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if value is True:
        return "yes"
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return _plain(text if len(text) <= 32 else text[:29] + "...")
