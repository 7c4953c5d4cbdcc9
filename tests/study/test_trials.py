"""Databases of studies whose folders have names that mean something elsewhere."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from vaelab.settings.space import Space
from vaelab.study.trials import Trials
from vaelab.vae.spec import Spec


@pytest.mark.parametrize("name", ["what?one", "a%20b", "50%de", "{0}", "#1", "file:x", "%s"])
def test_each_folder_has_a_database_of_its_own(name: str, tmp_path: Path) -> None:
    space = Space.parse({"lr": (1e-4, 1e-2, "log")}, Spec)
    for folder, count in ((tmp_path / name, 2), (tmp_path / "what?two", 1)):
        folder.mkdir()
        with contextlib.closing(Trials(folder / "study.db", space, "random", 0, count)) as trials:
            trials.cohort(count)
        with contextlib.closing(sqlite3.connect(folder / "study.db")) as database:
            assert database.execute("SELECT count(*) FROM trials").fetchone() == (count,)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "what?two"])
