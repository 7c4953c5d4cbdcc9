"""Turns files and arrays into a checked Dataset; later code does not check input again."""

from vaelab.data.arrays import from_arrays
from vaelab.data.builtin import NAMES as BUILTIN
from vaelab.data.columns import Column
from vaelab.data.dataset import SPLITS, Dataset, Statistics
from vaelab.data.describe import describe, describe_source
from vaelab.data.describe_text import describe_text
from vaelab.data.groups import group_codes
from vaelab.data.loading import load, load_again, new_columns, new_rows, rows_for
from vaelab.data.picture_files import are_pictures
from vaelab.data.reading import Reading
from vaelab.data.scaling import Scaling
from vaelab.data.splits import split_rows

__all__ = [
    "BUILTIN",
    "SPLITS",
    "Column",
    "Dataset",
    "Reading",
    "Scaling",
    "Statistics",
    "are_pictures",
    "describe",
    "describe_source",
    "describe_text",
    "from_arrays",
    "group_codes",
    "load",
    "load_again",
    "new_columns",
    "new_rows",
    "rows_for",
    "split_rows",
]
