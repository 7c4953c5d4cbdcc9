"""Run and study folders: written atomically, checked when read, locked. No torch, no pickle."""

from vaelab.store.files import (
    check_arrays,
    in_words,
    load_arrays,
    read_json,
    read_toml,
    save_arrays,
    write_atomic,
    write_json,
    writing,
)
from vaelab.store.folders import StudyLock, is_occupied, new_folder
from vaelab.store.runs import FORMAT, Run, count_test_opening, load_run, save_run, update_metrics

__all__ = [
    "FORMAT",
    "Run",
    "StudyLock",
    "check_arrays",
    "count_test_opening",
    "in_words",
    "is_occupied",
    "load_arrays",
    "load_run",
    "new_folder",
    "read_json",
    "read_toml",
    "save_arrays",
    "save_run",
    "update_metrics",
    "write_atomic",
    "write_json",
    "writing",
]
