"""AnnData, 10x .h5 and .mtx, against the matrices they were written from; and every refusal."""

from __future__ import annotations

import gzip

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse

from vaelab.data import Reading, from_arrays, load, new_rows
from vaelab.errors import InputError

CELLS, GENES = 50, 30
RNG = np.random.default_rng(0)
COUNTS = RNG.poisson(RNG.gamma(0.4, 4, GENES) * RNG.gamma(2, 0.5, CELLS)[:, None]).astype(np.int32)
BARCODES = [f"CELL{i}-1" for i in range(CELLS)]
CODES = [f"ENSG{j}" for j in range(GENES)]
NAMES = [f"G{j}" for j in range(GENES - 1)] + ["G0"]  # one name stands for two genes
UNIQUE = ["G0 (ENSG0)", *NAMES[1:-1], f"G0 (ENSG{GENES - 1})"]


def message(path, **options):
    with pytest.raises(InputError) as error:
        load(path, **options)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400
    return str(error.value)


def ann(sparse=True):
    obs = pd.DataFrame(
        {
            "cell": pd.Categorical(["A", "B"] * 25),
            "donor": [f"d{i % 5}" for i in range(CELLS)],
            "total": COUNTS.sum(1),
        },
        index=BARCODES,
    )
    x = COUNTS.astype(np.float32)
    return anndata.AnnData(scipy.sparse.csr_matrix(x) if sparse else x, obs, pd.DataFrame(index=CODES))


@pytest.mark.parametrize("sparse", [True, False])
def test_anndata_and_its_file(tmp_path, sparse):
    ann(sparse).write_h5ad(tmp_path / "a.h5ad")
    options = {"group": "donor", "drop": ["ENSG3"]}
    file = load(tmp_path / "a.h5ad", target="cell", **options)
    here = from_arrays(ann(sparse), ["A", "B"] * 25, **options)
    for data in file, here:
        np.testing.assert_array_equal(data.x, np.delete(COUNTS, 3, axis=1))
        assert data.features == tuple(np.delete(CODES, 3))
        assert data.ids.tolist() == BARCODES
        assert data.classes == ("A", "B")
        assert data.groups[:6].tolist() == [0, 1, 2, 3, 4, 0]
    assert load(**file.source).fingerprint == file.fingerprint
    assert "unknown target column of 'a.h5ad': 'cel'; did you mean 'cell'?" in message(
        tmp_path / "a.h5ad", target="cel"
    )
    rows, ids, _ = new_rows(
        tmp_path / "a.h5ad", file.shape, dtype_hint=file.x.dtype, columns=file.columns,
        reading=Reading.from_dict(file.source),
    )  # fmt: skip
    np.testing.assert_array_equal(rows, file.x)
    assert ids.tolist() == BARCODES


def test_names_that_repeat_get_a_number():
    found = ann()
    found.var_names = ["a", "b", "a", *CODES[3:]]
    data = from_arrays(found)
    assert data.features[:3] == ("a", "b", "a-1")
    assert "the same name" in data.notes[0]


def write_10x(path, version=3, **changes):
    matrix = scipy.sparse.csr_matrix(COUNTS)
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix" if version == 3 else "GRCh38")
        parts = {
            "data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr,
            "shape": np.array([GENES, CELLS]), "barcodes": BARCODES,
        }  # fmt: skip
        names = ("features/name", "features/id") if version == 3 else ("gene_names", "genes")
        for part, values in {**parts, names[0]: NAMES, names[1]: CODES, **changes}.items():
            if values is not None:
                group[part] = values
    return path


@pytest.mark.parametrize("version", [2, 3])
def test_10x_in_hdf5(tmp_path, version):
    data = load(write_10x(tmp_path / "x.h5", version))
    np.testing.assert_array_equal(data.x, COUNTS)
    assert data.features == tuple(UNIQUE)
    assert data.ids.tolist() == BARCODES
    assert {column.kind for column in data.columns} == {"count"}
    assert data.notes[0] == "1 names stand for several features: theirs got their code."


BAD_10X = {
    "no barcodes": ({"barcodes": None}, "must hold one matrix of 10x Genomics"),
    "few barcodes": ({"barcodes": BARCODES[:4]}, "50 cells and 30 features, but has 4 barcodes and 30 names"),
    "cut": ({"data": np.ones(3)}, "must be a whole 10x .h5 file"),
    "outside": ({"indices": np.full((COUNTS > 0).sum(), 99)}, "must be a whole 10x .h5 file"),
    "80 TB": ({"shape": np.array([2_000_000, 10_000_000])}, "10,000,000 x 2,000,000 values of 4 bytes"),
}


@pytest.mark.parametrize(("changes", "expected"), BAD_10X.values(), ids=BAD_10X)
def test_bad_10x(tmp_path, changes, expected):
    assert expected in message(write_10x(tmp_path / "x.h5", **changes))


def test_other_files_in_hdf5(tmp_path):
    with h5py.File(tmp_path / "x.h5ad", "w") as file:
        file["things"] = [1, 2]
    assert "must hold X and obs of an AnnData, but holds 'things'" in message(tmp_path / "x.h5ad")
    ann().write_h5ad(tmp_path / "a.h5")
    assert "if it is an AnnData, rename it to .h5ad" in message(tmp_path / "a.h5")
    with h5py.File(tmp_path / "y.h5ad", "w") as file:
        file.create_dataset("X", (10_000_000, 1_000_000), "f4", chunks=(1000, 1000))
        file.create_group("obs")
    assert "10,000,000 x 1,000,000 values of 4 bytes need" in message(tmp_path / "y.h5ad")


def write_mtx(folder, by_feature=True, packed=False, prefix=""):
    folder.mkdir(exist_ok=True)
    matrix = scipy.sparse.coo_matrix(COUNTS.T if by_feature else COUNTS)
    path = folder / f"{prefix}matrix.mtx"
    scipy.io.mmwrite(path, matrix)
    files = {
        path.name: path.read_text(),
        f"{prefix}barcodes.tsv": "\n".join(BARCODES) + "\n",
        f"{prefix}features.tsv": "".join(f"{c}\t{n}\tGene\n" for c, n in zip(CODES, NAMES, strict=True)),
    }
    for name, text in files.items():
        if packed:
            (folder / name).unlink(missing_ok=True)
            (folder / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
        else:
            (folder / name).write_text(text)
    return path.with_name(path.name + ".gz") if packed else path


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("prefix", ["", "GSM1_"])
@pytest.mark.parametrize("by_feature", [True, False])
def test_a_matrix_with_its_names_beside_it(tmp_path, packed, prefix, by_feature):
    data = load(write_mtx(tmp_path / "sample", by_feature, packed, prefix))
    np.testing.assert_array_equal(data.x, COUNTS)
    assert (data.features, data.ids.tolist()) == (tuple(UNIQUE), BARCODES)


def test_the_folder_of_a_matrix(tmp_path):
    write_mtx(tmp_path / "sample", packed=True)
    data = load(tmp_path / "sample")
    np.testing.assert_array_equal(data.x, COUNTS)
    assert data.name == "sample"
    assert load(**data.source).fingerprint == data.fingerprint


def test_a_matrix_alone_has_examples_as_rows(tmp_path):
    scipy.io.mmwrite(tmp_path / "m.mtx", scipy.sparse.coo_matrix(COUNTS))
    np.testing.assert_array_equal(load(tmp_path / "m.mtx").x, COUNTS)
    np.testing.assert_array_equal(load(tmp_path / "m.mtx", transpose=True).x, COUNTS.T)


def test_bad_matrices(tmp_path):
    head = "%%MatrixMarket matrix coordinate integer general\n"
    path = tmp_path / "m.mtx"
    for text, expected in {
        head + "3000000 4000000 2\n1 1 1\n2 2 1\n": "3,000,000 x 4,000,000 values of 4 bytes",
        head + "3 4 999999999999\n1 1 1\n": "at most 12 entries, but claims 999999999999",
        head + "3 4 5\n1 1 1\n": "must be a whole Matrix Market file",
        head + "3 4 1\n9 1 1\n": "must be a whole Matrix Market file",
        "1 2 3\n": "must be a whole Matrix Market file",
    }.items():
        path.write_text(text)
        assert expected in message(path)
    whole = write_mtx(tmp_path / "sample")
    (whole.parent / "features.tsv").write_text("a\nb\n")
    assert "with 2 features and 50 barcodes; use the files that belong to it" in message(whole)


def test_without_the_extra_it_is_named(tmp_path, monkeypatch):
    ann().write_h5ad(tmp_path / "a.h5ad")
    write_10x(tmp_path / "x.h5")
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    for name in ("a.h5ad", "x.h5"):
        assert "pip install 'vaelab[single-cell]'" in message(tmp_path / name)


def test_10x_as_published(tables):
    data = load(tables / "tenx.h5")
    with h5py.File(tables / "tenx.h5") as file:
        group = file["matrix"]
        truth = scipy.sparse.csc_matrix(
            (group["data"][:], group["indices"][:], group["indptr"][:]), shape=tuple(group["shape"][:])
        )
    np.testing.assert_array_equal(data.x, truth.toarray().T)
    assert {column.kind for column in data.columns} == {"count"}
