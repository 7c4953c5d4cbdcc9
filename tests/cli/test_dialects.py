"""What is written of a table's rows is in the dialect of that table, so that both can be put together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import commands
from vaelab import use
from vaelab.data import load
from vaelab.errors import InputError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unrendered")]

N = 120
GERMAN: dict[str, Any] = {"sep": ";", "decimal": ","}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table as a German Excel writes it: ; between cells, decimal commas, days first; and a model of it."""
    folder, rng = tmp_path_factory.mktemp("dialects"), np.random.default_rng(0)
    frame = pd.DataFrame({
        "probe": [f"p{i}" for i in range(N)],
        "tag": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 400, N), "D"),
        "masse": rng.normal(70, 9, N).round(1),
        "stufe": rng.choice([0.5, 1.5, 2.5], N),
        "art": rng.choice(["a", "b;c"], N),
    })  # fmt: skip
    frame.loc[::7, "masse"] = np.nan
    frame.loc[3::9, "tag"] = pd.NaT
    frame.to_csv(folder / "t.csv", index=False, date_format="%d.%m.%Y", **GERMAN)
    run(folder, "train t.csv --hidden 4 --latent-dim 1 --epochs 2 --type stufe=ordinal --out run")
    return folder


def run(folder: Path, line: str) -> str:
    done = commands.vaelab(line.split(), folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def frame_of(path: Path) -> pd.DataFrame:
    frame = pd.read_csv(path, **GERMAN)
    if "tag" in frame:
        frame["tag"] = pd.to_datetime(frame["tag"], format="%d.%m.%Y")
    return frame


@pytest.mark.parametrize(
    ("line", "columns"),
    [
        ("encode run t.csv --std", {"z1", "std1"}),
        ("reconstruct run t.csv", {"tag", "masse", "stufe", "art"}),
        ("impute run t.csv", {"tag", "masse", "stufe", "art"}),
        ("impute run t.csv --draws 2", {"draw", "tag", "masse", "stufe", "art"}),
        ("anomaly run t.csv", {"score", "rank", "p_value", "is_anomaly", "strange"}),
    ],
)
def test_rows_of_a_table_can_be_joined_with_it(folder: Path, line: str, columns: set[str]) -> None:
    run(folder, f"{line} --out o.csv")
    made, given = frame_of(folder / "o.csv"), frame_of(folder / "t.csv")
    assert set(made) == {"probe", "split", *columns}
    assert made["probe"].tolist() == given["probe"].tolist() * (len(made) // N)
    assert made.groupby("split").size().to_dict().keys() == {"train", "validation", "test"}
    assert all(made[name].dtype.kind == "f" for name in columns & {"z1", "std1", "masse", "stufe", "score"})
    if line.startswith("impute"):
        both = given.merge(made, on="probe", suffixes=("", "_filled"))
        for name in ("tag", "masse", "stufe", "art"):
            there = both[name].notna()
            assert (both.loc[there, name] == both.loc[there, f"{name}_filled"]).all()
        assert made.notna().all(axis=None)
    run(folder, f"{line} --out o.parquet") if "encode" not in line else None


def test_vaelab_reads_what_it_writes(folder: Path) -> None:
    run(folder, "impute run t.csv --out filled.csv")
    given, filled = (load(folder / name, types={"stufe": "ordinal"}, drop=drop) for name, drop in (
        ("t.csv", []), ("filled.csv", ["split"]),
    ))  # fmt: skip
    there = ~np.isnan(given.x)
    np.testing.assert_array_equal(filled.x[there], given.x[there])
    assert filled.ids is not None
    assert filled.ids.tolist() == [f"p{i}" for i in range(N)]
    assert filled.style == given.style
    run(folder, "sample run -n 9 --noise --out s.csv")
    new = frame_of(folder / "s.csv")
    assert set(new) == {"row", "tag", "masse", "stufe", "art"}  # no rows of the data, so of no split
    assert set(new["stufe"]) <= {0.5, 1.5, 2.5}


def test_dates_in_parquet_are_dates(folder: Path) -> None:
    run(folder, "impute run t.csv --out filled.parquet")
    made, given = pd.read_parquet(folder / "filled.parquet"), frame_of(folder / "t.csv")
    there = given["tag"].notna()
    assert (pd.to_datetime(made["tag"])[there] == given["tag"][there]).all()


def test_other_rows_have_no_split_and_the_style_of_their_own_file(folder: Path) -> None:
    frame_of(folder / "t.csv").head(5).to_csv(folder / "new.csv", index=False)
    given = pd.read_csv(folder / "new.csv")
    assert given["tag"][0][4] == "-"
    made = pd.read_csv(run_to(folder, "impute run new.csv"))
    assert set(made) == {"probe", "tag", "masse", "stufe", "art"}
    there = given["tag"].notna()
    assert (made["tag"][there] == given["tag"][there]).all()


def run_to(folder: Path, line: str) -> Path:
    run(folder, f"{line} --out o.csv")
    return folder / "o.csv"


def test_few_new_rows_have_the_decimal_sign_of_the_training_data(tmp_path: Path) -> None:
    """None of them tells it: 1.361 was 1.361, beside 1,361 of training."""
    lines = [f"{i},5;" + f"{500 + 37 * i:,}".replace(",", ".") for i in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["a;b", *lines]) + "\n")
    (tmp_path / "new.csv").write_text("a;b\n7;1.361\n8;2.150\n")
    run(tmp_path, "train t.csv --hidden 4 --latent-dim 1 --epochs 1 --out run")
    rows = use.new_rows(use.load(tmp_path / "run"), tmp_path / "new.csv")
    assert rows.x.tolist() == [[7, 1361], [8, 2150]]
    assert rows.style.decimal == ","
    points = use.new_rows(use.load(tmp_path / "run"), tmp_path / "new.csv", decimal=".")
    np.testing.assert_allclose(points.x, [[7, 1.361], [8, 2.15]], rtol=1e-6)
    with pytest.raises(InputError, match=r"`decimal` must be . or , but is 'x'"):
        use.new_rows(use.load(tmp_path / "run"), tmp_path / "new.csv", decimal="x")


def test_clusters_and_synthetic_rows_are_written_alike(folder: Path) -> None:
    run(folder, "cluster run --components 2 --em-starts 1 --figures none --out clusters")
    made = frame_of(folder / "clusters" / "clusters.csv")
    assert set(made) == {"probe", "split", "cluster", "probability"}
    assert made["probability"].dtype.kind == "f"
    answers = frame_of(run_to(folder, "predict clusters t.csv"))
    assert (answers["label"] == made["cluster"]).all()
    assert (answers["split"] == made["split"]).all()


def test_times_and_columns_between_spaces_come_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    at = pd.Timestamp("2024-03-01") + pd.to_timedelta(rng.integers(0, 10**6, N), "s")
    frame = pd.DataFrame({"at": at, "a": rng.normal(size=N).round(3), "b": rng.normal(size=N).round(3)})
    frame.loc[5, "a"] = np.nan
    frame.to_csv(tmp_path / "times.csv", index=False)
    frame[["a", "b"]].to_csv(tmp_path / "spaces.txt", index=False, sep=" ", na_rep="NA")
    options = "--hidden 4 --latent-dim 1 --epochs 1"
    for name, sep in (("times.csv", ","), ("spaces.txt", " ")):
        run(tmp_path, f"train {name} {options} --out {name}.run")
        run(tmp_path, f"impute {name}.run {name} --out {name}.out.csv")
        made, given = pd.read_csv(tmp_path / f"{name}.out.csv", sep=sep), pd.read_csv(tmp_path / name, sep=sep)
        there = given.notna()
        assert (made[given.columns][there] == given[there]).sum().sum() == there.sum().sum()


def test_what_may_be_missing_is_told_with_the_option_that_says_so(tmp_path: Path) -> None:
    rows = [f"{i},5;{'--' if i % 7 == 2 else f'{i * i},25'};{i % 3}" for i in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["a;b;c", *rows]) + "\n")
    told = "row 2 holds '--', one of 6 such cells among 40; correct it, give --na '--' if it stands"
    assert told in run(tmp_path, "data t.csv")
    assert told in commands.vaelab(["train", "t.csv"], tmp_path).stderr
    facts = json.loads(run(tmp_path, "data t.csv --na -- --json"))
    assert [column["missing"] for column in facts["columns"]] == [0, 6, 0]
