"""Runs in folders that cannot be written, such as those of colleagues: used as ever, but for the test split."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from commands import vaelab, without_rights
from stored import snapshot

pytestmark = pytest.mark.usefixtures("unrendered")


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A run that cannot be written, data beside it, and a folder `mine` that anyone can write to."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        home.chmod(0o755)
        (home / "mine").mkdir()
        (home / "mine").chmod(0o777)
        x = np.random.default_rng(0).normal(size=(120, 3)).astype(np.float32)
        np.save(home / "x.npy", x)
        np.save(home / "new.npy", x[:20] + 1)
        settings = ["--hidden", "4", "--latent-dim", "2", "--epochs", "1", "--figures", "none"]
        done = vaelab(["train", "x.npy", *settings, "--out", "run"], home)
        assert done.returncode == 0, done.stderr
        vaelab(["train", "x.npy", *settings, "--epochs", "2", "--out", "other"], home)
        for path in (home / "run").rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        (home / "run").chmod(0o555)
        yield home
        (home / "run").chmod(0o755)


@pytest.mark.parametrize(
    "arguments",
    [
        "evaluate ../run --split test",
        "drift ../run ../new.npy",
        "anomaly ../run ../new.npy",
        "anomaly ../run --against ../new.npy",
        "cluster ../run --components 2 --out clusters",
        "synthetic ../run",
        "compare ../x.npy --model a:../run --model b:../other --out compared",
    ],
)
def test_what_reads_the_test_split_is_refused_with_a_remedy_that_works(home: Path, arguments: str) -> None:
    before, mine = snapshot(home / "run"), home / "mine"
    with without_rights():
        done = vaelab(arguments.split(), mine)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert "run cannot be written, and reading its test split is recorded there; copy the folder" in done.stderr
    assert snapshot(home / "run") == before
    assert list(mine.iterdir()) == []


def test_the_copy_that_is_advised_is_evaluated_and_all_else_needs_none(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "run", tmp_path / "copy")
    (tmp_path / "copy").chmod(0o755)
    assert vaelab(["evaluate", "copy", "--split", "test"], tmp_path).returncode == 0
    for arguments in ("evaluate ../run", "encode ../run ../new.npy", "sample ../run -n 2", "doctor ../run"):
        with without_rights():
            done = vaelab(arguments.split(), home / "mine")
        assert done.returncode == 0, done.stderr
