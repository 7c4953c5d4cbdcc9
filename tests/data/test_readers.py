"""What every reader of files must hold: what is cut off, empty or of another kind is one line; nothing is guessed."""

from __future__ import annotations

import gzip
import io
import struct

import numpy as np
import pytest

from vaelab.data import load
from vaelab.data.readers import READERS, read, reader_of
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


# A whole file of 20 rows and 3 columns for each reader; a reader without one here fails.
WHOLE = {
    "npy": (".npy", _npy(ROWS)),
    "npz": (".npz", _npz(ROWS)),
    "csv": (".csv", ("a,b,c\n" + "\n".join(",".join(map(str, row)) for row in ROWS) + "\n").encode()),
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
            assert kind == "csv"
            assert len(next(iter(found.x.values()))) <= 20
        else:
            assert "\n" not in refusal
            assert len(refusal) < 400


@pytest.mark.parametrize("kind", [kind for kind, reader in READERS.items() if reader.endings])
def test_another_kind_of_file_under_its_ending_is_refused(tmp_path, kind):
    ending = WHOLE[kind][0]
    for other, (_, content) in WHOLE.items():
        if other in (kind, "csv"):
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
        with pytest.raises(InputError, match=r"labels must be in .*npz"):
            read(data, str(labels))
    else:
        assert len(read(data, str(labels)).y) == 20
