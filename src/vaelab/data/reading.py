"""How a table is to be read: which columns are the target, ids, groups and splits, what is missing, what is dropped."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Self

from vaelab.data.columns import KINDS, Kind
from vaelab.data.values import quote
from vaelab.errors import InputError, unknown_name

DATE_FORMAT = "date "  # starts the type of dates that are written in a format of their own
Type = str | tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Reading:
    """Options of every reader of tables; the same hold for new rows.

    target, id, group, split: names of columns: the labels; names of the rows; rows of one group are in one split;
        train, validation or test. None of them is a feature.
    drop: columns that are left out.
    condition: columns that are given rather than modelled, such as the batch.
    transpose: rows are features, and columns are examples.
    na: text that stands for a missing value, besides the usual ones.
    numeric: the target is a number to predict, not a class.
    types: the kind of some columns, by name; "date %d/%m/%Y" tells how dates are written, and a sequence of levels
        makes an ordinal column.
    decimal: the decimal sign of a table of text, "." or ",", where its numbers do not tell it: of new rows, that of the
        training data.
    """

    target: str | None = None
    id: str | None = None
    drop: tuple[str, ...] = ()
    transpose: bool = False
    na: tuple[str, ...] = ()
    types: Mapping[str, Type] = dataclasses.field(default_factory=dict)
    group: str | None = None
    split: str | None = None
    condition: tuple[str, ...] = ()
    numeric: bool = False
    decimal: str | None = None

    @classmethod
    def create(cls, **options: Any) -> Self:
        """Checked options; lists become tuples, and None is the default.

        >>> Reading.create(drop=["comment"], types={"size": ["small", "large"]}, id=None)
        Reading(target=None, id=None, drop=('comment',), transpose=False, na=(), types={'size': ('small', 'large')}, \
group=None, split=None, condition=(), numeric=False, decimal=None)
        """
        given = {name: value for name, value in options.items() if value is not None}
        known = [field.name for field in dataclasses.fields(cls)]
        for name in given:
            if name not in known:
                raise unknown_name("option of how data are read", name, known)
        for name in ("drop", "na", "condition"):
            given[name] = _texts(given.get(name, ()), name)
        given["types"] = {str(column): _type(kind) for column, kind in dict(given.get("types", {})).items()}
        if given.get("decimal", ".") not in (".", ","):
            raise InputError(f"`decimal` must be . or , but is {quote(given['decimal'])}; choose one.")
        for name in ("target", "id", "group", "split"):
            if name in given:
                given[name] = str(given[name])
        return cls(**given)

    @classmethod
    def from_dict(cls, source: Mapping[str, Any]) -> Self:
        """From a dict that may hold more, such as the source of a `Dataset`."""
        names = {field.name for field in dataclasses.fields(cls)}
        return cls.create(**{name: value for name, value in source.items() if name in names})

    def to_dict(self) -> dict[str, Any]:
        """What differs from the defaults, in plain types: `from_dict` restores it.

        >>> Reading(id="name", na=("-9",)).to_dict()
        {'id': 'name', 'na': ['-9']}
        """
        found: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "types":
                value = {name: kind if isinstance(kind, str) else list(kind) for name, kind in value.items()}
            elif isinstance(value, tuple):
                value = list(value)
            if value is not None and value is not False and value != [] and value != {}:
                found[field.name] = value
        return found


PLAIN = Reading()


def _texts(value: Any, name: str) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, Sequence):
        raise InputError(f"`{name}` must be a list of text, but is {quote(repr(value))}; give a list.")
    return tuple(str(each) for each in value)


def _type(kind: Any) -> Type:
    if not isinstance(kind, str):
        levels = _texts(kind, "types")
        if len(set(levels)) < max(2, len(levels)):
            raise InputError(f"the levels of a column must be two or more, all different, but are {quote(levels)}.")
        return levels
    if not kind.startswith(DATE_FORMAT) and kind not in KINDS:
        raise unknown_name("type of a column", kind, KINDS)
    return kind


def kind_of(kind: Type) -> Kind:
    """The kind of a column for a type as given."""
    if not isinstance(kind, str):
        return "ordinal"
    return next((known for known in KINDS if known == kind), "date")
