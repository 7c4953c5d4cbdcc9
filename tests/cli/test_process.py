"""The command as a process: standard streams that are closed, and a working directory with files of any name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import commands


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_lead_nowhere(closed: str, tmp_path: Path) -> None:
    vaelab = f"{sys.executable} -m vaelab"
    for arguments, code in (("list .", 0), ("data none.csv", 2), ("nothing", 2), ("--help", 0)):
        own = shell(f"{vaelab} {arguments} {closed}", tmp_path)
        assert own.returncode == code, own.stderr
        assert "Traceback" not in own.stderr
    # Else a file is opened in their place, into which everything that is printed goes.
    code = (
        "import os; print(all(os.path.samestat(os.fstat(n), os.stat(os.devnull)) for n in {}), file=open('said', 'w'))"
    )
    numbers = [n for n, sign in enumerate(("<&-", " >&-", "2>&-")) if sign in f" {closed}"]
    program = f"from vaelab.cli import main; main._open_closed(); {code.format(numbers)}"
    assert shell(f'{sys.executable} -c "{program}" {closed}', tmp_path).returncode == 0
    assert (tmp_path / "said").read_text() == "True\n"


@pytest.mark.parametrize("name", ["random", "typing", "json", "statistics"])
def test_a_file_in_the_working_directory_is_not_taken_for_a_module(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.py").write_text("raise ImportError('a file of the user')\n")
    own = commands.process(["list", "."], tmp_path)
    assert own.returncode == 0, own.stderr
