"""What every reader of files must hold: what is cut off, empty or of another kind is one line; nothing is guessed."""

from __future__ import annotations

import gzip
import io
import struct
import tempfile
from pathlib import Path

import anndata
import h5py
import numpy as np
import pyarrow.feather
import pyarrow.parquet
import pytest
import scipy.io
import scipy.sparse

from vaelab.data import load
from vaelab.data.readers import READERS, read, reader_of
from vaelab.data.reading import Reading
from vaelab.errors import InputError

ROWS = (np.arange(60).reshape(20, 3) % 7).astype(np.uint8)


def _npy(rows):
    out = io.BytesIO()
    np.save(out, rows)
    return out.getvalue()


def _npz(rows):
    out = io.BytesIO()
    np.savez(out, x=rows)
    return out.getvalue()


def _table():
    return pyarrow.table({name: ROWS[:, j] for j, name in enumerate("abc")})


def _parquet():
    out = io.BytesIO()
    pyarrow.parquet.write_table(_table(), out)
    return out.getvalue()


def _feather():
    out = io.BytesIO()
    pyarrow.feather.write_feather(_table(), out)
    return out.getvalue()


def _h5ad():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.h5ad"
        anndata.AnnData(ROWS.astype(np.float32)).write_h5ad(path)
        return path.read_bytes()


def _tenx():
    out = io.BytesIO()
    matrix = scipy.sparse.csr_matrix(ROWS.astype(np.int32))
    with h5py.File(out, "w") as file:
        group = file.create_group("matrix")
        for part in ("data", "indices", "indptr"):
            group[part] = getattr(matrix, part)
        group["shape"] = np.array([3, 20])
        group["barcodes"] = [f"cell{i}" for i in range(20)]
        group["features/name"] = group["features/id"] = ["a", "b", "c"]
    return out.getvalue()


def _mtx():
    out = io.BytesIO()
    scipy.io.mmwrite(out, scipy.sparse.coo_matrix(ROWS.astype(np.int64)))
    return out.getvalue()


# A whole file of 20 rows and 3 columns for each reader; a reader without one here fails.
WHOLE = {
    "npy": (".npy", _npy(ROWS)),
    "npz": (".npz", _npz(ROWS)),
    "csv": (".csv", ("a,b,c\n" + "\n".join(",".join(map(str, row)) for row in ROWS) + "\n").encode()),
    "parquet": (".parquet", _parquet()),
    "feather": (".feather", _feather()),
    "h5ad": (".h5ad", _h5ad()),
    "10x": (".h5", _tenx()),
    "mtx": (".mtx", _mtx()),
    "idx": ("-idx2-ubyte.gz", gzip.compress(struct.pack(">IIII", 0x00000802, 20, 3, 0)[:12] + ROWS.tobytes())),
}


@pytest.fixture(params=list(READERS))
def kind(request):
    return request.param


def write(folder, kind, content=None, name="data"):
    ending, whole = WHOLE[kind]
    path = folder / f"{name}{ending}"
    path.write_bytes(whole if content is None else content)
    return path


def test_a_whole_file_is_read_by_its_reader_and_is_a_data_set(tmp_path, kind):
    path = write(tmp_path, kind)
    assert reader_of(path) is READERS[kind]
    np.testing.assert_array_equal(load(path).flat, ROWS)


def test_every_way_of_cutting_it_off_is_one_line_or_fewer_rows(tmp_path, kind):
    """Rows of text can end anywhere; whatever says how long it is must be as long."""
    whole = WHOLE[kind][1]
    for length in sorted({0, 1, 4, 10, len(whole) // 2, len(whole) - 1}):
        path = write(tmp_path, kind, whole[:length], name=f"cut{length}")
        found = refusal = None
        try:
            found = read(path)
        except InputError as error:
            refusal = str(error)
        if refusal is None:
            assert kind in ("csv", "mtx")
            assert len(next(iter(found.x.values())) if kind == "csv" else found.x) <= 20
        else:
            assert "\n" not in refusal
            assert len(refusal) < 400


@pytest.mark.parametrize("kind", [kind for kind, reader in READERS.items() if reader.endings])
def test_another_kind_of_file_under_its_ending_is_refused(tmp_path, kind):
    ending = WHOLE[kind][0]
    for other, (_, content) in WHOLE.items():
        if other in (kind, "csv") or (kind, other) == ("csv", "mtx"):  # both are text
            continue
        path = tmp_path / f"{other}-in{ending}"
        path.write_bytes(content)
        with pytest.raises(InputError) as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_labels_stand_beside_or_are_refused_by_name(tmp_path, kind):
    data = write(tmp_path, "npy")
    labels = write(tmp_path, kind, name="labels") if kind != "csv" else tmp_path / "labels.csv"
    if kind == "csv":
        labels.write_text("label\n" + "\n".join(str(i % 2) for i in range(20)))
    if READERS[kind].labels is None:
        with pytest.raises(InputError, match=r"labels must be in .* but 'labels"):
            read(data, Reading(target=str(labels)))
    else:
        assert len(read(data, Reading(target=str(labels))).y) == 20
