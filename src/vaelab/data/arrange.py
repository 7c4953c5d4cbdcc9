"""What the columns of a table are for: target, ids, groups, splits, and features."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from vaelab.data.cells import is_date, is_text, missing_or_text, texts_of
from vaelab.data.dataset import Array
from vaelab.data.dates import mixture_of
from vaelab.data.limits import MOST_TEXT, check_dense, check_texts
from vaelab.data.raw import Raw
from vaelab.data.reading import Reading
from vaelab.data.stray import reads_as_number
from vaelab.data.values import Columns, as_array, quote
from vaelab.errors import InputError, unknown_name

ROLES = ("target", "id", "group", "split")


def arrange(raw: Raw, reading: Reading, what: str) -> tuple[Raw, Reading]:
    """Target, ids, groups, splits and dropped columns taken out of the features; and the reading with what was found.

    Without `id`, a first column of text that is different in every row holds the ids.
    """
    is_table = isinstance(raw.x, Mapping)
    of_cells = ("target", "na", "types", "condition", "numeric", "decimal")
    asked = [name for name in reading.to_dict() if name not in of_cells]
    if not is_table:
        if not asked and reading.target is None:
            return raw, reading
        x = as_array(raw.x, what)
        if asked and x.ndim != 2:
            raise InputError(
                f"`{asked[0]}` needs a table, but {what} holds examples of shape {x.shape[1:]}; leave it out."
            )
        raw = dataclasses.replace(raw, x=x)
    if reading.transpose:
        raw = transposed(raw, reading, what)
    taken = _Taken(raw, reading, what)
    for role in ROLES:
        if role != "id" or not reading.transpose:  # there it names the features
            taken.take(role)
    taken.drop(() if reading.transpose else reading.drop)
    raw = taken.arranged()
    if raw.ids is None and isinstance(raw.x, Mapping) and not reading.transpose:
        raw, found = _with_ids(raw, reading)
        return raw, reading if found is None else dataclasses.replace(reading, id=found)
    return raw, reading


class _Taken:
    """The columns of a table that are not yet used for anything, and what the others are used for."""

    def __init__(self, raw: Raw, reading: Reading, what: str):
        self.raw, self.reading, self.what = raw, reading, what
        self.columns: dict[str, Array] = dict(raw.x) if isinstance(raw.x, Mapping) else {}
        self.beside = dict(raw.beside)
        self.names = list(raw.features) if not self.columns else list(self.columns)
        if not self.names and np.ndim(raw.x) == 2:
            self.names = [str(j) for j in range(np.shape(raw.x)[1])]
        self.gone: set[str] = set()
        self.found: dict[str, Any] = {}
        self.left_out = dict(raw.left_out)

    def take(self, role: str) -> None:
        name = getattr(self.reading, role)
        if name is None or (role == "target" and self.raw.target is not None):
            return
        for other in ROLES[ROLES.index(role) + 1 :]:
            if getattr(self.reading, other) == name and (role, other) != ("id", "group"):
                raise InputError(f"a column has one use, but {quote(name)} is `{role}` and `{other}`; choose one.")
        values = self._column(name, role)
        if is_text(values):
            check_texts(values, f"column {quote(name)}, the {role},")
        if role == "target":
            self.found |= {"y": values, "target": name}
        elif role == "id":
            self.found |= {"ids": values, "id_name": name or "id"}
        else:
            self.found[role] = values
            if role == "group" and self.reading.id != name:
                self.left_out[name] = "the groups"
            elif role == "split":
                self.left_out[name] = "the splits"

    def drop(self, names: tuple[str, ...]) -> None:
        for name in names:
            if name not in self.beside:
                self._column(name, "drop")
            self.left_out[name] = "dropped"

    def _column(self, name: str, role: str) -> Array:
        if name in self.beside:
            return self.beside[name]
        if name not in self.names:
            known = [*self.beside, *self.names]
            asked = "column to drop" if role == "drop" else f"{role} column"
            raise unknown_name(f"{asked} of {self.what}:", name, known)
        self.gone.add(name)
        if self.columns:
            return self.columns[name]
        values: Array = np.asarray(self.raw.x)[:, self.names.index(name)]
        return values

    def arranged(self) -> Raw:
        raw = self.raw
        if isinstance(raw.x, Mapping):
            x: Any = {name: values for name, values in self.columns.items() if name not in self.gone}
            features = tuple(x)
        elif self.gone:
            kept = [j for j, name in enumerate(self.names) if name not in self.gone]
            x, features = np.asarray(raw.x)[:, kept], tuple(self.names[j] for j in kept)
        else:
            x, features = raw.x, raw.features
        return dataclasses.replace(raw, x=x, features=features, left_out=self.left_out, **self.found)


def _with_ids(raw: Raw, reading: Reading) -> tuple[Raw, str | None]:
    """A column without a name, or the first of text that is different in every row, as ids; and its name."""
    columns = dict(raw.x)
    if len(columns) < 2:
        return raw, None
    for name, values in columns.items():
        if name in reading.types or name in raw.categories:
            continue
        if name == "" and all_different(values):
            break
        if is_text(values) and all_different(values) and _are_names(texts_of(values)):
            break
    else:
        return raw, None
    ids = columns.pop(name)
    return dataclasses.replace(raw, x=columns, features=tuple(columns), ids=ids, id_name=name or "id"), name


def all_different(values: Array) -> bool:
    """Whether a column has a value in every row, each once."""
    if is_date(values) or (values.dtype.kind == "f" and np.isnan(values).any()):
        return False
    if values.dtype.kind != "O":
        return len(np.unique(values)) == len(values)
    texts = [missing_or_text(value) for value in values]
    return None not in texts and len(set(texts)) == len(texts)


def _are_names(texts: Array) -> bool:
    """Whether text that differs in every row names the rows: no dates, numbers with a wrong cell, or free text."""
    if max(map(len, texts)) > MOST_TEXT:
        return False
    found = sum(reads_as_number(text.replace(",", ".")) for text in texts)
    is_number = 2 * found > len(texts) and not all(map(reads_as_number, texts))
    return not is_number and not mixture_of(texts)


def transposed(raw: Raw, reading: Reading, what: str) -> Raw:
    """A table whose rows are features, with examples as rows.

    The names of the features are in the column `id`, else in one without a name, or in the first of text. The names
    of the other columns are the ids.
    """
    if not isinstance(raw.x, Mapping):
        x = np.asarray(raw.x)
        names = () if raw.ids is None else tuple(str(value) for value in raw.ids)
        return dataclasses.replace(
            raw, x=_by_name(x.T, names, what) if names else x.T, features=names, ids=raw.features or None, beside={}
        )
    columns = {name: values for name, values in raw.x.items() if name not in reading.drop}
    names_in = reading.id
    if names_in is not None and names_in not in columns:
        raise unknown_name(f"column of {what} with the names of the features:", names_in, raw.x)
    if names_in is None and raw.ids is None:
        names_in = next((name for name, values in columns.items() if name == "" or is_text(values)), None)
    if names_in is None and raw.ids is None:
        raise InputError(
            f"a table whose rows are features must have a column with their names, but {what} has numbers alone; "
            "add it, or name it as `id`."
        )
    told = columns.pop(names_in) if names_in is not None else raw.ids
    names = tuple("" if text is None else text for text in texts_of(np.asarray(told)))
    for name, values in columns.items():
        if is_text(values) or is_date(values):
            cell = next(str(value) for value in values if value is not None)
            raise InputError(
                f"a table whose rows are features must hold numbers alone, but column {quote(name)} of {what} holds "
                f"{quote(cell)}; drop that column."
            )
    if not columns:
        raise InputError(f"{what} must have columns of numbers, but has none besides the names; add data.")
    check_dense(len(columns), len(names), what)
    x = np.stack([np.asarray(values) for values in columns.values()])
    table = _by_name(x, names, what)
    left = {name for name in reading.drop if name in raw.x}
    unknown = [name for name in reading.drop if name not in raw.x and name not in table]
    if unknown:
        raise unknown_name(f"column or row to drop of {what}:", unknown[0], [*raw.x, *table])
    kept = {name: values for name, values in table.items() if name not in reading.drop}
    return dataclasses.replace(
        raw, x=kept, features=tuple(kept), ids=np.array(list(columns), dtype=object), id_name="id", categories={},
        left_out={**raw.left_out, **dict.fromkeys(left, "dropped")},
    )  # fmt: skip


def _by_name(x: Array, names: tuple[str, ...], what: str) -> Columns:
    seen: set[str] = set()
    for row, name in enumerate(names):
        if not name or name in seen:
            told = f"{quote(name)} appears twice" if name else "one has none"
            raise InputError(f"the names of features must differ, but in {what} {told}, again in row {row}; rename it.")
        seen.add(name)
    return {name: x[:, j] for j, name in enumerate(names)}
