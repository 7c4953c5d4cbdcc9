"""What the user should know about a table: columns that look like ids, columns left out, columns that hardly vary."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from vaelab.data.columns import Column
from vaelab.data.dataset import Array
from vaelab.data.values import quote
from vaelab.wording import counted

LISTED = 5
ASKED = ("dropped", "the groups", "the splits")  # why columns are left out, where the user said so
ID_NAME = re.compile(
    r"(?i)(^|[^a-z])(id|ids|no|nr|num|index|key|code|uuid|barcode|identifier)$|^id([^a-z]|$)|[a-z](ID|Id)$"
)


def id_like(x: Array, columns: Sequence[Column]) -> list[str]:
    """The columns of whole numbers that look like ids: different in every row, and named like an id or consecutive."""
    n = len(x)
    low, high = np.fmin.reduce(x), np.fmax.reduce(x)
    found = []
    for j in np.flatnonzero((high - low >= n - 1) & (x[0] == np.round(x[0]))).tolist():
        column = columns[j]
        if column.kind not in ("real", "positive", "count") or column.missing or not column.name:
            continue
        values = np.unique(x[:, j])
        if len(values) == n and (values == np.round(values)).all():
            steps = np.diff(x[:, j].astype(np.float64))
            if ID_NAME.search(column.name.strip()) or (abs(steps[0]) == 1 and (steps == steps[0]).all()):
                found.append(column.name)
    return found


def sentences(x: Array, columns: Sequence[Column], left_out: Mapping[str, str]) -> tuple[str, ...]:
    """The notes on a table, one sentence each."""
    found = []
    ids = id_like(x, columns)
    if ids:
        plural = "look like ids" if len(ids) > 1 else "looks like an id"
        found.append(f"{names(ids)} {plural} (whole numbers, all different): name it as `id`, or drop it.")
    unused = {name: why for name, why in left_out.items() if why not in ASKED}
    if unused:
        told = [f"{quote(name)} ({why})" for name, why in list(unused.items())[:LISTED]]
        more = f" and {len(unused) - LISTED:,} more" if len(unused) > LISTED else ""
        verb = "is no feature" if len(unused) == 1 else "are no features"
        found.append(f"{counted(len(unused), 'column')} {verb}: {', '.join(told)}{more}.")
    rare = [column.name or str(j) for j, column in enumerate(columns) if column.rare]
    if rare:
        verb = "holds" if len(rare) == 1 else "hold"
        found.append(f"{counted(len(rare), 'column')} {verb} one value in almost all training rows: {names(rare)}.")
    return tuple(found)


def names(found: Sequence[str]) -> str:
    """Some names in a sentence.

    >>> names(["a", "b"]), names(list("abcdefg"))
    ("'a', 'b'", "'a', 'b', 'c', 'd', 'e' and 2 more")
    """
    more = f" and {len(found) - LISTED:,} more" if len(found) > LISTED else ""
    return ", ".join(quote(name) for name in found[:LISTED]) + more
