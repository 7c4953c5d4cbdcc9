"""Seeded splits of the rows of a data set, and the user's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelab.data.dataset import SPLITS
from vaelab.data.group_splits import divide
from vaelab.data.values import quote
from vaelab.errors import InputError, unknown_name

Ints = npt.NDArray[np.int64]
# Words for a split in the user's own column.
WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def split_rows(
    n: int,
    labels: Ints | None,
    seed: int,
    test_rows: Ints | None = None,
    validation: float = 0.1,
    test: float = 0.2,
    groups: Ints | None = None,
    group_names: Sequence[str] = (),
) -> dict[str, Ints]:
    """Seeded train, validation and test rows, stratified by label if there are labels.

    `validation` and `test` are shares of all rows. An official test split (`test_rows`) is kept;
    validation is then a share of the remaining rows. Every split gets at least one row.

    groups: codes (n,); every group is in one split, and shares of rows and classes are kept as well as whole groups
        can. `group_names`: of the codes, for messages.
    """
    if n < 5:
        raise InputError(f"at least 5 examples are needed for three splits, but got {n}; add data.")
    rng = np.random.default_rng([seed, 0x5EED])
    chosen = np.zeros(n, dtype=np.int8)
    free = np.arange(n)
    if test_rows is not None:
        chosen[test_rows] = 2
        free = np.flatnonzero(chosen == 0)
        if len(free) < 2 or len(free) == n:
            raise InputError(
                "an official test split must leave at least 2 rows for training and validation and hold "
                f"at least 1, but it holds {n - len(free)} of {n}; add data."
            )
    if groups is not None:
        shares = (validation, 0.0 if test_rows is not None else test)
        chosen[free] = divide(groups[free], None if labels is None else labels[free], shares, rng)
        splits = {name: np.flatnonzero(chosen == number) for number, name in enumerate(SPLITS)}
        check_whole(splits, groups, group_names)
        return splits
    classes = [free] if labels is None else [free[labels[free] == code] for code in np.unique(labels[free])]
    sizes = np.array([len(rows) for rows in classes])
    for number, share in (1, validation), (2, 0.0 if test_rows is not None else test):
        left = [rows[chosen[rows] == 0] for rows in classes]
        counts = _apportion(sizes, np.array([len(rows) for rows in left]), share, rng)
        for rows, count in zip(left, counts, strict=True):
            chosen[rng.permutation(rows)[:count]] = number
    return {name: np.flatnonzero(chosen == number) for number, name in enumerate(SPLITS)}


def _apportion(sizes: Ints, left: Ints, share: float, rng: np.random.Generator) -> Ints:
    """Whole numbers near share * size, at most `left`, whose sum is the rounded share of the total.

    Largest remainders; ties are broken at random, so that with many small classes the last are not left out.
    """
    if share == 0:
        return np.zeros_like(sizes)
    exact = sizes * share
    counts: Ints = np.minimum(np.floor(exact).astype(np.int64), left)
    missing = max(1, round(share * int(sizes.sum()))) - int(counts.sum())
    order = rng.permutation(len(sizes))
    order = order[np.argsort((counts - exact)[order], kind="stable")]
    counts[order[counts[order] < left[order]][: max(0, missing)]] += 1
    return counts


def given_splits(
    values: Sequence[Any] | npt.NDArray[Any],
    n: int,
    labels: Ints | None = None,
    seed: int = 0,
    groups: Ints | None = None,
    group_names: Sequence[str] = (),
) -> tuple[dict[str, Ints], tuple[str, ...]]:
    """The user's own splits from a word for each row, such as train, valid or test; and notes about them.

    Without validation rows a tenth of the training rows is drawn, as beside an official test split.

    >>> given_splits(["train", "Test", "dev", "train", "train"], 5)[0]["train"].tolist()
    [0, 3, 4]
    """
    if len(values) != n:
        raise InputError(f"there must be one split per row, but there are {len(values)} for {n} rows; match them.")
    words = {str(value): str(value).strip().lower() for value in values}
    for word, plain in words.items():
        if plain not in WORDS:
            row = next(row for row, value in enumerate(values) if str(value) == word)
            if plain in ("", "none", "nan", "<na>", "nat"):
                raise InputError(f"every row needs a split, but row {row} has none; say train, validation or test.")
            raise InputError(f"{unknown_name('split', word, SPLITS)} It is in row {row}.")
    names = np.array([WORDS[words[str(value)]] for value in values])
    splits = {name: np.flatnonzero(names == name) for name in SPLITS}
    empty = [name for name in ("train", "test") if not len(splits[name])]
    if empty:
        raise InputError(f"the given splits need rows for train and for test, but {empty[0]} has none; add some.")
    if groups is not None:
        check_whole(splits, groups, group_names)
    if len(splits["validation"]):
        return splits, ()
    splits = split_rows(n, labels, seed, splits["test"], groups=groups, group_names=group_names)
    drawn = len(splits["validation"])
    return splits, (f"the given splits have no validation rows: {drawn:,} were drawn from the training rows.",)


def check_whole(splits: Mapping[str, Ints], groups: Ints, names: Sequence[str] = ()) -> None:
    """Raise InputError if rows of one group are in two splits."""
    held = {split: np.unique(groups[rows]) for split, rows in splits.items()}
    for first, second in ("train", "test"), ("train", "validation"), ("validation", "test"):
        shared = np.intersect1d(held[first], held[second])
        if len(shared):
            name = quote(names[shared[0]] if len(names) else shared[0])
            more = f" and {len(shared) - 1} more" if len(shared) > 1 else ""
            raise InputError(
                f"rows of one group must be in one split, but those of group {name}{more} are in {first} and "
                f"in {second}; move them, or leave out `group`."
            )
