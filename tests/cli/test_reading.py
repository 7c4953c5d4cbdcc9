"""The options that say how tables are read: on every command, in help, and what comes out by name."""

from __future__ import annotations

import csv
import inspect
import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
import typer.main
from PIL import Image

from commands import vaelab
from vaelab.cli.app import app
from vaelab.cli.reading import DataOptions, RowOptions, parse_types, with_options
from vaelab.errors import InputError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unrendered")]

READS_DATA = ("tune", "classify", "compare", "train", "cluster", "anomaly", "data")
READS_ROWS = ("evaluate", "encode", "predict", "reconstruct")
QUICK = ["--set", "epochs=2", "--set", "hidden=8", "--set", "latent_dim=2"]


def options_of(name: str) -> set[str]:
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    return {option for parameter in command.params for option in parameter.opts}


@pytest.mark.parametrize("name", READS_DATA)
def test_every_command_that_reads_data_has_all_options(name: str) -> None:
    wanted = {"--target", "--id", "--drop", "--type", "--na", "--transpose", "--group", "--split"}
    assert wanted | {"--split-seed", "--data-dir", "--download"} <= options_of(name)


@pytest.mark.parametrize("name", READS_ROWS)
def test_every_command_that_reads_new_rows_has_the_options_of_rows(name: str) -> None:
    assert {"--id", "--na", "--transpose", "--data-dir"} <= options_of(name)


def test_a_command_gets_its_options_as_one_object() -> None:
    got = []

    @with_options
    def command(source: str, rows: RowOptions = RowOptions(), flag: bool = False) -> None:  # noqa: B008
        """What it does."""
        got.append((source, rows, flag))

    assert list(inspect.signature(command).parameters) == [
        "source",
        "id",
        "transpose",
        "na",
        "data_dir",
        "moved",
        "flag",
    ]
    assert command.__doc__ == "What it does."
    own = typer.Typer()
    own.command()(command)
    own(["here", "--id", "who", "--na", "-9", "--na", "?", "--flag"], standalone_mode=False)
    assert got == [("here", RowOptions(id="who", na=["-9", "?"]), True)]
    assert got[0][1].changes == {"id": "who", "na": ("-9", "?")}
    assert RowOptions().changes == {}
    assert not DataOptions(split_seed=3, download=True).are_given
    assert DataOptions(drop=["x"]).are_given


def test_types_come_from_options_and_files(tmp_path: Path) -> None:
    (tmp_path / "types.toml").write_text('[types]\nage = "count"\n"a=b" = ["low", "high"]\n')
    found = parse_types(["x=y=real", str(tmp_path / "types.toml"), "when=date %d/%m/%Y", "size=s,m,l", "age=real"])
    assert found == {
        "x=y": "real", "age": "real", "a=b": ["low", "high"], "when": "date %d/%m/%Y", "size": ["s", "m", "l"]
    }  # fmt: skip
    (tmp_path / "empty.toml").write_text("age = 'count'\n")
    (tmp_path / "broken.toml").write_text("[types\n")
    for text, said in ("age", "COLUMN=KIND"), ("=real", "COLUMN=KIND"), ("no.toml", "does not exist"):
        with pytest.raises(InputError, match=said):
            parse_types([text])
    for name, said in ("empty", "a table \\[types\\]"), ("broken", "is not TOML"):
        with pytest.raises(InputError, match=said):
            parse_types([str(tmp_path / f"{name}.toml")])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 30 patients with 4 samples each, and a classifier and a VAE trained on it by patient."""
    folder, rng = tmp_path_factory.mktemp("reading"), np.random.default_rng(0)
    x = np.repeat(rng.normal(size=(30, 9)), 4, axis=0) + 0.05 * rng.normal(size=(120, 9))
    lines = ["sample,patient,kind,useless," + ",".join(f"x{j}" for j in range(9))]
    for i, row in enumerate(x):
        who = i // 4
        lines.append(f"s{who:02d}.{i % 4},{100 + who},{'ab'[int(row[0] > 0)]},7,{','.join(f'{v:.5f}' for v in row)}")
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    (folder / "new.csv").write_text("\n".join([lines[0], lines[5], lines[2]]) + "\n")
    read = ["--target", "kind", "--drop", "useless", "--group", "patient"]
    for arguments in (
        ["train", "t.csv", *read, *QUICK, "--out", "vae"],
        ["classify", "t.csv", *read, "--trials", "1", "--workers", "1", "--set", "epochs=20", "--out", "classes"],
    ):
        done = vaelab(arguments, folder)
        assert done.returncode == 0, done.stderr
    return folder


def rows_of(text: str) -> list[list[str]]:
    return list(csv.reader(text.splitlines()))


@pytest.mark.parametrize("command", ["encode vae", "reconstruct vae", "predict classes"])
def test_outputs_name_the_rows_by_their_ids(folder: Path, command: str) -> None:
    done = vaelab([*command.split(), "new.csv"], folder)
    assert done.returncode == 0, done.stderr
    rows = rows_of(done.stdout)
    assert [row[0] for row in rows] == ["sample", "s01.0", "s00.1"]
    own = rows_of(vaelab([*command.split(), "t.csv"], folder).stdout)  # with their splits
    at = [i for i, name in enumerate(own[0]) if name != "split"]
    whole = {row[0]: [row[i] for i in at] for row in own}
    for row in rows[1:]:  # by products of other shapes, which round otherwise
        for found, expected in zip(whole[row[0]], row, strict=True):
            assert found == expected or float(found) == pytest.approx(float(expected), rel=1e-4, abs=1e-6)
    other = rows_of(vaelab([*command.split(), "new.csv", "--id", "patient"], folder).stdout)
    assert [row[0] for row in other] == ["patient", "101", "100"]
    done = vaelab([*command.split(), "new.csv", "--id", "Pateint"], folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "vaelab: unknown id column of 'new.csv': 'Pateint'; did you mean 'patient'?\n"


def test_rows_without_ids_keep_their_numbers(folder: Path) -> None:
    table = (folder / "new.csv").read_text().splitlines()
    plain = "\n".join(line.split(",", 4)[4] for line in table) + "\n"
    (folder / "plain.csv").write_text(plain)
    rows = rows_of(vaelab(["encode", "vae", "plain.csv"], folder).stdout)
    assert [row[0] for row in rows] == ["row", "0", "1"]
    assert [row[0] for row in rows_of(vaelab(["sample", "vae", "-n", "2"], folder).stdout)] == ["row", "0", "1"]


def test_pictures_are_named_by_their_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    for i in range(12):
        Image.fromarray(rng.integers(0, 256, (6, 6), dtype=np.uint8)).save(tmp_path / "pictures" / f"p{i:02d}.png")
    done = vaelab(["train", "pictures", *QUICK, "--out", "run"], tmp_path)
    assert done.returncode == 0, done.stderr
    rows = rows_of(vaelab(["encode", "run", "pictures"], tmp_path).stdout)
    assert [row[0] for row in rows] == ["file", *(f"p{i:02d}.png" for i in range(12))]


def test_replicates_are_told_until_they_are_grouped(folder: Path) -> None:
    plain = vaelab(["data", "t.csv", "--target", "kind", "--drop", "useless", "--drop", "patient"], folder)
    assert "share the stem of sample with others, such as s00.0 and s00.1" in plain.stdout
    assert "near-copies of training rows" in plain.stdout
    read = ["--target", "kind", "--drop", "useless", "--drop", "patient", "--group", "id"]
    facts = json.loads(vaelab(["data", "t.csv", *read, "--json"], folder).stdout)
    assert sum(facts["groups"].values()) == 30
    assert not any("copies" in note or "share" in note for note in facts["notes"])
    told = vaelab(["train", "t.csv", *read, *QUICK, "--out", "told"], folder)
    assert "note: the 30 groups are the stems of sample, such as s00, s01, s02." in told.stderr


def test_a_study_of_several_workers_sees_groups(folder: Path) -> None:
    """Data pass through files to workers, and a resumed study reads the same rows."""
    source = tomllib.loads((folder / "classes" / "config.toml").read_text())["data"]
    assert (source["group"], source["drop"], source["target"]) == ("patient", ["useless"], "kind")
    done = vaelab(["classify", "--resume", "classes", "--trials", "3", "--workers", "2"], folder)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("train t.csv --group patiant", ["'patiant'", "did you mean 'patient'"]),
        ("train t.csv --group kind --drop patient", ["at least 3 groups", "there are 2"]),
        ("train t.csv --split kind", ["unknown split 'b'", "train", "row 0"]),
        ("train t.csv --type patient", ["COLUMN=KIND"]),
        ("train t.csv --type patient=whole", ["'whole'", "type of a column"]),
        ("tune --resume classes --target kind", ["already knows the data", "leave out --target"]),
        ("cluster vae --group patient", ["is a run", "leave out"]),
        ("encode vae new.csv --id nobody", ["nobody"]),
    ],
)
def test_bad_options_are_refused_in_one_line(folder: Path, arguments: str, said: list[str]) -> None:
    done = vaelab(arguments.split(), folder)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert [part for part in said if part not in done.stderr] == [], done.stderr


def test_data_that_moved_are_named_by_an_option(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    file = tmp_path / "cells.csv"
    file.write_text("a,b\n" + "\n".join(f"{x:.4f},{y:.4f}" for x, y in rng.normal(size=(60, 2))))
    settings = ["--set", "epochs=2", "--set", "hidden=4", "--set", "latent_dim=1"]
    assert vaelab(["train", str(file), *settings, "--out", "run"], tmp_path).returncode == 0
    moved = tmp_path / "elsewhere" / "cells.csv"
    moved.parent.mkdir()
    file.rename(moved)
    lost = vaelab(["evaluate", "run", "--split", "validation"], tmp_path)
    assert lost.returncode == 2
    assert "--data" in lost.stderr
    found = vaelab(["evaluate", "run", "--split", "validation", "--data", str(moved)], tmp_path)
    assert found.returncode == 0, found.stderr
    moved.write_text(moved.read_text().replace("\n0", "\n1"))
    other = vaelab(["evaluate", "run", "--split", "validation", "--data", str(moved)], tmp_path)
    assert other.returncode == 2
    assert "fingerprint" in other.stderr
    unused = vaelab(["train", str(moved), "--data", str(moved), *settings, "--out", "other"], tmp_path)
    assert unused.returncode == 2
    assert not (tmp_path / "other").exists()
