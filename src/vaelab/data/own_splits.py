"""Splits from a file of the user's, and groups by the ids of rows: what `arrange` finds no column for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vaelab.data import readers
from vaelab.data.arrange import arrange
from vaelab.data.cells import texts_of
from vaelab.data.dataset import Array
from vaelab.data.groups import IDS
from vaelab.data.limits import name_of
from vaelab.data.raw import Raw
from vaelab.data.reading import Reading
from vaelab.data.values import quote
from vaelab.errors import InputError

SPLIT = "split"  # the column of a file of splits


def arrange_rows(raw: Raw, reading: Reading, what: str) -> tuple[Raw, Reading]:
    """`arrange`, where `split` may also be a file, and `group` may be "id": the stems of the ids of the rows.

    A column of that name comes first. The reading returned has the file's absolute path.
    """
    names = [*(raw.x if isinstance(raw.x, Mapping) else raw.features), *raw.beside]
    path = None
    if reading.split is not None and reading.split not in names and Path(reading.split).suffix:
        path = Path(reading.split).expanduser().absolute()
    by_ids = reading.group is not None and reading.group not in names and reading.group in (IDS, raw.id_name)
    split, group = None if path is not None else reading.split, None if by_ids else reading.group
    raw, found = arrange(raw, dataclasses.replace(reading, split=split, group=group), what)
    if by_ids:
        if raw.ids is None:
            raise InputError(f"rows are grouped by their ids, but {what} has none; name their column as `id`.")
        raw, found = dataclasses.replace(raw, group=raw.ids), dataclasses.replace(found, group=reading.group)
    elif raw.group is not None and raw.ids is None and _are_ids(raw.group):
        # The column of ids was named as the groups: their stems are.
        assert reading.group is not None
        kept = {name: why for name, why in raw.left_out.items() if name != reading.group}
        raw = dataclasses.replace(raw, ids=raw.group, id_name=reading.group, left_out=kept)
    if path is not None:
        raw = dataclasses.replace(raw, split=read_splits(path, raw, what))
        found = dataclasses.replace(found, split=str(path))
    return raw, found


def _are_ids(values: Array) -> bool:
    return len(set(texts_of(np.asarray(values)))) == len(values)


def read_splits(path: Path, raw: Raw, what: str) -> Array:
    """A word for each row from a table with a column `split`: by ids if it has another column, else in row order."""
    name = name_of(path)
    table = readers.read(path).x
    if not isinstance(table, Mapping) or not 1 <= len(table) <= 2:
        raise InputError(f"a file of splits must have the columns id and split, or one column, but {name} has others.")
    columns = {column: texts_of(values).tolist() for column, values in table.items()}
    if len(columns) == 1:
        return np.array(next(iter(columns.values())), dtype=object)
    if SPLIT not in columns:
        raise InputError(f"a file of splits must have a column {SPLIT!r}, but {name} has {quote(', '.join(columns))}.")
    if raw.ids is None:
        raise InputError(
            f"{name} gives splits by id, but {what} has no ids; name their column as `id`, or give one column of "
            "splits in the order of the rows."
        )
    words = columns.pop(SPLIT)
    (keys,) = columns.values()
    told = dict(zip(keys, words, strict=True))
    twice = [key for key in told if keys.count(key) > 1] if len(told) < len(keys) else []
    if twice:
        raise InputError(f"each id must have one split, but {name} has {quote(twice[0])} twice; remove one.")
    ids = texts_of(np.asarray(raw.ids)).tolist()
    lacking = [each for each in ids if each not in told]
    if lacking:
        more = f" and {len(lacking) - 1:,} more" if len(lacking) > 1 else ""
        raise InputError(f"every row needs a split, but {name} lacks id {quote(lacking[0])}{more}; add it.")
    return np.array([told[each] for each in ids], dtype=object)
