"""Run and study folders: written atomically, checked when read, locked. No torch, no pickle."""

from vaelab.store.files import (
    check_arrays,
    in_words,
    interpreting,
    load_arrays,
    read_json,
    read_toml,
    save_arrays,
    write_atomic,
    write_json,
    write_output,
    writing,
)
from vaelab.store.folders import (
    StudyLock,
    building,
    commands,
    continuing,
    destination,
    discard,
    preparation,
    unfinished,
)
from vaelab.store.kinds import command_of
from vaelab.store.runs import FORMAT, Run, count_test_opening, load_run, save_run, update_metrics

__all__ = [
    "FORMAT",
    "Run",
    "StudyLock",
    "building",
    "check_arrays",
    "command_of",
    "commands",
    "continuing",
    "count_test_opening",
    "destination",
    "discard",
    "in_words",
    "interpreting",
    "load_arrays",
    "load_run",
    "preparation",
    "read_json",
    "read_toml",
    "save_arrays",
    "save_run",
    "unfinished",
    "update_metrics",
    "write_atomic",
    "write_json",
    "write_output",
    "writing",
]
