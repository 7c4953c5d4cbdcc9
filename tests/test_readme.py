"""Every command and every line of Python in the README runs, in its order, in one folder."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from commands import vaelab
from vaelab.study import balance, hire, tune

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unrendered")]

README = Path(__file__).parents[1] / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)


def sections() -> dict[str, list[str]]:
    """The commands below each heading; a section may use what it made itself, never another's."""
    found = {}
    for section in README.read_text().split("\n## ")[1:]:
        commands = [
            line[2:] for block in re.findall(r"```console\n(.*?)```", section, re.DOTALL) for line in block.splitlines()
        ]
        if commands:
            found[section.partition("\n")[0]] = commands
    return found


WRITTEN = {
    "Tune": ("runs/digits/report.html", "runs/digits/best/model.safetensors"),
    "Invert": ("runs/product/report.html", "draws.csv"),
    "Classify and regress": ("runs/classes/report.html", "answers.csv", "runs/dose/report.html", "doses.csv"),
    "Tables": ("runs/patients/report.html", "filled.csv", "scores.csv", "runs/synthetic/report.html"),
    "Use": ("samples.png", "latents.csv", "path.gif", "model/encoder.pt"),
}


@pytest.mark.parametrize("section", sections())
def test_readme_commands_run(section: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(balance, "cores", lambda: 1)  # no workers, whose imports take longer than the work
    monkeypatch.setattr(tune, "cores", lambda: 1)
    monkeypatch.setattr(hire, "cores", lambda: 1)
    (tmp_path / "examples").symlink_to(README.parent / "examples")
    for command in sections()[section]:
        program, *arguments = shlex.split(command)
        assert program == "vaelab"
        done = vaelab(arguments, tmp_path)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
    assert [name for name in WRITTEN.get(section, ()) if not (tmp_path / name).exists()] == []


def test_every_command_of_the_readme_is_in_a_section_that_runs() -> None:
    commands = re.findall(r"^\$ (.*)$", README.read_text(), re.MULTILINE)
    assert len(commands) >= 10
    assert [command for found in sections().values() for command in found] == commands
    assert set(WRITTEN) <= set(sections())


def test_readme_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec("\n".join(blocks("python")), {"__name__": "__main__"})  # here, where torch is imported; warnings are errors
    assert (tmp_path / "runs/quick/report.html").exists()


def test_readme_names_only_pictures_that_exist() -> None:
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README.read_text())
    assert len(pictures) == 1
    assert all((README.parent / picture).is_file() for picture in pictures)


def test_links_of_the_readme_lead_somewhere() -> None:
    links = re.findall(r"(?<!!)\[[^\]]+\]\(([^)]+)\)", README.read_text())
    assert len(links) >= 10
    assert [link for link in links if not (README.parent / link).is_file()] == []


def test_commands_in_the_start_section_are_targets_of_the_makefile() -> None:
    makefile = (README.parent / "Makefile").read_text()
    for line in blocks("sh")[0].splitlines():
        target = line.split("#")[0].split()[1]
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
