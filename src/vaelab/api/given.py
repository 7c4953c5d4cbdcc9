"""What a call in Python is given: data and settings, checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaelab import data as data_module
from vaelab.data import Dataset
from vaelab.errors import InputError, unknown_name
from vaelab.settings import checks

READING = ("id", "drop", "transpose", "na", "types", "group", "split", "condition")


def as_dataset(
    x: Any, y: Any = None, seed: int = 0, reading: Mapping[str, Any] | None = None, numeric: bool = False
) -> Dataset:
    """A Dataset from a Dataset, the name or path of data, or arrays x (n, *shape) and labels y (n,), or the name of
    the column of a data frame x that holds them.

    reading: how tables are read and rows are split, as the arguments of that name of `vaelab.data.load`: "id", "drop",
        "transpose", "na", "types", "group", "split" and "condition". {"group": "patient"} keeps the rows of a patient
        in one split. For arrays and data frames, "id", "group" and "split" may also be one value per row.
    numeric: y are numbers to predict, not classes; rows without one are left out.

    >>> data = as_dataset([[i, i**2] for i in range(12)], reading={"group": list("aaabbbcccddd")})
    >>> sorted(set("aaabbbcccddd"[row] for row in data.splits["test"]))
    ['c']
    """
    given = {} if reading is None else checks.table("`reading`", reading)
    if "target" in given:
        raise InputError(f"the target is no option of `reading`; give it as y={given['target']!r}.")
    for name in given:
        if name not in READING:
            raise unknown_name("option of `reading`", name, READING)
    if isinstance(x, Dataset):
        for name, value in (("reading", given or None), ("y", y)):
            if value is not None:
                raise InputError(
                    f"a Dataset has already been read; give `{name}` with the arrays or the file, or leave it out."
                )
        return x
    if isinstance(x, str | Path):
        return data_module.load(x, target=y, seed=seed, numeric=numeric, **given)
    if given.pop("na", ()):
        raise InputError("`na` is for files: in arrays and data frames missing values are NaN or None; leave it out.")
    return data_module.from_arrays(x, y, seed=seed, numeric=numeric, **given)


def settings_of(given: Any) -> dict[str, Any]:
    return {} if given is None else checks.table("`settings`", given)
