"""Turns files and arrays into a checked Dataset; later code does not check input again."""

from vaelab.data.arrays import from_arrays
from vaelab.data.builtin import NAMES as BUILTIN
from vaelab.data.dataset import SPLITS, Dataset, Scaling, Statistics, split_rows
from vaelab.data.describe import describe, describe_source, describe_text
from vaelab.data.loading import load, rows_for

__all__ = [
    "BUILTIN",
    "SPLITS",
    "Dataset",
    "Scaling",
    "Statistics",
    "describe",
    "describe_source",
    "describe_text",
    "from_arrays",
    "load",
    "rows_for",
    "split_rows",
]
