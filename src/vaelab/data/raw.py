"""Data as readers return them, before anything is checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from vaelab.data.dataset import Array
from vaelab.data.style import ISO, Style


@dataclasses.dataclass(frozen=True)
class Category:
    """What a column of text may hold, where the file or the data frame says so; in order for an ordered one."""

    levels: tuple[str, ...]
    is_ordered: bool = False


@dataclasses.dataclass(frozen=True)
class Raw:
    """Data as read, unchecked: `x` is an array, or the columns of a table.

    A column is an array (N,) of numbers (NaN where missing), dates, or objects (text; None where missing).

    target: where y came from: a key, a column, or an absolute path.
    ids: names of the rows (N,); id_name: what they are called.
    group, split: of each row (N,): rows of one group are in one split; train, validation or test.
    beside: columns of an array x that are no features, but may be its target, ids, groups or splits.
    categories: of columns of text, by name. left_out: columns that are no features, and why.
    notes: what the user should know, in sentences. style: how a table of text was written.
    """

    name: str
    x: Any
    y: Any = None
    x_test: Any = None
    y_test: Any = None
    features: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    target: str | None = None
    ids: Any = None
    id_name: str = "id"
    group: Any = None
    split: Any = None
    beside: Mapping[str, Array] = dataclasses.field(default_factory=dict)
    categories: Mapping[str, Category] = dataclasses.field(default_factory=dict)
    left_out: Mapping[str, str] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    style: Style = ISO
