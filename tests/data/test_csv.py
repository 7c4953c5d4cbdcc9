"""CSV files in the dialects that programs write, compared with what pandas and Python's csv read; and every refusal."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pytest

from vaelab.data import Reading, describe_source, load, new_rows
from vaelab.data import csv as csv_module
from vaelab.data.csv import read_csv
from vaelab.errors import InputError

N = 40
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame({"a": RNG.normal(size=N).round(4), "b": RNG.normal(size=N).round(4)})


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def rows(header: str, of, n: int = N) -> str:
    return header + "\n" + "".join(of(i) + "\n" for i in range(n))


def message(path: Path, **reading) -> str:
    with pytest.raises(InputError) as error:
        load(path, **reading)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500
    return str(error.value)


# --- dialects -------------------------------------------------------------------------------------


@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize("sep", [",", ";", "\t", "|"])
@pytest.mark.parametrize("index", [True, False])
def test_what_pandas_writes_is_read_as_pandas_reads_it(tmp_path, sep, decimal, index):
    if sep == decimal:
        pytest.skip("pandas quotes such numbers")
    path = tmp_path / "t.csv"
    FRAME.to_csv(path, sep=sep, decimal=decimal, index=index)
    data = load(path)
    assert data.features == ("a", "b")
    np.testing.assert_allclose(data.x, FRAME.to_numpy(), rtol=1e-6)
    assert (data.ids is not None) == index
    if index:
        assert data.ids.tolist() == [str(i) for i in range(N)]


def test_gzip_of_every_ending(tmp_path):
    content = FRAME.to_csv(index=False).encode()
    for name in ("t.csv.gz", "u.tsv.gz", "v.csv"):
        text = content.replace(b",", b"\t") if "tsv" in name else content
        (tmp_path / name).write_bytes(gzip.compress(text))
        np.testing.assert_allclose(load(tmp_path / name).x, FRAME.to_numpy(), rtol=1e-6)
    assert load(tmp_path / "t.csv.gz").name == "t"


def test_row_names_of_r_with_and_without_a_header(tmp_path):
    quoted = rows('"","a","b"', lambda i: f'"{i + 1}",{i / 4},{i * i}')
    shorter = rows('"a" "b"'.replace(" ", "\t"), lambda i: f'"g{i}"\t{i / 4}\t{i * i}')
    for name, text, first in ("quoted.csv", quoted, "1"), ("table.txt", shorter, "g0"):
        data = load(write(tmp_path / name, text))
        assert (data.features, data.ids[0]) == (("a", "b"), first)
        np.testing.assert_array_equal(data.x[:, 1], np.arange(N) ** 2)


def test_numbers_name_columns_where_they_are_no_data(tmp_path):
    probes = rows("1007,400.5", lambda i: f"{i / 7:.3f},{i / 9:.3f}")
    assert load(write(tmp_path / "probes.csv", probes)).features == ("1007", "400.5")
    names = [f"{400 + 80.5 * j:.2f}" for j in range(7)]
    masses = rows(",".join(names), lambda i: ",".join(f"{v:.1f}" for v in RNG.gamma(2, 600, 7)))
    assert load(write(tmp_path / "masses.csv", masses)).features == tuple(names)
    beside = rows(",1007,400.5", lambda i: f"s{i},{i / 7:.3f},{i / 9:.3f}")
    assert load(write(tmp_path / "beside.csv", beside)).features == ("1007", "400.5")


@pytest.mark.parametrize(
    "row", [lambda i: "5.1,3.5,Iris-" + "ab"[i % 2], lambda i: f"{RNG.normal():.3f},{RNG.normal():.3f},{i % 3}"]
)
def test_a_file_without_a_header_is_refused_or_its_columns_are_numbered(tmp_path, row):
    lines = [row(i) for i in range(N)]
    lines[0], lines[1:4] = lines[0], [line.replace("5.1", "4.9").replace("3.5", "3.1") for line in lines[1:4]]
    text = "\n".join(sorted(lines, key=lambda line: line[-3:])) + "\n"
    if "Iris" not in text:
        text = "0.01,0.02,1\n" + text
    assert "looks like data; add a header line" in message(write(tmp_path / "t.csv", text))
    data = load(write(tmp_path / "t.data", text))
    assert data.features == ("c1", "c2", "c3")
    assert data.notes == ("'t.data' has no header: its columns are named c1 to c3.",)


PLAIN = FRAME.to_csv(index=False)
BOTH = ("a", "b")


def zipped(**members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), text)
    return out.getvalue()


# A file, its name, the names of its columns, and a part of the note on it; all hold the numbers of FRAME.
ALIKE = {
    "mark of order": (PLAIN.encode("utf-8-sig"), "t.csv", BOTH, ""),
    "UTF-16": (PLAIN.encode("utf-16"), "t.csv", BOTH, ""),
    "UTF-16, big end first": (b"\xfe\xff" + PLAIN.encode("utf-16-be"), "t.csv", BOTH, ""),
    "UTF-16 without a mark": (PLAIN.encode("utf-16-le"), "t.csv", BOTH, ""),
    "UTF-16 with tabs, as Excel's Unicode text": (PLAIN.replace(",", "\t").encode("utf-16"), "t.txt", BOTH, ""),
    "Latin-1": (PLAIN.replace("a", "größe", 1).encode("latin-1"), "t.csv", ("größe", "b"), "Windows-1252 (Latin-1)"),
    "Windows-1252": (PLAIN.replace("a", "€", 1).encode("cp1252"), "t.csv", ("€", "b"), "Windows-1252 (Latin-1)"),
    "old Mac": (PLAIN.replace("\n", "\r").encode(), "t.csv", BOTH, ""),
    "Windows": (PLAIN.replace("\n", "\r\n").encode(), "t.csv", BOTH, ""),
    "comments before": (f"# by X\n#\n# on 1, May\n\n{PLAIN}".encode(), "t.csv", BOTH, ""),
    "comments between": (PLAIN.replace("\n", "\n# note\n", 3).encode(), "t.csv", BOTH, "3 lines of 't.csv' starting"),
    "names in a comment": (f"##v1\n#{PLAIN}".encode(), "t.csv", ("#a", "b"), ""),
    "Excel's empty rows": (f"{PLAIN},\r\n , \r\n,\r\n".encode(), "t.csv", BOTH, ""),
    "breaks in names": (PLAIN.replace("a,b", '"a\r\n(""in""\nm)",b', 1).encode(), "t.csv", ('a ("in" m)', "b"), ""),
    "a break in the last name": (PLAIN.replace("b", '"b\n;"', 1).encode(), "t.csv", ("a", "b ;"), ""),
    "a break in a name, below comments": (
        f"# one\n\n{PLAIN}".replace(",", ";").replace("a", '"a;\nm"', 1).encode(),
        "t.csv",
        ("a; m", "b"),
        "",
    ),
    "empty lines": (f"\n\n{PLAIN}\n\n".encode(), "t.csv", BOTH, ""),
    "Excel tells the separator": (f"sep=;\n{PLAIN.replace(',', ';')}".encode(), "t.csv", BOTH, ""),
    "lines end with a separator": (PLAIN.replace("\n", ",\n").encode(), "t.csv", BOTH, ""),
    "rows end with a separator": (PLAIN.replace("\n", ",\n").replace("b,", "b", 1).encode(), "t.csv", BOTH, ""),
    "names end with a separator": (PLAIN.replace("b", "b,", 1).encode(), "t.csv", BOTH, ""),
    "spaces around": (PLAIN.replace(",", " , ").encode(), "t.csv", BOTH, ""),
    "spaces between": (PLAIN.replace(",", " ").encode(), "t.txt", BOTH, ""),
    "aligned": (FRAME.to_string(index=False).encode(), "t.txt", BOTH, ""),
    "write.table of R": (FRAME.to_csv(sep=" ", quoting=2).replace('"" ', "", 1).encode(), "t.txt", BOTH, ""),
    "gzip": (gzip.compress(PLAIN.encode()), "t.csv.gz", BOTH, ""),
    "bzip2": (bz2.compress(PLAIN.encode()), "t.csv.bz2", BOTH, ""),
    "xz": (lzma.compress(PLAIN.encode()), "t.csv.xz", BOTH, ""),
    "Zstandard": (pyarrow.compress(PLAIN.encode(), "zstd", asbytes=True), "t.csv.zst", BOTH, ""),
    "zip": (zipped(t_csv=PLAIN), "t.csv.zip", BOTH, ""),
    "zip of macOS": (zipped(t_csv=PLAIN, __MACOSX___t_csv="?"), "t.zip", BOTH, ""),
    "packed twice over": (gzip.compress(PLAIN.encode("utf-16")), "t.csv.gz", BOTH, ""),
    "typographic minus": (PLAIN.replace("-", "−").encode(), "t.csv", BOTH, "is text such as"),
    "units": (PLAIN.replace(",", " mm,").replace("a mm", "a").encode(), "t.csv", BOTH, "column 'a' is text such as"),
}


@pytest.mark.parametrize("name", ALIKE)
def test_the_same_table_as_programs_write_it(tmp_path, name):
    content, file, features, note = ALIKE[name]
    (tmp_path / file).write_bytes(content)
    data = load(tmp_path / file)
    assert data.features == features
    np.testing.assert_allclose(data.x, FRAME.to_numpy(), rtol=1e-6)
    assert bool(data.notes) == bool(note)
    assert note in " ".join(data.notes)
    assert load(**data.source).fingerprint == data.fingerprint


@pytest.mark.parametrize(
    ("written", "sep", "expected"),
    [
        (lambda v: f"{v:,}", ",", 1), (lambda v: f"{v:,}", ";", 1), (lambda v: f"{v:,}".replace(",", " "), ";", 1),
        (lambda v: f"{v:,}".replace(",", "'"), ",", 1), (lambda v: f"{v:,}".replace(",", "\u202f"), ",", 1),
        (lambda v: f"{v:,}".replace(",", ".") + ",50", ";", 1), (lambda v: f"{v}%", ",", 1),
        (lambda v: f"€ {v}.50", ",", 1), (lambda v: f"{v / 4:.4E}".replace("E", "D"), ",", 0.25),
    ],
)  # fmt: skip
def test_numbers_as_people_write_them(tmp_path, written, sep, expected):
    values = RNG.integers(1_000, 99_999_999, N)
    text = pd.DataFrame({"a": [written(int(v)) for v in values], "b": range(N)}).to_csv(index=False, sep=sep)
    data = load(write(tmp_path / "t.csv", text), drop=["b"])
    half = 0.5 if ("50" in written(1)) else 0
    np.testing.assert_allclose(data.x[:, 0], values * expected + half, rtol=1e-4)
    assert data.notes[0].startswith("column 'a' is text such as ")
    kept = load(tmp_path / "t.csv", types={"a": "categorical"})
    assert kept.columns[0].kind == "categorical"


def test_points_that_may_separate_thousands_are_told(tmp_path):
    values = [5, 12_345, 999, 1_000, 20_500] * 8
    mixed = rows("a;b", lambda i: f"{values[i]:,}".replace(",", ".") + f";{i}.5")
    told = "column 'a' has three decimals wherever it has any, and is read as numbers such as 12.345: if its points"
    assert told in load(write(tmp_path / "t.csv", mixed)).notes[0]
    plain = rows("a;b", lambda i: f"{i + 0.125:.3f};{i}.5")
    assert not load(write(tmp_path / "p.csv", plain)).notes
    commas = load(write(tmp_path / "c.csv", rows("a;b", lambda i: f"{values[i]:,};{i}")))
    assert any("such as 12.345: if its commas separate thousands" in note for note in commas.notes)


@pytest.mark.parametrize(
    ("sep", "sign", "is_told"), [(";", ".", True), ("\t", ".", True), (";", ",", True), (",", ".", False)]
)
def test_three_decimals_in_every_cell_are_told_where_no_column_says_what_they_are(tmp_path, sep, sign, is_told):
    def line(i: int, other: str = "") -> str:
        return f"{1_000 + 37 * i:,}".replace(",", sign) + f"{sep}{other or 'xy'[i % 2]}"

    alone = load(write(tmp_path / "t.csv", rows(f"a{sep}b", line)))
    np.testing.assert_allclose(alone.x[:, 0], (1_000 + 37 * np.arange(N)) / 1_000, rtol=1e-6)
    assert [note.partition(":")[0] for note in alone.notes] == [
        "column 'a' has three decimals wherever it has any, and is read as numbers such as 1.037"
    ] * is_told
    beside = load(write(tmp_path / "u.csv", rows(f"a{sep}b", lambda i: line(i, f"{i}{sign}25"))))
    assert not beside.notes


@pytest.mark.parametrize("values", [[967, 1_434], [14_348, 1_361], [5, 1_234_567]])
@pytest.mark.parametrize("cell", ["{}", " {} ", '"{}"', "{} kg"])
@pytest.mark.parametrize("sign", [".", " ", "'", "\u202f"])
def test_whole_numbers_with_thousands_beside_decimal_commas(tmp_path, values, cell, sign):
    def grouped(i: int) -> str:
        return cell.format(f"{values[i % 2] + i // 2:,}".replace(",", sign))

    data = load(write(tmp_path / "t.csv", rows("Gewicht;Umsatz", lambda i: f"{i},5;{grouped(i)}")))
    np.testing.assert_array_equal(data.x[:, 1], [values[i % 2] + i // 2 for i in range(N)])
    assert data.notes[0].startswith("column 'Umsatz' is text such as ")
    assert "967" not in data.notes[0] or "kg" in cell  # the cell that shows how they are read


def test_thousands_separated_twice_tell_the_decimal_sign(tmp_path):
    values = 7 * 10 ** (3 + np.arange(N) % 4)
    for sep, sign in (";", "."), (";", ","), ("\t", "."), (",", " "):
        text = rows(
            f"a{sep}b", lambda i, sep=sep, sign=sign: f"{values[i]:,}".replace(",", sign) + f"{sep}{'xy'[i % 2]}"
        )
        np.testing.assert_array_equal(load(write(tmp_path / "t.csv", text)).x[:, 0], values)


def test_points_that_separate_nothing_beside_decimal_commas_are_told(tmp_path):
    """They come below the rows from which the decimal sign is judged, else the columns have one each."""
    late = rows("a;b", lambda i: f"{i},5;{['1.5', '2.500'][i % 2] if i >= 110 else ''}", 140)
    data = load(write(tmp_path / "t.csv", late))
    np.testing.assert_array_equal(data.x[110:, 1], [1.5, 2.5] * 15)
    assert data.notes == ("column 'b' is text such as '1.5', and read as numbers such as 1.5.",)
    mixed = rows("a;b", lambda i: f"{i},5;{'1.5' if i == 130 else f'{i},25'}", 140)
    assert "holds '0,25' in row 0 and '1.5' in row 130; write them alike." in message(write(tmp_path / "m.csv", mixed))


def test_commas_separate_thousands_where_other_columns_have_points(tmp_path):
    values = [5, 12_345, 999, 1_000, 20_500] * 8
    data = load(write(tmp_path / "t.csv", rows("a;b", lambda i: f"{values[i]:,};{i}.5")))
    np.testing.assert_array_equal(data.x[:, 0], values)
    assert "column 'a' is text such as '12,345', and read as numbers such as 12345." in data.notes[0]
    fractions = load(write(tmp_path / "f.csv", rows("a;b", lambda i: f"{values[i]},25;{i}.5")))
    np.testing.assert_array_equal(fractions.x[:, 0], np.array(values) + 0.25)


@pytest.mark.parametrize("cell", ["v1.{}", "{}A", "12:{}", "1 {} x y", "10.0.0.{}", "+49 {}-1"])
def test_text_with_digits_is_no_number(tmp_path, cell):
    text = rows("a,b", lambda i: f"{cell.format(i % 4)},{i / 3:.2f}")
    assert load(write(tmp_path / "t.csv", text)).columns[0].kind == "categorical"


# --- cells ----------------------------------------------------------------------------------------


def test_codes_stay_text(tmp_path):
    quoted = rows("a,y,zip", lambda i: f'{i / 3:.3f},"{i % 3 + 1}",{["01067", "10115", "80331"][i % 3]}')
    columns = read_csv(write(tmp_path / "t.csv", quoted))
    assert columns["y"].tolist()[:3] == ["1", "2", "3"]
    assert columns["zip"].tolist()[:3] == ["01067", "10115", "80331"]
    data = load(tmp_path / "t.csv")
    assert [column.kind for column in data.columns] == ["real", "categorical", "categorical"]
    assert data.columns[2].levels == ("01067", "10115", "80331")
    everything = rows('"a","y"', lambda i: f'"{i / 3:.3f}","{i % 3}"')
    assert read_csv(write(tmp_path / "all.csv", everything))["a"].dtype == np.float64


@pytest.mark.parametrize("sep", [",", ";"])
@pytest.mark.parametrize("form", ["{:.2f}", "{:,.2f}", "{:,.0f}", "€ {:,.2f}", "{:.1f}%"])
@pytest.mark.parametrize("least", [2, 1_200])
def test_quoted_numbers_beside_plain_ones_are_read_whatever_the_smallest_is(tmp_path, sep, form, least):
    """Cells without a separator of thousands made codes of a quoted column."""
    values = np.linspace(least, 1_900, N).round(2)
    text = rows(f"a{sep}b{sep}c", lambda i: f'{i / 3:.3f}{sep}"{form.format(values[i])}"{sep}"{"xy"[i % 2]}"')
    data = load(write(tmp_path / "t.csv", text))
    assert [column.kind for column in data.columns] == ["real", "real", "binary"]
    np.testing.assert_allclose(data.x[:, 1], values, atol=0.5 if ".0f" in form else 0.1)
    assert data.ids is None
    kept = load(tmp_path / "t.csv", types={"b": "categorical"})
    assert set(kept.columns[1].levels) == {form.format(value) for value in values}


def test_a_late_leading_zero_is_not_lost(tmp_path):
    text = rows("code,b", lambda i: f"{i if i < 5000 else '007'},{i / 3:.2f}", 5001)
    columns = read_csv(write(tmp_path / "t.csv", text))
    assert columns["code"][-1] == "007"
    assert columns["code"][0] == "0"


@pytest.mark.parametrize("word", ["", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "?", " ?", " NA"])
def test_what_stands_for_a_missing_value(tmp_path, word):
    text = rows("a,b,c", lambda i: f"{word if i == 3 else i / 2},{i * i},{word if i == 5 else 'xy'[i % 2]}")
    data = load(write(tmp_path / "t.csv", text))
    assert np.flatnonzero(np.isnan(data.x[:, 0])).tolist() == [3]
    assert np.flatnonzero(np.isnan(data.x[:, 2])).tolist() == [5]
    assert [column.missing for column in data.columns] == [1, 0, 1]
    assert [column.kind for column in data.columns] == ["real", "real", "binary"]


def test_further_words_for_a_missing_value(tmp_path):
    path = write(tmp_path / "t.csv", rows("a,b", lambda i: f"{'<LOD' if i % 9 == 0 else i / 2},{-9 if i == 4 else i}"))
    assert "column 'a', but row 0 holds '<LOD', one of 5 such cells among 40" in message(path)
    data = load(path, na=["<LOD", "-9"])
    assert np.isnan(data.x).sum(0).tolist() == [5, 1]
    assert load(**data.source).fingerprint == data.fingerprint
    new, _, _ = new_rows(
        path, data.shape, dtype_hint=data.x.dtype, columns=data.columns, reading=Reading.from_dict(data.source)
    )
    np.testing.assert_array_equal(new, data.x)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("word", ["-", "--", "–", ".", "k. A."])
def test_a_word_among_numbers_with_decimal_commas_is_the_fault(tmp_path, delimiter, word):
    """The commas are read where nothing else is in the column: what they are said to be must help."""
    number = '"{}"' if delimiter == "," else "{}"

    def of(i: int) -> str:
        return delimiter.join((number.format(f"{i},5"), word if i % 8 == 3 else number.format(f"1.{100 + i},25")))

    path = write(tmp_path / "t.csv", rows(f"a{delimiter}b", of))
    if delimiter == ",":  # where they cannot be decimal signs
        assert "column 'a' holds '0,5' in row 0; replace the decimal commas" in message(path)
        return
    told = message(path)
    assert f"column 'b', but row 3 holds {word!r}, one of 5 such cells among 40" in told
    assert f"correct it, give `na` {word!r} if it stands for a missing value" in told
    assert f"row 3 holds {word!r}; correct it, or give `na`" in message(path, types={"b": "real"})
    assert f"'b' holds {word!r}" in message(path, target="b", numeric=True)
    data = load(path, na=[word])
    wanted = np.array([[i + 0.5, np.nan if i % 8 == 3 else 1100.25 + i] for i in range(N)], dtype=np.float32)
    np.testing.assert_array_equal(data.x, wanted)


def test_words_for_missing_values_are_pointed_at(tmp_path):
    """Several words among numbers, words that are most of a column, and words that would be levels."""
    several = rows("a,b", lambda i: f"{['k.A.', '-', 'n.d.', '<0.1', 'leer'][i // 8] if i % 8 == 0 else i / 7},{i * i}")
    assert "row 0 holds 'k.A.', one of 5 such cells among 40; correct it, give" in message(
        write(tmp_path / "several.csv", several)
    )
    most = rows("a,b", lambda i: f"{'k.A.' if i % 5 else i / 7},{i * i}")
    assert "row 1 holds 'k.A.', one of 32 such cells among 40" in message(write(tmp_path / "most.csv", most))
    level = write(tmp_path / "level.csv", rows("a,b", lambda i: f"{'mf-'[i % 3]},{i * i % 17}"))
    assert "column 'a' has a level '-', which may stand for a missing value: add it to `na` if so." in load(level).notes
    assert load(level, na=["-"]).columns[0].levels == ("f", "m")


def test_namibia_and_none_are_no_missing_values(tmp_path):
    country = write(tmp_path / "c.csv", rows("a,b,y", lambda i: f"{i / 3:.2f},{i},{['NA', 'SE', 'NO'][i % 3]}"))
    assert load(country, target="y").classes == ("NA", "NO", "SE")
    assert "NA is read as one of them" in load(country, target="y").notes[0]
    unlabelled = load(country, target="y", na=["NA"])
    assert unlabelled.labels is not None
    assert (unlabelled.classes, unlabelled.labels[:3].tolist()) == (("NO", "SE"), [-1, 1, 0])
    none = write(tmp_path / "n.csv", rows("a,b,y", lambda i: f"{i / 3:.2f},{i},{['none', 'mild', 'severe'][i % 3]}"))
    assert load(none, target="y").classes == ("mild", "none", "severe")


def test_r_tells_a_word_na_from_a_missing_value(tmp_path):
    text = rows('"a","y"', lambda i: f"{i / 3:.2f}," + ["NA", '"NA"', '"B"'][i % 3])
    columns = read_csv(write(tmp_path / "t.csv", text))
    assert columns["y"].tolist()[:3] == [None, "NA", "B"]


def test_dates_in_several_ways_are_days_and_are_read_again_the_same_way(tmp_path):
    days = pd.date_range("2021-02-20", periods=N, freq="D")
    for form in ("%Y-%m-%d", "%m/%d/%Y", "%d.%m.%Y", "%d-%b-%Y"):
        path = write(tmp_path / "t.csv", rows("day,b", lambda i, form=form: f"{days[i].strftime(form)},{i * i}"))
        data = load(path)
        assert data.columns[0].kind == "date"
        np.testing.assert_array_equal(data.x[:, 0], (days - pd.Timestamp("1970-01-01")).days)
        short = write(tmp_path / "short.csv", f"day,b\n{days[9].strftime(form)},1\n")  # 1 March: could be 3 January
        new, _, _ = new_rows(
            short, data.shape, dtype_hint=data.x.dtype, columns=data.columns, reading=Reading.from_dict(data.source)
        )
        assert new[0, 0] == data.x[9, 0]


def test_dates_that_could_be_two_are_told_and_can_be_given(tmp_path):
    path = write(tmp_path / "t.csv", rows("day,b", lambda i: f"0{i % 9 + 1}/0{i % 7 + 1}/2021,{i * i}"))
    data = load(path)
    assert data.columns[0].kind == "date"
    assert "could be dates written %m/%d/%Y or %d/%m/%Y" in data.notes[0]
    other = load(path, types={"day": "date %d/%m/%Y"})
    expected = [pd.Timestamp(2021, i % 7 + 1, i % 9 + 1) for i in range(N)]
    np.testing.assert_array_equal(other.x[:, 0], [(day - pd.Timestamp("1970-01-01")).days for day in expected])
    assert not other.notes
    assert "like %Y in column 'day', but row 0 holds '01/01/2021'" in message(path, types={"day": "date %Y"})


@pytest.mark.parametrize("form", ["%m/%d/%Y %I:%M:%S %p", "%d/%m/%Y %I:%M %p", "%Y-%m-%d %I:%M %p"])
def test_hours_of_a_clock_of_twelve(tmp_path, form):
    stamps = [pd.Timestamp(2024, 1 + i % 12, 1 + i % 28, i % 24, 5) for i in range(N)]
    texts = [stamp.strftime(form) for stamp in stamps]
    path = write(tmp_path / "t.csv", rows("at,b", lambda i: f"{texts[i].replace('/0', '/').lstrip('0')},{i * i}"))
    data = load(path)
    assert [column.kind for column in data.columns] == ["date", "real"]
    expected = [(stamp - pd.Timestamp("1970-01-01")) / pd.Timedelta("1D") for stamp in stamps]
    np.testing.assert_allclose(data.x[:, 0], expected, atol=1e-6)


def test_dates_written_in_two_ways_are_no_ids(tmp_path):
    def day(i: int) -> str:
        return f"2024-{1 + i % 12:02d}-{1 + i % 28:02d}" if i % 2 else f"{1 + i % 28}.{1 + i % 12}.2024"

    data = load(write(tmp_path / "t.csv", rows("t,b", lambda i: f"{day(i)},{i * i}")))
    assert data.ids is None
    assert data.left_out == {"t": "dates written in several ways, such as %d.%m.%Y and %Y-%m-%d"}


def test_empty_rows_are_examples_only_between_others(tmp_path):
    text = rows("a;b", lambda i: ";" if i in (3, N - 2, N - 1) else f"{i},5;" if i == N - 3 else f"{i},5;{i}")
    data = load(write(tmp_path / "t.csv", text))
    assert len(data.x) == N - 2
    assert np.flatnonzero(np.isnan(data.x).all(1)).tolist() == [3]
    assert np.isnan(data.x[-1]).tolist() == [False, True]
    told = write(tmp_path / "na.csv", text.replace("\n;\n;\n", "\nNA;NA\n"))
    assert len(load(told).x) == N - 1


def test_newlines_in_quoted_text(tmp_path):
    path = write(tmp_path / "t.csv", rows("a,note", lambda i: f'{i / 3:.2f},"{"one" if i % 2 else "two"}\nlines"'))
    assert load(path).columns[1].levels == ("one\nlines", "two\nlines")


# --- refusals -------------------------------------------------------------------------------------

BAD = {
    "gzip cut": (gzip.compress(FRAME.to_csv(index=False).encode())[:-9], "whole gzip file"),
    "gzip of nothing": (gzip.compress(b""), "nothing is in it"),
    "twice": (b"a,b,a\n1,2,3\n", "has 'a' twice; rename"),
    "header of two rows": (
        b",x,x\n,m,s\n1,2,3\n",
        "has 'x' twice, and no number in the row below; if names take several",
    ),
    "name that does not end": (b'a,"b\n1,2\n', "must have a valid header line"),
    "ragged": (b"a;b\n1;2\n3\n", "as its header, 2, but row 1 has 1 (row 0 is"),
    "ragged below comments": (b"# c\na,b\n\n1,2\n# c\n3,4\n5,6,7\n", "as its header, 2, but row 2 has 3 (row 0 is"),
    "xz cut": (lzma.compress(FRAME.to_csv(index=False).encode())[:-9], "whole xz file"),
    "bzip2 cut": (bz2.compress(FRAME.to_csv(index=False).encode())[:-9], "whole bzip2 file"),
}


@pytest.mark.parametrize(("content", "expected"), BAD.values(), ids=BAD)
def test_bad_files_are_one_line(tmp_path, content, expected):
    (tmp_path / "t.csv").write_bytes(content)
    assert expected in message(tmp_path / "t.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("vaelab.data.limits.MAX_UNPACKED_BYTES", 10_000)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 1_000_000))
    assert "at most 10000 bytes of text" in message(tmp_path / "t.csv.gz")


def test_decimal_commas_between_commas_are_refused(tmp_path):
    path = write(tmp_path / "t.csv", rows("a,b", lambda i: f'"{i},5",{i}'))
    assert "column 'a' holds '0,5' in row 0; replace the decimal commas" in message(path)


def test_two_decimal_signs_in_a_column_are_told(tmp_path):
    path = write(tmp_path / "t.csv", rows("a;b", lambda i: f"{i},5;{'1.25' if i == 7 else f'{i * i},25'}"))
    assert "column 'b' of 't.csv' holds '0,25' in row 0 and '1.25' in row 7; write them alike." in message(path)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", " "])
@pytest.mark.parametrize("quoting", ["all", "text"])
def test_cells_quoted_by_apostrophes(tmp_path, delimiter, quoting):
    frame = FRAME.assign(site=[[f"St John''s{delimiter}\"north\"", "south", ""][i % 3] for i in range(N)])
    plain = frame.assign(site=frame["site"].str.replace("''", "'"))

    def line(cells) -> str:
        return delimiter.join(f"'{cell}'" if quoting == "all" or isinstance(cell, str) else str(cell) for cell in cells)

    text = "\n".join(line(cells) for cells in [frame.columns.tolist(), *frame.values.tolist()])
    path = write(tmp_path / "t.csv", f"# the sites' table\n{text}\n")
    data = load(path)
    assert data.features == ("a", "b", "site")
    np.testing.assert_allclose(data.x[:, :2], FRAME.to_numpy(), rtol=1e-6)
    assert data.columns[2].levels == tuple(sorted(set(plain["site"]) - {""}))
    assert data.columns[2].missing == sum(plain["site"] == "")
    assert "cells of 't.csv' are quoted by ', which are no part of them." in data.notes


@pytest.mark.parametrize(
    ("cell", "sign"), [("'O'Brien'", "'"), ("O'Brien", "'"), ('5" pipe', '"')], ids=["quoted", "plain", "other"]
)
def test_apostrophes_that_quote_and_do_not_are_refused(tmp_path, cell, sign):
    path = write(tmp_path / "t.csv", rows("'a','b'", lambda i: f"'{i}',{cell if i == 5 else repr('x')}"))
    assert f"so any other {sign} must be within a quoted cell, as in 'it''s'" in message(path)
    assert 'but line 7 holds one that is not; save it with cells quoted by ".' in message(path)
    rest = write(tmp_path / "rest.csv", rows("a,b", lambda i: f"{i * i},{['it', cell][i % 2]}".replace('"', "")))
    assert load(rest).features == ("a", "b")  # a header without them


# --- size -----------------------------------------------------------------------------------------


def test_the_cost_is_linear_in_the_columns(tmp_path):
    """Quadratic work in the columns made 20,000 of them 16 times as slow as 5,000."""
    spent = []
    for width in (5_000, 20_000):
        text = rows(
            ",".join(f"g{j}" for j in range(width)), lambda i, w=width: ",".join(["0.5", str(i / 3)] * (w // 2)), 8
        )
        path = write(tmp_path / f"{width}.csv", text)
        began = time.process_time()
        assert describe_source(path)["shape"] == [width]
        spent.append(time.process_time() - began)
    assert spent[1] < 10 * spent[0] + 0.5


# --- as published ---------------------------------------------------------------------------------


def test_penguins_as_published(tables):
    path = tables / "penguins_raw.csv"
    data, truth = load(path), pd.read_csv(path)
    kinds = {column.name: column.kind for column in data.columns}
    assert kinds["Species"] == kinds["Island"] == kinds["studyName"] == "categorical"
    assert kinds["Sex"] == kinds["Clutch Completion"] == "binary"
    assert kinds["Date Egg"] == "date"
    assert {kinds[name] for name in kinds if "(mm)" in name or "(g)" in name or "Delta" in name} == {"real"}
    assert data.left_out == {"Individual ID": "text with 190 different values"}
    for column in data.columns:
        assert column.missing == int(truth[column.name].isna().sum())
    j = data.features.index("Body Mass (g)")
    np.testing.assert_array_equal(data.x[:, j], truth["Body Mass (g)"].to_numpy(np.float32))


def test_heart_as_published(tables):
    data = load(tables / "heart_cleveland.data")
    kinds = {column.name: column.kind for column in data.columns}
    assert [name for name, kind in kinds.items() if kind == "binary"] == [
        "sex", "fasting_blood_sugar", "exercice_angina",
    ]  # fmt: skip
    assert kinds["chest_pain_type"] == kinds["thalessemia"] == "categorical"
    assert kinds["diagnosis"] == "ordinal"
    assert {kinds[name] for name in ("age", "resting_BP", "serum_cholesterol", "max_HR")} == {"real"}
    thal = data.columns[data.features.index("thalessemia")]
    assert (thal.levels, thal.missing) == (("3", "6", "7"), 2)


def test_wine_and_mice_as_published(tables):
    wine = load(tables / "wine_red.csv")
    assert wine.columns[-1].kind == "ordinal"
    np.testing.assert_allclose(wine.x, pd.read_csv(tables / "wine_red.csv", sep=";"), rtol=1e-6)
    mice = load(tables / "mice.csv", target="class")
    assert (mice.id_name, mice.ids[0], len(mice.classes)) == ("MouseID", "309_1", 8)
    assert [column.kind for column in mice.columns[:77]].count("real") == 77
    assert {column.kind for column in mice.columns[77:]} == {"binary"}


def test_pasilla_as_published(tables):
    data, truth = load(tables / "pasilla.csv", transpose=True), pd.read_csv(tables / "pasilla.csv", index_col=0)
    assert data.features == tuple(truth.index)
    assert data.ids.tolist() == list(truth.columns)
    assert {column.kind for column in data.columns} == {"count"}
    np.testing.assert_array_equal(data.x, truth.to_numpy().T)
    assert load(**data.source).fingerprint == data.fingerprint


@pytest.mark.parametrize("before", range(3))
def test_a_header_longer_than_what_is_looked_at_is_refused_wherever_a_letter_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    monkeypatch.setattr(csv_module, "SAMPLE_BYTES", 60)
    path = tmp_path / "wide.csv"
    path.write_text("a" * before + ";".join(["é€"] * 40) + "\n" + ";".join("1" * 40) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match="must have a header line below"):
        load(path)
