"""Groups of rows: from a column or from the stems of ids; and the signs that rows are replicates."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelab.data.cells import texts_of
from vaelab.data.dataset import Dataset
from vaelab.data.raw import Raw
from vaelab.data.splits import given_splits, split_rows
from vaelab.data.values import quote
from vaelab.errors import InputError
from vaelab.wording import counted

Ints = npt.NDArray[np.int64]

IDS = "id"  # as a group: the stems of the ids, whatever their column is called
SEPARATORS = "_-./:#|, "
PICTURE = re.compile(r"\.(png|jpe?g|bmp|gif|tiff?|webp|ppm|pgm)$", re.IGNORECASE)
FEWEST_STEMS = 5  # fewer are conditions or batches
SHARED = 0.5  # of the rows


@dataclasses.dataclass(frozen=True)
class Groups:
    """Codes (n,) of the groups of rows, their names, and where they came from."""

    codes: Ints
    names: tuple[str, ...]
    by_stem: bool = False

    def note(self, id_name: str) -> tuple[str, ...]:
        """What to tell the user: which groups ids were taken for."""
        if not self.by_stem:
            return ()
        some = ", ".join(self.names[:3])
        return (f"the {len(self.names):,} groups are the stems of {id_name}, such as {some}.",)


def stem(text: str) -> str:
    """An id up to its last separator; without one, up to its last number.

    >>> [stem(text) for text in ("309_1", "sampleA.rep2", "P01-T2", "N1A2", "17", "mouse")]
    ['309', 'sampleA', 'P01', 'N1A', '17', 'mouse']
    """
    core = PICTURE.sub("", text).rstrip(SEPARATORS)
    before = core[: max(core.rfind(sign) for sign in SEPARATORS) + 1].rstrip(SEPARATORS)
    return before or core.rstrip("0123456789") or text


def group_codes(values: Any, n: int) -> tuple[Ints, tuple[str, ...]]:
    """Codes of n rows, equal for equal values, and the names of the codes."""
    texts = texts_of(np.asarray(values)).tolist()
    if len(texts) != n:
        raise InputError(f"there must be one group per row, but there are {len(texts)} for {n} rows; match them.")
    for row, text in enumerate(texts):
        if text is None or str(text) in ("<NA>", "NaT", "nan"):
            raise InputError(f"every row needs a group, but row {row} has none; give it one, or drop the row.")
    names, codes = np.unique(np.array(texts, dtype=np.str_), return_inverse=True)
    return codes.astype(np.int64), tuple(names.tolist())


def find_groups(values: Any, n: int, id_name: str = IDS) -> Groups:
    """The groups of n rows: those with equal values; if all are different, as ids are, those with equal stems."""
    codes, names = group_codes(values, n)
    if len(names) < n:
        return Groups(codes, names)
    codes, stems = group_codes([stem(names[code]) for code in codes], n)
    if len(stems) == n:
        raise InputError(
            f"some rows must share a group, but {quote(id_name)} is different in each of the {n} rows, and so is what "
            f"stands before its last separator or number, such as {quote(stems[0])}; give a column of groups."
        )
    return Groups(codes, stems, by_stem=True)


@dataclasses.dataclass(frozen=True)
class Placed:
    """The splits of the rows, their groups, and notes about both."""

    splits: dict[str, Ints]
    groups: Ints | None = None
    notes: tuple[str, ...] = ()


def place_rows(raw: Raw, n: int, labels: Ints | None, seed: int, test_rows: Ints | None = None) -> Placed:
    """The splits of n rows: the user's own, or drawn; groups stay whole. `test_rows`: an official test split."""
    found: Groups | None = None
    notes: tuple[str, ...] = ()
    if raw.group is not None:
        found = find_groups(raw.group, n, raw.id_name)
        notes = found.note(raw.id_name)
    codes = None if found is None else found.codes
    names = () if found is None else found.names
    if raw.split is not None:
        if test_rows is not None:
            raise InputError("the data have an official test split, but `split` gives another; leave it out.")
        splits, more = given_splits(raw.split, n, labels, seed, codes, names)
        notes += more
    else:
        splits = split_rows(n, labels, seed, test_rows, groups=codes, group_names=names)
    if found is None and raw.ids is not None and len(raw.ids) == n:
        notes += shared_stems([str(each) for each in raw.ids], raw.id_name, labels)
    return Placed(splits, codes, notes)


def shared_stems(ids: Sequence[str], id_name: str = IDS, labels: Ints | None = None) -> tuple[str, ...]:
    """A warning if ids suggest that rows are replicates: at least half of them repeat, or share a stem with others.

    A few stems, or stems that are the classes, are conditions rather than replicates.

    >>> print(shared_stems([f"m{i}_{j}" for i in range(6) for j in (1, 2)], "mouse")[0])
    12 of 12 rows share the stem of mouse with others, such as m0_1 and m0_2: if rows with one stem are replicates, \
`--group mouse` (in Python group='mouse') keeps them together.
    """
    whole, own = np.unique(np.array(ids, dtype=np.str_), return_inverse=True)
    if len(whole) < len(ids):
        kind, codes = "value", own
    else:
        kind, codes = "stem", np.unique(np.array([stem(text) for text in ids]), return_inverse=True)[1]
    sizes = np.bincount(codes)
    sharing = int(sizes[sizes > 1].sum())
    if sharing < SHARED * len(ids) or len(sizes) < FEWEST_STEMS or _are_classes(codes, labels):
        return ()
    first, second = (ids[row] for row in np.flatnonzero(codes == codes[np.argmax(sizes[codes] > 1)])[:2])
    such = f"such as {first} and {second}" if kind == "stem" else f"such as {first}"
    return (
        f"{sharing:,} of {counted(len(ids), 'row')} share the {kind} of {id_name} with others, {such}: if rows with "
        f"one {kind} are replicates, `--group {_shell(id_name)}` (in Python group={id_name!r}) keeps them together.",
    )


def _are_classes(codes: Ints, labels: Ints | None) -> bool:
    if labels is None:
        return False
    pairs = len(np.unique(np.stack([codes, labels], axis=1), axis=0))
    return pairs == len(np.unique(codes)) == len(np.unique(labels))


def _shell(name: str) -> str:
    return name if re.fullmatch(r"[\w.-]+", name) else f"'{name}'"


def groups_by_split(data: Dataset) -> Mapping[str, int] | None:
    """The number of groups in each split; None without groups."""
    if data.groups is None:
        return None
    return {name: len(np.unique(data.groups[rows])) for name, rows in data.splits.items()}
