"""Files written byte by byte, or by NumPy's own writers, read back; and every refusal."""

from __future__ import annotations

import gzip
import io
import os
import struct
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from vaelab import use
from vaelab.data import Column, describe_source, describe_text, load, npy, rows_for
from vaelab.data import csv as csv_files
from vaelab.data import idx as idx_files
from vaelab.errors import InputError

X = np.arange(60, dtype=np.float32).reshape(20, 3)
Y = np.arange(20) % 2
IMAGES = np.arange(20 * 4 * 5, dtype=np.uint8).reshape(20, 4, 5)


def message(source, **kwargs):
    with pytest.raises(InputError) as error:
        load(source, **kwargs)
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 500
    return text


def idx(code, shape, body):
    return bytes([0, 0, code, len(shape)]) + b"".join(struct.pack(">I", length) for length in shape) + body


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def npy_bytes(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npy_header(text):
    text = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def zip_bytes(members, compression=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


# .npy


@pytest.mark.parametrize(
    "x",
    [X, IMAGES, np.asfortranarray(X), X.astype(">f4"), X.astype(np.int16), X > 3],
    ids=lambda x: str(x.dtype),
)
def test_npy(tmp_path, x):
    np.save(tmp_path / "x.npy", x)
    data = load(tmp_path / "x.npy")
    np.testing.assert_array_equal(data.x, x)
    assert data.name == "x"


def test_npy_bytes_written_by_hand(tmp_path):
    header = npy_header("{'descr': '<f4', 'fortran_order': False, 'shape': (5, 2), }")
    write(tmp_path / "x.npy", header + struct.pack("<10f", *range(10)))
    np.testing.assert_array_equal(load(tmp_path / "x.npy").x, np.arange(10).reshape(5, 2))


def test_npy_is_mapped_and_read_only(tmp_path):
    np.save(tmp_path / "x.npy", X)
    x = load(tmp_path / "x.npy").x
    assert not x.flags.owndata
    assert not x.flags.writeable


@pytest.mark.parametrize("ending", [".npy", ".csv", ""])
def test_a_label_file_beside_an_array(tmp_path, ending):
    np.save(tmp_path / "x.npy", X)
    content = {
        ".npy": npy_bytes(Y),
        ".csv": "label\n" + "\n".join(map(str, Y)),
        "": idx(8, (20,), bytes(Y.tolist())),
    }
    labels = write(tmp_path / f"y{ending}", content[ending])
    data = load(tmp_path / "x.npy", target=str(labels))
    np.testing.assert_array_equal(data.labels, Y)
    assert data.source["target"] == str(labels)


BAD_NPY = {
    "pickle": (
        npy_bytes(np.array([{}, []], dtype=object)),
        "pickled Python objects, which are never loaded; save",
    ),
    "80 TB": (
        npy_header("{'descr': '<f4', 'fortran_order': False, 'shape': (20000000000, 1000), }"),
        "80000000000000 bytes",
    ),
    "negative": (
        npy_header("{'descr': '<f4', 'fortran_order': False, 'shape': (-5, 2), }"),
        "shape is '(-5, 2)'",
    ),
    "code": (
        npy_header("{'descr': __import__('os'), 'fortran_order': False, 'shape': (5, 2), }"),
        "valid .npy header",
    ),
    "not npy": (b"hello, this is no array", "valid .npy header"),
    "cut header": (npy_bytes(X)[:30], "valid .npy header"),
    "cut data": (npy_bytes(X)[:-1], "claims 240 bytes of data, but 239 follow; recreate it"),
    "no bytes": (b"", "has 0 bytes"),
    "no rows": (npy_bytes(X[:0]), "it is empty"),
    "version 9": (b"\x93NUMPY\x09\x00" + npy_bytes(X)[8:], "version 1 or 2, but is (9, 0)"),
    "huge header": (b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b"(" * 20_000, "valid .npy header"),
    "text": (npy_bytes(np.array([["a"]] * 9)), "its type is text"),
}


@pytest.mark.parametrize(("content", "expected"), BAD_NPY.values(), ids=BAD_NPY)
def test_bad_npy(tmp_path, content, expected):
    assert expected in message(write(tmp_path / "x.npy", content))


def test_a_damaged_header_is_always_an_input_error_or_an_array(tmp_path):
    good, rng = npy_bytes(X), np.random.default_rng(0)
    for _ in range(300):
        content = bytearray(good)
        for place in rng.integers(0, 80, size=rng.integers(1, 4)):
            content[place] = rng.integers(32, 127) if rng.random() < 0.7 else rng.integers(0, 256)
        path = write(tmp_path / "x.npy", bytes(content))
        try:
            refused = describe_source(path).get("refused", "")
        except InputError as error:  # any other ends the test
            refused = str(error)
        assert "\n" not in refused


# .npz


def test_npz_keys(tmp_path):
    path = tmp_path / "data.npz"
    for keys in (
        {"x": X, "y": Y},
        {"images": X, "labels": Y},
        {"data": X, "target": Y},
        {"whatever": X, "labels": Y},
    ):
        np.savez_compressed(path, **keys)
        data = load(path)
        np.testing.assert_array_equal(data.x, X)
        np.testing.assert_array_equal(data.labels, Y)
    np.savez(path, anything=np.asfortranarray(X))
    assert load(path).labels is None
    np.testing.assert_array_equal(load(path).x, X)
    np.savez(path, x=X, group=Y)
    np.testing.assert_array_equal(load(path, target="group").labels, Y)


def test_npz_with_an_official_test_part(tmp_path):
    np.savez(tmp_path / "d.npz", x_train=X, y_train=Y, x_test=X[:5] + 1, y_test=Y[:5])
    data = load(tmp_path / "d.npz", seed=3)
    np.testing.assert_array_equal(data.rows("test"), X[:5] + 1)
    np.testing.assert_array_equal(data.labels_of("test"), Y[:5])


def lying_zip():
    """A member whose directory entry claims fewer bytes than its array's header."""
    header = npy_header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 100), }")
    return zip_bytes({"x.npy": header + b"\0" * 40})


ENCRYPTED = bytearray(zip_bytes({"x.npy": npy_bytes(X)}))
ENCRYPTED[ENCRYPTED.index(b"PK\x01\x02") + 8] |= 1
BAD_CHECKSUM = bytearray(zip_bytes({"x.npy": npy_bytes(X)}, zipfile.ZIP_STORED))
BAD_CHECKSUM[BAD_CHECKSUM.index(npy_bytes(X)) + 200] ^= 1
BAD_NPZ = {
    "bomb": (
        zip_bytes({"x.npy": npy_bytes(np.zeros((2000, 1000), np.uint8))}),
        "at most 1000000 bytes, but claims 2000128",
    ),
    "lying": (lying_zip(), "its header claims 400000000 bytes, the archive 168"),
    "climbing": (zip_bytes({"../x.npy": npy_bytes(X)}), "plain names, but one is '../x.npy'"),
    "absolute": (zip_bytes({"/etc/x.npy": npy_bytes(X)}), "plain names"),
    "pickle": (zip_bytes({"x.npy": npy_bytes(np.array([{}, []], dtype=object))}), "pickled Python objects"),
    "not npy": (zip_bytes({"x.txt": "1"}), "'x.txt' is not .npy; use numpy.savez"),
    "lzma": (zip_bytes({"x.npy": npy_bytes(X)}, zipfile.ZIP_LZMA), "stored or deflated"),
    "encrypted": (bytes(ENCRYPTED), "encrypted"),
    "checksum": (bytes(BAD_CHECKSUM), "damaged: Bad CRC-32"),
    "cut": (zip_bytes({"x.npy": npy_bytes(X)})[:-30], "damaged"),
    "empty": (zip_bytes({}), "holds nothing"),
    "unclear": (zip_bytes({"a.npy": npy_bytes(X), "b.npy": npy_bytes(X)}), "but holds 'a', 'b'; rename"),
    "many": (zip_bytes({f"{i}.npy": "" for i in range(1001)}), "at most 1000 arrays, but holds 1001"),
}


@pytest.mark.parametrize(("content", "expected"), BAD_NPZ.values(), ids=BAD_NPZ)
def test_bad_npz(tmp_path, monkeypatch, content, expected):
    monkeypatch.setattr(npy, "MAX_UNPACKED_BYTES", 1_000_000)
    assert expected in message(write(tmp_path / "x.npz", content))


def test_an_unknown_npz_key_is_told(tmp_path):
    np.savez(tmp_path / "d.npz", x=X, group=Y)
    assert "'gruop'; did you mean 'group'?" in message(tmp_path / "d.npz", target="gruop")


# IDX

IDX_CASES = {
    "bytes": (8, (6, 2), bytes(range(12)), np.arange(12)),
    "signed": (9, (6, 2), struct.pack(">12b", *range(-6, 6)), np.arange(-6, 6)),
    "short": (0x0B, (6, 2), struct.pack(">12h", *range(-6, 6)), np.arange(-6, 6)),
    "int": (0x0C, (6, 2), struct.pack(">12i", *range(-6, 6)), np.arange(-6, 6)),
    "float": (0x0D, (6, 2), struct.pack(">12f", *range(12)), np.arange(12)),
    "double": (0x0E, (6, 2), struct.pack(">12d", *range(12)), np.arange(12)),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("code", "shape", "body", "values"), IDX_CASES.values(), ids=IDX_CASES)
def test_idx(tmp_path, packed, code, shape, body, values):
    content = idx(code, shape, body)
    path = write(tmp_path / "train-idx2", gzip.compress(content) if packed else content)
    data = load(path)
    assert data.x.dtype == (np.uint8 if code == 8 else np.float32)
    np.testing.assert_array_equal(data.x, values.reshape(shape))


IDX_BYTES = idx(8, IMAGES.shape, IMAGES.tobytes())
BAD_IDX = {
    "magic": (
        b"\0\0\x07\x03" + IDX_BYTES[4:],
        "IDX magic such as 0x00000803, but starts with 0x00000703; convert",
    ),
    "no dimensions": (b"\0\0\x08\0abc", "0x00000800"),
    "cut header": (IDX_BYTES[:10], "ends after 10 bytes"),
    "short": (IDX_BYTES[:-1], "400 bytes that its IDX header claims, but holds 399; download it again"),
    "long": (IDX_BYTES + b"\0", "claims, but holds 401"),
    "80 TB": (idx(8, (2**32 - 1, 20000), b"abc"), "85899345900000 bytes"),
    "gzip cut": (gzip.compress(IDX_BYTES)[:-12], "truncated"),
    "gzip of a part": (gzip.compress(IDX_BYTES[:-100]), "400 bytes of data were expected, but got 300"),
    "gzip too long": (gzip.compress(IDX_BYTES + b"more"), "but continues"),
    "gzip checksum": (gzip.compress(IDX_BYTES)[:-8] + b"\0" * 8, "damaged: CRC check failed"),
    "gzip bomb": (
        gzip.compress(idx(8, (2000, 1000), b"\0" * 2_000_000)),
        "at most 1000000 bytes, but claims 2000000",
    ),
    "gzip of text": (gzip.compress(b"hello"), "IDX magic"),
}


@pytest.mark.parametrize(("content", "expected"), BAD_IDX.values(), ids=BAD_IDX)
def test_bad_idx(tmp_path, monkeypatch, content, expected):
    monkeypatch.setattr(idx_files, "MAX_UNPACKED_BYTES", 1_000_000)
    assert expected in message(write(tmp_path / "images-idx3-ubyte", content))


def test_another_number_of_labels_than_images(tmp_path):
    images = write(tmp_path / "images", IDX_BYTES)
    labels = write(tmp_path / "labels", idx(8, (19,), bytes(19)))
    assert "19 labels for 20 examples" in message(images, target=str(labels))


# .csv


def test_csv(tmp_path):
    rows = "\n".join(f"{i},{i / 4},{'yes' if i % 2 else 'no'},{str(i > 5).lower()}" for i in range(12))
    data = load(write(tmp_path / "table.csv", f"a,b c,kind,late\n{rows}\n"), target="kind")
    assert data.features == ("a", "b c", "late")
    assert data.classes == ("no", "yes")
    np.testing.assert_array_equal(data.labels, np.arange(12) % 2)
    np.testing.assert_array_equal(data.x, [[i, i / 4, i > 5] for i in range(12)])


def test_csv_in_utf8_with_mark_and_windows_lines(tmp_path):
    content = "\ufeffgröße,b\r\n" + "\r\n".join(f"{i},{i * i}" for i in range(9)) + "\r\n"
    data = load(write(tmp_path / "t.csv", content))
    assert data.features == ("größe", "b")
    np.testing.assert_array_equal(data.x[:, 1], np.arange(9) ** 2)


def csv(header, row, n=9):
    return f"{header}\n" + f"{row}\n" * (n - 1)


BAD_CSV = {
    "ragged": ("a,b\n1,2\n3\n4,5\n", "as its header, 2, but row 1 has 1 (row 0 is"),
    "no header": ("1.5,2\n3,4\n", "one name is '1.5', which looks like data; add a header line"),
    "unnamed column": ("a,,c\n1,2,3\n", "column 1 has none, ''; only the first may"),
    "decimal comma": (
        "a,b\n" + "".join(f'"{i},5",{i}\n' for i in range(9)),
        "column 'a' holds '0,5' in row 0; replace the decimal commas",
    ),
    "twice": ("a,b,a\n1,2,3\n", "has 'a' twice; rename"),
    "text alone": (csv("a", "Berlin"), "all 8 examples are the same"),
    "empty rows": ("a,b\n" + ",\n" * 6, "must hold rows below its header, but has 0"),
    "empty columns": ("a,b\n" + "NA,NA\n" * 6, "all of them are empty or hold names or free text"),
    "infinite": (
        "a,b\n1,2\n3,inf\n4,5\n6,2\n7,8\n",
        "1 of column 'b' is infinite (inf), the first in row 1",
    ),
    "identifier": (
        "a,b\n1,9007199254740993\n3,3\n4,5\n6,2\n7,8\n",
        "holds 9007199254740993 at row 0, column 'b', which would be rounded; drop it, or make it the `id`",
    ),
    "header alone": ("a,b\n", "must hold rows below its header, but has 0"),
    "header alone, cut": ("a,b", "must hold rows below its header, but has 0"),
    "lines alone": ("\n\n# a\n", "holds nothing but empty lines and comments"),
    "no encoding": (b"a,b\n1,K\x81ln\n", "UTF-16 or Windows-1252 (Latin-1), but byte 7 is in none of them"),
    "one byte wrong": (
        "a,b\n1,Köln\n".encode() + b"2,K\xf6ln\n",
        "as most of it is, but byte 15 is not; save it as UTF-8",
    ),
    "binary": (b"\0\1,\xff\n1,2\n", "looks binary"),
    "last name": ("a,b,\n1,2,3\n4,5,6\n", "column 2 has none, ''"),
    "long header": ("a" * 2_000_000, "valid header line, but: field larger than field limit"),
    "quote open": ('a,"b\n1,2\n', "valid header line"),
}


@pytest.mark.parametrize(("content", "expected"), BAD_CSV.values(), ids=BAD_CSV)
def test_bad_csv(tmp_path, content, expected):
    assert expected in message(write(tmp_path / "t.csv", content))


def test_a_row_of_a_csv_is_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_files, "MAX_ROW_BYTES", 1000)
    assert "rows below 1000 bytes" in message(write(tmp_path / "t.csv", "a,b\n1," + "9" * 2000 + "\n"))


def test_text_too_long_for_a_name_is_free_text_or_refused(tmp_path):
    rows = "\n".join(f"{i % 7},{'abc'[i % 3]}" for i in range(30))
    path = write(tmp_path / "t.csv", f"a,b\n{rows}\n3,{'x' * 10_000}\n")
    assert load(path).left_out == {"b": "text of up to 10,000 characters"}
    told = "must have at most 1,000 characters in each row, but row 30 has 10,000: 'xxx"
    for role in ("target", "id", "group", "split"):
        assert f"column 'b', the {role}, {told}" in message(path, **{role: "b"})
    assert f"column 'b' {told}" in message(path, types={"b": "categorical"})


def test_bad_targets_of_a_csv(tmp_path):
    path = write(tmp_path / "t.csv", "a,price\n" + "\n".join(f"{i},{i + 0.5}" for i in range(9)))
    assert "'pirce'; did you mean 'price'?" in message(path, target="pirce")
    assert "row 0 holds 0.5, a continuous value" in message(path, target="price")
    write(path, "a,kind\n1,\n2,\n3,\n4,NA\n5,\n")
    assert "none of 5 has one" in message(path, target="kind")


# paths


def test_paths_that_are_no_data_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.npy")
    (tmp_path / "folder.npy").mkdir()
    (tmp_path / "loop.npy").symlink_to(tmp_path / "loop.npy")
    assert "device or a pipe" in message(tmp_path / "pipe.npy")
    assert "'zero' is a device" in message("/dev/zero")
    assert "is a directory" in message(tmp_path / "folder.npy")
    assert "is a directory" in message(tmp_path)
    assert "none.npy' does not; check the path" in message(tmp_path / "none.npy")
    assert "'loop.npy' is not" in message(tmp_path / "loop.npy")
    assert "is not" in message("a\0b.npy")
    assert r"a\nb.npy'" in message(tmp_path / "a\nb.npy")
    assert "not" in message(tmp_path / ("x" * 300 + ".npy"))
    assert "starts with \"b'PK" in message(write(tmp_path / "t.bin", b"PK\x05\x06 and more"))


def test_names_that_are_no_data_sets():
    assert message("mnits") == "unknown data set 'mnits'; did you mean 'mnist'?"
    assert "known: digits, fashion_mnist, mnist" in message("zzz")
    assert "came from arrays in memory" in message("array", kind="array")


def test_the_source_loads_the_same_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", X)
    np.save("y.npy", Y)
    np.savez("d.npz", x=X, group=Y)
    write(tmp_path / "t.csv", "a,b,k\n" + "\n".join(f"{i},{i * i},{i % 2}" for i in range(20)))
    cases = [("x.npy", "y.npy"), ("x.npy", None), ("d.npz", "group"), ("t.csv", "k")]
    loaded = [load(name, target=target, seed=5) for name, target in cases]
    monkeypatch.chdir("/")
    for data in loaded:
        again = load(**data.source)
        assert again.fingerprint == data.fingerprint == data.source["fingerprint"]
        assert again.classes == data.classes
        assert again.source == data.source
    np.save(tmp_path / "x.npy", X + 1)
    with pytest.raises(InputError, match="the file, the labels or the seed changed"):
        load(**loaded[1].source)


# new data and description


def test_rows_from_files(tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.testing.assert_array_equal(rows_for(tmp_path / "x.npy", (3,), dtype_hint="float32"), X)
    path = write(tmp_path / "t.csv", "c,k,a\n1,x,2\n3,y,4\n")
    rows = rows_for(str(path), (2,), dtype_hint="float32", columns=[Column("a"), Column("c")])
    np.testing.assert_array_equal(rows, [[2, 1], [4, 3]])
    with pytest.raises(InputError, match=r"trained on 5 features, but 'x.npy' has 3"):
        rows_for(tmp_path / "x.npy", (5,), dtype_hint="float32")


def test_describe_what_training_refuses(tmp_path):
    x = X.copy()
    x[[1, 2, 3], [0, 2, 2]] = np.nan
    x[4, 1] = np.inf
    np.save(tmp_path / "x.npy", x)
    found = describe_source(tmp_path / "x.npy")
    assert found["shape"] == [3]
    assert found["dtype"] == "float32"
    assert (found["missing"], found["infinite"]) == (3, 1)
    assert found["missing_columns"] == {"0": 1, "2": 2}
    assert found["range"] == [0.0, 59.0]
    assert "1 of 60 values is infinite" in found["refused"]
    text = describe_text(found)
    assert "missing   3 values (0 (1), 2 (2))" in text
    assert "refused" in text


def test_describe_a_refused_table(tmp_path):
    path = write(tmp_path / "t.csv", "a,city\n1,Rome\n,Bern\n3,\n")
    found = describe_source(path, seed=1)
    assert found["examples"] == 3
    assert found["missing"] == 2
    assert [column["name"] for column in found["columns"]] == ["a", "city"]
    assert found["columns"][0]["range"] == [1.0, 3.0]
    assert found["columns"][1]["examples_of_values"] == ["Bern", "Rome"]
    assert "at least 5 examples, but holds 3" in describe_text(found)


def test_what_cannot_be_read_at_all_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.npy' does not"):
        describe_source(tmp_path / "none.npy")


def test_describe_says_which_rows_and_which_type(tmp_path):
    x = np.arange(40.0).reshape(20, 2)
    np.save(tmp_path / "x.npy", x)
    found = describe_source(tmp_path / "x.npy")
    assert (found["stored_as"], found["dtype"]) == ("float64", "float32")
    text = describe_text(found)
    assert "float64, trained as float32" in text
    assert "0 to 39 in all rows" in text
    train = x[load(tmp_path / "x.npy").splits["train"]]
    head = text.partition("columns, over the training rows:\n")[2].splitlines()[0]
    assert head.split() == ["name", "kind", "mean", "std", "low", "high"]
    assert float(found["columns"][0]["low"]) == train[:, 0].min()
    x[3, 1] = np.nan
    np.save(tmp_path / "x.npy", x)
    found = describe_source(tmp_path / "x.npy")
    assert found["missing"] == 1
    assert "1 value (1 (1))" in describe_text(found)


def test_a_bad_cell_is_named_with_its_row_and_column(tmp_path):
    cells = [f"{i},{i * i}" for i in range(20)]
    cells[7] = "7,4g"
    with pytest.raises(
        InputError, match=r"numbers in column 'b', but row 7 holds '4g', the only such cell among 20; correct it"
    ):
        load(write(tmp_path / "t.csv", "a,b\n" + "\n".join(cells)))
    cells[9] = "9,-"
    with pytest.raises(InputError, match=r"but row 7 holds '4g', one of 2 such cells among 20"):
        load(write(tmp_path / "t.csv", "a,b\n" + "\n".join(cells)))


def save_pictures(folder, mode="RGB", size=(33, 20), count=6, seed=0):
    """Noise pictures; returns them as an array."""
    folder.mkdir(parents=True, exist_ok=True)
    W, H = size
    x = np.random.default_rng(seed).integers(0, 256, (count, H, W, 3) if mode == "RGB" else (count, H, W), np.uint8)
    for number, picture in enumerate(x):
        Image.fromarray(picture).save(folder / f"{number:03d}.png")
    return x


def test_a_folder_of_pictures_is_an_array_with_a_class_per_folder(tmp_path):
    disc, bar = save_pictures(tmp_path / "set" / "disc"), save_pictures(tmp_path / "set" / "bar", seed=1)
    (tmp_path / "set" / "notes.txt").write_text("left alone")
    data = load(tmp_path / "set")
    assert data.shape == (20, 33, 3)
    assert data.x.dtype == np.uint8
    assert data.classes == ("bar", "disc")
    np.testing.assert_array_equal(data.x, np.concatenate([bar, disc]))
    np.testing.assert_array_equal(data.labels, [0] * 6 + [1] * 6)
    np.testing.assert_array_equal(load(**data.source).x, data.x)
    grey = save_pictures(tmp_path / "grey", mode="L", size=(5, 4))
    np.testing.assert_array_equal(load(tmp_path / "grey").x, grey)
    assert load(tmp_path / "grey").labels is None


def test_a_folder_of_pictures_is_new_examples_for_a_model(tmp_path):
    disc, bar = save_pictures(tmp_path / "set" / "disc"), save_pictures(tmp_path / "set" / "bar", seed=1)
    model = SimpleNamespace(facts=SimpleNamespace(shape=disc.shape[1:]))
    for source in (tmp_path / "set", str(tmp_path / "set")):
        rows = use.new_rows(model, source)
        np.testing.assert_array_equal(rows.x, np.concatenate([bar, disc]))
        assert rows.ids is not None
        assert (rows.id_name, len(rows.ids), rows.ids[0].split("/")[0]) == ("file", len(rows.x), "bar")


def test_a_folder_with_pictures_at_two_depths_or_with_a_target_is_refused(tmp_path):
    save_pictures(tmp_path / "a")
    assert "takes its labels from its subfolders" in message(tmp_path / "a", target="y")
    save_pictures(tmp_path / "a" / "b")
    assert "are in both" in message(tmp_path / "a")


FOREIGN = {
    "t.mat": "is a file of MATLAB; save one of its arrays by numpy.save",
    "t.xlsx": "is a spreadsheet; save its sheet as .csv",
    "t.pt": "pickled Python objects, which are never loaded; save arrays by numpy.save",
    "t.JSON": "is a text in another form than a table; export it as .csv",
    "t.nii.gz": "is an array in a form that is not read",
    "t.tar.gz": "is an archive; unpack it",
    "t.heic": "is a picture in a form that is not read; save it as .png",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_files_that_are_not_read_are_named_with_what_helps(tmp_path, name):
    for content in (b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", b"\0\0\0\x18ftyp", gzip.compress(b"hello")):
        assert FOREIGN[name] in message(write(tmp_path / name, content))


def test_text_and_packed_files_of_no_known_ending(tmp_path):
    assert "if it is a table, rename it to .csv" in message(write(tmp_path / "t.dat", "a,b\n1,2\n"))
    assert "packed by gzip (it starts with" in message(write(tmp_path / "t.gz", gzip.compress(b"hello")))


def test_structured_arrays_in_files_are_tables_and_further_arrays_are_told(tmp_path):
    records = np.array([(i / 7, i % 3) for i in range(30)], [("a", float), ("b", int)])
    np.save(tmp_path / "t.npy", records)
    np.savez(tmp_path / "t.npz", x=records, y=np.arange(30) % 2, ids=np.arange(30))
    for name in ("t.npy", "t.npz"):
        data = load(tmp_path / name)
        assert data.features == ("a", "b")
        np.testing.assert_allclose(data.x[:, 0], records["a"], rtol=1e-6)
    assert data.classes == ("0", "1")
    assert "'t.npz' holds 'ids', too, which is left out." in data.notes


def test_names_that_are_no_text_are_refused(tmp_path):
    odd = tmp_path / "gr\udcf6.csv"
    odd.write_text("a,b\n1,2\n")
    assert r"but 'gr\udcf6.csv' has none; rename it" in message(odd)
    pictures = tmp_path / "pictures"
    save_pictures(pictures)
    (pictures / "000.png").rename(pictures / "gr\udcf6.png")
    assert r"but 'gr\udcf6.png' has none; rename it" in message(pictures)
