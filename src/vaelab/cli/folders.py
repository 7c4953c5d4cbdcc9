"""The commands about folders of runs and studies: `open`, `list` and `doctor`."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from vaelab.cli.options import AsJson, print_json
from vaelab.errors import InputError

AnyFolder = Annotated[Path, typer.Argument(metavar="RUN", help="folder of a run, a study or any other result")]


def open_report(
    folder: AnyFolder,
    path_only: Annotated[bool, typer.Option("--path", help="print the path of the report, and open nothing")] = False,
    as_json: AsJson = False,
) -> None:
    """Open the report of a run or study in the browser; without one, its path is printed."""
    report = folder.absolute() / "report.html"
    if not report.is_file():
        raise InputError(f"{folder} has no report.html; `vaelab doctor {folder}` says why.")
    if as_json:
        print_json({"report": str(report)})
        return
    import webbrowser

    has_display = sys.platform != "linux" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    if path_only or not (has_display and webbrowser.open(report.as_uri())):
        print(report)


def list_folders(
    folder: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="where to look, and below")] = Path(),
    as_json: AsJson = False,
) -> None:
    """List all runs and studies below a folder: what each is, its data, state, main figure and date."""
    from vaelab.catalog.entries import find
    from vaelab.cli import terminal

    found = find(folder)
    print_json([dataclasses.asdict(each) for each in found]) if as_json else terminal.print_entries(found)


def doctor(folder: AnyFolder, as_json: AsJson = False) -> None:
    """Say what is wrong with the folder of a run or study, and what helps; exit code 1 if anything is."""
    from vaelab.catalog.doctor import examine
    from vaelab.cli import terminal

    found = examine(folder)
    print_json([dataclasses.asdict(each) for each in found]) if as_json else terminal.print_findings(found)
    if found:
        raise typer.Exit(1)
