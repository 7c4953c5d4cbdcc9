"""Which command made a folder, as its config.toml says: the table in it has the command's name, or names a task."""

from __future__ import annotations

import shlex
from pathlib import Path

from vaelab.errors import StoreError
from vaelab.store.files import read_toml

OF_TASKS = {"vae": "tune", "classifier": "classify", "regressor": "regress"}
OF_TABLES = ("train", "compare", "cluster", "anomaly", "invert", "drift", "synthetic")


def command_of(place: Path) -> str | None:
    """The command that made what is in `place`; None if nothing there says so.

    >>> home = getfixture("tmp_path")
    >>> _ = (home / "config.toml").write_text('[study]\\ntask = "classifier"')
    >>> command_of(home)
    'classify'
    """
    if not (place / "config.toml").is_file():
        return None
    try:
        tables = read_toml(place / "config.toml", "nothing was begun there")
    except StoreError:  # whoever has to read more of it says what is wrong with it
        return None
    if isinstance(tables.get("study"), dict):
        return OF_TASKS.get(tables["study"].get("task", "vae"))
    return next((name for name in OF_TABLES if isinstance(tables.get(name), dict)), None)


def is_made_at_once(place: Path) -> bool:
    """Whether what is in `place` is written in one go, so that nothing of it can be resumed: scores of rows and others.

    >>> home = getfixture("tmp_path")
    >>> _ = (home / "config.toml").write_text('[anomaly]\\nrun = "run"\\nfile = "new.csv"')
    >>> is_made_at_once(home)
    True
    """
    command = command_of(place)
    if command != "anomaly":
        return command in ("drift", "synthetic")
    return "file" in read_toml(place / "config.toml", "nothing was begun there")["anomaly"]


def how_to_resume(place: Path, folder: Path) -> str:
    """What continues the run or study in `place`, whose folder is `folder`."""
    command = command_of(place)
    return f"`vaelab {command} --resume {shlex.quote(str(folder))}`" if command else "`resume`"
