"""Every command and every line of Python in the README runs, in its order, in one folder."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)


COMMANDS = [line[2:] for block in blocks("console") for line in block.splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("readme")


def test_readme_commands_run(folder: Path) -> None:
    assert len(COMMANDS) >= 10
    for command in COMMANDS:
        program, *arguments = shlex.split(command)
        assert program == "vaelab"
        done = subprocess.run(
            [sys.executable, "-m", "vaelab", *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
    written = [
        "runs/digits/report.html",
        "runs/sizes/best/model.safetensors",
        "samples.png",
        "latents.csv",
        "points.png",
    ]
    assert [name for name in written if not (folder / name).exists()] == []


def test_readme_python_runs(folder: Path) -> None:
    code = "\n".join(blocks("python"))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_readme_names_only_pictures_that_exist() -> None:
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README.read_text())
    assert len(pictures) >= 3
    assert all((README.parent / picture).is_file() for picture in pictures)


def test_commands_in_the_start_section_are_targets_of_the_makefile() -> None:
    makefile = (README.parent / "Makefile").read_text()
    for line in blocks("sh")[0].splitlines():
        target = line.split("#")[0].split()[1]
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
