"""What the user should know: columns that look like ids, are left out or hardly vary; images on other scales."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from vaelab.data.columns import Column
from vaelab.data.dataset import SPLITS, Array
from vaelab.data.values import chunks, is_curve, quote
from vaelab.wording import counted, first_few

TOP, MUCH = 255, 0.9  # of images in [0, 255] and in [-1, 1]
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
        told = first_few([f"{quote(name)} ({why})" for name, why in unused.items()])
        verb = "is no feature" if len(unused) == 1 else "are no features"
        found.append(f"{counted(len(unused), 'column')} {verb}: {told}.")
    rare = [column.name or str(j) for j, column in enumerate(columns) if column.rare]
    if rare:
        verb = "holds" if len(rare) == 1 else "hold"
        found.append(f"{counted(len(rare), 'column')} {verb} one value in almost all training rows: {names(rare)}.")
    return tuple(found)


def of_arrays(shape: tuple[int, ...], x: Array) -> tuple[str, ...]:
    """The notes on examples x that are no table with names; shape (N, ...) is theirs as given."""
    if is_curve(shape):
        return (f"examples of shape {shape[1:]} are read as {counted(x.shape[1], 'value')} each.",)
    if x.ndim == 2 or x.dtype == np.uint8:
        return ()
    low, high, is_whole = np.inf, -np.inf, True
    for _, piece in chunks(x):
        low, high = min(low, float(piece.min())), max(high, float(piece.max()))
        is_whole = is_whole and bool((piece == np.round(piece)).all())
    if low >= 0 and high == TOP and is_whole:
        return ('values are whole numbers up to 255: if these are images of 8 bits, x.astype("uint8") says so.',)
    if low >= 0 and TOP / 2 < high <= TOP:
        return ("values reach from 0 to 255: if these are images, x / 255 makes their values shares of white.",)
    if -1 <= low < -MUCH and MUCH < high <= 1:
        return ("values reach from -1 to 1: if these are images, (x + 1) / 2 makes their values shares of white.",)
    return ()


def of_ids(ids: Array) -> tuple[str, ...]:
    """The note on ids (n,) of which some are there more than once.

    >>> of_ids(np.array(["a", "b", "a"]))
    ("ids should differ, but 'a' is that of 2 rows: rows of one thing are kept in one split by `group`.",)
    """
    found, amounts = np.unique(ids, return_counts=True)
    twice = found[amounts > 1]
    if not len(twice):
        return ()
    first = f"{quote(str(twice[0]))} is that of {amounts[amounts > 1][0]:,} rows"
    more = f" and {len(twice) - 1:,} more of others" if len(twice) > 1 else ""
    return (f"ids should differ, but {first}{more}: rows of one thing are kept in one split by `group`.",)


def of_labels(codes: npt.NDArray[np.int64] | None, splits: Mapping[str, npt.NDArray[np.int64]]) -> tuple[str, ...]:
    """The note on rows without a label, whose code is -1."""
    without = 0 if codes is None else int((codes < 0).sum())
    if codes is None or not without:
        return ()
    verb = "has" if without == 1 else "have"
    train, validation, test = (int((codes[splits[name]] >= 0).sum()) for name in SPLITS)
    return (
        f"{without:,} of {counted(len(codes), 'example')} {verb} no label: whatever needs labels is of the other "
        f"{len(codes) - without:,} ({train:,} training, {validation:,} validation and {test:,} test rows).",
    )


def names(found: Sequence[str]) -> str:
    """Some names in a sentence.

    >>> names(["a", "b"]), names(list("abcdefg"))
    ("'a', 'b'", "'a', 'b', 'c', 'd', 'e' and 2 more")
    """
    return first_few([quote(name) for name in found])
