"""Run folders as bytes, for workers that share no file system with the study."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from vaelab.store.files import write_new, writing
from vaelab.store.temporary import temporary

Files = Mapping[str, bytes]  # contents by path below a folder


def pack_folder(folder: Path) -> dict[str, bytes]:
    """Every file of a run folder; {} without one."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def unpack_folder(files: Files, folder: Path) -> None:
    """Write a run folder whole, or not at all; a run that was there is replaced."""
    fresh = temporary(folder.parent)  # of a name that is swept if this process dies
    with writing(folder):
        fresh.mkdir(parents=True)
        try:
            for file, content in files.items():
                (fresh / file).parent.mkdir(parents=True, exist_ok=True)
                write_new(fresh / file, content)
            if folder.exists():  # what the same job left before it was interrupted
                shutil.rmtree(folder)
            os.rename(fresh, folder)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
