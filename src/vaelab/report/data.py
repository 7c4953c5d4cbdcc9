"""What a page tells about the data: facts, the columns of a table, what was left out, and what its nats add up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vaelab.report.captions import captions
from vaelab.report.page import Figure, figures, finite, pairs
from vaelab.report.pictures import folder_pictures
from vaelab.report.tables import Cell, Row, Table
from vaelab.wording import counted, percent, table_value

DATA_PICTURES = ("data", "examples", "missing", "correlations")
TOLD = (
    "columns",
    "left_out",
    "notes",
    "kinds",
    "missing_columns",
    "ids",
    "groups",
    "rare",
    "target",
)  # in tables and sentences
OF_NUMBERS = (
    "range",
    "binary",
    "distinct_values",
    "dtype",
    "bytes",
    "missing",
)  # say little of columns of several kinds
LEVELS = 6  # named in a line
FOLDED = 12  # rows from which on a table is folded
MASSES, DENSITIES = ("count", "binary", "categorical", "ordinal"), ("real", "positive", "date")


def data_section(found: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a page's section about the data, from what `describe` returned."""
    kinds = found.get("kinds") or {}
    dropped = (*TOLD, *(OF_NUMBERS if set(kinds) - {"real"} or found.get("missing") else ()))
    facts = {name: value for name, value in found.items() if name not in dropped and value is not None}
    facts.pop("constant_features", None)
    constant = found.get("constant_features") or {}
    if names := constant.get("names") or []:
        facts["constant in the training rows"] = _some(names, int(constant.get("count") or len(names)))
    if len(shape := found.get("shape") or []) == 1:
        facts.pop("treated_as", None)  # says no more than the other facts
        facts = {"columns" if name == "shape" else name: shape[0] if name == "shape" else facts[name] for name in facts}
    if kinds:
        facts["kinds of columns"] = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
    if isinstance(ids := found.get("ids"), Mapping):
        facts["names of rows"] = f"{ids['name']}, such as {ids['such_as'][0]}"
    if groups := found.get("groups"):
        facts["groups, whole in each split"] = ", ".join(f"{split} {count:,}" for split, count in groups.items())
    if isinstance(target := found.get("target"), Mapping):
        low, high, mean = (_written(target, key) for key in ("low", "high", "mean"))
        facts["target"] = f"{target['name']}, {low} to {high}, mean {mean}"
    if rare := found.get("rare"):
        facts["almost constant columns"] = _some(rare, len(rare))
    if found.get("missing"):
        facts["missing"] = counted(int(found["missing"]), "value")
    table = columns_table(found)
    listed = 0 if table is None else len(table.rows)
    total = max([listed, *shape[:1]])
    return {
        "data": pairs(facts),
        "data_notes": [str(note) for note in found.get("notes") or []],
        "columns": table,
        "columns_listed": f"The first {listed:,} of {total:,}" if listed < total else f"All {listed:,}",
        "left_out": [(str(name), str(why)) for name, why in (found.get("left_out") or {}).items()],
        "folded": FOLDED,
    }


def _some(names: Sequence[Any], count: int) -> str:
    """The first names of `count`."""
    named = [str(name) for name in names[:LEVELS]]
    more = count - len(named)
    return ", ".join(named) + (f", and {more:,} more" if more > 0 else "")


def data_pictures(folder: Path, found: Mapping[str, Any], missing: list[str]) -> list[Figure]:
    """The pictures of the data in a folder."""
    paths = [path for path in folder_pictures(folder, DATA_PICTURES) if path.stem in DATA_PICTURES]
    return figures(paths, "the data", missing, captions=captions(found))


def columns_table(found: Mapping[str, Any]) -> Table | None:
    """The columns of a table: name, kind, missing values, and its levels or range."""
    columns = [column for column in found.get("columns") or [] if isinstance(column, Mapping)]
    if not columns:
        return None
    gaps = any(column.get("missing") for column in columns)
    examples = int(found.get("examples") or 0)
    rows = []
    for place, column in enumerate(columns, 1):
        cells = [Cell(str(column.get("name"))), Cell.of(place), Cell(_kind(column))]
        if gaps:
            cells.append(_missing(int(column.get("missing") or 0), examples))
        rows.append(Row([*cells, Cell(_values(column)), Cell(_mean(column))]))
    heads = ["column", "number", "kind", *(["missing"] if gaps else []), "values", "mean"]
    return Table("Columns", heads, rows, 1)


def _kind(column: Mapping[str, Any]) -> str:
    return f"{column.get('kind') or 'real'}{', condition' if column.get('condition') else ''}"


def _missing(count: int, examples: int) -> Cell:
    if not count:
        return Cell("", "0")
    share = f" ({100 * count / examples:.2g} %)" if examples else ""
    return Cell(f"{count:,}{share}", str(count))


def _values(column: Mapping[str, Any]) -> str:
    levels = column.get("levels")
    if isinstance(levels, Mapping):
        total = sum(levels.values()) or 1
        # Levels such as "Adult, 1 Egg Stage" or 3 need more than commas and spaces around them.
        named = [f"{level}: {percent(count / total)}" for level, count in list(levels.items())[:LEVELS]]
        more = int(column.get("level_count") or len(levels)) - len(named)
        return "; ".join(named) + (f"; and {more} more" if more > 0 else "")
    low, high = (_written(column, key) for key in ("low", "high"))
    return low if low == high else f"{low} to {high}"


def _mean(column: Mapping[str, Any]) -> str:
    """Of numbers; levels and dates have none."""
    return _written(column, "mean") if "mean" in column and not column.get("levels") else ""


def _written(column: Mapping[str, Any], key: str) -> str:
    if isinstance(column.get(key), str):  # a date
        return str(column[key])
    value = finite(column.get(key))
    return "–" if value is None else table_value(value)


def unit_note(found: Mapping[str, Any], spec: Mapping[str, Any]) -> list[str]:
    """What the nats of an example are, where the columns have different noise models."""
    mass, density = _both(found, spec)
    if not mass or not density:
        return []
    return [
        f"The nats of an example add up log-probabilities ({_listed(mass)} columns) and log-densities in the columns' "
        f"own units ({_listed(density)} columns); missing values cost nothing. Differences between models of this "
        "table have a meaning, the values alone do not, and may be negative."
    ]


def _both(found: Mapping[str, Any], spec: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    kinds = found.get("kinds") or {} if spec.get("likelihood") == "mixed" else {}
    return [kind for kind in MASSES if kinds.get(kind)], [kind for kind in DENSITIES if kinds.get(kind)]


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
